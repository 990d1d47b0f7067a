//! From the session to the screen: output, and a line about what happens to the connection. Knows
//! nothing of the keyboard.

use std::time::Duration;

use shellgate_client::attach::{Attached, Break};
use shellgate_client::{AttachOptions, Event, Events};
use shellgate_protocol::TerminalSize;
use shellgate_protocol::client_leg::{ExitStatus, Mode, Notice, Role};
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::End;
use crate::cli::print::aside;
use crate::cli::queries::Queries;
use crate::cli::screen::Screen;
use crate::cli::{humane, terminal};

/// A break, or a wait, shorter than this is not worth a word.
pub const UNNOTICED: Duration = Duration::from_millis(400);

/// How long a message stays.
const READABLE: Duration = Duration::from_secs(6);

/// How often a line that counts is drawn again.
const COUNTS: Duration = Duration::from_millis(250);

const HELP: &str = "~. detach (the shell lives on) · ~^Z suspend · ~e stay longer · ~~ types ~";

/// What a picture of a screen may begin with: CAN, which ends whatever sequence came before.
const CANCEL: &[u8] = b"\x18";

/// And RIS, which resets the terminal.
const RESET: &[u8] = b"\x1bc";

const LEAVES: &str = "detaching when what was typed has arrived";

const DROPPED: &str =
    "the session takes no input: the end of what was typed is dropped · ~. detaches";

/// What the keyboard and the window tell.
pub enum Told {
    Help,
    /// The last typed bytes are on their way, and who typed them waits to leave.
    Leaves,
    /// Typed bytes are dropped, because there is no room for them.
    Dropped,
    Redraw,
    Resized(TerminalSize),
}

/// What the status line is about.
enum Status {
    Waits { what: String, since: Instant, elapsed: Duration, expected: Duration },
    Lost { why: Break, dials_at: Instant, since: Instant },
    Says { text: String, until: Instant },
}

/// What a person sees.
pub struct View {
    events: Events,
    told: mpsc::Receiver<Told>,
    /// One handle: two would not keep their order.
    out: Stdout,
    stands: Option<oneshot::Sender<Mode>>,
    size: TerminalSize,
    observes: bool,
    is_looked_at: bool,
    can_tell: bool,
    raw: Option<terminal::Raw>,
    screen: Option<Screen>,
    queries: Queries,
    status: Option<Status>,
    lost_since: Option<Instant>,
    progress_drawn: bool,
    last_said: String,
    exit: Option<ExitStatus>,
}

impl View {
    pub fn new(
        events: Events,
        told: mpsc::Receiver<Told>,
        stands: oneshot::Sender<Mode>,
        options: &AttachOptions,
    ) -> Self {
        Self {
            events,
            told,
            out: tokio::io::stdout(),
            stands: Some(stands),
            size: options.size,
            observes: options.role == Role::Observer,
            is_looked_at: terminal::is_looked_at(),
            can_tell: std::io::IsTerminal::is_terminal(&std::io::stderr()),
            raw: None,
            screen: None,
            queries: Queries::default(),
            status: None,
            lost_since: None,
            progress_drawn: false,
            last_said: String::new(),
            exit: None,
        }
    }

    /// Shows what happens until nothing will any more.
    pub async fn run(&mut self) -> End {
        let mut counts = tokio::time::interval(COUNTS);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut counted = false;
        loop {
            let has_status = self.status.is_some();
            if has_status && !counted {
                counts.reset();
            }
            counted = has_status;
            tokio::select! {
                event = self.events.next() => {
                    let Some(event) = event else { return End::Unread };
                    match self.happens(event).await {
                        Ok(None) => {}
                        Ok(Some(end)) => return end,
                        Err(_) => return End::Unread,
                    }
                }
                Some(told) = self.told.recv() => {
                    if self.hears(told).await.is_err() {
                        return End::Unread;
                    }
                }
                _ = counts.tick(), if has_status => {
                    if self.draws().await.is_err() {
                        return End::Unread;
                    }
                }
            }
        }
    }

    /// Leaves the terminal as it was found.
    pub async fn leave(mut self) {
        if let Some(mut screen) = self.screen.take() {
            // A terminal that takes nothing more cannot be helped.
            let undo = screen.leave();
            let _ = tokio::time::timeout(Duration::from_secs(1), write(&mut self.out, &undo)).await;
        }
        self.wipes_progress();
        self.raw = None;
        let _ = tokio::time::timeout(super::LEAVING, self.events.finished()).await;
    }

