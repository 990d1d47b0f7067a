//! How a task of ECS came to its end, in words. Pure.

use aws_sdk_ecs::types::{Container, Task, TaskStopCode};

use crate::aws::plain;
use crate::compute::TaskEnd;

/// What is known of a task that ECS does not show any more, which it does for an hour after the end.
pub(super) const FORGOTTEN: &str = "gone (ECS does not know it any more)";

/// What ECS's own words begin with, and what is meant by it.
const MEANINGS: &[(&str, &str)] = &[
    ("CannotPullContainer", "the image could not be pulled"),
    ("CannotPullImage", "the image could not be pulled"),
    ("CannotCreateContainer", "the container could not be made"),
    ("CannotStartContainer", "the container could not be started"),
    ("ContainerRuntimeTimeout", "the container took too long to start or to stop"),
    ("ContainerRuntime", "the container could not be started"),
    ("OutOfMemory", "out of memory"),
    ("ResourceInitialization", "what the task needs could not be had"),
    ("TaskFailedToStart", "the task could not be started"),
    ("SpotInterruption", "Spot took the capacity back"),
];

/// In the reason of a task for which Fargate found no room after it had been taken.
const NO_CAPACITY: &str = "Capacity is unavailable at this time";

/// The end of a task that has stopped.
pub(super) fn end(task: &Task) -> TaskEnd {
    let container = task.containers().first();
    let reason = container.and_then(Container::reason).unwrap_or_default();
    let exit = container.and_then(Container::exit_code);
    let stopped = task.stopped_reason().unwrap_or_default();
    let no_capacity = stopped.contains(NO_CAPACITY);
    let told = match task.stop_code() {
        _ if no_capacity => Some("there was no room for it; try again in some minutes"),
        Some(TaskStopCode::SpotInterruption) => Some("AWS took back what it ran on"),
        _ => [reason, stopped].into_iter().find_map(meaning).map(|(_, meaning)| meaning),
    };
    TaskEnd {
        evidence: evidence(task.stop_code(), stopped, reason, exit),
        told: told.map(str::to_owned),
        no_capacity,
        exit_code: exit,
        log_tail: String::new(),
    }
}

fn evidence(code: Option<&TaskStopCode>, stopped: &str, reason: &str, exit: Option<i32>) -> String {
    // A container's reason says more than its task's, where there is one.
    let stated = [reason, stopped].into_iter().find(|words| !words.is_empty()).map(plain);
    let said = [reason, stopped].into_iter().find_map(explained).or_else(|| match code {
        Some(TaskStopCode::SpotInterruption) => Some("Spot took the capacity back".to_owned()),
        Some(TaskStopCode::TerminationNotice) => Some("ECS took the machine back".to_owned()),
        Some(TaskStopCode::TaskFailedToStart) => {
            let why = stated.unwrap_or("ECS does not say why".to_owned());
            Some(format!("it could not be started: {why}"))
        }
        // That its container ended is what the exit code says better.
        Some(TaskStopCode::EssentialContainerExited) if exit.is_some() => None,
        Some(_) | None => stated,
    });
    let exited = exit.map(|exit| match exit {
        129..=192 => format!("exit code {exit} (as after signal {})", exit - 128),
        exit => format!("exit code {exit}"),
    });
    let parts: Vec<String> = said.into_iter().chain(exited).collect();
    if parts.is_empty() { "gone (ECS does not say why)".to_owned() } else { parts.join("; ") }
}

fn meaning(words: &str) -> Option<(&'static str, &'static str)> {
    MEANINGS.iter().find(|(sign, _)| words.starts_with(sign)).copied()
}

/// What is meant, and what ECS said in its own words, which name the image, the mount and so on.
fn explained(words: &str) -> Option<String> {
    let (sign, meaning) = meaning(words)?;
    let rest = words[sign.len()..].trim_start_matches("Error").trim_start_matches([':', ' ']);
    Some(if rest.is_empty() { meaning.to_owned() } else { format!("{meaning}: {}", plain(rest)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_told_in_words_that_a_user_understands() {
        use TaskStopCode::{
            EssentialContainerExited, SpotInterruption, TaskFailedToStart, UserInitiated,
        };
        let exited = "Essential container in task exited";
        type Case = (Option<TaskStopCode>, &'static str, &'static str, Option<i32>, &'static str);
        let cases: &[Case] = &[
            (Some(EssentialContainerExited), exited, "", Some(64), "exit code 64"),
            (
                Some(EssentialContainerExited),
                exited,
                "",
                Some(137),
                "exit code 137 (as after signal 9)",
            ),
            (
                Some(EssentialContainerExited),
                exited,
                "OutOfMemoryError: Container killed due to memory usage",
                Some(137),
                "out of memory: Container killed due to memory usage; exit code 137 (as after signal 9)",
            ),
            (
                Some(TaskFailedToStart),
                "CannotPullContainerError: failed to resolve ref img:1: not found",
                "",
                None,
                "the image could not be pulled: failed to resolve ref img:1: not found",
            ),
            (
                Some(TaskFailedToStart),
                "Task failed to start",
                "CannotPullContainerError: img:1: not found",
                None,
                "the image could not be pulled: img:1: not found",
            ),
            (
                Some(TaskFailedToStart),
                "ResourceInitializationError: failed to invoke EFS utils: access denied",
                "",
                None,
                "what the task needs could not be had: failed to invoke EFS utils: access denied",
            ),
            (
                Some(TaskFailedToStart),
                "Timeout waiting for network interface provisioning to complete.",
                "",
                None,
                "it could not be started: Timeout waiting for network interface provisioning to \
                 complete.",
            ),
            (
                Some(SpotInterruption),
                "Your Spot Task was interrupted.",
                "",
                Some(143),
                "Spot took the capacity back; exit code 143 (as after signal 15)",
            ),
            (
                Some(UserInitiated),
                "stopped by its gateway",
                "",
                Some(0),
                "stopped by its gateway; exit code 0",
            ),
            (None, "", "", None, "gone (ECS does not say why)"),
            (None, "", "", Some(0), "exit code 0"),
            (None, "line\none\u{7}", "", None, "line one "),
        ];
        for (code, stopped, reason, exit, told) in cases {
            assert_eq!(evidence(code.as_ref(), stopped, reason, *exit), *told);
        }
    }

    #[test]
    fn what_ecs_says_never_fills_a_page() {
        let long = format!("CannotPullContainerError: {}", "x".repeat(100_000));
        assert!(evidence(None, &long, "", None).len() < 2048);
    }
}
