//! The targets: what a run must show, and whether it did. Knows no way to measure.

use crate::rows::{Rows, show};

/// The system that the targets are about.
const PRODUCT: &str = "shellgate";

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
enum Against {
    /// Nothing: the figure itself counts.
    Nothing,
    /// The same figure of another system.
    System(&'static str),
    /// Another figure of the same system.
    Metric(&'static str),
}

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    metric: &'static str,
    against: Against,
    /// Whether more is better.
    at_least: bool,
    bound: f64,
}

/// How a target came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was to be shown.
    pub target: String,
    /// What was seen, with what it was held against.
    pub seen: String,
    /// `None` where it was not measured.
    pub passed: Option<bool>,
}

const fn most(metric: &'static str, bound: f64) -> Target {
    Target { metric, against: Against::Nothing, at_least: false, bound }
}

const fn beside_floor(metric: &'static str, bound: f64) -> Target {
    Target { metric, against: Against::System("floor"), at_least: false, bound }
}

const fn rate_beside_floor(metric: &'static str, bound: f64) -> Target {
    Target { metric, against: Against::System("floor"), at_least: true, bound }
}

/// All of them.
pub const TARGETS: [Target; 24] = [
    beside_floor("echo@100.p50", 1.15),
    beside_floor("echo@500.p50", 1.15),
    beside_floor("echo@500.p99", 1.15),
    beside_floor("echo@100.cpu.gateway", 1.1),
    beside_floor("echo@500.cpu.gateway", 1.1),
    rate_beside_floor("throughput@1.rate", 0.95),
    rate_beside_floor("throughput@8.rate", 0.95),
    beside_floor("throughput@1.cpu.total", 1.1),
    beside_floor("throughput@8.cpu.total", 1.1),
    most("mem@1000.gateway", 16.0),
    most("crowd@5000.gateway", 16.0),
    most("slow.growth.total", 2.0),
    most("slow.cpu.total", 0.05),
    most("slow.answer_after_stall", 0.1),
    Target {
        metric: "slow.others_stalled.p99",
        against: Against::Metric("slow.others_idle.p99"),
        at_least: false,
        bound: 1.2,
    },
    Target {
        metric: "slow.others_reading.p99",
        against: Against::Metric("slow.others_idle.p99"),
        at_least: false,
        bound: 2.0,
    },
    most("reconnect.lost@64KiB", 0.0),
    most("reconnect.lost@1024KiB", 0.0),
    most("reconnect.lost@16384KiB", 0.0),
    most("reconnect.repeated", 0.0),
    most("reconnect.midcut_lost", 0.0),
    most("reconnect.midcut_repeated", 0.0),
    Target {
        metric: "reconnect.same_shell",
        against: Against::Nothing,
        at_least: true,
        bound: 1.0,
    },
    Target { metric: "prompt.p50", against: Against::System("bwrap"), at_least: false, bound: 2.5 },
];

impl Target {
    /// Whether this run shows it.
    pub fn look(&self, rows: &Rows) -> Outcome {
        let sign = if self.at_least { "≥" } else { "≤" };
        let (base, whose) = match self.against {
            Against::Nothing => (None, String::new()),
            Against::System(system) => (Some((system, self.metric)), format!(" × {system}")),
            Against::Metric(metric) => (Some((PRODUCT, metric)), format!(" × {metric}")),
        };
        let target = format!("{} {sign} {}{whose}", self.metric, self.bound);
        let figure = rows.median(PRODUCT, self.metric);
        let value = match (figure, base.map(|(system, metric)| rows.median(system, metric))) {
            (Some(figure), None) => Some((figure, show(figure))),
            (Some(figure), Some(Some(base))) if base > 0.0 => {
                let ratio = figure / base;
                Some((ratio, format!("{ratio:.3} ({} / {})", show(figure), show(base))))
            }
            (_, _) => None,
        };
        match value {
            None => Outcome { target, seen: "not measured".into(), passed: None },
            Some((value, seen)) => {
                let passed = if self.at_least { value >= self.bound } else { value <= self.bound };
                Outcome { target, seen, passed: Some(passed) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(figures: &[(&'static str, &str, f64)]) -> Rows {
        let mut rows = Rows::default();
        for (system, metric, value) in figures {
            rows.system = system;
            rows.put(*metric, *value, "");
        }
        rows
    }

    #[test]
    fn a_ratio_is_held_against_the_yardstick_of_the_same_run() {
        let target = beside_floor("m", 1.1);
        let seen = |ours| target.look(&rows(&[("floor", "m", 10.0), ("shellgate", "m", ours)]));
        assert_eq!(seen(11.0).passed, Some(true));
        assert_eq!(seen(11.1).passed, Some(false));
        assert_eq!(target.look(&rows(&[("shellgate", "m", 1.0)])).passed, None);
    }

    #[test]
    fn a_rate_must_not_be_lower_and_a_figure_may_stand_alone() {
        let rate = rate_beside_floor("m", 0.95)
            .look(&rows(&[("floor", "m", 100.0), ("shellgate", "m", 94.0)]));
        assert_eq!(rate.passed, Some(false));
        assert_eq!(most("m", 0.0).look(&rows(&[("shellgate", "m", 0.0)])).passed, Some(true));
    }
}
