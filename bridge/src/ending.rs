//! How a launch comes to its end. Knows neither processes nor links: it is told, and says what next.
//!
//! ```text
//! Running ──program ended──▶ Draining ──all gone, output at its end, or 5 s──▶ Over
//! Over ──a driver has it all, or 60 s──▶ HandedOver ──stop, or 10 s──▶ leave
//!   ▲                                        │           (and without a link for 60 s from either)
//!   └───────────────link lost────────────────┘  (at once, if the whole task was told to end)
//! ```

use shellgate_protocol::client_leg::{EndReason, ExitStatus};

/// How long killed processes may take to be gone, and their output to come, in milliseconds. Beyond,
/// something hangs in the kernel that nobody can kill.
const DRAIN_MS: u64 = 5_000;

/// How long a driver has to come for the end.
const DRIVER_MS: u64 = 60_000;

/// How long a driver has to take the end of a session that was told to stop.
const STOPPED_DRIVER_MS: u64 = 5_000;

/// How long the gateway has to say `stop` after `ended`.
const STOP_MS: u64 = 10_000;

/// How long a bridge whose program is over looks for a gateway.
const NO_LINK_MS: u64 = 60_000;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Kill every process, and tell [`Ending::killed`].
    Kill,
    /// All output is here: say how the program ended.
    SayExit,
    /// Hand over the last screen.
    HandOver,
    /// End the bridge.
    Leave,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    Draining { until: u64, none_left: bool },
    Over { since: u64 },
    HandedOver { over_since: u64, since: u64, flushed: bool },
}

/// The end of one launch.
#[derive(Debug)]
pub struct Ending {
    phase: Phase,
    stop: Option<(EndReason, u64)>,
    leave: bool,
    hurried: bool,
    output_over: bool,
    kill_at: u64,
    no_link_since: u64,
    code: Option<i32>,
    signal: Option<String>,
    detail: Option<String>,
    reason: EndReason,
}

impl Default for Ending {
    fn default() -> Self {
        Self {
            phase: Phase::Running,
            stop: None,
            leave: false,
            hurried: false,
            output_over: false,
            kill_at: 0,
            no_link_since: 0,
            code: None,
            signal: None,
            detail: None,
            reason: EndReason::Exited,
        }
    }
}

impl Ending {
    /// Whether the program itself still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether only the rest of its output is awaited.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Whether no output will come any more.
    #[must_use]
    pub fn output_is_over(&self) -> bool {
        self.output_over || !(self.is_running() || self.is_draining())
    }

    /// The program itself has ended.
    pub fn program_ended(
        &mut self,
        code: Option<i32>,
        signal: Option<String>,
        detail: Option<String>,
        now: u64,
    ) {
        if self.is_running() {
            (self.code, self.signal, self.detail) = (code, signal, detail);
            self.reason = self.stop.map_or(EndReason::Exited, |(reason, _)| reason);
            self.phase = Phase::Draining { until: now + DRAIN_MS, none_left: false };
            self.kill_at = now;
        }
    }

    /// All output has been read.
    pub fn output_ended(&mut self) {
        self.output_over = true;
    }

    /// Every process was sent KILL, if there was `any`; look again at `again`.
    pub fn killed(&mut self, any: bool, again: u64) {
        self.kill_at = again;
        if let Phase::Draining { none_left, .. } = &mut self.phase {
            *none_left = !any;
        }
    }

    /// The gateway wants the end; at `kill_at` by force. Tells whether the program is to be asked.
    pub fn stop(&mut self, reason: EndReason, kill_at: u64) -> bool {
        if matches!(self.phase, Phase::HandedOver { .. }) {
            self.leave = true;
        }
        if self.stop.is_some() || !self.is_running() {
            self.stop.get_or_insert((reason, kill_at));
            return false;
        }
        self.stop = Some((reason, kill_at));
        self.kill_at = kill_at;
        true
    }

    /// The whole task is to end: without a link nobody is waited for. `false` where that was known.
    pub fn hurry(&mut self) -> bool {
        !std::mem::replace(&mut self.hurried, true)
    }

    /// A new link stands: what was handed over to an older one may not have arrived.
    pub fn new_link(&mut self) {
        if let Phase::HandedOver { over_since, .. } = self.phase {
            self.phase = Phase::Over { since: over_since };
        }
    }

    /// There is no link since `now`.
    pub fn link_lost(&mut self, now: u64) {
        self.no_link_since = now;
        self.new_link();
    }

    /// All that was said is with the kernel. Tells whether there is a next step because of it.
    pub fn flushed(&mut self) -> bool {
        match &mut self.phase {
            Phase::HandedOver { flushed, .. } if !*flushed => {
                *flushed = true;
                self.stop.is_some()
            }
            _ => false,
        }
    }

    /// How the program ended.
    #[must_use]
    pub fn status(&self, tail: Option<String>) -> ExitStatus {
        let detail = self.detail.clone().or(tail);
        ExitStatus { code: self.code, signal: self.signal.clone(), reason: self.reason, detail }
    }

