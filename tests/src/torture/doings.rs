//! What people do with a session while other things break, and how often. Knows no session.

use shellgate_protocol::TerminalSize;

use super::dice::Dice;

/// Observers that are there at the same time, at most. Each is sent all of the output.
const OBSERVERS: usize = 2;

/// Something that somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// An observer comes: where the driver is, or, `anew`, at the screen as it is.
    Comes {
        /// Which of them.
        anew: bool,
    },
    /// The observer who came first leaves.
    Leaves,
    /// The observer who came first is gone from one instant to the next.
    Vanishes,
    /// The driver changes the terminal's size.
    Resizes(TerminalSize),
    /// The driver sends the program a signal.
    Signals,
}

impl Doing {
    /// What is done before each of so many breaks.
    #[must_use]
    pub fn plan(dice: &mut Dice, breaks: usize) -> Vec<Vec<Self>> {
        let mut watching = 0;
        (0..breaks).map(|_| Self::roll(dice, &mut watching)).collect()
    }

    fn roll(dice: &mut Dice, watching: &mut usize) -> Vec<Self> {
        let mut doings = Vec::new();
        if *watching > 0 && dice.chance(20) {
            *watching -= 1;
            doings.push(if dice.chance(50) { Self::Leaves } else { Self::Vanishes });
        }
        if *watching < OBSERVERS && dice.chance(35) {
            *watching += 1;
            doings.push(Self::Comes { anew: dice.chance(50) });
        }
        if dice.chance(40) {
            // Of either edge less than a thousand.
            let [cols, rows] = [20..=300, 5..=120].map(|edge| dice.roll(edge) as u16);
            doings.extend(TerminalSize::new(cols, rows).map(Self::Resizes));
        }
        if dice.chance(40) {
            doings.push(Self::Signals);
        }
        doings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_and_nobody_leaves_who_has_not_come() {
        let plan = || Doing::plan(&mut Dice::new(4), 60);
        let mut watching = 0_usize;
        let mut done = [0; 5];
        for doing in plan().into_iter().flatten() {
            let number = match doing {
                Doing::Comes { .. } => 0,
                Doing::Leaves => 1,
                Doing::Vanishes => 2,
                Doing::Resizes(_) => 3,
                Doing::Signals => 4,
            };
            done[number] += 1;
            watching += usize::from(number == 0);
            watching = watching.checked_sub(usize::from([1, 2].contains(&number))).expect("came");
            assert!(watching <= OBSERVERS);
        }
        assert!(done.iter().all(|count| *count > 0), "{done:?}");
        assert_eq!(plan(), plan());
    }
}
