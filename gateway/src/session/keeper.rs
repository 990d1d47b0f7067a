//! A session's keeper: the one task that owns its state. Everybody else sends it a message. It
//! stores each new state before it acts on it. Bytes do not pass through it.

use std::future::pending;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::mpsc;
use futures_util::StreamExt;
use shellgate_infra::compute::TaskEnd;
use shellgate_infra::secrets::{SecretError, SecretValue};
use shellgate_protocol::Offset;
use shellgate_protocol::client_leg::{EndReason, Phase};
use shellgate_protocol::enrolment::Bytes32;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Effect, Event, LinkId, Record, State};
use crate::admission::{SessionPermit, StartPermit, Ticket};
use crate::auth::UserId;
use crate::clock;
use crate::core::Core;
use crate::http::link::{self, Listening};
use crate::idle::IdleClock;
use crate::launcher::{LaunchError, Launched};
use crate::registry::{Handle, View, Waiting};
use crate::relay::{Activity, Command, Down, News};
use crate::websocket::Socket;

mod clocks;
mod leaving;
mod line;
mod secrets;
mod storing;
mod task;

/// Messages that may wait for a keeper, besides one of each who sends: a bridge has few dials at a time,
/// and whoever wants a stop has a connection and waits.
const MAILBOX: usize = 32;

/// News that may wait for a keeper.
const NEWS: usize = 64;

/// How long the end of a task may take after its grace before the gateway asks again.
const STOP_AGAIN: Duration = Duration::from_secs(10);

/// How long a bridge may take, beyond its program's grace, to hand over the end: it gives a driver
/// half of that to take it.
const HAND_OVER: Duration = Duration::from_secs(10);

/// How long the link of a task that is gone may take to be read to its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often the two clocks of a live session are looked at.
const CLOCK_TICK: Duration = Duration::from_secs(5);

/// The longest that clients and bridges are asked to wait before they come back, where the gateway
/// leaves.
const RETRY: Duration = Duration::from_millis(1500);

/// How long a store that fails is given before a keeper tries again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// A keeper's mailbox. Tokio's channel would hold to its bound whoever sends, and costs each session half
/// a KiB more.
pub type Mailbox = mpsc::Sender<Message>;

/// What others may ask of a keeper.
#[derive(Debug)]
pub enum Message {
    /// A bridge has proved who it is: may it in?
    Proved {
        /// With which link.
        link: LinkId,
        /// With which key.
        key: Bytes32,
        /// Whether it showed the launch's enrolment token.
        token: bool,
        /// What to say to it: a welcome, or why not.
        answer: oneshot::Sender<Result<String, Turned>>,
    },
    /// It is in, and has been welcomed.
    Linked {
        /// With which link.
        link: LinkId,
        /// Its WebSocket.
        socket: Box<Socket>,
    },
    /// Another gateway says that it keeps the session: the store knows.
    Taken,
    /// Somebody wants the session stopped.
    Stop {
        /// Why.
        reason: EndReason,
        /// Who, where it is a user.
        actor: Option<UserId>,
        /// Told once everybody can see that it stops; dropped where the keeper leaves first.
        seen: oneshot::Sender<()>,
    },
}

/// Why a bridge is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// No key is pinned and no valid token was shown.
    #[error("no enrolment token")]
    NoToken,
    /// Another key is pinned.
    #[error("another key is pinned for this launch")]
    AnotherKey,
    /// An older launch or dial, or a session that stops.
    #[error("this launch or dial is over")]
    Stale,
    /// The store fails; the bridge will call again.
    #[error("try again")]
    Later,
}

/// What a session holds of what there is a limit of.
pub struct Places {
    /// Its place among the sessions, until its task is gone.
    pub session: SessionPermit,
    /// Where it is new: its user's right to start it, given back where the start fails, and its
    /// place in the start queue.
    pub start: Option<(StartPermit, Ticket)>,
}

