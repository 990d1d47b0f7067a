//! A session as the API shows it. Knows no request.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use shellgate_protocol::client_leg::{EndReason, Mode, Phase};
use shellgate_protocol::{Launch, SessionId};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::document::schemas;
use crate::clock;
use crate::core::{Core, Way};
use crate::peers::call::ask;
use crate::registry::Handle;
use crate::session::{Record, State};
use crate::store::Kept;

/// A session, as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(title = "Session")]
pub struct SessionView {
    /// Its id: `ses_` and 32 hexadecimal digits.
    #[schema(value_type = schemas::SessionId)]
    pub id: SessionId,
    /// Its name, unique per user while it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it runs.
    pub template: String,
    /// Where it is in its life.
    pub state: State,
    /// What it waits for, while it has no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::Phase>)]
    pub phase: Option<Phase>,
    /// Which task of the session runs.
    #[schema(value_type = u32)]
    pub launch: Launch,
    /// How its program runs: `terminal` or `lines`.
    #[schema(value_type = schemas::Mode)]
    pub mode: Mode,
    /// When it was asked for (RFC 3339).
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Whether somebody drives it.
    pub attached: bool,
    /// How many watch it.
    pub observers: u32,
    /// Whose it is: shown to operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// When it is stopped as idle unless somebody works (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub idle_at: Option<String>,
    /// When its longest life ends (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
    /// What its program reaches: `none` is no network at all, `operator` what the operator's network
    /// lets through.
    pub network: &'static str,
    /// How it ended, or is ending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedView>,
}

/// Whose a session is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Owner {
    /// Who vouches for the user.
    pub issuer: String,
    /// What the issuer calls the user.
    pub user: String,
}

/// How a session ended.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EndedView {
    /// Why.
    #[schema(value_type = schemas::EndReason)]
    pub reason: EndReason,
    /// Its program's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What its user should know besides: why it could not be started, the end of what a line-mode
    /// program wrote on stderr.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When its task was gone (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub at: Option<String>,
    /// What shows that it ended so: for operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// What only a session's keeper knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Live {
    /// What it waits for, while it has no link.
    phase: Option<Phase>,
    /// Whether somebody drives it.
    attached: bool,
    /// How many watch it.
    observers: u32,
    /// When it is stopped as idle, in milliseconds since the Unix epoch.
    idle_ms: Option<i64>,
}

impl Live {
    /// Of a session that this gateway keeps.
    #[must_use]
    pub fn of(handle: &Handle) -> Self {
        let activity = &handle.activity;
        Self {
            phase: handle.view.borrow().waiting.map(|waiting| waiting.phase),
            attached: activity.driver.load(Ordering::Relaxed),
            observers: activity.observers.load(Ordering::Relaxed),
            idle_ms: Some(activity.idle_ms.load(Ordering::Relaxed)).filter(|at| *at > 0),
        }
    }
}

/// The same of those of these sessions that other gateways keep, as far as they answer.
pub async fn live_elsewhere(core: &Core, sessions: &[Kept]) -> HashMap<SessionId, Live> {
    let mut of: HashMap<&str, Vec<SessionId>> = HashMap::new();
    for kept in sessions.iter().filter(|kept| kept.record.life.state != State::Ended) {
        let id = kept.record.id;
        match kept.gateway.as_deref() {
            Some(gateway) if core.registry.get(id).is_none() && gateway != core.store.gateway() => {
                of.entry(gateway).or_default().push(id);
            }
            Some(_) | None => {}
        }
    }
    let asked = of.into_iter().map(async |(gateway, ids)| {
        let answer = ask::<_, Vec<(SessionId, Live)>>(core, gateway, "/peer/live", &ids).await;
        answer.unwrap_or_else(|error| {
            tracing::info!(gateway, %error, "what another gateway knows of its sessions is left out");
            Vec::new()
        })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// A session as the API shows it.
#[must_use]
pub fn view_of(core: &Core, record: &Record, live: Option<&Live>, operator: bool) -> SessionView {
    let state = record.life.state;
    let exit = record.detail.exit.as_ref();
    let over = matches!(state, State::Stopping | State::Ended);
    let ended = (over || exit.is_some()).then(|| EndedView {
        reason: record
            .life
            .reason
            .or_else(|| exit.map(|exit| exit.status.reason))
            .unwrap_or(EndReason::Lost),
        code: exit.and_then(|exit| exit.status.code),
        signal: exit.and_then(|exit| exit.status.signal.clone()),
        detail: exit
            .and_then(|exit| exit.status.detail.clone())
            .or_else(|| record.detail.told.clone()),
        at: record.ended_ms.map(clock::rfc3339),
        evidence: record.detail.evidence.clone().filter(|_| operator),
    });
    SessionView {
        id: record.id,
        name: record.name.clone(),
        template: record.detail.template.clone(),
        state,
        phase: live.and_then(|live| live.phase),
        launch: record.life.link.launch,
        mode: record.detail.mode,
        created_at: clock::rfc3339(record.created_ms),
        attached: live.is_some_and(|live| live.attached),
        observers: live.map_or(0, |live| live.observers),
        owner: operator.then(|| Owner {
            issuer: record.owner.issuer().to_owned(),
            user: record.owner.subject().to_owned(),
        }),
        idle_at: live.and_then(|live| live.idle_ms).map(clock::rfc3339),
        ends_at: record.detail.ends_ms.filter(|_| !over).map(clock::rfc3339),
        network: match core.way {
            Way::Sockets => "none",
            Way::Network { .. } => "operator",
        },
        ended,
    }
}

/// How long ago, of a session's waiting phase.
#[must_use]
pub fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
