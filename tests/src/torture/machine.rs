//! The program that a tortured session runs: prints a stream of records in bursts, takes another
//! one from its input, checks each byte of it, counts signals, and says in its output how far it
//! is. Knows only its standard input and output, and that signal.

use std::io::{self, Read, Write};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::checker::Checker;
use super::dice::Dice;
use super::record::{Account, Direction, Kind, Report, Script};

/// Its input was not what it should be.
pub const WRONG_INPUT: u8 = 3;

/// Nobody told it to end in time.
const TOO_LATE: i32 = 4;

/// Its input ended, or could not be read.
const NO_INPUT: i32 = 5;

/// The signal that it counts.
const SIGNAL: Signal = Signal::SIGUSR1;

/// A burst of output, in bytes.
const BURST: std::ops::RangeInclusive<u64> = 4 * 1024..=1024 * 1024;

/// Between two bursts, in milliseconds.
const PAUSE: std::ops::RangeInclusive<u64> = 0..=40;

/// A quiet spell, in milliseconds.
const QUIET: std::ops::RangeInclusive<u64> = 100..=400;

/// The longest fault that it tells, in bytes.
const FAULT_MAX: usize = 512;

/// What is written at once, in bytes.
const WRITE: usize = 16 * 1024;

/// Runs until its input says that it ends, at most for `patience`.
///
/// # Errors
/// Where its output or its terminal fails.
pub fn run(seed: u64, patience: Duration) -> io::Result<ExitCode> {
    // Every byte as it is, each way.
    let raw = Command::new("stty").args(["raw", "-echo"]).status()?;
    if !raw.success() {
        return Err(io::Error::other("stty fails"));
    }
    let signals = count_signals()?;
    std::thread::spawn(move || {
        std::thread::sleep(patience);
        std::process::exit(TOO_LATE);
    });
    let checker = Arc::new(Mutex::new(Checker::new(seed, Direction::Input)));
    let mine = checker.clone();
    std::thread::spawn(move || listen(&mine));
    print(seed, &Taken { checker, signals })
}

/// What has arrived.
struct Taken {
    checker: Arc<Mutex<Checker>>,
    signals: Arc<AtomicU64>,
}

/// Counts each [`SIGNAL`] from here on.
fn count_signals() -> io::Result<Arc<AtomicU64>> {
    let counted = SigSet::from(SIGNAL);
    // All threads that are started later hold it back, too: it waits for the one that counts.
    counted.thread_block()?;
    let signals = Arc::new(AtomicU64::new(0));
    let mine = signals.clone();
    std::thread::spawn(move || {
        while counted.wait().is_ok() {
            mine.fetch_add(1, Ordering::SeqCst);
        }
    });
    Ok(signals)
}

fn listen(checker: &Mutex<Checker>) {
    let mut piece = vec![0; 64 * 1024];
    let mut input = io::stdin().lock();
    loop {
        let read = match input.read(&mut piece) {
            Ok(read @ 1..) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(_) | Err(_) => std::process::exit(NO_INPUT),
        };
        lock(checker).take(&piece[..read]);
    }
}

fn print(seed: u64, taken: &Taken) -> io::Result<ExitCode> {
    let script = Script::new(seed, Direction::Output, 0);
    let mut dice = Dice::of(seed, &[3]);
    let mut output = io::stdout().lock();
    let mut number = 0;
    loop {
        let mut left = dice.size(BURST);
        while left > 0 {
            let mut piece = Vec::with_capacity(2 * WRITE);
            while piece.len() < WRITE.min(usize::try_from(left).unwrap_or(WRITE)) {
                if lock(&taken.checker).has_ended() {
                    return end(&mut output, piece, script, number, taken);
                }
                piece.extend(script.record(number));
                if script.header(number).kind == Kind::Report {
                    piece.extend(taken.report().bytes());
                }
                number += 1;
            }
            output.write_all(&piece)?;
            output.flush()?;
            left = left.saturating_sub(piece.len() as u64);
        }
        let pause = if dice.chance(3) { dice.roll(QUIET) } else { dice.roll(PAUSE) };
        std::thread::sleep(Duration::from_millis(pause));
    }
}

impl Taken {
    fn report(&self) -> Report {
        let checker = lock(&self.checker);
        let faults = checker.faults();
        let taken = checker.taken().iter().map(|(_, taken)| taken).sum();
        let (lost, repeated, foreign) = (faults.lost, faults.repeated, faults.foreign);
        let signals = self.signals.load(Ordering::SeqCst);
        Report { taken, lost, repeated, foreign, signals }
    }
}

fn end(
    output: &mut impl Write,
    mut piece: Vec<u8>,
    script: Script,
    number: u64,
    taken: &Taken,
) -> io::Result<ExitCode> {
    let report = taken.report();
    let checker = lock(&taken.checker);
    let mut fault = checker.first_fault().unwrap_or_default().to_owned();
    fault.truncate(FAULT_MAX);
    let account = Account { report, taken: checker.taken(), fault };
    piece.extend(script.end(number, &account.bytes()));
    output.write_all(&piece)?;
    output.flush()?;
    let right = account.fault.is_empty();
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(WRONG_INPUT) })
}

fn lock(checker: &Mutex<Checker>) -> MutexGuard<'_, Checker> {
    checker.lock().unwrap_or_else(PoisonError::into_inner)
}
