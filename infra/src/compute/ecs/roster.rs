//! Whose news is waited for, and when each is to be asked about next. Pure: time is an argument.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Pace;
use crate::aws::share;

/// How long news is expected of a task that was just started or stopped: a start takes about a
/// minute, an end as long as its stop timeout and the giving back of its network interface.
const HURRY: Duration = Duration::from_secs(180);
/// How much of the pace is left to chance, so that gateways that started together do not go on asking
/// together: a fifth.
const SPREAD: u32 = 5;
/// How long one batch may count on the rate of reads for itself. With so many tasks that their
/// batches would come faster than this, each is asked about less often.
const PER_BATCH: Duration = Duration::from_millis(200);
/// How many tasks DescribeTasks takes.
pub(super) const BATCH: usize = 100;

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Nobody waits for anything.
    Over,
    /// Nothing until then.
    Later(Instant),
    /// Ask about these.
    Ask(Vec<String>),
}

#[derive(Debug)]
struct Watched {
    hurried_until: Instant,
    due: Instant,
}

/// Tasks by ARN.
#[derive(Debug)]
pub(super) struct Roster {
    pace: Pace,
    tasks: HashMap<String, Watched>,
    /// Rounds come no closer together, so that what becomes due meanwhile shares a call.
    next_round: Instant,
}

impl Roster {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, tasks: HashMap::new(), next_round: now }
    }

    /// Takes in a task that was asked for so long ago. It is due at once.
    pub(super) fn add(&mut self, arn: &str, age: Duration, now: Instant) {
        let hurried_until = now + HURRY.saturating_sub(age);
        self.tasks.entry(arn.to_owned()).or_insert(Watched { hurried_until, due: now });
    }

    /// News of this one is expected from now on.
    pub(super) fn hurry(&mut self, arn: &str, now: Instant) {
        if let Some(watched) = self.tasks.get_mut(arn) {
            watched.hurried_until = now + HURRY;
            watched.due = now;
        }
    }

    /// Nobody waits for it any more, or there is no more news to come.
    pub(super) fn remove(&mut self, arn: &str) {
        self.tasks.remove(arn);
    }

    /// Who is to be asked about now. Each of them is due again later, whatever comes of it. `random`
    /// is any number.
    pub(super) fn round(&mut self, now: Instant, random: u64) -> Round {
        let Some(earliest) = self.tasks.values().map(|watched| watched.due).min() else {
            return Round::Over;
        };
        let next = earliest.max(self.next_round);
        if next > now {
            return Round::Later(next);
        }
        self.next_round = now + self.pace.hurried / 4;
        let (hurried, steady) = (self.pace.hurried, self.steady());
        // Who would be due before the next round comes along with this one.
        let horizon = self.next_round;
        let due = self.tasks.iter_mut().filter(|(_, watched)| watched.due <= horizon);
        let asked = due.map(|(arn, watched)| {
            let pace = if watched.hurried_until > now { hurried } else { steady };
            watched.due = now + pace - share(pace / SPREAD, random);
            arn.clone()
        });
        Round::Ask(asked.collect())
    }

    /// How often a task is asked about of which no news is expected.
    fn steady(&self) -> Duration {
        let batches = u32::try_from(self.tasks.len().div_ceil(BATCH)).unwrap_or(u32::MAX);
        self.pace.steady.max(PER_BATCH.saturating_mul(batches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        hurried: Duration::from_secs(2),
        steady: Duration::from_secs(10),
        retire: Duration::ZERO,
        patience: Duration::ZERO,
    };
    const OLD: Duration = Duration::from_secs(3600);

    fn roster() -> (Roster, Instant) {
        let now = Instant::now();
        (Roster::new(PACE, now), now)
    }

    fn asked(roster: &mut Roster, now: Instant) -> Vec<String> {
        match roster.round(now, 0) {
            Round::Ask(mut arns) => {
                arns.sort_unstable();
                arns
            }
            Round::Over | Round::Later(_) => Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_joins_is_asked_about_at_once_and_a_fresh_task_more_often() {
        let (mut roster, start) = roster();
        assert_eq!(roster.round(start, 0), Round::Over);
        roster.add("old", OLD, start);
        roster.add("new", Duration::ZERO, start);
        assert_eq!(asked(&mut roster, start), ["new", "old"]);
        assert_eq!(roster.round(start, 0), Round::Later(start + PACE.hurried));
        let mut times = HashMap::new();
        for second in 1..=60 {
            for arn in asked(&mut roster, start + Duration::from_secs(second)) {
                *times.entry(arn).or_insert(0) += 1;
            }
        }
        assert_eq!((times["new"], times["old"]), (30, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_told_to_end_is_hurried() {
        let (mut roster, start) = roster();
        roster.add("one", OLD, start);
        assert_eq!(asked(&mut roster, start), ["one"]);
        let later = start + Duration::from_secs(5);
        assert!(asked(&mut roster, later).is_empty());
        roster.hurry("one", later);
        assert_eq!(asked(&mut roster, later), ["one"]);
        assert_eq!(asked(&mut roster, later + PACE.hurried), ["one"]);
        roster.remove("one");
        assert_eq!(roster.round(later + PACE.hurried, 0), Round::Over);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_join_shortly_after_each_other_share_a_round() {
        let (mut roster, start) = roster();
        roster.add("first", OLD, start);
        assert_eq!(asked(&mut roster, start), ["first"]);
        for name in ["second", "third"] {
            roster.add(name, OLD, start);
            assert_eq!(roster.round(start, 0), Round::Later(start + PACE.hurried / 4));
        }
        assert_eq!(asked(&mut roster, start + PACE.hurried / 4), ["second", "third"]);
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_there_are_ecs_is_asked_no_more_than_five_times_a_second() {
        let (mut roster, start) = roster();
        for number in 0..20_000 {
            roster.add(&number.to_string(), OLD, start);
        }
        let mut batches = 0;
        for quarter in 0..400 {
            let now = start + Duration::from_millis(250 * quarter);
            batches += asked(&mut roster, now).len().div_ceil(BATCH);
        }
        assert!((400..=700).contains(&batches), "{batches} in a hundred seconds");
    }
}
