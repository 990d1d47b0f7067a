//! `attach` and `new`: a session at this terminal. Knows the library's events and the keyboard.

mod exit;
mod held;
mod keyboard;
mod status;
mod view;

use std::sync::Arc;
use std::time::Duration;

use shellgate_client::api::{CallError, NewSession};
use shellgate_client::attach::{Closed, Why};
use shellgate_client::session::{Session, State};
use shellgate_client::{Api, AttachOptions};
use shellgate_protocol::client_leg::{EndReason, ExitStatus, Mode, Role};
use shellgate_protocol::{CloseCode, Offset, SessionId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::arguments::{Attach, EscapeKey, New, Output};
use super::print::{aside, json, print};
use super::settings::Settings;
use super::{Failure, humane, resolve, terminal};
use exit::{CONNECTION_LOST, of_ended, of_program, of_signal};
use keyboard::Left;
use view::View;

/// A program that runs where nobody looks gives a gateway that does not answer so long.
const PATIENCE_OF_PROGRAMS: Duration = Duration::from_secs(600);

/// A session that is being stopped keeps its name; whoever wants the name waits so long for it.
const STOPPING: Duration = Duration::from_secs(60);

/// After a wish to leave, goodbyes may take this long.
const LEAVING: Duration = Duration::from_secs(3);

/// Attaches to a session.
pub async fn attach(settings: &Settings, attach: Attach) -> Result<u8, Failure> {
    Shell::to(settings, attach).await.map_err(Failure::without_program)?.run().await
}

/// Makes a session, and attaches to it.
pub async fn new(settings: &Settings, new: New) -> Result<u8, Failure> {
    Shell::of_new(settings, new).await.map_err(Failure::without_program)?.run().await
}

/// Makes a session, and leaves it running.
pub async fn start(settings: &Settings, new: New) -> Result<u8, Failure> {
    let (session, is_new) = create(&settings.api()?, new.name, new.template).await?;
    if new.output == Output::Json {
        return json(&session);
    }
    let what = if is_new { "starts" } else { "runs already" };
    let label = shellgate_client::problem::plain(&resolve::label(&session));
    print(&format!("{label} {what}; `shellgate attach {label}` attaches to it\n"))
}

/// Makes a session, or finds the one of that name; says whether it is new.
async fn create(
    api: &Api,
    name: Option<String>,
    template: Option<String>,
) -> Result<(Session, bool), Failure> {
    let wanted = NewSession { name, template, size: terminal::size() };
    let last_try = Instant::now() + STOPPING;
    let mut said = false;
    loop {
        let refused = match api.create(&wanted).await {
            Err(CallError::Refused(refused)) if refused.code == "session_stopping" => refused,
            created => return Ok(created?),
        };
        let again = Instant::now() + Duration::from_secs(refused.retry_after.unwrap_or(1).max(1));
        if again > last_try {
            return Err(CallError::Refused(refused).into());
        }
        if !std::mem::replace(&mut said, true) {
            aside(
                "shellgate: the session of that name is being stopped; waiting until it is gone\n",
            );
        }
        sleep_until(again).await;
    }
}

/// One session at this terminal.
struct Shell {
    api: Api,
    session: Session,
    options: AttachOptions,
    escape: EscapeKey,
}

/// Why the shell is not shown any more.
enum End {
    Closed(Closed, Option<ExitStatus>),
    Detached {
        undelivered: u64,
    },
    Signalled(i32),
    /// Standard output takes nothing more.
    Unread,
}

impl Shell {
    async fn to(settings: &Settings, attach: Attach) -> Result<Self, Failure> {
        let api = settings.api()?;
        let is_name = attach.session.parse::<SessionId>().is_err();
        let session = if attach.create && is_name {
            create(&api, Some(attach.session), None).await?.0
        } else {
            // Its last screen and its exit status are to be had as long as it is known.
            resolve::must_find_even_ended(&api, &attach.session).await?
        };
        if session.state == State::Ended
            && let Some(at) = session.ended.as_ref().and_then(|ended| ended.at.as_deref())
        {
            let label = shellgate_client::problem::plain(&resolve::label(&session));
            let when = humane::distance(at, humane::now());
            aside(&format!(
                "shellgate: {label} ended {}\n",
                shellgate_client::problem::plain(&when)
            ));
        }
        let role = if attach.observe { Role::Observer } else { Role::Driver };
        // Lines have no screen that could be drawn instead.
        let whole = attach.from_start || session.mode == Mode::Lines;
        let output = whole.then_some(Offset::ZERO);
        let takeover = attach.takeover;
        let options = AttachOptions { role, output, takeover, ..AttachOptions::default() };
        Ok(Self { api, session, options, escape: attach.escape.escape })
    }

    async fn of_new(settings: &Settings, new: New) -> Result<Self, Failure> {
        let api = settings.api()?;
        let (session, is_new) = create(&api, new.name, new.template).await?;
        // What a new session has printed is all there is to see; an older one is better drawn.
        let output = is_new.then_some(Offset::ZERO);
        let options = AttachOptions { output, ..AttachOptions::default() };
        Ok(Self { api, session, options, escape: new.escape.escape })
    }

    async fn run(mut self) -> Result<u8, Failure> {
        terminal::waits();
        let is_typed_at = terminal::is_typed_at();
        if let Some(size) = terminal::size() {
            self.options.size = size;
        }
        self.options.patience = (!is_typed_at).then_some(PATIENCE_OF_PROGRAMS);
        let observes = self.options.role == Role::Observer;
        let (input, events) = self.api.attach(self.session.id, self.options.clone());
        let (to_view, told) = mpsc::channel(8);
        let (stands, stood) = oneshot::channel();
        let typed = Arc::new(Notify::new());
        let escape = self.escape.0.filter(|_| is_typed_at);
        let mut view = View::new(events, told, typed.clone(), stands, &self.options, escape);
        let end = {
            let mut typing = std::pin::pin!(keyboard::run(
                input.clone(),
                stood,
                to_view.clone(),
                typed,
                escape,
                observes,
            ));
            let mut signals = Signals::new().map_err(|e| Failure::new(e.to_string()))?;
            let mut watching = std::pin::pin!(view.run());
            let end = loop {
                tokio::select! {
                    end = &mut watching => break end,
                    left = &mut typing => match left {
                        Left::Detached { undelivered } => break End::Detached { undelivered },
                    },
                    signal = signals.next() => match signal {
                        Some(number) => break End::Signalled(number),
                        None => if let Some(size) = terminal::size() {
                            input.resize(size);
                            // The view may be busy; the next size tells as much.
                            let _ = to_view.try_send(view::Told::Resized(size));
                        },
                    },
                }
            };
            input.leave();
            if matches!(end, End::Detached { .. } | End::Signalled(_)) {
                // A terminal that takes nothing more must not keep anybody here.
                let _ = timeout(LEAVING, watching).await;
            }
            end
        };
        view.leave().await;
        self.says_goodbye(end).await
    }

    async fn says_goodbye(&self, end: End) -> Result<u8, Failure> {
        let label = shellgate_client::problem::plain(&resolve::label(&self.session));
        match end {
            End::Detached { undelivered } => {
                tells_undelivered(undelivered);
                aside(&format!("shellgate: detached; `shellgate attach {label}` comes back\n"));
                Ok(0)
            }
            End::Signalled(number) => {
                // A terminal shows `^C` in the line that it was typed in.
                let (fresh, what) = match number {
                    2 if terminal::is_typed_at() => ("\n", "interrupted"),
                    2 => ("", "interrupted"),
                    _ => ("", "terminated"),
                };
                aside(&format!(
                    "{fresh}shellgate: {what}; the session lives on: `shellgate attach {label}`\n"
                ));
                Ok(of_signal(number))
            }
            End::Unread => Err(Failure {
                status: CONNECTION_LOST,
                message: "standard output is closed".into(),
            }),
            End::Closed(closed, Some(status)) => {
                tells_undelivered(closed.undelivered);
                // Of a program at a terminal it stood in the output, and stands on its last screen,
                // which only a person is shown.
                let was_printed = self.session.mode == Mode::Terminal
                    && status.reason == EndReason::Exited
                    && (self.session.state != State::Ended || terminal::is_looked_at());
                let detail = status.detail.as_deref().filter(|_| !was_printed);
                self.tells_end(status.reason, detail);
                Ok(of_program(status.code, status.signal.as_deref()))
            }
            End::Closed(closed, None) => {
                tells_undelivered(closed.undelivered);
                self.says_why(&label, &closed).await
            }
        }
    }

    fn tells_end(&self, reason: EndReason, detail: Option<&str>) {
        if reason != EndReason::Exited {
            aside(&format!("shellgate: the session is over: {}\n", humane::reason(reason)));
        }
        for line in detail.unwrap_or_default().lines() {
            aside(&format!("  {}\n", shellgate_client::problem::plain(line)));
        }
    }

    async fn says_why(&self, label: &str, closed: &Closed) -> Result<u8, Failure> {
        let code = closed.code();
        if matches!(code, Some(CloseCode::Ended | CloseCode::Normal | CloseCode::Idle))
            // Signals are waited for no more, and a person who leaves does not wait for a gateway.
            && let Ok(asked) = timeout(LEAVING, self.api.get(self.session.id)).await
            && let Ok(session) = asked
            && let Some(ended) = session.ended
        {
            self.tells_end(ended.reason, ended.detail.as_deref().or(ended.evidence.as_deref()));
            return Ok(of_ended(&ended));
        }
        let why = closed
            .last
            .as_ref()
            .map_or_else(|| "the connection is over".to_owned(), ToString::to_string);
        let advice = match (closed.why, code) {
            (_, Some(CloseCode::AnotherDriver)) => format!(
                "\n  `shellgate attach {label} --takeover` takes it over, --observe watches."
            ),
            (Why::Unauthenticated, _) => {
                format!(
                    "\n  `shellgate login` signs you in, and `shellgate attach {label}` comes back."
                )
            }
            (Why::OutOfPatience | Why::Broken, _) => {
                format!("\n  The session may live on: `shellgate attach {label}` comes back.")
            }
            (Why::Left | Why::Exited | Why::Stopped, _) => String::new(),
        };
        Err(Failure { status: CONNECTION_LOST, message: format!("{why}{advice}") })
    }
}

/// What was typed and is not known to have arrived is said in a line.
fn tells_undelivered(bytes: u64) {
    if bytes > 0 {
        let what = if bytes == 1 { "byte that was" } else { "bytes that were" };
        aside(&format!("shellgate: {bytes} {what} typed may not have arrived\n"));
    }
}

impl Failure {
    /// The same as a status that no program's own failure is mistaken for.
    fn without_program(self) -> Self {
        match self.status {
            1 => Self { status: CONNECTION_LOST, ..self },
            _ => self,
        }
    }
}

/// The signals that matter to a terminal program.
struct Signals {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    window: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            window: signal(SignalKind::window_change())?,
        })
    }

    /// The number of the next signal that ends the process; `None` when the window has changed.
    async fn next(&mut self) -> Option<i32> {
        tokio::select! {
            _ = self.hangup.recv() => Some(1),
            _ = self.interrupt.recv() => Some(2),
            _ = self.terminate.recv() => Some(15),
            _ = self.window.recv() => None,
        }
    }
}