    async fn happens(&mut self, event: Event) -> std::io::Result<Option<End>> {
        match event {
            Event::Output { bytes, replay, .. } => self.prints(&bytes, replay).await?,
            Event::Keyframe { bytes, first, .. } => {
                // A picture of a screen is of no use to a program.
                if self.is_looked_at {
                    let picture = if first { self.begins_anew(&bytes).await? } else { &bytes };
                    self.prints(picture, false).await?;
                }
            }
            Event::Starting { phase, position, elapsed_ms, expected_ms } => {
                let place = position.map(|n| format!(" (number {n})")).unwrap_or_default();
                self.waits(format!("{}{place}", humane::phase(phase)), elapsed_ms, expected_ms);
                // A session that is there at once is not worth a word.
                if self.progress_drawn || self.screen.is_some() {
                    self.draws().await?;
                }
            }
            Event::Attached(attached) => self.stands(&attached).await?,
            Event::Gap { from, to, .. } => {
                let missing = to.since(from);
                self.says(format!("{missing} bytes of output are not kept any more")).await?;
            }
            Event::Size(size) => {
                if self.observes && size != self.size {
                    let (cols, rows) = (size.cols(), size.rows());
                    self.says(format!("the driver's terminal is {cols} × {rows}")).await?;
                }
            }
            Event::Live => {}
            Event::Notice(notice) => {
                if let Some(text) = words(&notice) {
                    self.says(text).await?;
                }
            }
            Event::Exit { status, .. } => self.exit = Some(status),
            Event::Reconnecting { wait_ms, why, .. } => {
                let since = *self.lost_since.get_or_insert_with(Instant::now);
                let dials_at = Instant::now() + Duration::from_millis(wait_ms);
                self.status = Some(Status::Lost { why, dials_at, since });
                self.draws().await?;
            }
            Event::Closed(closed) => return Ok(Some(End::Closed(closed, self.exit.take()))),
        }
        Ok(None)
    }

    async fn stands(&mut self, attached: &Attached) -> std::io::Result<()> {
        self.lost_since = None;
        self.status = None;
        self.wipes_progress();
        if let Some(stands) = self.stands.take() {
            // A session of lines is typed at line by line.
            if attached.mode == Mode::Terminal {
                self.raw = terminal::Raw::switch();
            }
            if self.is_looked_at && attached.mode == Mode::Terminal {
                let (screen, clear) = Screen::start(self.size);
                self.screen = Some(screen);
                write(&mut self.out, &clear).await?;
            }
            // The keyboard may have gone; then nobody types.
            let _ = stands.send(attached.mode);
        }
        if let Some(screen) = &mut self.screen {
            // Another program does not know what the one before it switched on.
            let cleaned = if attached.new_launch {
                let undo = screen.leave();
                screen.follow(&undo);
                undo
            } else {
                screen.uncover()
            };
            write(&mut self.out, &cleaned).await?;
        }
        if attached.dropped_input > 0 {
            let dropped = attached.dropped_input;
            let why = if attached.new_launch {
                format!("another shell runs now; {dropped} bytes typed before are dropped")
            } else {
                format!("{dropped} bytes that were typed may not have arrived")
            };
            self.says(why).await?;
        }
        Ok(())
    }

