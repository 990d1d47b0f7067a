//! The load generator against everything that it measures, with just enough work to see that each
//! figure is there. Proves no target.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory with the workspace's programs: the one in which cargo put the generator.
fn programs() -> PathBuf {
    let directory = Path::new(env!("CARGO_BIN_EXE_shellgate-load"))
        .parent()
        .expect("a program lies in a directory");
    for name in ["shellgate-gateway", "shellgate-bridge"] {
        let program = directory.join(name);
        assert!(program.is_file(), "{}: cargo build --workspace --bins", program.display());
    }
    directory.into()
}

#[test]
fn every_metric_gives_its_figures_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (place, tsv) = (scratch.path().join("place"), scratch.path().join("figures.tsv"));
    let output = Command::new(env!("CARGO_BIN_EXE_shellgate-load"))
        .args(["--smoke", "--rounds", "1", "--programs"])
        .arg(programs())
        .arg("--place")
        .arg(&place)
        .arg("--tsv")
        .arg(&tsv)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let figures = std::fs::read_to_string(&tsv).expect("figures");
    for (system, metric) in [
        ("pty", "echo@3.p99"),
        ("floor", "echo@3.cpu.gateway"),
        ("shellgate", "echo@3.cpu.gateway"),
        ("floor", "throughput@2.cpu.total"),
        ("shellgate", "throughput@2.rate"),
        ("bwrap", "prompt.p50"),
        ("shellgate", "prompt.task.p50"),
        ("shellgate", "slow.growth.total"),
        ("floor", "mem@2.gateway"),
        ("shellgate", "mem@2.gateway"),
        ("shellgate", "crowd@3.gateway"),
    ] {
        assert!(figures.contains(&format!("\t{system}\t{metric}\t")), "{system} {metric}\n{said}");
    }
    for exact in [
        "shellgate\treconnect.lost_bytes@1024KiB\t0\t",
        "shellgate\treconnect.repeated\t0\t",
        "shellgate\treconnect.midcut_lost\t0\t",
        "shellgate\tthroughput@2.lost\t0\t",
        "shellgate\techo@3.missing\t0\t",
    ] {
        assert!(figures.contains(exact), "{exact}\n{said}");
    }
    assert!(!place.exists(), "the scratch directory stays");
}
