//! From the client's first packet to the shell's first prompt, one session after the other, split by
//! what the gateway says that it is doing.

use std::collections::BTreeMap;

use anyhow::Result;
use tokio::time::{Duration, Instant, sleep};

use super::{BUFFER, Run};
use crate::rows::{Rows, percentile};
use crate::system::Wish;

/// Starts that do not count: the first ones make a user's home.
const WARM: usize = 3;

/// Between two starts.
const PAUSE: Duration = Duration::from_millis(20);

/// Measures starts.
pub async fn run(run: &Run<'_>, rows: &mut Rows) -> Result<()> {
    let mut ms = Vec::new();
    let mut phases: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for number in 0..run.work.prompts + WARM {
        let began = Instant::now();
        let wish = Wish { number, read_buffer: BUFFER, login: true };
        let session = run.open(wish).await?;
        let whole = began.elapsed().as_secs_f64() * 1e3;
        if number >= WARM {
            ms.push(whole);
            let told: f64 = session.phases.iter().map(|(_, ms)| ms).sum();
            for (phase, ms) in &session.phases {
                phases.entry(phase).or_default().push(*ms);
            }
            if !session.phases.is_empty() {
                phases.entry("shell").or_default().push(whole - told);
            }
        }
        drop(session);
        sleep(PAUSE).await;
    }
    ms.sort_by(f64::total_cmp);
    rows.put("prompt.p50", percentile(&ms, 50.0), "ms");
    rows.put("prompt.p99", percentile(&ms, 99.0), "ms");
    for (phase, mut ms) in phases {
        ms.sort_by(f64::total_cmp);
        rows.put(format!("prompt.{phase}.p50"), percentile(&ms, 50.0), "ms");
    }
    Ok(())
}
