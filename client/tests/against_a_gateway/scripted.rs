//! A gateway and a bridge in one, scripted: honest unless told otherwise, connection by connection.
//! It remembers what its program was given, and fails loudly where input has a hole or repeats.

mod attachment;
mod http;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use shellgate_protocol::client_leg::{Attach, EndReason, ExitStatus, Mode};
use shellgate_protocol::{FromClient, InputStream, SessionId, TerminalSize};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What one connection is to go through.
#[derive(Debug, Clone)]
pub enum Play {
    /// Answers the upgrade with this status and body.
    Refuse(u16, Value),
    /// Closes instead of answering `attach`.
    CloseAtOnce(u16, &'static str),
    /// Behaves, and drops the socket without a word after so many frames of either direction.
    Cut(usize),
    /// Behaves, and closes with this code after so many frames of either direction.
    CloseAfter(usize, u16),
    /// Behaves, and says goaway after so many frames.
    Goaway(usize),
    /// Leaves out ten bytes of output after so many frames.
    Hole(usize),
    /// Says that input was applied that nobody typed.
    AppliesTooMuch,
    /// Sends one more byte than the window allows.
    Floods,
    /// Says that the token runs out, and waits for a newer one before anything else.
    WantsReauth,
    /// Says something that is no message.
    Babbles,
}

/// The session, its program and everything that a test looks at.
pub struct State {
    pub id: SessionId,
    pub name: Option<String>,
    pub launch: u32,
    pub printed: Vec<u8>,
    pub kept_from: u64,
    /// What the program was given, in this launch.
    pub program: Vec<u8>,
    /// Where each stream's input has got to, in this launch.
    streams: HashMap<InputStream, u64>,
    pub exit: Option<ExitStatus>,
    pub exit_acknowledged: bool,
    pub plays: VecDeque<Play>,
    /// The `attach` of each connection.
    pub attaches: Vec<Attach>,
    /// The `Authorization` header of each request that had one.
    pub bearers: Vec<String>,
    pub controls: Vec<FromClient>,
    /// Method, path and body of each REST request.
    pub requests: Vec<(String, String, String)>,
    /// Answers to REST requests besides the usual ones: path prefix → status and body.
    pub answers: Vec<(&'static str, u16, Value)>,
    pub size: TerminalSize,
    pub mode: Mode,
    /// The program echoes what it is given.
    pub echoes: bool,
    /// So many requests for a session are told that one of the name is being stopped.
    pub stopping: u32,
    /// The program reads nothing: what it is given arrives, and is not applied.
    pub is_stopped: bool,
    /// The program ends with this code when it is given a line `exit`.
    pub exits_with: Option<i32>,
    /// A driver has seen the output before this.
    pub replays_up_to: usize,
    /// Output sent so far on the newest connection.
    pub sent: u64,
    /// The codes with which clients closed.
    pub goodbyes: Vec<u16>,
    /// What a client did that no client may.
    pub faults: Vec<String>,
}

/// A gateway on a port of its own; gone when dropped.
pub struct Gateway {
    pub url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Gateway {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            id: SessionId::generate(),
            name: Some("work".into()),
            launch: 1,
            printed: vec![],
            kept_from: 0,
            program: vec![],
            streams: HashMap::new(),
            exit: None,
            exit_acknowledged: false,
            plays: VecDeque::new(),
            attaches: vec![],
            bearers: vec![],
            controls: vec![],
            requests: vec![],
            answers: vec![],
            size: TerminalSize::DEFAULT,
            mode: Mode::Terminal,
            echoes: false,
            stopping: 0,
            is_stopped: false,
            exits_with: None,
            replays_up_to: 0,
            sent: 0,
            goodbyes: vec![],
            faults: vec![],
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let mut tasks = JoinSet::new();
        let serving = shared.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        stream.set_nodelay(true).unwrap();
                        connections.spawn(http::serve(serving.clone(), stream));
                    }
                    Some(done) = connections.join_next() => done.unwrap(),
                }
            }
        });
        Self { url, shared, _tasks: tasks }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    pub fn plays(&self, plays: impl IntoIterator<Item = Play>) {
        self.state().plays.extend(plays);
    }

    pub fn prints(&self, bytes: &[u8]) {
        self.state().printed.extend_from_slice(bytes);
        self.shared.changed.notify_waiters();
    }

    /// The session's task is replaced: another program, another bridge that knows no stream.
    pub fn starts_another_launch(&self, printed: &[u8]) {
        {
            let mut state = self.state();
            state.launch += 1;
            state.printed = printed.to_vec();
            state.program.clear();
            state.streams.clear();
        }
        self.shared.changed.notify_waiters();
    }

    pub fn exits(&self, code: i32) {
        let reason = EndReason::Exited;
        let status = ExitStatus { code: Some(code), signal: None, reason, detail: None };
        self.ends(status);
    }

    pub fn ends(&self, status: ExitStatus) {
        self.state().exit = Some(status);
        self.shared.changed.notify_waiters();
    }

    /// Waits until the state is as wanted, at most 20 s.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&State) -> bool) {
        let waits = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if is_so(&self.state()) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), waits).await.is_err() {
            panic!("{what} has not come to pass");
        }
    }

    pub fn faultless(&self) {
        assert_eq!(self.state().faults, Vec::<String>::new());
    }
}
