//! `ls`, `show`, `ticket`: what is asked of sessions from outside. Knows REST only.

use shellgate_client::api::Which;
use shellgate_client::session::Session;
use shellgate_protocol::client_leg::Role;

use super::arguments::{Ls, Output, Show, Ticket};
use super::print::{aside, json, print};
use super::settings::Settings;
use super::{Failure, humane, resolve, table};

/// Lists sessions.
pub async fn ls(settings: &Settings, ls: Ls) -> Result<u8, Failure> {
    let api = settings.api()?;
    let sessions = if ls.ended {
        api.list(Which { state: None, all: ls.all }).await?
    } else {
        api.list_unended(ls.all).await?
    };
    if ls.output == Output::Json {
        return json(&sessions);
    }
    if sessions.is_empty() {
        aside("No sessions. `shellgate new` starts one.\n");
        return Ok(0);
    }
    let now = humane::now();
    let mut head = vec!["NAME", "STATE", "AGE", "TEMPLATE", "ATTACHED", "ID"];
    if ls.all {
        head.insert(0, "OWNER");
    }
    if ls.ended {
        head.insert(head.len() - 1, "END");
    }
    let rows: Vec<_> = sessions.iter().map(|session| row(session, &ls, now)).collect();
    print(&table::table(&head, &rows))
}

fn row(session: &Session, ls: &Ls, now: u64) -> Vec<String> {
    let mut row = vec![
        session.name.clone().unwrap_or_else(|| "-".to_owned()),
        session.state.name().to_owned(),
        humane::age(&session.created_at, now),
        session.template.clone(),
        attached(session),
        session.id.to_string(),
    ];
    if ls.ended {
        let end = session.ended.as_ref().map_or_else(
            || "-".to_owned(),
            |ended| humane::end(ended.reason, ended.code, ended.signal.as_deref()),
        );
        row.insert(row.len() - 1, end);
    }
    if ls.all {
        let owner = session.owner.as_ref().map_or("-", |owner| &owner.user);
        row.insert(0, owner.to_owned());
    }
    row
}

fn attached(session: &Session) -> String {
    match (session.attached, session.observers) {
        (false, 0) => "nobody".to_owned(),
        (true, 0) => "driver".to_owned(),
        (false, n) => format!("{n} watching"),
        (true, n) => format!("driver, {n} watching"),
    }
}

/// Shows one session.
pub async fn show(settings: &Settings, show: Show) -> Result<u8, Failure> {
    let api = settings.api()?;
    let session = resolve::must_find_even_ended(&api, &show.session).await?;
    if show.output == Output::Json {
        return json(&session);
    }
    print(&described(&session, humane::now()))
}

fn described(session: &Session, now: u64) -> String {
    let mut lines = vec![
        ("id", session.id.to_string()),
        ("name", session.name.clone().unwrap_or_else(|| "-".to_owned())),
        ("state", session.state.name().to_owned()),
        ("template", session.template.clone()),
        ("made", humane::distance(&session.created_at, now)),
        ("attached", attached(session)),
        ("launch", session.launch.to_string()),
    ];
    if let Some(phase) = session.phase {
        lines.push(("phase", humane::phase(phase).to_owned()));
    }
    if let Some(owner) = &session.owner {
        lines.push(("owner", format!("{} (of {})", owner.user, owner.issuer)));
    }
    lines.extend(session.network.clone().map(|network| ("network", network)));
    if let Some(at) = &session.idle_at {
        lines.push(("idle stop", humane::distance(at, now)));
    }
    if let Some(at) = &session.ends_at {
        lines.push(("longest life", humane::distance(at, now)));
    }
    if let Some(ended) = &session.ended {
        let reason = humane::reason(ended.reason);
        lines.push(match &ended.at {
            Some(at) => ("ended", format!("{}: {reason}", humane::distance(at, now))),
            None => ("ends", reason.to_owned()),
        });
        let code = ended.code.map(|code| format!("exit status {code}"));
        let signal = ended.signal.as_ref().map(|signal| format!("signal {signal}"));
        lines.extend(code.or(signal).map(|status| ("status", status)));
        lines.extend(ended.detail.clone().map(|detail| ("because", detail.trim().to_owned())));
        lines.extend(ended.evidence.clone().map(|evidence| ("evidence", evidence)));
    }
    let plain = shellgate_client::problem::plain;
    lines.iter().map(|(key, value)| format!("{key:<13} {}\n", plain(value))).collect()
}

/// Gets a ticket.
pub async fn ticket(settings: &Settings, ticket: Ticket) -> Result<u8, Failure> {
    let api = settings.api()?;
    let session = resolve::must_find(&api, &ticket.session).await?;
    let role = if ticket.observe { Role::Observer } else { Role::Driver };
    let origin = ticket.origin.as_ref().unwrap_or(&settings.endpoint).origin();
    let got = api.ticket(session.id, role, &origin).await?;
    if ticket.output == Output::Json {
        return json(&got);
    }
    let holds = humane::duration(got.expires_in);
    aside(&format!("It holds for {holds}, once, for pages of {origin}.\n"));
    print(&format!("{}\n", shellgate_client::problem::plain(&got.ticket)))
}
