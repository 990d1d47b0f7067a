//! The relay of one link: moves bytes between a bridge and its clients. One task polls all of
//! their sockets, so a keystroke crosses the gateway without a lock, a hand-over or a second
//! wake-up. Knows no users, no store and no lifecycle: it is told who may join, and reports.
//!
//! It never stops reading the link because one client is slow: each client's queue is bounded by
//! the credit that the bridge was held to. It never stops reading a client because the link is
//! slow either: unapplied input is bounded the same way.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_channel::mpsc;
use futures_util::Stream;
use shellgate_protocol::client_leg::{Attach, EndReason, ExitStatus, Notice, Role, Token};
use shellgate_protocol::limits::{CONTROL_PER_SECOND, WINDOW_MAX, WINDOW_MIN};
use shellgate_protocol::link_leg::{Secret, Stats};
use shellgate_protocol::{ChannelNumber, CloseCode, Offset, TerminalSize, ToBridge, ToClient};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::TaskTracker;

pub use attachment::Arrival;
use attachment::{Attachment, Stage};
pub use budget::Budget;
pub use dialect::{Dialect, Lines, PLAIN_MESSAGE_MAX, Progress};

use crate::auth::UserId;
use crate::websocket::{Socket, farewell};

mod attachment;
mod budget;
mod clients;
mod clocks;
mod dialect;
mod link;
mod outbox;

/// Control messages a second that a bridge may send: several for each of its channels.
const LINK_CONTROL_PER_SECOND: u32 = 1000;

/// Messages of the link that are handled before the clients' sockets get their turn.
const LINK_TURN: usize = 8;

/// Rounds of everything before other sessions' relays get their turn.
const ROUNDS: usize = 2;

/// Bytes of one channel's input that are handed to the link before the next channel's turn.
const CHANNEL_TURN: usize = 64 * 1024;

/// Messages of one client that are handled before the next one's turn.
const CLIENT_TURN: usize = 32;

/// What a newer token costs of a client's control messages: it is verified, and may make the
/// gateway ask its issuer for keys.
const REAUTH_COST: u32 = 50;

/// Log lines a second that a bridge may add to the operator's log; the rest is dropped.
const LOG_PER_SECOND: u32 = 10;

/// Control messages that may wait for a bridge, and the last input of a plain client that hung up,
/// in bytes. A bridge that does not read so much is broken.
const CONTROL_QUEUED_MAX: usize = 3 * 1024 * 1024;

/// What a newer end of life costs of a client's control messages: it is stored.
const EXTEND_COST: u32 = 10;

/// What a queued control message costs besides its own bytes.
const CONTROL_OVERHEAD: usize = 64;

/// Commands that may wait for a relay.
const MAILBOX: usize = 64;

/// What others may ask of a relay.
pub enum Command {
    /// A client wants to join.
    Join(Box<Joining>),
    /// A verified, newer token: the channel's client is authentic until then; `None` where the
    /// token was refused.
    Reauthenticated(ChannelNumber, Option<Instant>),
    /// For everybody whose channel is open. Who comes later is announced by [`News::Opened`].
    Tell(Notice),
    /// For one client.
    Answer(ChannelNumber, Notice),
    /// For the bridge: these replace those of the same names.
    Secrets {
        /// The newer ones.
        secrets: Vec<Secret>,
        /// How long those that they replace are kept.
        overlap: Duration,
    },
    /// For the bridge: end the program, or, after `ended`, leave.
    Stop {
        /// Why.
        reason: EndReason,
        /// Between asking and killing.
        grace: Duration,
    },
    /// The gateway leaves: both legs come back after so long.
    Goaway(Duration),
    /// Close everything: clients with this code and these words.
    Finish(CloseCode, String),
}

/// A client that wants to join.
pub struct Joining {
    /// What it asked for.
    pub attach: Attach,
    /// The rest of it.
    pub arrival: Arrival,
}

