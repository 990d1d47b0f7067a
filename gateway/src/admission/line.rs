//! The line before the start of sessions, as values: who waits, whose turn it is, at which place
//! each stands. The next turn is of the user who has the fewest under way, and of those of the one
//! whose last turn was the longest ago: neither one who asks often nor one whose starts take long
//! keeps anybody else waiting. Knows no clock, no task, and nobody's reason to wait.

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
    /// How many of each user's have one. Never 0.
    under_way: HashMap<UserKey, usize>,
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
            under_way: HashMap::new(),
            users: VecDeque::new(),
            waiting: HashMap::new(),
            length: 0,
            took: VecDeque::new(),
        }
    }

    /// From now on there are so many turns at one time. Whoever has one keeps it.
    pub fn set_turns(&mut self, turns: usize) {
        self.turns = turns.max(1);
        self.fill();
    }

    /// Joins the line; `None` where it is full. Whoever finds a turn free has it at once.
    pub fn enter(&mut self, user: &str) -> Option<Number> {
        // A free turn means that nobody waits.
        if self.length >= self.places && self.running.len() >= self.turns {
            return None;
        }
        let number = self.number();
        let own = self.waiting.entry(user.into()).or_default();
        if own.is_empty() {
            self.users.push_back(user.into());
        }
        own.push_back(number);
        self.fill();
        Some(number)
    }

    /// Lets somebody in again who was let in before: also where the line is full, and as the first of
    /// all.
    pub fn enter_again(&mut self, user: &str) -> Number {
        let number = self.number();
        self.users.retain(|waiting| &**waiting != user);
        self.users.push_front(user.into());
        self.waiting.entry(user.into()).or_default().push_front(number);
        self.fill();
        number
    }

    fn number(&mut self) -> Number {
        let number = Number(self.next);
        self.next += 1;
        self.length += 1;
        number
    }

    /// Leaves the line, or gives back a turn.
    pub fn leave(&mut self, user: &str, number: Number) {
        if self.running.remove(&number) {
            if let Some(count) = self.under_way.get_mut(user) {
                *count -= 1;
                if *count == 0 {
                    self.under_way.remove(user);
                }
            }
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

    /// Everybody who waits, the next one first: in each round one of each user, a turn that is under
    /// way being as good as one that comes.
    pub fn order(&self) -> Vec<Number> {
        let mut order = Vec::with_capacity(self.length);
        let one = |user| (self.under_way(user), self.waiting[user].iter());
        let mut waiting: Vec<_> = self.users.iter().map(one).collect();
        let mut round = 0;
        while !waiting.is_empty() {
            waiting.retain_mut(|(had, own)| {
                if *had > round {
                    return true;
                }
                order.extend(own.next());
                own.len() > 0
            });
            round += 1;
        }
        order
    }

    /// Who has a turn, in the order in which they came.
    pub fn running(&self) -> impl Iterator<Item = Number> {
        self.running.iter().copied()
    }

    fn under_way(&self, user: &UserKey) -> usize {
        self.under_way.get(user).copied().unwrap_or(0)
    }

    fn fill(&mut self) {
        while self.running.len() < self.turns {
            let fewest = (0..self.users.len()).min_by_key(|at| self.under_way(&self.users[*at]));
            let Some(user) = fewest.and_then(|at| self.users.remove(at)) else { return };
            let Some(own) = self.waiting.get_mut(&user) else { continue };
            if let Some(number) = own.pop_front() {
                self.running.insert(number);
                *self.under_way.entry(user.clone()).or_default() += 1;
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
        assert_eq!(line.order()[..4], [modest, late, greedy[1], greedy[2]]);
        line.leave("greedy", greedy[0]);
        line.leave("greedy", greedy[1]);
        assert_eq!(line.running().collect::<Vec<_>>(), [modest]);
    }

    #[test]
    fn one_whose_starts_take_long_keeps_nobody_waiting() {
        let mut line = Line::new(4, 100);
        let slow: Vec<_> = (0..10).map(|_| line.enter("slow").unwrap()).collect();
        for slow in &slow[..6] {
            let quick = line.enter("quick").unwrap();
            line.leave("slow", *slow);
            assert!(line.running().any(|running| running == quick), "before those of the slow one");
            line.leave("quick", quick);
        }
    }

    #[test]
    fn one_who_was_let_in_before_is_let_in_again_and_is_the_next() {
        let mut line = Line::new(1, 1);
        let running = line.enter("ada").unwrap();
        let waiting = line.enter("bob").unwrap();
        let again = line.enter_again("cyd");
        assert_eq!(line.order(), [again, waiting]);
        let other = line.enter_again("bob");
        assert_eq!(line.order(), [other, again, waiting]);
        line.leave("ada", running);
        assert_eq!(line.running().collect::<Vec<_>>(), [other]);
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
                let before = line.order();
                if enters {
                    let full = line.running().count() == turns && before.len() == places;
                    let number = line.enter(USERS[user]);
                    prop_assert_eq!(number.is_none(), full);
                    inside.extend(number.map(|number| (user, number)));
                } else if !inside.is_empty() {
                    let (user, number) = inside.swap_remove(index.index(inside.len()));
                    line.leave(USERS[user], number);
                }
                let whose = |number: &Number| inside.iter().find(|(_, other)| other == number).unwrap().0;
                let mut count = [0usize; 4];
                line.running().for_each(|number| count[whose(&number)] += 1);
                for number in before.iter().filter(|number| line.running.contains(number)) {
                    let others = (0..4).filter(|user| line.waiting.contains_key(USERS[*user]));
                    let own = count[whose(number)] - 1;
                    prop_assert!(others.into_iter().all(|other| count[other] >= own), "the fewest first");
                }
                let order = line.order();
                prop_assert_eq!(line.running().count() + order.len(), inside.len(), "nobody is lost");
                prop_assert!(line.running().count() == turns || order.is_empty(), "no turn is idle");
                prop_assert!(order.len() <= places);
                prop_assert_eq!(order.len(), line.length);
                prop_assert_eq!(line.users.len(), line.waiting.len());
                // With what is under way, before anybody's n-th stand at most n of any other user's.
                let most = count;
                for number in &order {
                    let user = whose(number);
                    count[user] += 1;
                    prop_assert!((0..4).all(|other| count[other] <= count[user].max(most[other])));
                }
            }
            for (user, number) in inside {
                line.leave(USERS[user], number);
            }
            prop_assert!(line.running.is_empty() && line.waiting.is_empty() && line.users.is_empty());
            prop_assert!(line.under_way.is_empty());
            prop_assert_eq!(line.length, 0);
        }
    }
}