/// One session's keeper.
pub struct Keeper {
    core: Arc<Core>,
    /// Shared with the view while both are the same.
    record: Arc<Record>,
    view: Arc<watch::Sender<View>>,
    activity: Arc<Activity>,
    inbox: mpsc::Receiver<Message>,
    launch: Option<AbortOnDropHandle<Result<Launched, LaunchError>>>,
    /// Cancelled once nobody wants the session's task any more.
    unwanted: CancellationToken,
    /// Whether an earlier gateway may have started the task of this launch.
    was_begun: bool,
    gone: Option<Pin<Box<dyn Future<Output = TaskEnd> + Send>>>,
    relay: Option<Line>,
    deadline: Option<Instant>,
    clocks: Option<IdleClock>,
    next_look: Instant,
    /// How far a line-mode program's output had got, and when it was seen to move.
    answered: Option<(Offset, i64)>,
    dialling_since: Instant,
    told: secrets::Told,
    reading: Option<AbortOnDropHandle<Result<Vec<SecretValue>, SecretError>>>,
    listener: Option<Listening>,
    told_to_stop: bool,
    /// Whether another gateway keeps the session.
    is_taken: bool,
    /// Its place in the start queue, until it is launched.
    turn: Option<Ticket>,
    /// Kept unless the start fails.
    started: Option<StartPermit>,
    _place: SessionPermit,
}

/// The current link's relay.
struct Line {
    link: LinkId,
    commands: mpsc::Sender<Command>,
    news: mpsc::Receiver<News>,
    task: JoinHandle<Down>,
}

/// What woke a keeper up.
enum Woken {
    Message(Option<Message>),
    Launched(Result<Launched, LaunchError>),
    Secrets(Result<Vec<SecretValue>, SecretError>),
    Gone(TaskEnd),
    News(Option<News>),
    LinkDown(Down),
    Deadline,
    Clock,
    /// The gateway stops.
    Stopping,
}

impl Keeper {
    /// Takes charge of a session: a new one, or one that another gateway has left, whose task may run.
    /// Returns how to reach its keeper, which is another one where it had one already.
    pub fn take_charge(core: &Arc<Core>, record: Record, places: Places) -> Handle {
        let (messages, inbox) = mpsc::channel(MAILBOX);
        let activity = Arc::new(Activity::default());
        let record = Arc::new(record);
        let view = View { record: record.clone(), waiting: None, relay: None };
        let (view, watched) = watch::channel(view);
        let handle = Handle { keeper: messages, view: watched, activity: activity.clone() };
        let id = record.id;
        if let Some(other) = core.registry.add(id, &handle) {
            return other;
        }
        let listener = link::open(core, id, handle.clone()).map_err(|error| {
            // Without it no bridge can call: the start's deadline ends the session.
            tracing::error!(session = %id, %error, "no dial socket");
        });
        let (started, turn) = places.start.unzip();
        let keeper = Box::new(Self {
            core: core.clone(),
            record,
            view: Arc::new(view),
            activity,
            inbox,
            launch: None,
            unwanted: CancellationToken::new(),
            was_begun: started.is_none(),
            gone: None,
            relay: None,
            deadline: None,
            clocks: None,
            next_look: Instant::now() + CLOCK_TICK,
            told_to_stop: false,
            is_taken: false,
            answered: None,
            dialling_since: Instant::now(),
            told: secrets::Told::default(),
            reading: None,
            listener: listener.ok(),
            turn,
            started,
            _place: places.session,
        });
        core.tracker.spawn(keeper.keep());
        handle
    }

    /// Takes charge of a session that this gateway did not start.
    pub fn adopt(core: &Arc<Core>, record: Record) -> Handle {
        let permit = core.admission.adopt_session(&record.owner.key());
        Self::take_charge(core, record, Places { session: permit, start: None })
    }