/// What a relay reports to its session's keeper.
#[derive(Debug)]
pub enum News {
    /// The program has ended.
    Exited {
        /// Where its output ends.
        at: Offset,
        /// How.
        status: ExitStatus,
    },
    /// The bridge has nothing left to do.
    Ended(Box<Ended>),
    /// A client is attached, and has been told nothing yet of how its session stands.
    Opened(ChannelNumber),
    /// A driver asks for more time.
    Extend(ChannelNumber, u64),
    /// A client offers a newer token.
    Reauth(Renewal),
}

/// A newer token of a client that is attached.
#[derive(Debug)]
pub struct Renewal {
    /// Which client.
    pub channel: ChannelNumber,
    /// Who it was when it came: nobody else's token keeps its connection.
    pub user: UserId,
    /// What the token has to allow.
    pub role: Role,
    /// The token.
    pub token: Token,
}

/// A bridge's last words.
#[derive(Debug)]
pub struct Ended {
    /// Where the output ends.
    pub at: Offset,
    /// Everything before was acknowledged by a driver.
    pub acknowledged: Offset,
    /// The last screen, as terminal output.
    pub screen: Vec<u8>,
    /// Its size.
    pub size: TerminalSize,
    /// How the program ended.
    pub status: ExitStatus,
}

/// What a relay shows to everybody without being asked.
#[derive(Debug, Default)]
pub struct Activity {
    /// When a driver last typed, in milliseconds since the Unix epoch; 0 for never.
    pub last_input_ms: AtomicI64,
    /// Whether there is a driver.
    pub driver: AtomicBool,
    /// How many watch.
    pub observers: AtomicU32,
    /// When the session is stopped as idle unless somebody works, in milliseconds since the Unix
    /// epoch; 0 while work goes on.
    pub idle_ms: AtomicI64,
    /// What the bridge last told about its program.
    pub stats: std::sync::Mutex<Option<Stats>>,
}

/// Why a relay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// The link broke, or said goodbye.
    LinkLost(String),
    /// The bridge did what no honest bridge does.
    Violation(String),
    /// It was told to finish.
    Finished,
    /// Nobody can command it any more.
    Abandoned,
}

/// What a relay needs to know of its session.
pub struct Setting {
    /// What `attached` tells.
    pub session: shellgate_protocol::SessionId,
    /// Likewise.
    pub launch: shellgate_protocol::Launch,
    /// Likewise.
    pub mode: shellgate_protocol::client_leg::Mode,
    /// What it shows to everybody.
    pub activity: Arc<Activity>,
    /// Whose ears its news go to.
    pub news: mpsc::Sender<News>,
    /// Where its farewells run.
    pub tracker: TaskTracker,
    /// How long a client may stay whose token has run out.
    pub grace: Duration,
}

/// The relay of one link.
pub struct Relay {
    setting: Setting,
    link: Socket,
    commands: mpsc::Receiver<Command>,
    attachments: Vec<Attachment>,
    last_channel: u32,
    turn: usize,
    control: VecDeque<Message>,
    control_bytes: usize,
    link_unflushed: bool,
    link_stuck_since: Option<Instant>,
    link_budget: Budget,
    log_budget: Budget,
    link_heard: Instant,
    tick: Pin<Box<Sleep>>,
    next_ping: Instant,
    started: Instant,
    finishing: Option<(CloseCode, String)>,
}

impl Relay {
    /// A relay over an enrolled link, and the way to command it.
    #[must_use]
    pub fn new(setting: Setting, link: Socket) -> (Box<Self>, mpsc::Sender<Command>) {
        let (commander, commands) = mpsc::channel(MAILBOX);
        let now = Instant::now();
        let relay = Self {
            setting,
            link,
            commands,
            attachments: Vec::new(),
            last_channel: 0,
            turn: 0,
            control: VecDeque::new(),
            control_bytes: 0,
            link_unflushed: false,
            link_stuck_since: None,
            link_budget: Budget::new(LINK_CONTROL_PER_SECOND, 0),
            log_budget: Budget::new(LOG_PER_SECOND, 0),
            link_heard: now,
            tick: Box::pin(tokio::time::sleep(clocks::TICK)),
            next_ping: now + clocks::ping_interval(),
            started: now,
            finishing: None,
        };
        (Box::new(relay), commander)
    }

