//! The line before the start of sessions, as values: who waits, whose turn it is, at which place
//! each stands. Users take turns, so that one who asks often keeps nobody else waiting. Knows no clock,
//! no task, and nobody's reason to wait.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::UserKey;

/// Durations that an estimate looks back on: enough to forget one outlier, few enough to follow a
/// change.
const REMEMBERED: usize = 16;

/// Who stands in the line, or has a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(u64);

/// The line.
#[derive(Debug)]
pub(super) struct Line {
    turns: usize,
    places: usize,
    next: u64,
    /// Those who have a turn now.
    running: BTreeSet<Number>,
    /// Users with somebody in the line; the first one is next.
    users: VecDeque<UserKey>,
    /// Each such user's own, the first one is next. Never empty for a user of `users`.
    waiting: HashMap<UserKey, VecDeque<Number>>,
    /// How many wait in all.
    length: usize,
    /// How long the last turns took.
    took: VecDeque<Duration>,
}

impl Line {
    /// A line with so many turns at one time, and places for so many to wait.
    pub fn new(turns: usize, places: usize) -> Self {
        Self {
            turns: turns.max(1),
            places,
            next: 0,
            running: BTreeSet::new(),
            users: VecDeque::new(),
            waiting: HashMap::new(),
            length: 0,
            took: VecDeque::new(),
        }
    }

    /// Joins the line; `None` where it is full. Whoever finds a turn free has it at once.
    pub fn enter(&mut self, user: &str) -> Option<Number> {
        // A free turn means that nobody waits.
        if self.length >= self.places && self.running.len() >= self.turns {
            return None;
        }
        let number = Number(self.next);
        self.next += 1;
        let own = self.waiting.entry(user.into()).or_default();
        if own.is_empty() {
            self.users.push_back(user.into());
        }
        own.push_back(number);
        self.length += 1;
        self.fill();
        Some(number)
    }

    /// Leaves the line, or gives back a turn.
    pub fn leave(&mut self, user: &str, number: Number) {
        if self.running.remove(&number) {
            self.fill();
            return;
        }
        let Some(own) = self.waiting.get_mut(user) else { return };
        let before = own.len();
        own.retain(|waiting| *waiting != number);
        self.length -= before - own.len();
        if own.is_empty() {
            self.waiting.remove(user);
            self.users.retain(|waiting| &**waiting != user);
        }
    }

    /// Remembers how long a turn took that came to a good end.
    pub fn remember(&mut self, took: Duration) {
        if self.took.len() == REMEMBERED {
            self.took.pop_front();
        }
        self.took.push_back(took);
    }

