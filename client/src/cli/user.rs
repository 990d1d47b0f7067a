//! `user remove`: has a user removed, and follows it to its end. Knows REST only.

use std::io::IsTerminal;
use std::time::Duration;

use shellgate_client::Api;
use shellgate_client::api::CallError;
use shellgate_client::problem::plain;
use shellgate_client::removal::{Removal, RemovalState};
use tokio::time::{Instant, sleep};

use super::Failure;
use super::arguments::{Output, RemoveUser};
use super::print::{aside, json, print};
use super::settings::Settings;

/// Between two looks how far it is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a gateway may be away meanwhile: it goes on with the removal when it is back.
const AWAY: Duration = Duration::from_secs(120);

/// Has a user removed.
pub async fn remove(settings: &Settings, asked: RemoveUser) -> Result<u8, Failure> {
    let api = settings.api()?;
    let called = plain(&format!("{} of {}", asked.user, asked.issuer));
    if !asked.yes && !confirmed(&called)? {
        return Err(Failure::new("nobody was removed"));
    }
    let begun = api.remove_user(&asked.issuer, &asked.user).await?;
    let removal = if asked.no_wait { begun } else { follow(&api, begun).await? };
    let failed = removal.state == RemovalState::Failed;
    match (asked.output, failed) {
        (Output::Json, _) => {
            json(&removal)?;
        }
        (Output::Table, false) => {
            print(&format!("{called}: {}\n", words(removal.state)))?;
        }
        (Output::Table, true) => {}
    }
    if failed {
        let why = plain(removal.failure.as_deref().unwrap_or("it does not say why"));
        return Err(Failure::new(format!(
            "{called} is not removed, and gets no session: {why}\nMend that, and say it again."
        )));
    }
    Ok(0)
}

/// Says how far it is whenever that changes, until it is over.
async fn follow(api: &Api, mut removal: Removal) -> Result<Removal, Failure> {
    let mut said = None;
    loop {
        let now = (removal.state, removal.failure.clone());
        if said.as_ref() != Some(&now) {
            let why = removal.failure.as_deref().map(|why| format!(" ({why}; it is tried again)"));
            if !matches!(removal.state, RemovalState::Done | RemovalState::Failed) {
                let why = plain(&why.unwrap_or_default());
                aside(&format!("{}{why} …\n", words(removal.state)));
            }
            said = Some(now);
        }
        if matches!(removal.state, RemovalState::Done | RemovalState::Failed) {
            return Ok(removal);
        }
        sleep(LOOK_AGAIN).await;
        removal = look(api, &removal.id).await?;
    }
}

async fn look(api: &Api, id: &str) -> Result<Removal, Failure> {
    let until = Instant::now() + AWAY;
    loop {
        match api.removal(id).await {
            Err(CallError::Unreachable { .. }) if Instant::now() < until => {
                sleep(LOOK_AGAIN).await;
            }
            answer => return Ok(answer?),
        }
    }
}

fn words(state: RemovalState) -> &'static str {
    match state {
        RemovalState::EndingSessions => "their sessions are being ended",
        RemovalState::DeletingFiles => "their files are being deleted",
        RemovalState::DeletingRecords => "what is stored of them is being deleted",
        RemovalState::Done => "removed",
        RemovalState::Failed => "not removed",
    }
}

fn confirmed(called: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("user remove asks first: without a terminal, say --yes"));
    }
    aside(&format!("Remove {called}? Their sessions are ended, all their files are lost. [y/N] "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::new(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
