//! The torture, as `make test` and `make torture` run it. `SHELLGATE_TORTURE_BREAKS` sets how many
//! breaks there are, and `SHELLGATE_TORTURE_SEED` repeats a run.

use std::path::Path;

use shellgate_tests::torture::{Plan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_is_lost_or_repeated_whatever_breaks_however_often() {
    let plan = Plan::from_environment();
    println!("torture: {} breaks of seed {}", plan.breaks.len(), plan.seed);
    let tally = run(&plan, Path::new(env!("CARGO_BIN_EXE_shellgate-generator"))).await;
    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
}