    /// What a turn usually takes: the median of the last ones; `None` before the first.
    pub fn usual(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.took.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// How long one at this place usually waits: as many rounds of turns as are before it.
    pub fn estimate(&self, position: u32) -> Option<Duration> {
        let rounds = position.div_ceil(u32::try_from(self.turns).unwrap_or(u32::MAX));
        Some(self.usual()?.saturating_mul(rounds))
    }

    /// Everybody who waits, the next one first: in each round one of each user.
    pub fn order(&self) -> Vec<Number> {
        let mut order = Vec::with_capacity(self.length);
        let mut round: Vec<_> = self.users.iter().map(|user| self.waiting[user].iter()).collect();
        while !round.is_empty() {
            round.retain_mut(|own| match own.next() {
                Some(number) => {
                    order.push(*number);
                    true
                }
                None => false,
            });
        }
        order
    }

    /// Who has a turn, in the order in which they came.
    pub fn running(&self) -> impl Iterator<Item = Number> {
        self.running.iter().copied()
    }

    fn fill(&mut self) {
        while self.running.len() < self.turns {
            let Some(user) = self.users.pop_front() else { return };
            let Some(own) = self.waiting.get_mut(&user) else { continue };
            if let Some(number) = own.pop_front() {
                self.running.insert(number);
                self.length -= 1;
            }
            if own.is_empty() {
                self.waiting.remove(&user);
            } else {
                self.users.push_back(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_who_asks_often_keeps_nobody_waiting() {
        let mut line = Line::new(1, 100);
        let greedy: Vec<_> = (0..10).map(|_| line.enter("greedy").unwrap()).collect();
        let modest = line.enter("modest").unwrap();
        let late = line.enter("late").unwrap();
        assert_eq!(line.running().collect::<Vec<_>>(), [greedy[0]]);
        assert_eq!(line.order()[..4], [greedy[1], modest, late, greedy[2]]);
        line.leave("greedy", greedy[0]);
        line.leave("greedy", greedy[1]);
        assert_eq!(line.running().collect::<Vec<_>>(), [modest]);
    }

    #[test]
    fn a_full_line_refuses_and_a_line_without_places_still_gives_turns() {
        let mut line = Line::new(2, 1);
        let first = line.enter("ada").unwrap();
        assert!(line.enter("ada").is_some() && line.enter("ada").is_some());
        assert_eq!(line.enter("bob"), None);
        line.leave("ada", first);
        assert!(line.enter("bob").is_some());
        let mut line = Line::new(1, 0);
        assert!(line.enter("ada").is_some());
        assert_eq!(line.enter("bob"), None);
    }

    #[test]
    fn an_estimate_is_the_median_of_the_last_turns_times_the_rounds_before() {
        let mut line = Line::new(2, 10);
        assert_eq!(line.estimate(1), None);
        for seconds in [1, 2, 60] {
            line.remember(Duration::from_secs(seconds));
        }
        let rounds = |rounds: u64| Some(Duration::from_secs(2 * rounds));
        assert_eq!(
            (line.estimate(1), line.estimate(2), line.estimate(3)),
            (rounds(1), rounds(1), rounds(2))
        );
        for _ in 0..REMEMBERED {
            line.remember(Duration::from_secs(5));
        }
        assert_eq!(line.usual(), Some(Duration::from_secs(5)));
        assert_eq!(line.took.len(), REMEMBERED);
    }

    const USERS: [&str; 4] = ["ada", "bob", "cyd", "dan"];

    proptest! {
        #[test]
        fn turns_are_never_idle_while_somebody_waits_and_go_to_users_in_rounds(
            steps in proptest::collection::vec((any::<bool>(), 0usize..4, any::<prop::sample::Index>()), 1..200),
            turns in 1usize..4, places in 0usize..12,
        ) {
            let mut line = Line::new(turns, places);
            let mut inside: Vec<(usize, Number)> = Vec::new();
            for (enters, user, index) in steps {
                let order = line.order();
                if enters {
                    let full = line.running().count() == turns && order.len() == places;
                    let number = line.enter(USERS[user]);
                    prop_assert_eq!(number.is_none(), full);
                    inside.extend(number.map(|number| (user, number)));
                } else if !inside.is_empty() {
                    let (user, number) = inside.swap_remove(index.index(inside.len()));
                    let had_turn = line.running().any(|running| running == number);
                    line.leave(USERS[user], number);
                    if had_turn && let Some(next) = order.first() {
                        prop_assert!(line.running().any(|running| running == *next), "the first is next");
                        prop_assert_eq!(&line.order(), &order[1..], "and the others keep their order");
                    }
                }
                let order = line.order();
                prop_assert_eq!(line.running().count() + order.len(), inside.len(), "nobody is lost");
                prop_assert!(line.running().count() == turns || order.is_empty(), "no turn is idle");
                prop_assert!(order.len() <= places);
                prop_assert_eq!(order.len(), line.length);
                prop_assert_eq!(line.users.len(), line.waiting.len());
                // Before anybody's n-th stand at most n of any other user.
                let whose = |number: &Number| inside.iter().find(|(_, other)| other == number).unwrap().0;
                let mut count = [0usize; 4];
                for number in &order {
                    let user = whose(number);
                    count[user] += 1;
                    prop_assert!(count.iter().all(|other| *other <= count[user]));
                }
            }
            for (user, number) in inside {
                line.leave(USERS[user], number);
            }
            prop_assert!(line.running.is_empty() && line.waiting.is_empty() && line.users.is_empty());
            prop_assert_eq!(line.length, 0);
        }
    }
}
