//! The waiting room: a client whose session has no link yet, or has lost it, is told what is going
//! on until it can join the relay. Also where clients of a session that has ended are seen off.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::mpsc::TrySendError;
use futures_util::{SinkExt, StreamExt};
use shellgate_protocol::client_leg::{
    Attach, GapReason, InputStart, Limits, OutputStart, Phase, Resume, Role,
};
use shellgate_protocol::frame::{Frame, Kind};
use shellgate_protocol::limits::{
    CONTROL_MAX, CONTROL_PER_SECOND, LAST_SCREEN_MAX, OUTPUT_FRAME_MAX, PING_SECONDS,
    SILENCE_SECONDS,
};
use shellgate_protocol::{CloseCode, FromClient, Object, Offset, ToClient};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::following::follow;
use super::view::elapsed_ms;
use crate::core::Core;
use crate::registry::{Handle, View};
use crate::relay::{Arrival, Budget, Command, Dialect, Joining};
use crate::session::ending::{farewell_of, status_of};
use crate::session::{Record, State};
use crate::websocket::{farewell, fault};

/// How often a waiting client is told how long it has waited.
const PROGRESS: Duration = Duration::from_secs(1);

/// How long a waiting client may leave unread what it is told, and be silent.
const UNREAD: Duration = Duration::from_secs(SILENCE_SECONDS);

/// Waits with a client until it can join, and hands it over.
pub async fn wait(core: Arc<Core>, handle: Handle, attach: Attach, mut arrival: Arrival) {
    let mut view = handle.view.clone();
    let began = Instant::now();
    let mut heard = began;
    let mut budget = Budget::new(CONTROL_PER_SECOND, 0);
    loop {
        let now = view.borrow_and_update().clone();
        if now.record.life.state == State::Ended {
            return see_off(&core, &now.record, &attach, arrival).await;
        }
        if let Some(relay) = &now.relay {
            let joining = Command::Join(Box::new(Joining { attach: attach.clone(), arrival }));
            let mut relay = relay.clone();
            let _ = poll_fn(|cx| relay.poll_ready(cx)).await;
            match relay.try_send(joining).map_err(TrySendError::into_inner) {
                Ok(()) => return,
                // That relay has just ended; the keeper is about to say so.
                Err(Command::Join(joining)) => arrival = joining.arrival,
                Err(_) => return,
            }
        }
        if arrival.is_framed() {
            let told = match starting(&now) {
                Some(starting) => tell(&mut arrival, &starting).await,
                None => true,
            };
            if !(told && ping(&mut arrival, heard).await) {
                return;
            }
        }
        tokio::select! {
            changed = view.changed() => {
                if changed.is_err() {
                    let record = view.borrow().record.clone();
                    return leave(core, &record, attach, arrival).await;
                }
            }
            () = tokio::time::sleep(PROGRESS) => {}
            // A client that sends bare bytes can't know when it may: it is read once it is attached.
            message = arrival.socket.next(), if arrival.is_framed() => {
                let now_ms = elapsed_ms(began);
                heard = Instant::now();
                if let Err((code, reason)) = hear(message, &mut arrival, &mut budget, now_ms).await {
                    return farewell(arrival.socket, VecDeque::new(), code, reason).await;
                }
            }
        }
        if arrival.is_framed() && heard.elapsed() > UNREAD {
            let reason = "nothing was heard for too long".to_owned();
            return farewell(arrival.socket, VecDeque::new(), CloseCode::GoingAway, reason).await;
        }
        if Instant::now() >= arrival.authentic_until {
            let reason = "the token has run out".to_owned();
            let code = CloseCode::Unauthenticated;
            return farewell(arrival.socket, VecDeque::new(), code, reason).await;
        }
    }
}

/// What a waiting client is told to wait for: nothing where only the end can come.
fn starting(view: &View) -> Option<ToClient> {
    let between = match view.record.life.state {
        State::Starting => Phase::Queued,
        State::Live | State::Severed => Phase::Reconnecting,
        State::Stopping | State::Ended => return None,
    };
    Some(match view.waiting {
        Some(waiting) => ToClient::Starting {
            phase: waiting.phase,
            position: waiting.position,
            elapsed_ms: elapsed_ms(waiting.since),
            expected_ms: waiting.expected_ms,
        },
        // Between two phases.
        None => {
            ToClient::Starting { phase: between, position: None, elapsed_ms: 0, expected_ms: 0 }
        }
    })
}

async fn hear(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    arrival: &mut Arrival,
    budget: &mut Budget,
    now_ms: u64,
) -> Result<(), (CloseCode, String)> {
    let bad = |what: &str| Err((CloseCode::BadRequest, what.to_owned()));
    if !budget.take(now_ms) {
        return bad("too many messages before `attached`");
    }
    match message {
        None => Err((CloseCode::Normal, String::new())),
        Some(Err(error)) => Err((fault(&error).unwrap_or(CloseCode::Normal), error.to_string())),
        // Its own close is answered by reading on, and nothing else may be said after it.
        Some(Ok(Message::Close(_))) => Err((CloseCode::Normal, String::new())),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
        Some(Ok(Message::Binary(_) | Message::Frame(_))) => bad("input before `attached`"),
        Some(Ok(Message::Text(text))) => {
            if text.len() > CONTROL_MAX {
                return Err((CloseCode::TooBig, "a control message is too large".into()));
            }
            match serde_json::from_str(&text) {
                Ok(Object(FromClient::Ping { t })) => {
                    match tell(arrival, &ToClient::Pong { t }).await {
                        true => Ok(()),
                        false => Err((CloseCode::Normal, String::new())),
                    }
                }
                Ok(Object(FromClient::Attach(_))) => bad("attached already"),
                // It says so again once it is attached.
                Ok(_) => Ok(()),
                Err(error) => Err((CloseCode::BadRequest, error.to_string())),
            }
        }
    }
}

