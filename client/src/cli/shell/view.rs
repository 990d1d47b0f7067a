//! From the session to the screen: output, and a line about what happens to the connection. Knows
//! nothing of the keyboard.

use std::sync::Arc;
use std::time::Duration;

use shellgate_client::attach::Attached;
use shellgate_client::{AttachOptions, Event, Events};
use shellgate_protocol::TerminalSize;
use shellgate_protocol::client_leg::{ExitStatus, Mode, Role};
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::End;
use super::status::{Keys, Said, Status};
use crate::cli::print::aside;
use crate::cli::queries::Queries;
use crate::cli::screen::Screen;
use crate::cli::{humane, terminal};

/// How often a line that counts is drawn again.
const COUNTS: Duration = Duration::from_millis(250);

/// What a picture of a screen may begin with: CAN, which ends whatever sequence came before.
const CANCEL: &[u8] = b"\x18";

/// And RIS, which resets the terminal.
const RESET: &[u8] = b"\x1bc";

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
    status: Status,
    typed: Arc<Notify>,
    progress_drawn: bool,
    last_said: String,
    exit: Option<ExitStatus>,
}

impl View {
    pub fn new(
        events: Events,
        told: mpsc::Receiver<Told>,
        typed: Arc<Notify>,
        stands: oneshot::Sender<Mode>,
        options: &AttachOptions,
        escape: Option<u8>,
    ) -> Self {
        let observes = options.role == Role::Observer;
        let status = Status::new(Keys { escape: escape.map(char::from), observes });
        Self {
            events,
            told,
            typed,
            status,
            out: tokio::io::stdout(),
            stands: Some(stands),
            size: options.size,
            observes,
            is_looked_at: terminal::is_looked_at(),
            can_tell: std::io::IsTerminal::is_terminal(&std::io::stderr()),
            raw: None,
            screen: None,
            queries: Queries::default(),
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
            let has_status = self.status.is_anything();
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
                () = self.typed.notified() => {
                    self.status.is_typed_at(Instant::now());
                    if has_status && self.draws().await.is_err() {
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
                let what = format!("{}{place}", humane::phase(phase));
                self.status.waits(what, elapsed_ms, expected_ms, Instant::now());
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
                if self.status.hears(&notice, Instant::now()) {
                    self.draws().await?;
                }
            }
            Event::Exit { status, .. } => self.exit = Some(status),
            Event::Reconnecting { wait_ms, why, .. } => {
                self.status.is_lost(why, Duration::from_millis(wait_ms), Instant::now());
                self.draws().await?;
            }
            Event::Closed(closed) => return Ok(Some(End::Closed(closed, self.exit.take()))),
        }
        Ok(None)
    }

    async fn stands(&mut self, attached: &Attached) -> std::io::Result<()> {
        self.status.stands();
        self.wipes_progress();
        // A line that was printed stays: only another one takes it back.
        if !std::mem::take(&mut self.last_said).is_empty() && self.can_tell {
            self.prints_line("connected again");
        }
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
            Told::Help => {
                self.status.helps(Instant::now());
                self.draws().await
            }
            Told::Leaves => {
                self.status.leaves(Instant::now());
                self.draws().await
            }
            Told::Dropped => {
                self.status.drops(Instant::now());
                self.draws().await
            }
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

    async fn says(&mut self, text: String) -> std::io::Result<()> {
        self.status.says(text, Instant::now());
        self.draws().await
    }

    /// Draws the status line as it is now: over the screen where there is one, else on stderr.
    async fn draws(&mut self) -> std::io::Result<()> {
        let Some(Said { counting, still }) = self.status.now(Instant::now()) else {
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
            let covered = screen.cover(&format!(" shellgate: {counting} "));
            return write(&mut self.out, &covered).await;
        }
        if self.can_tell && self.stands.is_some() {
            // Nobody types yet, and nothing is printed: the line is this one's own.
            self.progress_drawn = true;
            aside(&format!("\r\x1b[K{}", self.in_the_width(&counting)));
        } else if still != self.last_said {
            // Among what is typed and printed it cannot count: once is enough.
            self.prints_line(&still);
            self.last_said = still;
        }
        Ok(())
    }

    fn prints_line(&self, line: &str) {
        let end = if self.raw.is_some() { "\r\n" } else { "\n" };
        aside(&format!("{}{end}", self.in_the_width(line)));
    }

    /// A line that a terminal does not break; whole where there is none.
    fn in_the_width(&self, line: &str) -> String {
        let line = shellgate_client::problem::plain(&format!("shellgate: {line}"));
        // One column less: in the last one some terminals begin another row.
        let cols = if self.can_tell { usize::from(self.size.cols()) - 1 } else { usize::MAX };
        line.chars().take(cols).collect()
    }

    fn wipes_progress(&mut self) {
        if std::mem::take(&mut self.progress_drawn) {
            aside("\r\x1b[K");
        }
    }
}

/// Writes, and waits until the terminal has taken it: only then was it rendered.
async fn write(out: &mut Stdout, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    out.write_all(bytes).await?;
    out.flush().await
}
