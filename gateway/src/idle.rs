//! When a session's time is up: the idle clock, which any work sets back, and the lifetime clock,
//! which only `extend` does. Knows no session and no time but what it is told.
//!
//! Work is a driver's keystroke, a job in the foreground, processor time, and an agent's open turn.
//! Nothing else can be told to these clocks: an attachment, a ping and printed output are not work,
//! and nothing brings an end nearer. Times are milliseconds since the Unix epoch.

use std::time::Duration;

use shellgate_protocol::client_leg::{EndReason, Notice};
use shellgate_protocol::link_leg::Stats;

use crate::clock::rfc3339;
use crate::config::Template;

/// What is left of a session's time when its clients are warned, the longer one first.
const WARNINGS: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(60)];

/// A program that uses less than one part in so many of a core is at rest: a shell at its prompt
/// uses none, an editor that blinks its cursor a tenth of this.
const CPU_AT_REST: u32 = 100;

/// Processor time counts over at most so long: a bridge reports while something changes, so what
/// a late report holds was used in its last seconds.
const CPU_SPAN_MAX: Duration = Duration::from_secs(10);

/// How much time a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long nobody may work in it.
    pub idle: Duration,
    /// How long it lives, unless it is extended.
    pub lifetime: Duration,
    /// How long it may live with extensions.
    pub longest_life: Duration,
}

impl From<&Template> for Terms {
    fn from(template: &Template) -> Self {
        Self {
            idle: template.idle.get(),
            lifetime: template.lifetime.get(),
            longest_life: template.longest_life(),
        }
    }
}

/// What the clocks have to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// To be told to the session's clients. Each warning comes once, until the end moves away.
    Warn(Notice),
    /// The time is up.
    Stop(EndReason),
}

/// A session's two clocks.
#[derive(Debug, Clone)]
pub struct IdleClock {
    terms: Terms,
    began_ms: i64,
    ends_ms: i64,
    lifetime_said: Countdown,
    last_work_ms: i64,
    last_work: Work,
    foreground_job: bool,
    open_turn: bool,
    /// The last report: when it was looked at, and the processor time in it.
    reported: Option<(i64, u64)>,
    idle_said: Countdown,
}

/// What counts as work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// None yet.
    Begun,
    Keystroke,
    Extension,
    ForegroundJob,
    ProcessorTime,
    Turn,
}

impl IdleClock {
    /// The clocks of a session that has been live since `began_ms`. One that was adopted is not idle
    /// yet: nobody knows what was done in it meanwhile.
    #[must_use]
    pub fn new(now_ms: i64, began_ms: i64, terms: Terms) -> Self {
        Self {
            terms,
            began_ms,
            ends_ms: after(began_ms, terms.lifetime),
            lifetime_said: Countdown::default(),
            last_work_ms: now_ms,
            last_work: Work::Begun,
            foreground_job: false,
            open_turn: false,
            reported: None,
            idle_said: Countdown::default(),
        }
    }

    /// The end of its life as it was stored, after a gateway's restart. Never beyond the limit.
    pub fn ends_at(&mut self, ends_ms: i64) {
        self.ends_ms = ends_ms.min(self.limit_ms());
    }

    /// When its life ends.
    #[must_use]
    pub fn ends_ms(&self) -> i64 {
        self.ends_ms
    }

    /// When it will have been idle too long; `None` while work goes on.
    #[must_use]
    pub fn idle_ms(&self) -> Option<i64> {
        let at_work = self.foreground_job || self.open_turn;
        (!at_work).then(|| after(self.last_work_ms, self.terms.idle))
    }

    /// Somebody asked for more time: it is not idle, and lives another lifetime from now, as far as
    /// the limit allows. Returns what is left of the shorter of the two.
    pub fn extend(&mut self, now_ms: i64) -> Duration {
        self.worked(now_ms, Work::Extension);
        let extended = after(now_ms, self.terms.lifetime).min(self.limit_ms());
        self.ends_ms = self.ends_ms.max(extended);
        let ends_ms = self.idle_ms().map_or(self.ends_ms, |idle_ms| idle_ms.min(self.ends_ms));
        between(now_ms, ends_ms)
    }

    /// An agent's turn has begun (a line went to it) or ended (it answered). An answer to nothing is
    /// no work.
    pub fn turn(&mut self, open: bool, now_ms: i64) {
        if self.open_turn || open {
            self.worked(now_ms, Work::Turn);
        }
        self.open_turn = open;
    }

    /// Takes in when a driver last typed and what the bridge last reported, both as often as one
    /// likes, and says what there is to say now.
    pub fn look(&mut self, now_ms: i64, typed_ms: Option<i64>, stats: Option<&Stats>) -> Verdict {
        if let Some(typed_ms) = typed_ms {
            // A clock that was set back leaves keystrokes in the future: those are of now.
            self.worked(typed_ms.min(now_ms), Work::Keystroke);
        }
        if let Some(stats) = stats {
            self.report(now_ms, stats);
        }
        let lifetime = between(now_ms, self.ends_ms);
        let lifetime = self.lifetime_said.look(lifetime, self.terms.lifetime);
        let idle = match self.idle_ms() {
            Some(idle_ms) => self.idle_said.look(between(now_ms, idle_ms), self.terms.idle),
            None => {
                self.idle_said = Countdown::default();
                Left::Enough
            }
        };
        match (lifetime, idle) {
            (Left::Nothing, _) => Verdict::Stop(EndReason::Lifetime),
            (_, Left::Nothing) => Verdict::Stop(EndReason::Idle),
            (lifetime, idle) => warning(lifetime, idle).map_or(Verdict::Fine, Verdict::Warn),
        }
    }

