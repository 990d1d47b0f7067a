//! What goes wrong between a caller and AWS, scripted by operation; and what was called. Knows no
//! socket: the proxy asks it what is to become of each call.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Bucket, within};

/// Calls that are remembered, newest last: a storm of starts makes some thousands.
const REMEMBERED: usize = 100_000;

/// What becomes of a call instead of its answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// AWS takes no more calls for now, in the form that its SDK knows.
    Throttle,
    /// AWS says no.
    Error {
        /// The HTTP status.
        status: u16,
        /// Such as `AccessDeniedException`.
        code: &'static str,
        /// In AWS's words.
        message: &'static str,
    },
    /// The connection is closed, and the call never reached AWS.
    Drop,
    /// The call took effect, and the connection is closed before its answer.
    LoseAnswer,
    /// Never answered, and the call never reached AWS.
    Stall,
    /// The call took effect, and is never answered.
    StallAnswer,
    /// This instead, with status 200: `failures`, a page that is empty.
    Answer(Value),
}

/// A call that was made.
#[derive(Debug, Clone)]
pub struct Call {
    /// As IAM names it.
    pub action: String,
    /// Path and query.
    pub path: String,
    /// What was asked; null where there is no body.
    pub body: Value,
    /// When.
    pub at: Instant,
    /// Whether it reached AWS, and took effect there if AWS said yes to it.
    pub reached: bool,
}

/// The script. Operations are named as IAM does: `ecs:RunTask`.
#[derive(Debug)]
pub struct Faults {
    script: Mutex<Script>,
    called: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Script {
    next: HashMap<String, VecDeque<Fault>>,
    always: HashMap<String, Fault>,
    buckets: HashMap<String, Bucket>,
    calls: VecDeque<Call>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self { script: Mutex::default(), called: watch::Sender::new(0) }
    }

    /// The next call of it fails like this; given more often, the calls after that one do too.
    pub fn next(&self, action: &str, fault: Fault) {
        self.script().next.entry(action.to_owned()).or_default().push_back(fault);
    }

    /// Every call of it does, but for those that [`Self::next`] says otherwise of.
    pub fn always(&self, action: &str, fault: Fault) {
        self.script().always.insert(action.to_owned(), fault);
    }

    /// From now on nothing fails, and no rate is enforced. What was called is still known.
    pub fn clear(&self) {
        let mut script = self.script();
        *script = Script { calls: std::mem::take(&mut script.calls), ..Script::default() };
    }

    /// Takes no more calls of it than such a bucket gives, and throttles the others.
    pub fn bucket(&self, action: &str, burst: u32, per_second: f64) {
        self.script().buckets.insert(action.to_owned(), Bucket::new(burst, per_second));
    }

    /// The calls of it, oldest first, repeats by the SDK included.
    #[must_use]
    pub fn calls(&self, action: &str) -> Vec<Call> {
        self.script().calls.iter().filter(|call| call.action == action).cloned().collect()
    }

    /// Waits until it has been called so often in all.
    ///
    /// # Panics
    /// Where it is not in time.
    pub async fn until_called(&self, action: &str, times: usize) -> Vec<Call> {
        let mut called = self.called.subscribe();
        let what = format!("{action} is called {times} times");
        within(&what, called.wait_for(|_| self.calls(action).len() >= times))
            .await
            .expect("the script is there");
        self.calls(action)
    }

    /// What is to become of a call; `None`: what AWS makes of it.
    pub(crate) fn of(&self, action: &str, path: &str, body: Value) -> Option<Fault> {
        let at = Instant::now();
        let fault = {
            let mut script = self.script();
            let fault = script.fault_of(action, at);
            let reached =
                matches!(fault, None | Some(Fault::LoseAnswer) | Some(Fault::StallAnswer));
            if script.calls.len() == REMEMBERED {
                script.calls.pop_front();
            }
            let (action, path) = (action.to_owned(), path.to_owned());
            script.calls.push_back(Call { action, path, body, at, reached });
            fault
        };
        self.called.send_modify(|calls| *calls += 1);
        fault
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().expect("no holder panics")
    }
}

impl Script {
    fn fault_of(&mut self, action: &str, at: Instant) -> Option<Fault> {
        if let Some(bucket) = self.buckets.get_mut(action)
            && !bucket.take(at)
        {
            return Some(Fault::Throttle);
        }
        let next = self.next.get_mut(action).and_then(VecDeque::pop_front);
        next.or_else(|| self.always.get(action).cloned())
    }
}
