//! A run as text: the outcome of every target, and a table of all medians with their ratios to the
//! yardstick, for a terminal, for machines and for `docs/performance.md`.

use std::fmt::Write;

use crate::rows::{Rows, show};
use crate::target::{Outcome, TARGETS};

/// The system that ratios are given against.
const YARDSTICK: &str = "floor";

/// Every target and how it came out.
pub fn outcomes(rows: &Rows) -> Vec<Outcome> {
    TARGETS.iter().map(|target| target.look(rows)).collect()
}

fn word(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "pass",
        Some(false) => "MISS",
        None => "-",
    }
}

/// For a terminal.
pub fn plain(rows: &Rows) -> String {
    let mut text = String::from("\n");
    for Outcome { target, seen, passed } in outcomes(rows) {
        let _ = writeln!(text, "{:<4} {target:<60} {seen}", word(passed));
    }
    text
}

/// For machines: metric, system, median, smallest, largest, rounds, unit, ratio.
pub fn tsv(rows: &Rows) -> String {
    let mut text =
        String::from("#summary\tmetric\tsystem\tmedian\tmin\tmax\trounds\tunit\tratio_to_floor\n");
    for line in lines(rows) {
        let ratio = line.ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.3}"));
        let _ = writeln!(
            text,
            "summary\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{ratio}",
            line.metric,
            line.system,
            show(line.median),
            show(line.least),
            show(line.most),
            line.rounds,
            line.unit
        );
    }
    text
}

/// For `docs/performance.md`.
pub fn markdown(rows: &Rows, machine: &str) -> String {
    let mut text = format!("{machine}.\n\n| target | seen | |\n|---|---|---|\n");
    for Outcome { target, seen, passed } in outcomes(rows) {
        let _ = writeln!(text, "| `{target}` | {seen} | {} |", word(passed));
    }
    text.push_str(
        "\n| figure | system | median | least to most | × floor |\n|---|---|--:|--:|--:|\n",
    );
    for line in lines(rows) {
        let ratio = line.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let range = match line.rounds {
            1 => String::new(),
            _ => format!("{} to {}", show(line.least), show(line.most)),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} {} | {range} | {ratio} |",
            line.metric,
            line.system,
            show(line.median),
            line.unit
        );
    }
    text
}

struct Line<'a> {
    metric: &'a str,
    system: &'static str,
    unit: &'static str,
    median: f64,
    least: f64,
    most: f64,
    rounds: usize,
    ratio: Option<f64>,
}

fn lines(rows: &Rows) -> Vec<Line<'_>> {
    let mut systems: Vec<&'static str> = Vec::new();
    for row in &rows.all {
        if !systems.contains(&row.system) {
            systems.push(row.system);
        }
    }
    let mut lines = Vec::new();
    for (metric, unit) in rows.metrics() {
        let base = rows.median(YARDSTICK, metric).filter(|base| *base > 0.0);
        for &system in &systems {
            let values = rows.values(system, metric);
            let (Some(median), [least, .., most] | [least @ most]) =
                (rows.median(system, metric), &values[..])
            else {
                continue;
            };
            let (least, most, rounds) = (*least, *most, values.len());
            let ratio = base.map(|base| median / base);
            lines.push(Line { metric, system, unit, median, least, most, rounds, ratio });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_stands_beside_the_yardsticks() {
        let mut rows = Rows::default();
        for (system, value) in [("floor", 2.0), ("shellgate", 3.0), ("shellgate", 5.0)] {
            rows.system = system;
            rows.put("m", value, "ms");
        }
        let text = tsv(&rows);
        assert!(text.contains("summary\tm\tfloor\t2\t2\t2\t1\tms\t1.000"), "{text}");
        assert!(text.contains("summary\tm\tshellgate\t4\t3\t5\t2\tms\t2.000"), "{text}");
    }

    #[test]
    fn a_target_that_nobody_measured_is_neither_passed_nor_missed() {
        assert!(outcomes(&Rows::default()).iter().all(|outcome| outcome.passed.is_none()));
    }
}