    /// What somebody who comes now has to be told: the warning that was said to all, or would have
    /// been had anybody been there, as it is true now.
    #[must_use]
    pub fn standing(&self, now_ms: i64) -> Option<Notice> {
        let lifetime = Left::of(between(now_ms, self.ends_ms), self.terms.lifetime);
        let idle = self
            .idle_ms()
            .map_or(Left::Enough, |idle_ms| Left::of(between(now_ms, idle_ms), self.terms.idle));
        warning(lifetime, idle)
    }

    /// Why the session is stopped, for an operator.
    #[must_use]
    pub fn evidence(&self) -> String {
        let last = match self.last_work {
            Work::Begun => "its beginning here",
            Work::Keystroke => "a keystroke",
            Work::Extension => "an extension",
            Work::ForegroundJob => "a foreground job",
            Work::ProcessorTime => "processor time",
            Work::Turn => "an agent's turn",
        };
        format!(
            "live since {}, last work {last} at {}, idle limit {} s, end of life {}",
            rfc3339(self.began_ms),
            rfc3339(self.last_work_ms),
            self.terms.idle.as_secs(),
            rfc3339(self.ends_ms)
        )
    }

    fn report(&mut self, now_ms: i64, stats: &Stats) {
        if let Some((before_ms, cpu_ms)) = self.reported {
            let used = Duration::from_millis(stats.cpu_ms.saturating_sub(cpu_ms));
            let span = between(before_ms, now_ms).min(CPU_SPAN_MAX);
            if !used.is_zero() && used >= span / CPU_AT_REST {
                self.worked(now_ms, Work::ProcessorTime);
            }
        }
        self.reported = Some((now_ms, stats.cpu_ms));
        // The moment in which a job ends is the last one in which somebody worked.
        if self.foreground_job || stats.foreground_job {
            self.worked(now_ms, Work::ForegroundJob);
        }
        self.foreground_job = stats.foreground_job;
    }

    fn worked(&mut self, at_ms: i64, work: Work) {
        if at_ms > self.last_work_ms {
            (self.last_work_ms, self.last_work) = (at_ms, work);
        }
    }

    fn limit_ms(&self) -> i64 {
        after(self.began_ms, self.terms.longest_life.max(self.terms.lifetime))
    }
}

/// How much is left of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Enough,
    /// So many seconds, to be told.
    Little(u64),
    Nothing,
}

impl Left {
    /// What there is to say to somebody who has heard nothing; `whole` is all the time that there
    /// was, so that a short clock does not begin with a warning.
    fn of(left: Duration, whole: Duration) -> Self {
        match due(left).checked_sub(1) {
            _ if left.is_zero() => Self::Nothing,
            // Up, so that nobody is told of no seconds.
            Some(last) if WARNINGS[last] < whole => {
                Self::Little(left.as_millis().div_ceil(1000) as u64)
            }
            Some(_) | None => Self::Enough,
        }
    }
}

/// How many of [`WARNINGS`] are due when so much is left.
fn due(left: Duration) -> usize {
    WARNINGS.iter().filter(|warning| left <= **warning).count()
}

/// Idleness can be mended by typing, the end of a life only by an extension: the harder one is
/// said, and an extension mends both.
fn warning(lifetime: Left, idle: Left) -> Option<Notice> {
    match (lifetime, idle) {
        (Left::Little(seconds), _) => Some(Notice::LifetimeWarning { seconds }),
        (_, Left::Little(seconds)) => Some(Notice::IdleWarning { seconds }),
        (Left::Enough | Left::Nothing, Left::Enough | Left::Nothing) => None,
    }
}

/// Says each warning once, and forgets what it said when the end moves away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Countdown {
    /// How many of [`WARNINGS`] have been said.
    said: usize,
}

impl Countdown {
    /// What there is to say that was not said before.
    fn look(&mut self, left: Duration, whole: Duration) -> Left {
        let before = std::mem::replace(&mut self.said, due(left));
        match Left::of(left, whole) {
            Left::Little(_) if self.said <= before => Left::Enough,
            left => left,
        }
    }
}

/// The time so long after another.
fn after(ms: i64, more: Duration) -> i64 {
    ms.saturating_add(i64::try_from(more.as_millis()).unwrap_or(i64::MAX))
}

/// From one time to a later one; nothing where it is not later, as after a clock was set back.
fn between(earlier_ms: i64, later_ms: i64) -> Duration {
    let millis = later_ms.saturating_sub(earlier_ms);
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests;