    /// A whole screen comes. Its first bytes reset a terminal altogether, which a person's own must
    /// not be: what was there before is theirs to scroll back to. Returns what is left to print.
    async fn begins_anew<'a>(&mut self, picture: &'a [u8]) -> std::io::Result<&'a [u8]> {
        let rest = picture.strip_prefix(CANCEL).unwrap_or(picture);
        let Some(rest) = rest.strip_prefix(RESET) else { return Ok(picture) };
        if let Some(screen) = &mut self.screen {
            let cleared = screen.begin_anew();
            write(&mut self.out, &cleared).await?;
        }
        Ok(rest)
    }

    async fn prints(&mut self, bytes: &[u8], replay: bool) -> std::io::Result<()> {
        if !self.is_looked_at {
            return write(&mut self.out, bytes).await;
        }
        let held = if replay { Vec::new() } else { self.queries.release() };
        let muted;
        let bytes = if replay {
            muted = self.queries.leave_out(bytes);
            &muted[..]
        } else {
            bytes
        };
        let Some(screen) = &mut self.screen else {
            write(&mut self.out, &held).await?;
            return write(&mut self.out, bytes).await;
        };
        // New output may scroll a status line into the text: it goes first, and comes again.
        let uncovered = screen.uncover();
        screen.follow(&held);
        screen.follow(bytes);
        for part in [&uncovered[..], &held, bytes] {
            self.out.write_all(part).await?;
        }
        self.out.flush().await
    }

    async fn hears(&mut self, told: Told) -> std::io::Result<()> {
        match told {
            Told::Help => self.says(HELP.to_owned()).await,
            Told::Leaves => self.says(LEAVES.to_owned()).await,
            Told::Dropped => self.says(DROPPED.to_owned()).await,
            Told::Redraw => match &mut self.screen {
                Some(screen) => {
                    let drawn = screen.redraw();
                    write(&mut self.out, &drawn).await
                }
                None => Ok(()),
            },
            Told::Resized(size) => {
                self.size = size;
                if let Some(screen) = &mut self.screen {
                    screen.resize(size);
                }
                Ok(())
            }
        }
    }

    fn waits(&mut self, what: String, elapsed_ms: u64, expected_ms: u64) {
        let elapsed = Duration::from_millis(elapsed_ms);
        let expected = Duration::from_millis(expected_ms);
        self.status = Some(Status::Waits { what, since: Instant::now(), elapsed, expected });
    }

    async fn says(&mut self, text: String) -> std::io::Result<()> {
        self.status = Some(Status::Says { text, until: Instant::now() + READABLE });
        self.draws().await
    }

    /// Draws the status line as it is now: over the screen where there is one, else on stderr.
    async fn draws(&mut self) -> std::io::Result<()> {
        let now = Instant::now();
        let line = match &self.status {
            None => None,
            Some(Status::Says { until, .. }) if now >= *until => None,
            Some(Status::Says { text, .. }) => Some(text.clone()),
            Some(Status::Lost { since, .. }) if now < *since + UNNOTICED => return Ok(()),
            Some(Status::Lost { why, dials_at, .. }) => {
                let wait = dials_at.saturating_duration_since(now).as_secs_f32().ceil();
                let when =
                    if wait < 1.0 { "reconnecting".into() } else { format!("again in {wait} s") };
                let leave = if self.raw.is_some() { " · ~. leaves" } else { "" };
                Some(format!("{why} · {when}{leave}"))
            }
            Some(Status::Waits { what, since, elapsed, expected }) => {
                let seconds = (*elapsed + since.elapsed()).as_secs_f32();
                let usual = expected.as_secs_f32();
                let usual =
                    if usual > 0.0 { format!(", usually {usual:.1} s") } else { String::new() };
                Some(format!("{what} · {seconds:.1} s{usual}"))
            }
        };
        let Some(line) = line else {
            self.status = None;
            self.last_said.clear();
            return match &mut self.screen {
                Some(screen) => {
                    let uncovered = screen.uncover();
                    write(&mut self.out, &uncovered).await
                }
                None => Ok(()),
            };
        };
        if let Some(screen) = &mut self.screen {
            let covered = screen.cover(&format!(" shellgate: {line} "));
            return write(&mut self.out, &covered).await;
        }
        let line = shellgate_client::problem::plain(&line);
        if self.can_tell && self.raw.is_none() {
            self.progress_drawn = true;
            aside(&format!("\r\x1b[Kshellgate: {line}"));
        } else {
            // Nobody sees it count: once is enough.
            let what = line.split(" · ").next().unwrap_or_default().to_owned();
            if what != self.last_said {
                let end = if self.raw.is_some() { "\r\n" } else { "\n" };
                aside(&format!("shellgate: {what}{end}"));
                self.last_said = what;
            }
        }
        Ok(())
    }

    fn wipes_progress(&mut self) {
        if std::mem::take(&mut self.progress_drawn) {
            aside("\r\x1b[K");
        }
    }
}

/// What a notice says to a person; nothing where it is none of their business.
fn words(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::IdleWarning { seconds } => {
            format!(
                "nobody works here: it stops in {}; any key keeps it",
                humane::duration(*seconds)
            )
        }
        Notice::LifetimeWarning { seconds } => {
            format!("its longest life is over in {}; ~e asks for more", humane::duration(*seconds))
        }
        Notice::Extended { seconds, .. } => {
            format!("it goes on for at least {}", humane::duration(*seconds))
        }
        Notice::Observers { count: 0 } => "nobody watches any more".to_owned(),
        Notice::Observers { count: 1 } => "one other watches".to_owned(),
        Notice::Observers { count } => format!("{count} others watch"),
        Notice::TakenOver { .. } => "somebody else has taken over".to_owned(),
        Notice::NewLaunch { .. } => "the session was started again: this is a new shell".to_owned(),
        Notice::Policy { text } => text.clone(),
        Notice::Signalled { .. } | Notice::PartialKeyframe | Notice::TokenExpires { .. } => {
            return None;
        }
    })
}

/// Writes, and waits until the terminal has taken it: only then was it rendered.
async fn write(out: &mut Stdout, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    out.write_all(bytes).await?;
    out.flush().await
}