    /// What happens now and then is boxed, so that it takes no room while nothing happens.
    async fn keep(mut self: Box<Self>) {
        Box::pin(self.take_up()).await;
        while self.record.life.state != State::Ended && !self.is_taken {
            let woken = self.wait().await;
            if matches!(woken, Woken::Stopping) && !self.core.stops_sessions() {
                return Box::pin(self.leave()).await;
            }
            Box::pin(self.handle(woken)).await;
        }
        if self.is_taken {
            return Box::pin(self.give_way()).await;
        }
        self.bury();
    }

    /// Does what the stored state asks for: it was stored before it was acted on.
    async fn take_up(&mut self) {
        let task = self.record.detail.task.clone();
        let has_task = task.is_some();
        if let Some(task) = task {
            self.watch_task(task);
        }
        match self.record.life.state {
            // Its turn is over, and its bridge is about to call. The deadline is a fresh one, too.
            State::Starting if has_task => {
                self.set_deadline(self.core.config.limits.start_deadline.get());
                self.show_waiting(Phase::Dialling);
            }
            // The start has its own deadline, counted from its turn.
            State::Starting => self.start(),
            // The link died with the gateway that held it. The deadline is a fresh one: nobody
            // could call while nobody listened.
            State::Live | State::Severed => {
                self.record_mut().life.state = State::Severed;
                self.set_deadline(self.core.config.limits.severed_deadline.get());
                self.save().await;
                self.show_waiting(Phase::Reconnecting);
            }
            State::Stopping => {
                self.unwanted.cancel();
                let reason = self.record.life.reason.unwrap_or(EndReason::Stopped);
                self.stop_task(reason);
            }
            State::Ended => return,
        }
        if !has_task && self.record.life.state != State::Starting {
            // Cut off between the start and the row that names the task.
            self.find_task();
        }
    }

    async fn wait(&mut self) -> Woken {
        let deadline = self.deadline;
        let tick = self.clocks.as_ref().map(|_| self.next_look);
        let told = self.told_to_stop;
        let (news, down) = match &mut self.relay {
            Some(line) => (Some(&mut line.news), Some(&mut line.task)),
            None => (None, None),
        };
        // Each arm waits for a message or a state that stays: none loses anything when another
        // one is quicker.
        tokio::select! {
            // What a relay reported before it ended counts before its end.
            biased;
            news = async { match news { Some(news) => news.next().await, None => pending().await } } => {
                Woken::News(news)
            }
            message = self.inbox.next() => Woken::Message(message),
            end = when_there(&mut self.gone) => Woken::Gone(end),
            launched = when_there(&mut self.launch) => {
                Woken::Launched(joined(launched))
            }
            read = when_there(&mut self.reading) => {
                Woken::Secrets(joined(read))
            }
            down = async { match down { Some(task) => task.await, None => pending().await } } => {
                Woken::LinkDown(down.unwrap_or_else(|error| Down::LinkLost(error.to_string())))
            }
            () = self.core.stopping.cancelled(), if !told => Woken::Stopping,
            () = until(deadline) => Woken::Deadline,
            () = until(tick) => Woken::Clock,
        }
    }

    async fn handle(&mut self, woken: Woken) {
        match woken {
            Woken::Message(None) => {}
            Woken::Message(Some(Message::Proved { link, key, token, answer })) => {
                let said = self.admit(link, key, token).await;
                let _ = answer.send(said);
            }
            Woken::Message(Some(Message::Linked { link, socket })) => {
                self.linked(link, *socket).await;
            }
            Woken::Message(Some(Message::Taken)) => self.look_whose_it_is().await,
            Woken::Message(Some(Message::Stop { reason, actor, seen })) => {
                if !matches!(self.record.life.state, State::Stopping | State::Ended) {
                    self.note(actor.as_ref(), "session.stop", format!("{reason:?}")).await;
                }
                self.step(Event::Stop(reason)).await;
                // Dropped where another gateway keeps it: who asked asks again, and there.
                if !self.is_taken {
                    // Whoever asked may have hung up: it stops all the same.
                    let _ = seen.send(());
                }
            }
            Woken::Launched(launched) => {
                self.launch = None;
                self.launched(launched).await;
            }
            Woken::Secrets(read) => {
                self.reading = None;
                self.secrets_read(read).await;
            }
            Woken::Gone(end) => {
                self.gone = None;
                self.hear_out().await;
                self.task_gone(end).await;
            }
            Woken::News(Some(news)) => self.hear(news).await,
            // The relay is about to end; its handle says how.
            Woken::News(None) => self.relay_ends().await,
            Woken::LinkDown(down) => self.link_down(&down).await,
            Woken::Deadline => {
                self.deadline = None;
                self.step(Event::Deadline).await;
            }
            Woken::Clock => {
                self.next_look = Instant::now() + CLOCK_TICK;
                self.look_at_clocks().await;
                self.look_at_secrets();
            }
            Woken::Stopping => {
                self.told_to_stop = true;
                self.step(Event::Stop(EndReason::Shutdown)).await;
            }
        }
    }

