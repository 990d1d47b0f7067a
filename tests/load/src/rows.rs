//! What was measured: rows, their medians, and percentiles. Knows no metric.

use std::fs::File;
use std::io::Write;

/// One figure of one round.
#[derive(Debug, Clone)]
pub struct Row {
    /// From 1.
    pub round: usize,
    /// Of which system.
    pub system: &'static str,
    /// What was measured.
    pub metric: String,
    /// The figure.
    pub value: f64,
    /// What it counts.
    pub unit: &'static str,
}

/// All rows; each is printed as it comes, and written to a file.
#[derive(Default)]
pub struct Rows {
    /// The rows.
    pub all: Vec<Row>,
    /// Where they go besides.
    pub file: Option<File>,
    /// The round that rows are put for.
    pub round: usize,
    /// The system that rows are put for.
    pub system: &'static str,
}

impl Rows {
    /// Adds a figure.
    pub fn put(&mut self, metric: impl Into<String>, value: f64, unit: &'static str) {
        let row =
            Row { round: self.round, system: self.system, metric: metric.into(), value, unit };
        self.say(&format!(
            "{}\t{}\t{}\t{}\t{}",
            row.round,
            row.system,
            row.metric,
            show(row.value),
            row.unit
        ));
        self.all.push(row);
    }

    /// Prints a line, and writes it to the file.
    pub fn say(&mut self, line: &str) {
        println!("{line}");
        if let Some(file) = &mut self.file {
            // A full disk costs the file, not the run.
            let _ = writeln!(file, "{line}");
        }
    }

    /// The figures of a metric over all rounds, sorted.
    pub fn values(&self, system: &str, metric: &str) -> Vec<f64> {
        let of = |row: &&Row| row.system == system && row.metric == metric && !row.value.is_nan();
        let mut values: Vec<f64> = self.all.iter().filter(of).map(|row| row.value).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The median of a metric over all rounds; `None` where it was not measured.
    pub fn median(&self, system: &str, metric: &str) -> Option<f64> {
        let values = self.values(system, metric);
        (!values.is_empty()).then(|| median(&values))
    }

    /// Every metric with its unit, in the order in which they first came.
    pub fn metrics(&self) -> Vec<(&str, &'static str)> {
        let mut metrics: Vec<(&str, &'static str)> = Vec::new();
        for row in &self.all {
            if !metrics.iter().any(|(known, _)| *known == row.metric) {
                metrics.push((&row.metric, row.unit));
            }
        }
        metrics
    }
}

/// About four significant digits, never in exponent form.
pub fn show(value: f64) -> String {
    if value.is_nan() {
        "nan".into()
    } else if value == value.trunc() || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The nearest-rank percentile of sorted values.
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    // Less a hair: 99.9 % of 1000 is not quite 999 in binary.
    let rank = (percent / 100.0 * sorted.len() as f64 - 1e-9).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), 500.0);
        assert_eq!(percentile(&values, 99.0), 990.0);
        assert_eq!(percentile(&values, 99.9), 999.0);
        assert_eq!(percentile(&values[..1], 99.9), 1.0);
        assert!(percentile(&[], 50.0).is_nan());
    }

    #[test]
    fn a_median_lies_in_the_middle_of_all_rounds() {
        let mut rows = Rows { system: "a", ..Rows::default() };
        for value in [3.0, 1.0, f64::NAN, 2.0, 10.0] {
            rows.put("m", value, "ms");
        }
        assert_eq!(rows.median("a", "m"), Some(2.5));
        assert_eq!(rows.median("b", "m"), None);
    }
}
