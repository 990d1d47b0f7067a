//! What can break, and how often each thing does. Knows no world to break.

use super::dice::Dice;

/// One break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// The client's cable is cut: both ends see an end.
    Cable,
    /// It is cut, and both ends see a reset.
    CableReset,
    /// It is cut once so many more bytes of output have passed.
    CableInOutput(u64),
    /// It is cut once so many more bytes of input have passed.
    CableInInput(u64),
    /// Nothing passes for so many milliseconds, and neither end is told.
    Stall(u64),
    /// It is cut, and cannot be plugged in again for so many milliseconds.
    Unplugged(u64),
    /// The link between bridge and gateway is cut.
    Link,
    /// It is cut once so many more bytes have come from the bridge.
    LinkInOutput(u64),
    /// The gateway is killed, and started again after so many milliseconds.
    GatewayKilled(u64),
    /// The gateway is stopped in good order, and started again after so many milliseconds.
    GatewayStopped(u64),
    /// The client leaves once its input is applied, and another process goes on.
    ClientLeft,
    /// The client is gone from one instant to the next, and another process goes on.
    ClientKilled,
    /// Another client takes over from one that types.
    TakenOver,
    /// All of these before any of them has healed.
    AtOnce(Vec<Break>),
}

/// Makes a break.
type Roll = fn(&mut Dice) -> Break;

/// Each break with how often it is rolled, out of the sum.
const WEIGHTS: [(u64, Roll); 13] = [
    (11, |_| Break::Cable),
    (8, |_| Break::CableReset),
    (14, |dice| Break::CableInOutput(dice.size(1..=512 * 1024))),
    (10, |dice| Break::CableInInput(dice.size(1..=64 * 1024))),
    (7, |dice| Break::Stall(dice.roll(20..=1000))),
    (5, |dice| Break::Unplugged(dice.roll(20..=300))),
    (14, |_| Break::Link),
    (8, |dice| Break::LinkInOutput(dice.size(1..=512 * 1024))),
    (8, |dice| Break::GatewayKilled(dice.roll(0..=300))),
    (5, |dice| Break::GatewayStopped(dice.roll(0..=300))),
    (4, |_| Break::ClientLeft),
    (4, |_| Break::ClientKilled),
    (3, |_| Break::TakenOver),
];

/// How often several things break at once, out of a hundred.
const AT_ONCE: u64 = 8;

impl Break {
    /// A break at random.
    #[must_use]
    pub fn roll(dice: &mut Dice) -> Self {
        if dice.chance(AT_ONCE) {
            let all = [Self::Cable, Self::Link, Self::GatewayKilled(dice.roll(0..=300))];
            let without = usize::try_from(dice.roll(0..=3)).unwrap_or_default();
            let each = all.into_iter().enumerate().filter(|(at, _)| *at != without);
            return Self::AtOnce(each.map(|(_, one)| one).collect());
        }
        let sum = WEIGHTS.iter().map(|(weight, _)| weight).sum();
        let mut rolled = dice.roll(1..=sum);
        for (weight, roll) in WEIGHTS {
            if rolled <= weight {
                return roll(dice);
            }
            rolled -= weight;
        }
        Self::Cable
    }

    /// How many breaks this is.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::AtOnce(each) => each.len() as u64,
            _ => 1,
        }
    }

    /// What it is called in the summary.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cable | Self::CableInOutput(_) | Self::CableInInput(_) => "cable cut",
            Self::CableReset => "cable reset",
            Self::Stall(_) => "stall",
            Self::Unplugged(_) => "unplugged",
            Self::Link | Self::LinkInOutput(_) => "link cut",
            Self::GatewayKilled(_) => "gateway killed",
            Self::GatewayStopped(_) => "gateway stopped",
            Self::ClientLeft => "client left",
            Self::ClientKilled => "client killed",
            Self::TakenOver => "taken over",
            Self::AtOnce(_) => "at once",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_hundred_breaks_have_every_kind_among_them_and_are_the_same_again() {
        let rolled = || {
            let mut dice = Dice::new(12);
            (0..200).map(|_| Break::roll(&mut dice)).collect::<Vec<_>>()
        };
        let names: BTreeSet<_> = rolled().iter().map(Break::name).collect();
        assert_eq!(names.len(), 11, "{names:?}");
        assert_eq!(rolled(), rolled());
    }
}