    /// Makes a step, stores what it came to, and does what it asks for.
    async fn step(&mut self, event: Event) -> Effect {
        let (life, effect) = self.record.life.step(event);
        let changed = life != self.record.life;
        if changed {
            let now = clock::unix_millis();
            tracing::info!(
                session = %self.record.id, from = self.record.life.state.as_str(),
                to = life.state.as_str(), ?event, "session",
            );
            self.record_mut().life = life;
            self.record_mut().detail.reason = life.reason;
            // A start that failed is no start; one that was not wanted any more is.
            let counts = match life.state {
                State::Live => true,
                State::Stopping | State::Ended => life.reason != Some(EndReason::StartFailed),
                State::Starting | State::Severed => false,
            };
            if counts && let Some(started) = self.started.take() {
                started.keep();
            }
            match life.state {
                State::Ended => self.record_mut().ended_ms = Some(now),
                State::Live => {
                    self.record_mut().detail.live_ms.get_or_insert(now);
                    self.start_clocks();
                }
                State::Stopping => self.unwanted.cancel(),
                State::Starting | State::Severed => {}
            }
        }
        if changed || !matches!(effect, Effect::None | Effect::RefuseLink) {
            self.deadline_of(effect);
            if !self.save().await {
                return Effect::None;
            }
        }
        self.perform(effect);
        effect
    }

    fn deadline_of(&mut self, effect: Effect) {
        let limits = &self.core.config.limits;
        match effect {
            Effect::AwaitLink => self.set_deadline(limits.severed_deadline.get()),
            Effect::AskToStop(_) => self.set_deadline(limits.stop_grace.get() + HAND_OVER),
            Effect::StopTask(_) => self.set_deadline(limits.stop_grace.get() + STOP_AGAIN),
            Effect::Relay(_) | Effect::End(_) | Effect::Launch => self.deadline = None,
            Effect::None | Effect::RefuseLink => {}
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::None | Effect::RefuseLink | Effect::Relay(_) => {}
            Effect::AwaitLink => self.show_waiting(Phase::Reconnecting),
            Effect::Launch => self.start(),
            Effect::AskToStop(reason) => {
                let grace = self.core.config.limits.stop_grace.get();
                if let Some(line) = &mut self.relay {
                    // A relay that is too busy for it is overruled by the deadline.
                    let _ = line.commands.try_send(Command::Stop { reason, grace });
                }
            }
            Effect::StopTask(reason) => self.stop_task(reason),
            Effect::End(_) => {}
        }
    }

    fn set_deadline(&mut self, after: Duration) {
        self.deadline = Some(Instant::now() + after);
    }

    fn show_waiting(&self, phase: Phase) {
        let expected_ms = self.core.timings.expected_ms(phase);
        let waiting = Waiting { phase, position: None, since: Instant::now(), expected_ms };
        self.view.send_modify(|view| view.waiting = Some(waiting));
    }

    fn record_mut(&mut self) -> &mut Record {
        Arc::make_mut(&mut self.record)
    }
}

async fn when_there<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// What a task of the keeper's own came to; its panic is the keeper's.
fn joined<T>(task: Result<T, JoinError>) -> T {
    task.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
