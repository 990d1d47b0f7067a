//! The bridge at work: one loop that moves bytes between the program, what is kept of its output,
//! and the link, and looks after the end. Everything that decides without I/O lives elsewhere.

mod clock;
mod link_side;
mod program_side;

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use shellgate_protocol::Offset;
use shellgate_protocol::client_leg::Mode;
use shellgate_protocol::link_leg::{LogSource, Stats};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Sleep, sleep};

use crate::board::Board;
use crate::config::Config;
use crate::confine::Confinement;
use crate::dial::Linked;
use crate::dialler::{Dialler, GiveUp};
use crate::dismissal::Dismissal;
use crate::ending::Ending;
use crate::identity::{Identity, NoKey};
use crate::input::Input;
use crate::link::Link;
use crate::logbook::Logbook;
use crate::output::Output;
use crate::processes::Processes;
use crate::secrets::SecretFiles;
use crate::shell::Shell;
use crate::spill::Spill;
use crate::stderr::Stderr;

/// How often the end of the last processes is looked for.
const DRAIN_MS: u64 = 25;

/// Exit codes (sysexits.h) where the bridge ends before its work is done.
const UNAVAILABLE: u8 = 69;

/// The bridge cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No key.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// Runs a bridge to its end; gives its exit code.
///
/// # Errors
/// Where it cannot even begin.
pub async fn run(config: Config) -> Result<u8, Failure> {
    let failed = |what| move |source| Failure::Io { what, source };
    let identity = Rc::new(Identity::generate(config.session, config.launch)?);
    let processes = Processes::adopt_orphans().map_err(failed("adopting orphans"))?;
    let children = signal(SignalKind::child()).map_err(failed("watching for SIGCHLD"))?;
    let dismissal = Dismissal::expected().map_err(failed("watching for SIGTERM"))?;
    let mut dialler = Dialler::new(config.dial, identity.clone(), config.token);
    let secrets = SecretFiles::new(config.secrets);
    let place = Place { identity, home: config.home, defaults: config.defaults, secrets };
    let spill = config.spill.or_else(Spill::nameless_file);
    let mut told = None;
    let first = poll_fn(|cx| {
        if dismissal.poll(cx).is_ready() {
            return Poll::Ready(Err(GiveUp::Dismissed));
        }
        let linked = dialler.poll(cx);
        // Nobody else hears why there is no link yet.
        if let Some(failure) =
            dialler.take_failure().filter(|failure| Some(failure) != told.as_ref())
        {
            eprintln!("shellgate-bridge: {failure}");
            told = Some(failure);
        }
        linked
    });
    match first.await {
        Err(give_up) => Ok(say_goodbye(give_up)),
        Ok(linked) => {
            let mut bridge =
                Bridge::new(place, dialler, dismissal, processes, children, spill, linked);
            Ok(poll_fn(|cx| bridge.poll(cx)).await)
        }
    }
}

fn say_goodbye(give_up: GiveUp) -> u8 {
    eprintln!("shellgate-bridge: {give_up}");
    UNAVAILABLE
}

/// Where a bridge works.
struct Place {
    identity: Rc<Identity>,
    home: PathBuf,
    defaults: [(&'static str, String); 2],
    secrets: SecretFiles,
}

/// A bridge that has been welcomed once.
struct Bridge {
    place: Place,
    started: Instant,
    dialler: Dialler,
    dismissal: Dismissal,
    link: Option<Link>,
    board: Board,
    input: Input,
    output: Output,
    log: Logbook,
    processes: Processes,
    children: Signal,
    shell: Option<Shell>,
    stderr: Stderr,
    ending: Ending,
    /// Nothing comes before then.
    read_at: u64,
    /// When output last came or went.
    busy_at: u64,
    /// The program is not read any further because its driver has no room.
    held: bool,
    stats_at: u64,
    stats: Option<Stats>,
    /// When the terminal gets its true size back; when the program has painted it, if it has printed
    /// anything since.
    true_size_at: Option<u64>,
    painted_at: Option<(u64, Offset)>,
    /// When a program last had to paint for observers alone.
    painted_for_observers_at: Option<u64>,
    alarm: Pin<Box<Sleep>>,
    alarm_at: u64,
}

impl Bridge {
    fn new(
        mut place: Place,
        dialler: Dialler,
        dismissal: Dismissal,
        processes: Processes,
        children: Signal,
        spill: Option<File>,
        linked: Linked,
    ) -> Self {
        let Linked { socket, program, secrets, overlap_ms, orphan: _ } = linked;
        let secrets = secrets.unwrap_or_default();
        let mut log = Logbook::default();
        if spill.is_none() {
            log.add(LogSource::Bridge, "there is no spill file: output is kept in memory only");
        }
        for wrong in place.secrets.replace(&secrets, overlap_ms, 0) {
            log.add(LogSource::Bridge, wrong);
        }
        let mut output = Output::new(program.mode, program.size, spill);
        if let Some(motd) = program.motd.as_deref().filter(|_| program.mode == Mode::Terminal) {
            output.history.append(format!("{}\r\n", motd.trim_end()).as_bytes());
        }
        let confinement = Confinement::prepare(std::slice::from_ref(&place.home));
        log.add(LogSource::Bridge, format!("confinement: {}", confinement.report()));
        let mut ending = Ending::default();
        let session = place.identity.session();
        let Place { home, defaults, .. } = &place;
        let started = Shell::start(&program, &secrets, session, home, defaults, confinement);
        let shell = started.map_err(|error| {
            let name = program.command.first().map_or("", String::as_str);
            let words = format!("{name} cannot be started: {error}");
            if program.mode == Mode::Terminal {
                output.history.append(format!("shellgate: {words}\r\n").as_bytes());
            }
            log.add(LogSource::Bridge, words.clone());
            let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            ending.program_ended(Some(code), None, Some(words), 0);
        });
        let started = Instant::now();
        Self {
            board: Board::new(place.identity.launch(), program.mode),
            place,
            started,
            dialler,
            dismissal,
            link: Some(Link::new(socket, 0)),
            input: Input::default(),
            output,
            log,
            processes,
            children,
            shell: shell.ok(),
            stderr: Stderr::default(),
            ending,
            read_at: 0,
            busy_at: 0,
            held: false,
            stats_at: clock::STATS_MS,
            stats: None,
            true_size_at: None,
            painted_at: None,
            painted_for_observers_at: None,
            alarm: Box::pin(sleep(Duration::ZERO)),
            alarm_at: 0,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<u8> {
        let now = loop {
            let now = self.started.elapsed().as_millis() as u64;
            if let Some(code) = self.dial(cx, now) {
                return Poll::Ready(code);
            }
            // What each step does is seen by those after it. Only what concerns an earlier one is a
            // reason to go round again.
            let mut again = self.hear(cx, now);
            again |= self.read_output(cx, now);
            self.write_input(cx, now);
            let is_stuck = self.input.front().is_some();
            again |= self.reap(cx, now);
            self.heed_dismissal(cx, now);
            let had_link = self.link.is_some();
            if let Some(code) = self.look_at_the_clock(now) {
                return Poll::Ready(code);
            }
            again |= self.speak(cx, now) || self.board.wants_keyframe();
            again |= had_link && self.link.is_none();
            again |= !is_stuck && self.input.front().is_some();
            if !again {
                break now;
            }
        };
        self.flush(cx, now);
        self.follow_with_the_screen(cx, now);
        self.set_alarm(cx, now);
        Poll::Pending
    }
}
