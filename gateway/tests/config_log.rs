//! Log lines go to standard error, in the form and from the level that is configured.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

use shellgate_gateway::config::{Log, LogFormat};
use shellgate_gateway::telemetry;

/// Runs one of the ignored tests below in a process of its own, and returns what it logged.
fn logged(inner: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program)
        .args(["--exact", inner, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    String::from_utf8(run.stderr).unwrap()
}

fn speak(format: LogFormat) {
    telemetry::start(&Log { format, filter: "config_log=info".into() }).unwrap();
    tracing::info!(answer = 6 * 7, "heard");
    tracing::debug!("not heard");
    assert!(telemetry::start(&Log { format, filter: "info".into() }).is_err(), "once in a process");
}

#[test]
fn json_is_one_object_a_line() {
    let lines = logged("speaking_json");
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["message"], &lines[0]["answer"]), (&"heard".into(), &42.into()));
    assert_eq!(lines[0]["level"], "INFO");
}

#[test]
fn away_from_a_terminal_lines_are_json_unless_plain_is_asked_for() {
    assert!(logged("speaking_as_it_likes").starts_with('{'));
    let plain = logged("speaking_plainly");
    assert!(plain.contains("INFO") && plain.contains("heard answer=42"), "{plain}");
    assert!(!plain.contains("not heard") && !plain.contains('\u{1b}'), "{plain}");
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn speaking_json() {
    speak(LogFormat::Json);
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn speaking_plainly() {
    speak(LogFormat::Plain);
}

#[test]
#[ignore = "run by the others, in a process of its own"]
fn speaking_as_it_likes() {
    speak(LogFormat::Auto);
}