    /// Relays until the link is gone or somebody says so; then closes the clients.
    pub async fn run(mut self: Box<Self>) -> Down {
        let down = poll_fn(|cx| self.poll(cx)).await;
        let (code, reason) = match (&down, self.finishing.take()) {
            (_, Some(finishing)) => finishing,
            (Down::Finished, None) => (CloseCode::Normal, String::new()),
            (Down::LinkLost(_) | Down::Violation(_) | Down::Abandoned, None) => {
                (CloseCode::LinkLost, "the link to the task broke; come back".into())
            }
        };
        for attachment in std::mem::take(&mut self.attachments) {
            self.dismiss(attachment, code, reason.clone());
        }
        // Whoever is on the way in comes back as well.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Join(joining) = command {
                self.see_off(joining.arrival, code, reason.clone());
            }
        }
        self.show_presence();
        let link_code = match down {
            Down::Violation(_) => CloseCode::BadRequest,
            Down::LinkLost(_) | Down::Finished | Down::Abandoned => CloseCode::Normal,
        };
        let Self { link, control, setting, .. } = *self;
        setting.tracker.spawn(farewell(link, control, link_code, String::new()));
        down
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Down> {
        for _ in 0..ROUNDS {
            let commanded = self.poll_commands(cx);
            if let Poll::Ready(Some(down)) = commanded {
                return Poll::Ready(down);
            }
            let mut again = self.poll_clients(cx);
            match self.poll_link(cx) {
                Ok(more) => again |= more,
                Err(down) => return Poll::Ready(down),
            }
            again |= self.write_clients(cx);
            if let Err(error) = self.write_link(cx) {
                return Poll::Ready(Down::LinkLost(error.to_string()));
            }
            if self.control_bytes > CONTROL_QUEUED_MAX {
                return Poll::Ready(Down::LinkLost("it does not read".into()));
            }
            if self.poll_clocks(cx) {
                if let Some(down) = self.look_at_clocks(Instant::now()) {
                    return Poll::Ready(down);
                }
                again = true;
            }
            if !again {
                return Poll::Pending;
            }
        }
        // A flood goes on after the other sessions have had their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Poll<Option<Down>> {
        loop {
            match ready!(Pin::new(&mut self.commands).poll_next(cx)) {
                None => return Poll::Ready(Some(Down::Abandoned)),
                Some(Command::Finish(code, reason)) => {
                    self.finishing = Some((code, reason));
                    return Poll::Ready(Some(Down::Finished));
                }
                Some(command) => self.obey(command),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join(joining) => self.join(*joining),
            Command::Reauthenticated(channel, until) => {
                let Some(index) = self.find(channel) else { return };
                match until {
                    Some(until) => self.attachments[index].is_authentic(until),
                    None => self.cut(index, CloseCode::Unauthenticated, "token refused"),
                }
            }
            Command::Tell(notice) => {
                let is_open = |attachment: &Attachment| attachment.stage == Stage::Open;
                self.tell_those(is_open, &ToClient::Notice { notice });
            }
            Command::Answer(channel, notice) => {
                self.tell(channel, &ToClient::Notice { notice });
            }
            Command::Secrets { secrets, overlap } => {
                let overlap_ms = overlap.as_millis() as u64;
                self.tell_bridge(&ToBridge::Secrets { secrets, overlap_ms })
            }
            Command::Stop { reason, grace } => {
                let grace_ms = millis(grace);
                self.tell_bridge(&ToBridge::Stop { reason, grace_ms });
            }
            Command::Goaway(after) => {
                let retry_ms = millis(after);
                self.tell_bridge(&ToBridge::Goaway { retry_ms });
                self.tell_those(|_| true, &ToClient::Goaway { retry_ms });
            }
            // Handled where it ends the relay.
            Command::Finish(..) => {}
        }
    }

    /// One driver: the same client replaces its own older socket, another one only by takeover.
    fn join(&mut self, joining: Joining) {
        let Joining { mut attach, arrival } = joining;
        attach.window = arrival.window.clamp(WINDOW_MIN, WINDOW_MAX);
        if arrival.role == Role::Driver
            && let Some(index) = self.driver()
        {
            let old = &self.attachments[index];
            if old.client == arrival.client {
                let reason = "replaced by a newer connection";
                if old.order > arrival.order {
                    // It waited longer to join; its client has come again meanwhile.
                    self.see_off(arrival, CloseCode::Normal, reason.to_owned());
                    return;
                }
                self.cut(index, CloseCode::Normal, reason);
            } else if attach.takeover {
                let channel = old.channel;
                self.attachments[index].supersede(Instant::now());
                self.tell_bridge(&ToBridge::Close { channel, drop_input: true });
            } else {
                let reason = "another client drives this session".to_owned();
                self.see_off(arrival, CloseCode::AnotherDriver, reason);
                return;
            }
        }
        self.last_channel += 1;
        let channel = ChannelNumber(self.last_channel);
        let now = Instant::now();
        let budget = Budget::new(CONTROL_PER_SECOND, millis(now - self.started));
        let arrival = Arrival { window: attach.window, ..arrival };
        // Else a list of one has room for four.
        self.attachments.reserve_exact(1);
        self.attachments.push(Attachment::new(channel, arrival, budget, now));
        self.tell_bridge(&ToBridge::Open { channel, attach });
        self.show_presence();
    }

    /// Turns somebody away who has not joined.
    fn see_off(&self, arrival: Arrival, code: CloseCode, reason: String) {
        self.setting.tracker.spawn(async move {
            farewell(arrival.socket, VecDeque::new(), code, reason).await;
            drop(arrival.permit);
        });
    }

    fn driver(&self) -> Option<usize> {
        let drives = |a: &Attachment| a.role == Role::Driver && a.stage != Stage::Superseded;
        self.attachments.iter().position(drives)
    }

    fn find(&self, channel: ChannelNumber) -> Option<usize> {
        self.attachments.iter().position(|attachment| attachment.channel == channel)
    }

    fn tell(&mut self, channel: ChannelNumber, message: &ToClient) {
        if let Some(index) = self.find(channel)
            && let Err(fault) = self.attachments[index].tell(message)
        {
            self.cut(index, fault.close_code(), &fault.to_string());
        }
    }

    fn tell_those(&mut self, are_meant: impl Fn(&Attachment) -> bool, message: &ToClient) {
        let meant = self.attachments.iter().filter(|attachment| are_meant(attachment));
        let channels: Vec<_> = meant.map(|attachment| attachment.channel).collect();
        for channel in channels {
            self.tell(channel, message);
        }
    }

    fn tell_observers_count(&mut self) {
        let count = self.setting.activity.observers.load(Ordering::Relaxed);
        if let Some(index) = self.driver() {
            let driver = &mut self.attachments[index];
            if driver.stage != Stage::Open || driver.observers_told == count {
                return;
            }
            driver.observers_told = count;
            let channel = driver.channel;
            self.tell(channel, &ToClient::Notice { notice: Notice::Observers { count } });
        }
    }

    fn tell_bridge(&mut self, message: &ToBridge) {
        // Serialising our own types into memory does not fail.
        if let Ok(text) = serde_json::to_string(message) {
            self.control_bytes += text.len() + CONTROL_OVERHEAD;
            self.control.push_back(Message::text(text));
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
