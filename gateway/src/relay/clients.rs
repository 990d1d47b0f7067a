//! The relay's clients' side: what they send is checked and queued for the link, what is queued for
//! them is written. Knows of the bridge only that it has an outbox.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use shellgate_protocol::client_leg::Role;
use shellgate_protocol::limits::CONTROL_MAX;
use shellgate_protocol::{CloseCode, FromClient, Object, ToBridge, ToClient};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::attachment::{Attachment, Fault, Stage};
use super::outbox::append;
use super::{
    CLIENT_TURN, CONTROL_OVERHEAD, CONTROL_QUEUED_MAX, Dialect, EXTEND_COST, News, REAUTH_COST,
    Relay, Renewal, millis,
};
use crate::websocket::{farewell, fault, unsent};

impl Relay {
    /// Reads every client for one turn. `true` where one may have more.
    pub(super) fn poll_clients(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut index, mut more) = (0, false);
        while index < self.attachments.len() {
            match self.poll_client(index, cx) {
                Ok(has_more) => {
                    more |= has_more;
                    index += 1;
                }
                Err((code, reason)) => {
                    more = true;
                    self.cut(index, code, &reason);
                }
            }
        }
        more
    }

    pub(super) fn poll_client(
        &mut self,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Result<bool, (CloseCode, String)> {
        for _ in 0..CLIENT_TURN {
            let attachment = &mut self.attachments[index];
            if !attachment.is_read() {
                return Ok(false);
            }
            let polled = Pin::new(&mut attachment.socket).poll_next(cx);
            let Poll::Ready(read) = polled else { return Ok(false) };
            let message = match read {
                Some(Ok(message)) => message,
                // Both ends have closed, or the connection broke: nobody is left to tell.
                None => return Err((CloseCode::Normal, String::new())),
                Some(Err(error)) => {
                    let code = fault(&error).unwrap_or(CloseCode::Normal);
                    return Err((code, error.to_string()));
                }
            };
            attachment.heard = Instant::now();
            let bad = |fault: Fault| (fault.close_code(), fault.to_string());
            match message {
                Message::Binary(bytes) if matches!(attachment.dialect, Dialect::V1) => {
                    let kind = attachment.take_from_client(bytes).map_err(bad)?;
                    if kind == Some(shellgate_protocol::Kind::Data) {
                        self.note_input();
                    }
                }
                Message::Text(text) if matches!(attachment.dialect, Dialect::V1) => {
                    let now = millis(attachment.heard - self.started);
                    if !attachment.budget.take(now) {
                        return Err((CloseCode::BadRequest, "too many control messages".into()));
                    }
                    if text.len() > CONTROL_MAX {
                        return Err((CloseCode::TooBig, "a control message is too large".into()));
                    }
                    let Object(message) = serde_json::from_str(&text)
                        .map_err(|error| (CloseCode::BadRequest, error.to_string()))?;
                    self.control_of_client(index, message)?;
                }
                message @ (Message::Binary(_) | Message::Text(_)) => {
                    let mut bytes = message.into_data();
                    if matches!(attachment.dialect, Dialect::PlainLines(_)) {
                        append(&mut bytes, b"\n");
                    }
                    if attachment.take_from_plain_client(&bytes).map_err(bad)? {
                        self.note_input();
                    }
                }
                // The library answers both; polling on lets it.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
        Ok(true)
    }

    pub(super) fn control_of_client(
        &mut self,
        index: usize,
        message: FromClient,
    ) -> Result<(), (CloseCode, String)> {
        let attachment = &mut self.attachments[index];
        let channel = attachment.channel;
        let drives = attachment.role == Role::Driver && attachment.stage == Stage::Open;
        match message {
            FromClient::Attach(_) => {
                return Err((CloseCode::BadRequest, "attached already".into()));
            }
            FromClient::Ping { t } => {
                let fault = |fault: Fault| (fault.close_code(), fault.to_string());
                attachment.tell(&ToClient::Pong { t }).map_err(fault)?;
            }
            FromClient::Reauth { token } => {
                let now = millis(attachment.heard - self.started);
                if !attachment.budget.spend(REAUTH_COST, now) {
                    return Err((CloseCode::BadRequest, "too many tokens".into()));
                }
                // A full mailbox loses nothing: the client's token still runs out.
                let (user, role) = (attachment.user.clone(), attachment.role);
                let renewal = Renewal { channel, user, role, token };
                let _ = self.setting.news.try_send(News::Reauth(renewal));
            }
            _ if !drives => attachment.dropped += 1,
            FromClient::Resize(size) => self.tell_bridge(&ToBridge::Resize { channel, size }),
            FromClient::Visible { yes } => self.tell_bridge(&ToBridge::Visible { channel, yes }),
            FromClient::Signal { id, name } => {
                self.tell_bridge(&ToBridge::Signal { channel, id, name });
            }
            FromClient::Extend { id } => {
                let now = millis(attachment.heard - self.started);
                if !attachment.budget.spend(EXTEND_COST, now) {
                    return Err((CloseCode::BadRequest, "too many wishes for more time".into()));
                }
                // Repeated until answered, so a full mailbox loses nothing.
                let _ = self.setting.news.try_send(News::Extend(channel, id));
            }
        }
        Ok(())
    }

    /// Writes to every client as much as it takes, and flushes once. `true` where one was dropped:
    /// then there is news for the others.
    pub(super) fn write_clients(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut index, mut dropped) = (0, false);
        while index < self.attachments.len() {
            match write_client(&mut self.attachments[index], cx) {
                Ok(()) => index += 1,
                Err((code, reason)) => {
                    dropped = true;
                    if code == CloseCode::Internal {
                        let channel = self.attachments[index].channel;
                        let session = self.setting.session;
                        tracing::error!(%session, ?channel, reason, "a client could not be served");
                    }
                    self.cut(index, code, reason);
                }
            }
        }
        dropped
    }

    pub(super) fn note_input(&self) {
        let now = crate::clock::unix_millis();
        self.setting.activity.last_input_ms.store(now, Ordering::Relaxed);
    }

    /// Ends a channel that the bridge believes to be open: both sides are told.
    pub(super) fn cut(&mut self, index: usize, code: CloseCode, reason: &str) {
        let attachment = &mut self.attachments[index];
        let channel = attachment.channel;
        // Who sends bare bytes and hangs up can't send them again.
        while !matches!(attachment.dialect, Dialect::V1)
            && self.control_bytes < CONTROL_QUEUED_MAX * 2 / 3
            && let Some(message) = attachment.next_for_link()
        {
            self.control_bytes += message.len() + CONTROL_OVERHEAD;
            self.control.push_back(message);
        }
        self.tell_bridge(&ToBridge::Close { channel, drop_input: false });
        self.drop_client(index, code, reason);
    }

    /// Ends a channel of which the bridge knows already.
    pub(super) fn drop_client(&mut self, index: usize, code: CloseCode, reason: &str) {
        let attachment = self.attachments.swap_remove(index);
        self.dismiss(attachment, code, reason.to_owned());
        self.show_presence();
        self.tell_observers_count();
    }

    pub(super) fn dismiss(&self, attachment: Attachment, code: CloseCode, reason: String) {
        let (socket, mut queued, permit) = attachment.into_farewell();
        if !is_owed_the_rest(code) {
            queued.clear();
        }
        self.setting.tracker.spawn(async move {
            farewell(socket, queued, code, reason).await;
            // Until then its memory and its descriptor count as its session's.
            drop(permit);
        });
    }

    pub(super) fn show_presence(&self) {
        let watching = self.attachments.iter().filter(|a| a.role == Role::Observer).count();
        let activity = &self.setting.activity;
        activity.driver.store(self.driver().is_some(), Ordering::Relaxed);
        activity.observers.store(u32::try_from(watching).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

/// Whether a client that leaves with this code still gets what is queued for it: not one that broke
/// a rule or does not read.
fn is_owed_the_rest(code: CloseCode) -> bool {
    match code {
        CloseCode::Normal
        | CloseCode::Restart
        | CloseCode::Idle
        | CloseCode::AnotherDriver
        | CloseCode::Ended
        | CloseCode::LinkLost => true,
        CloseCode::GoingAway
        | CloseCode::Protocol
        | CloseCode::NotUtf8
        | CloseCode::TooBig
        | CloseCode::Overloaded
        | CloseCode::BadRequest
        | CloseCode::Unauthenticated
        | CloseCode::Forbidden
        | CloseCode::NotFound
        | CloseCode::Quota
        | CloseCode::Internal
        | CloseCode::Timeout => false,
    }
}

fn write_client(
    attachment: &mut Attachment,
    cx: &mut Context<'_>,
) -> Result<(), (CloseCode, &'static str)> {
    let largest = attachment.dialect.largest_message();
    let broken = |error: Error| match unsent(&error, largest) {
        CloseCode::Internal => (CloseCode::Internal, "a message is larger than its socket takes"),
        code => (code, ""),
    };
    loop {
        while attachment.has_for_client() {
            let mut socket = Pin::new(&mut attachment.socket);
            if socket.as_mut().poll_ready(cx).map_err(broken)?.is_pending() {
                attachment.stuck_since.get_or_insert_with(Instant::now);
                return Ok(());
            }
            let next = attachment
                .next_for_client()
                .map_err(|code| (code, "the program printed what is no line of text"))?;
            if let Some(message) = next {
                let socket = Pin::new(&mut attachment.socket);
                socket.start_send(message).map_err(broken)?;
                attachment.unflushed = true;
                attachment.stuck_since = None;
            }
        }
        if attachment.unflushed {
            if Pin::new(&mut attachment.socket).poll_flush(cx).map_err(broken)?.is_pending() {
                attachment.stuck_since.get_or_insert_with(Instant::now);
                return Ok(());
            }
            attachment.unflushed = false;
            attachment.stuck_since = None;
        }
        attachment.acknowledge_what_left().map_err(|code| (code, "its accounts do not hold"))?;
        if !attachment.has_for_client() {
            return Ok(());
        }
    }
}