    /// What is to be done at `now`, if anything is. `told`: a driver has all output, and the exit.
    /// `watched`: a driver is attached.
    pub fn step(&mut self, now: u64, linked: bool, told: bool, watched: bool) -> Option<Step> {
        match self.phase {
            Phase::Running => (self.stop.is_some() && now >= self.kill_at).then_some(Step::Kill),
            Phase::Draining { until, none_left } => {
                if (none_left && self.output_over) || now >= until {
                    self.phase = Phase::Over { since: now };
                    self.no_link_since = self.no_link_since.max(now);
                    return Some(Step::SayExit);
                }
                (!none_left && now >= self.kill_at).then_some(Step::Kill)
            }
            Phase::Over { .. } if !linked => {
                let waited = self.hurried || now >= self.no_link_since + NO_LINK_MS;
                waited.then_some(Step::Leave)
            }
            Phase::Over { since } => {
                let stopped = self.stop.is_some() && (!watched || now >= since + STOPPED_DRIVER_MS);
                (told || stopped || now >= since + DRIVER_MS).then(|| {
                    self.phase =
                        Phase::HandedOver { over_since: since, since: now, flushed: false };
                    Step::HandOver
                })
            }
            Phase::HandedOver { since, flushed, .. } => {
                let leave = self.leave || (flushed && self.stop.is_some());
                (leave || now >= since + STOP_MS).then_some(Step::Leave)
            }
        }
    }

    /// When there is something to do at the latest.
    #[must_use]
    pub fn due(&self, linked: bool) -> Option<u64> {
        match self.phase {
            Phase::Running => self.stop.map(|_| self.kill_at),
            Phase::Draining { until, none_left: true } => Some(until),
            Phase::Draining { until, none_left: false } => Some(until.min(self.kill_at)),
            Phase::Over { .. } if !linked => Some(self.no_link_since + NO_LINK_MS),
            Phase::Over { since } if self.stop.is_some() => Some(since + STOPPED_DRIVER_MS),
            Phase::Over { since } => Some(since + DRIVER_MS),
            Phase::HandedOver { since, .. } => Some(since + STOP_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended_at(now: u64) -> Ending {
        let mut ending = Ending::default();
        ending.program_ended(Some(3), None, None, now);
        assert_eq!(ending.step(now, true, false, false), Some(Step::Kill));
        ending.killed(false, now + 25);
        assert_eq!(ending.step(now, true, false, false), None);
        ending.output_ended();
        assert_eq!(ending.step(now, true, false, false), Some(Step::SayExit));
        ending
    }

    #[test]
    fn the_end_is_handed_over_once_a_driver_has_it_and_the_bridge_leaves_when_told() {
        let mut ending = ended_at(100);
        assert_eq!(ending.status(None).code, Some(3));
        assert_eq!(ending.step(200, true, false, true), None);
        assert_eq!(ending.step(300, true, true, true), Some(Step::HandOver));
        assert_eq!(ending.step(300, true, true, true), None);
        assert!(!ending.stop(EndReason::Stopped, 0));
        assert_eq!(ending.step(301, true, true, true), Some(Step::Leave));
        assert_eq!(ending.status(None).reason, EndReason::Exited);
    }

    #[test]
    fn nobody_comes_for_the_end() {
        let mut ending = ended_at(100);
        assert_eq!(ending.step(100 + DRIVER_MS - 1, true, false, false), None);
        assert_eq!(ending.step(100 + DRIVER_MS, true, false, false), Some(Step::HandOver));
        let handed = 100 + DRIVER_MS;
        assert_eq!(ending.due(true), Some(handed + STOP_MS));
        assert_eq!(ending.step(handed + STOP_MS, true, false, false), Some(Step::Leave));
    }

    #[test]
    fn a_link_that_breaks_after_the_handing_over_makes_it_happen_again() {
        let mut ending = ended_at(100);
        assert_eq!(ending.step(300, true, true, false), Some(Step::HandOver));
        ending.link_lost(400);
        assert_eq!(ending.step(400, false, true, false), None);
        ending.new_link();
        assert_eq!(ending.step(500, true, true, false), Some(Step::HandOver));
        ending.link_lost(600);
        assert_eq!(ending.step(600 + NO_LINK_MS, false, true, false), Some(Step::Leave));
    }

    #[test]
    fn a_stop_asks_then_kills_and_its_reason_stays() {
        let mut ending = Ending::default();
        assert!(ending.stop(EndReason::Idle, 1000));
        assert!(!ending.stop(EndReason::Stopped, 2000));
        assert_eq!(ending.step(999, true, false, false), None);
        assert_eq!(ending.step(1000, true, false, false), Some(Step::Kill));
        ending.killed(true, 1025);
        assert_eq!(ending.step(1024, true, false, false), None);
        ending.program_ended(None, Some("KILL".into()), None, 1030);
        assert_eq!(ending.status(None).reason, EndReason::Idle);
        ending.killed(false, 1055);
        ending.output_ended();
        assert_eq!(ending.step(1060, true, false, false), Some(Step::SayExit));
        // Nobody watches, so nobody is waited for; and the stop was said already.
        assert_eq!(ending.step(1060, true, false, false), Some(Step::HandOver));
        assert_eq!(ending.step(1061, true, false, false), None);
        assert!(ending.flushed());
        assert_eq!(ending.step(1061, true, false, false), Some(Step::Leave));
    }

    #[test]
    fn a_task_that_is_to_end_waits_for_no_gateway_that_is_not_there() {
        let mut ending = ended_at(100);
        ending.link_lost(200);
        assert_eq!(ending.step(300, false, false, false), None);
        ending.hurry();
        assert_eq!(ending.step(300, false, false, false), Some(Step::Leave));
    }

    #[test]
    fn what_cannot_be_killed_is_not_waited_for_without_end() {
        let mut ending = Ending::default();
        ending.program_ended(Some(0), None, None, 0);
        ending.killed(true, 25);
        assert_eq!(ending.step(DRAIN_MS - 1, true, false, false), Some(Step::Kill));
        assert_eq!(ending.step(DRAIN_MS, true, false, false), Some(Step::SayExit));
        assert!(ending.output_is_over());
    }
}
