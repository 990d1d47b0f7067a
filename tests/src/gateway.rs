//! A gateway process: started, signalled, watched to its end. Knows no users.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use shellgate_cloud::Cloud;
use tokio::sync::watch;

use crate::{binaries, within};

/// Lines of a gateway's log that are kept to be shown where a test fails.
const LINES_KEPT: usize = 2000;

/// What is known of a gateway process so far.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Its client and its admin address.
    serving: Option<(SocketAddr, SocketAddr)>,
    /// Where tasks dial, if there is such a place.
    task: Option<SocketAddr>,
    /// Where other gateways call, likewise.
    peer: Option<SocketAddr>,
    ended: Option<ExitStatus>,
    lines: u64,
}

/// A gateway process.
pub(crate) struct Gateway {
    pid: u32,
    process: OwnedFd,
    seen: watch::Receiver<Seen>,
    log: Arc<Mutex<VecDeque<String>>>,
}

/// Why a gateway does not serve.
pub(crate) struct NotServing(pub(crate) String);

impl Gateway {
    /// Starts one, and waits until it serves.
    pub(crate) async fn start(config: &Path, home: &Path) -> Result<Self, NotServing> {
        let mut child = Command::new(binaries::folder().join("shellgate-gateway"))
            .arg("--config")
            .arg(config)
            .current_dir(home)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", home)
            .env("TMPDIR", home.join("tmp"))
            .envs(Cloud::credentials_environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a gateway starts");
        let pid = child.id();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("a child");
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (tell, seen) = watch::channel(Seen::default());
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let (serving, task, peer) = serving(&line);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LINES_KEPT {
                    kept.pop_front();
                }
                kept.push_back(line);
                drop(kept);
                tell.send_modify(|seen| {
                    seen.lines += 1;
                    seen.serving = seen.serving.or(serving);
                    seen.task = seen.task.or(task);
                    seen.peer = seen.peer.or(peer);
                });
            }
            // The last line is read: it has ended, or is about to.
            let ended = child.wait().expect("a child can be waited for");
            tell.send_modify(|seen| seen.ended = Some(ended));
        });
        let gateway = Self { pid, process, seen, log };
        let mut seen = gateway.seen.clone();
        let started = seen.wait_for(|seen| seen.serving.is_some() || seen.ended.is_some());
        let started = within("a gateway starts", started).await.expect("it is watched").clone();
        match started.serving {
            Some(_) => Ok(gateway),
            None => Err(NotServing(gateway.log())),
        }
    }

    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        self.seen.borrow().serving.expect("it serves")
    }

    pub(crate) fn task_address(&self) -> SocketAddr {
        self.seen.borrow().task.expect("it has a port for tasks")
    }

    pub(crate) fn peer_address(&self) -> SocketAddr {
        self.seen.borrow().peer.expect("it has a port for other gateways")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The process, for as long as this lives whatever becomes of its number.
    pub(crate) fn process(&self) -> &OwnedFd {
        &self.process
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended needs no signal.
        let _ = pidfd_send_signal(&self.process, signal);
    }

    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut seen = self.seen.clone();
        let ended = seen.wait_for(|seen| seen.ended.is_some());
        let ended = within("a gateway ends", ended).await.expect("it is watched").ended;
        ended.expect("waited for")
    }

    /// Whether it has ended, now.
    pub(crate) fn has_ended(&self) -> bool {
        self.seen.borrow().ended.is_some()
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        let kept = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Waits until it has said something.
    pub(crate) async fn says(&self, words: &str) {
        let mut seen = self.seen.clone();
        let said = seen.wait_for(|_| self.log().contains(words));
        within(&format!("the gateway says {words:?}"), said).await.expect("it is watched");
    }
}

/// What a line says of the client and the admin address, of the tasks' and of the other gateways'.
type Serving = (Option<(SocketAddr, SocketAddr)>, Option<SocketAddr>, Option<SocketAddr>);

fn serving(line: &str) -> Serving {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    if line["message"] != "serving" {
        return (None, None, None);
    }
    let address = |name: &str| line[name].as_str()?.parse().ok();
    (address("client").zip(address("admin")), address("task"), address("peer"))
}
