//! Shellgate's load generator: measures the gateway beside a bare one on the same machine, in turns,
//! and says which targets are met.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Duration, timeout};

use crate::machine::Machine;
use crate::metric::{Metric, Run};
use crate::rows::Rows;
use crate::system::{Programs, System};
use crate::work::Work;

mod conversation;
mod http;
mod machine;
mod metric;
mod processes;
mod report;
mod rows;
mod session;
mod system;
mod target;
mod work;

/// Longest that one metric of one system may take in one round.
const LONGEST: Duration = Duration::from_secs(600);

/// Descriptors that five thousand sessions need in one process, their gateway's or the generator's.
const DESCRIPTORS: u64 = 65_536;

/// Measures Shellgate's gateway beside a bare one, and says which targets are met.
///
/// Everything listens on loopback or on Unix sockets, and is stopped at the end. The exit code is 1
/// where a target is missed or a measurement failed, and 2 where nothing could be measured.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What to measure; everything unless said.
    #[arg(long, value_delimiter = ',', value_enum)]
    metrics: Vec<Metric>,
    /// Rounds of what varies; the systems take turns in each.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Just enough of everything to see that it works: proves no target.
    #[arg(long)]
    smoke: bool,
    /// The directory with shellgate-gateway and shellgate-bridge; this program's own unless said.
    #[arg(long, value_name = "DIRECTORY")]
    programs: Option<PathBuf>,
    /// Scratch directory; made, and removed afterwards.
    #[arg(long, value_name = "DIRECTORY")]
    place: Option<PathBuf>,
    /// Where every figure goes, as tab-separated values.
    #[arg(long, value_name = "FILE")]
    tsv: Option<PathBuf>,
    /// Where the section of docs/performance.md goes.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    match bench(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("shellgate-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every target that was measured is met and nothing failed.
fn bench(arguments: Arguments) -> Result<bool> {
    let programs = programs(arguments.programs)?;
    raise_descriptors()?;
    let place = arguments.place.unwrap_or_else(|| {
        std::env::temp_dir().join(format!("shellgate-load-{}", std::process::id()))
    });
    std::fs::create_dir_all(&place)?;
    let place = Place(place.canonicalize()?);
    let work = match arguments.smoke {
        true => Work::smoke(place.0.clone()),
        false => Work::full(place.0.clone()),
    };
    work.write_files()?;
    let metrics =
        if arguments.metrics.is_empty() { Metric::ALL.to_vec() } else { arguments.metrics };
    let file = arguments.tsv.map(File::create).transpose()?;
    let mut rows = Rows { file, ..Rows::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut machine = Machine::new();
    rows.say("round\tsystem\tmetric\tvalue\tunit");
    let mut failed = 0;
    for metric in metrics {
        let rounds = if metric.once() { 1 } else { arguments.rounds };
        for round in 1..=rounds {
            let mut order = metric.systems().to_vec();
            // Every other round in reverse: nobody is always the first.
            if round % 2 == 0 {
                order.reverse();
            }
            for which in order {
                (rows.round, rows.system) = (round, which.name());
                let busy = machine.look();
                rows.say(&format!("# {} {round}/{rounds} {which:?}: {busy}", metric.name()));
                let measured = runtime.block_on(async {
                    let mut stop = signal(SignalKind::terminate())?;
                    let system = System::start(which, &work, &programs).await?;
                    let run = Run { work: &work, system: &system };
                    let measured = tokio::select! {
                        measured = timeout(LONGEST, metric.run(&run, &mut rows)) => Some(measured),
                        _ = tokio::signal::ctrl_c() => None,
                        _ = stop.recv() => None,
                    };
                    tokio::task::block_in_place(|| system.stop());
                    // What was started is gone by now, whoever wished so.
                    measured.map(|measured| measured.context("it took too long")?).transpose()
                });
                let measured = match measured {
                    Ok(None) => bail!("interrupted"),
                    Ok(Some(())) => Ok(()),
                    Err(error) => Err(error),
                };
                if let Err(error) = measured {
                    failed += 1;
                    rows.say(&format!("# failed: {} of {which:?}: {error:#}", metric.name()));
                    rows.say(&system::last_words(&work.place));
                }
            }
        }
    }
    rows.say(&report::tsv(&rows));
    rows.say(&format!("# {}", machine.describe()));
    rows.say(&report::plain(&rows));
    if let Some(path) = arguments.markdown {
        std::fs::write(path, report::markdown(&rows, &machine.describe()))?;
    }
    let missed = report::outcomes(&rows).iter().any(|outcome| outcome.passed == Some(false));
    Ok(failed == 0 && (arguments.smoke || !missed))
}

/// A directory that goes with its owner.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("shellgate-load: {} stays: {error}", self.0.display());
        }
    }
}

fn programs(directory: Option<PathBuf>) -> Result<Programs> {
    let own = std::env::current_exe()?;
    let beside = own.parent().context("this program lies nowhere")?;
    let directory = match directory {
        Some(directory) => directory.canonicalize().context("the programs' directory")?,
        None => beside.to_path_buf(),
    };
    let programs = Programs {
        gateway: directory.join("shellgate-gateway"),
        bridge: directory.join("shellgate-bridge"),
        floor: beside.join("shellgate-load-floor"),
    };
    for program in [&programs.gateway, &programs.bridge, &programs.floor] {
        if !program.is_file() {
            bail!("{} is missing: `make bench` builds it", program.display());
        }
    }
    Ok(programs)
}

/// As many as are needed, or as this user may have.
fn raise_descriptors() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.max(DESCRIPTORS);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}
