//! How the end of a session is told, to machines and to people. Pure.

use shellgate_protocol::CloseCode;
use shellgate_protocol::client_leg::{EndReason, ExitStatus};

use super::Record;

/// How the clients of a session that is over are told.
#[must_use]
pub fn farewell_of(record: &Record) -> (CloseCode, String) {
    let (code, mut text) = farewell_for(record.life.reason);
    if let Some(told) = &record.detail.told {
        text.push_str(": ");
        text.push_str(told);
    }
    (code, text)
}

/// The same, where the reason is all that is known yet.
#[must_use]
pub fn farewell_for(reason: Option<EndReason>) -> (CloseCode, String) {
    match reason {
        Some(EndReason::Idle) => (CloseCode::Idle, "stopped: nobody worked in it".to_owned()),
        Some(EndReason::Exited) => (CloseCode::Normal, "ended".to_owned()),
        Some(reason) => (CloseCode::Ended, format!("ended: {}", words(reason))),
        None => (CloseCode::Ended, "ended".to_owned()),
    }
}

/// Why a session ended, as a person reads it.
#[must_use]
pub fn words(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Exited => "its program ended",
        EndReason::Stopped => "it was stopped",
        EndReason::Idle => "nobody worked in it",
        EndReason::Lifetime => "it reached its longest life",
        EndReason::StartFailed => "it could not be started",
        EndReason::Lost => "its task was lost",
        EndReason::Compromised => "its enrolment token was used by somebody else",
        EndReason::Shutdown => "the gateway was stopped, and its tasks with it",
    }
}

/// How it ended, as a client is shown: the program's own status, or the session's.
#[must_use]
pub fn status_of(record: &Record) -> ExitStatus {
    match &record.detail.exit {
        Some(exit) => exit.status.clone(),
        None => {
            let reason = record.life.reason.unwrap_or(EndReason::Lost);
            let generic = (reason == EndReason::StartFailed).then(|| words(reason).to_owned());
            let detail = record.detail.told.clone().or(generic);
            ExitStatus { code: None, signal: None, reason, detail }
        }
    }
}
