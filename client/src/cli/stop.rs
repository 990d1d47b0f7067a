//! `stop`: ends sessions, each whatever becomes of the others. Knows REST only.

use std::io::IsTerminal;

use serde::Serialize;
use shellgate_client::problem::plain;
use shellgate_client::session::Session;
use shellgate_protocol::SessionId;

use super::arguments::{Output, Stop};
use super::print::{aside, json, print};
use super::settings::Settings;
use super::{Failure, humane, resolve};

/// What became of one that was to be stopped.
#[derive(Serialize)]
struct Stopped {
    /// As it was asked for.
    asked: String,
    id: Option<SessionId>,
    name: Option<String>,
    /// There was nothing to stop any more. Unknown where it failed.
    had_ended: Option<bool>,
    /// Why it is not stopped.
    error: Option<String>,
}

/// Stops sessions. One that cannot be stopped keeps nobody from stopping the next.
pub async fn stop(settings: &Settings, stop: Stop) -> Result<u8, Failure> {
    let api = settings.api()?;
    let mut asked = Vec::new();
    for called in stop.sessions {
        let found = resolve::must_find(&api, &called).await;
        if let Err(failure) = &found {
            says_not_stopped(&called, &failure.message);
        }
        asked.push((called, found));
    }
    let sessions: Vec<_> = asked.iter().filter_map(|(_, found)| found.as_ref().ok()).collect();
    if !sessions.is_empty() && !stop.yes && !confirmed(&sessions)? {
        return Err(Failure::new("nothing was stopped"));
    }
    let mut done = Vec::new();
    let mut unsaid = None;
    for (asked, found) in asked {
        let session = match found {
            Ok(session) => session,
            Err(Failure { message, .. }) => {
                let error = Some(message);
                done.push(Stopped { asked, id: None, name: None, had_ended: None, error });
                continue;
            }
        };
        let label = plain(&resolve::label(&session));
        let (had_ended, error) = match api.stop(session.id).await {
            Ok(had_ended) => {
                if stop.output == Output::Table {
                    let what = if had_ended { "had ended already" } else { "is being stopped" };
                    unsaid = print(&format!("{label} {what}\n")).err().or(unsaid);
                }
                (Some(had_ended), None)
            }
            Err(error) => {
                let failure = Failure::from(error);
                says_not_stopped(&label, &failure.message);
                (None, Some(failure.message))
            }
        };
        done.push(Stopped { asked, id: Some(session.id), name: session.name, had_ended, error });
    }
    if stop.output == Output::Json {
        json(&done)?;
    }
    match unsaid {
        Some(failure) => Err(failure),
        None => Ok(u8::from(done.iter().any(|one| one.error.is_some()))),
    }
}

fn says_not_stopped(called: &str, why: &str) {
    aside(&format!("shellgate: {} is not stopped: {why}\n", plain(called)));
}

fn confirmed(sessions: &[&Session]) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("stop asks first: without a terminal, say --yes"));
    }
    let now = humane::now();
    let list: Vec<_> = sessions
        .iter()
        .map(|session| {
            let age = humane::age(&session.created_at, now);
            let label = plain(&resolve::label(session));
            format!("{label} ({}, {age} old)", session.state.name())
        })
        .collect();
    aside(&format!("Stop {}? Its programs are ended, files stay. [y/N] ", list.join(", ")));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::new(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