/// Tells a waiting client something. `false` where it is gone, or does not read.
async fn tell(arrival: &mut Arrival, message: &ToClient) -> bool {
    // Serialising our own types into memory does not fail.
    let Ok(text) = serde_json::to_string(message) else { return false };
    matches!(timeout(UNREAD, arrival.socket.send(Message::text(text))).await, Ok(Ok(())))
}

/// Asks a waiting client that has been silent for a while whether it is there. `false` where it is
/// not.
async fn ping(arrival: &mut Arrival, heard: Instant) -> bool {
    heard.elapsed() < Duration::from_secs(PING_SECONDS)
        || timeout(UNREAD, arrival.socket.send(Message::Ping(Bytes::new())))
            .await
            .is_ok_and(|sent| sent.is_ok())
}

/// The keeper is gone: with the session, with the gateway, or because another one has the session.
async fn leave(core: Arc<Core>, record: &Record, attach: Attach, arrival: Arrival) {
    if record.life.state == State::Ended {
        see_off(&core, record, &attach, arrival).await;
    } else if core.stopping.is_cancelled() {
        let reason = "the gateway is going away".to_owned();
        farewell(arrival.socket, VecDeque::new(), CloseCode::Restart, reason).await;
    } else {
        Box::pin(follow(core, record.id, attach, arrival)).await;
    }
}

/// A session that has ended: its last screen, what is missing before it, its status.
pub async fn see_off(core: &Core, record: &Record, attach: &Attach, arrival: Arrival) {
    let screen = match core.store.screen(record.id).await {
        Ok(screen) => screen.unwrap_or_default(),
        Err(error) => {
            tracing::error!(session = %record.id, %error, "a last screen was not read");
            Vec::new()
        }
    };
    let (code, reason) = match farewell_of(record) {
        // To those who come after the end, it has ended; 1000 is for those who saw it.
        (CloseCode::Normal, reason) => (CloseCode::Ended, reason),
        (CloseCode::Idle, reason) => (CloseCode::Ended, reason),
        other => other,
    };
    let queued = match arrival.dialect {
        Dialect::V1 => last_words(record, attach, arrival.window, &screen),
        Dialect::PlainTerminal(_) if !screen.is_empty() => {
            VecDeque::from([Message::Binary(Bytes::from(screen))])
        }
        Dialect::PlainTerminal(_) | Dialect::PlainLines(_) => VecDeque::new(),
    };
    farewell(arrival.socket, queued, code, reason).await;
}

fn last_words(record: &Record, attach: &Attach, window: u32, screen: &[u8]) -> VecDeque<Message> {
    let known = attach
        .output
        .filter(|_| attach.launch.is_none_or(|launch| launch == record.life.link.launch))
        .unwrap_or(Offset::ZERO);
    // Where a task was lost nobody knows where its output ended: what the client has is all there is.
    let at = record.detail.exit.as_ref().map_or(known, |exit| exit.at);
    let known = known.min(at);
    let size = record.detail.last_screen.as_ref().map_or(record.detail.size, |last| last.size);
    let mut words = vec![ToClient::Attached {
        session: record.id,
        launch: record.life.link.launch,
        mode: record.detail.mode,
        role: Role::Observer,
        output: OutputStart { from: known, resume: Resume::Ended },
        input: InputStart { applied: Offset::ZERO },
        size,
        limits: Limits::with_window(window),
        can: Vec::new(),
    }];
    let incomplete = known < at;
    if incomplete {
        words.push(ToClient::Gap { from: known, to: at, why: GapReason::Lost });
    }
    let mut queued = text_messages(words);
    if incomplete {
        let screen = &screen[..screen.len().min(LAST_SCREEN_MAX)];
        for piece in screen.chunks(OUTPUT_FRAME_MAX) {
            let payload = Bytes::copy_from_slice(piece);
            let frame = Frame { kind: Kind::Keyframe, offset: at, payload };
            queued.push_back(Message::Binary(frame.to_bytes()));
        }
    }
    queued.extend(text_messages(vec![ToClient::Exit { at, status: status_of(record) }]));
    queued
}

fn text_messages(messages: Vec<ToClient>) -> VecDeque<Message> {
    messages.iter().filter_map(|m| serde_json::to_string(m).ok()).map(Message::text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::UserId;

    #[test]
    fn who_waits_for_nothing_but_the_end_is_not_told_to_wait_for_a_start() {
        let phase = |state| {
            let mut record = Record::of(UserId::new("https://issuer.example", "ada").unwrap());
            record.life.state = state;
            let view = View { record: Arc::new(record), waiting: None, relay: None };
            match starting(&view) {
                Some(ToClient::Starting { phase, .. }) => Some(phase),
                _ => None,
            }
        };
        assert_eq!(phase(State::Starting), Some(Phase::Queued));
        assert_eq!(phase(State::Live), Some(Phase::Reconnecting));
        assert_eq!(phase(State::Severed), Some(Phase::Reconnecting));
        assert_eq!((phase(State::Stopping), phase(State::Ended)), (None, None));
    }
}
