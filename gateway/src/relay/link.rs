//! The relay's link side: what the bridge sends is checked and queued for its client, what is queued
//! for the bridge is written. A bridge that breaks a rule is cut off.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use shellgate_protocol::client_leg::{ExitStatus, InputStart, Limits, Notice, OutputStart};
use shellgate_protocol::close::STREAM_FORGOTTEN;
use shellgate_protocol::limits::{
    CONTROL_LARGE_MAX, CONTROL_MAX, EXIT_DETAIL_MAX, LAST_SCREEN_MAX, LOG_TEXT_MAX,
};
use shellgate_protocol::link_leg::Refused;
use shellgate_protocol::{
    ChannelNumber, CloseCode, FromBridge, LinkFrame, Object, Offset, TerminalSize, ToClient,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::attachment::{Fault, Stage};
use super::{CHANNEL_TURN, CONTROL_OVERHEAD, Down, Ended, LINK_TURN, News, Relay, millis};
use crate::session::ending::farewell_for;
use crate::websocket::fault;

impl Relay {
    /// Reads the link for one turn. `true` where it may have more, or has changed who is read.
    pub(super) fn poll_link(&mut self, cx: &mut Context<'_>) -> Result<bool, Down> {
        let mut more = false;
        for _ in 0..LINK_TURN {
            let Poll::Ready(read) = Pin::new(&mut self.link).poll_next(cx) else {
                return Ok(more);
            };
            let message = match read {
                None => return Err(Down::LinkLost("closed".into())),
                Some(Err(error)) => {
                    return Err(match fault(&error) {
                        Some(_) => Down::Violation(error.to_string()),
                        None => Down::LinkLost(error.to_string()),
                    });
                }
                Some(Ok(message)) => message,
            };
            self.link_heard = Instant::now();
            match message {
                Message::Binary(bytes) => {
                    let frame = LinkFrame::parse(bytes).map_err(|e| violation(&e))?;
                    // Frames for a closed channel are still under way when it closes.
                    if let Some(index) = self.find(frame.channel)
                        && self.attachments[index].stage == Stage::Open
                    {
                        match self.attachments[index].take_from_bridge(frame.inner) {
                            Ok(read_again) => more |= read_again,
                            // An honest bridge may skip further ahead than the client has read.
                            Err(fault @ Fault::Slow(_)) => {
                                self.cut(index, fault.close_code(), &fault.to_string());
                            }
                            Err(fault) => return Err(violation(&fault)),
                        }
                    }
                }
                Message::Text(text) => {
                    self.control_of_bridge(&text)?;
                    more = true;
                }
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
        Ok(true)
    }

    pub(super) fn control_of_bridge(&mut self, text: &str) -> Result<(), Down> {
        let now = millis(self.link_heard - self.started);
        if !self.link_budget.take(now) {
            return Err(Down::Violation("too many control messages".into()));
        }
        if text.len() > CONTROL_LARGE_MAX {
            return Err(Down::Violation("a control message is too large".into()));
        }
        let Object(message) =
            serde_json::from_str::<Object<FromBridge>>(text).map_err(|e| violation(&e))?;
        if text.len() > CONTROL_MAX && !matches!(message, FromBridge::Ended { .. }) {
            return Err(Down::Violation("a control message is too large".into()));
        }
        match message {
            FromBridge::Hello { .. } | FromBridge::Proof { .. } => {
                return Err(Down::Violation("enrolled already".into()));
            }
            FromBridge::Attached { channel, output, input, size } => {
                self.attached(channel, output, input, size);
            }
            FromBridge::Refused { channel, why } => {
                if let Some(index) = self.find(channel) {
                    let (code, reason) = refused(why);
                    self.drop_client(index, code, reason);
                }
            }
            FromBridge::Closed { channel, applied } => self.closed(channel, applied),
            FromBridge::Size { channel, cols, rows, at } => {
                self.tell(channel, &ToClient::Size { cols, rows, at });
            }
            FromBridge::Gap { channel, from, to, why } => {
                if let Some(index) = self.find(channel) {
                    self.attachments[index].skip_to(to);
                }
                self.tell(channel, &ToClient::Gap { from, to, why });
            }
            FromBridge::Live { channel } => self.tell(channel, &ToClient::Live),
            FromBridge::Exit { channel: Some(channel), at, mut status } => {
                cut_detail(&mut status);
                self.tell(channel, &ToClient::Exit { at, status });
                if let Some(index) = self.find(channel) {
                    self.attachments[index].ends_at(at);
                }
            }
            FromBridge::Notice { channel, notice } => {
                self.tell(channel, &ToClient::Notice { notice });
            }
            FromBridge::Exit { channel: None, at, mut status } => {
                cut_detail(&mut status);
                self.report(News::Exited { at, status })?;
            }
            FromBridge::Ended { at, acknowledged, screen, size, mut status } => {
                cut_detail(&mut status);
                if screen.0.len() > LAST_SCREEN_MAX {
                    return Err(Down::Violation("a last screen is too large".into()));
                }
                // The bridge leaves as soon as this is out: its link does not break, it is over.
                let over = farewell_for(Some(status.reason));
                let ended = Ended { at, acknowledged, screen: screen.0, size, status };
                self.report(News::Ended(Box::new(ended)))?;
                self.finishing = Some(over);
            }
            FromBridge::Stats(stats) => {
                if let Ok(mut shown) = self.setting.activity.stats.lock() {
                    *shown = Some(stats);
                }
            }
            FromBridge::Log { mut text, .. } => {
                cut_text(&mut text, LOG_TEXT_MAX);
                if self.log_budget.take(now) {
                    // Whoever can write here can write anything: escaped, it stays one line.
                    tracing::info!(target: "bridge", session = %self.setting.session, ?text);
                }
            }
        }
        Ok(())
    }

    /// News that may not be lost: the bridge repeats them on its next link.
    pub(super) fn report(&mut self, news: News) -> Result<(), Down> {
        self.setting
            .news
            .try_send(news)
            .map_err(|_| Down::LinkLost("its session's keeper does not listen".into()))
    }

    pub(super) fn attached(
        &mut self,
        channel: ChannelNumber,
        output: OutputStart,
        input: InputStart,
        size: TerminalSize,
    ) {
        let Some(index) = self.find(channel) else { return };
        let attachment = &mut self.attachments[index];
        if attachment.stage != Stage::Opening {
            return;
        }
        attachment.opened(output.from, input.applied, self.link_heard);
        let attached = ToClient::Attached {
            session: self.setting.session,
            launch: self.setting.launch,
            mode: self.setting.mode,
            role: attachment.role,
            output,
            input,
            size,
            limits: Limits::with_window(attachment.window),
            can: Vec::new(),
        };
        self.tell(channel, &attached);
        self.tell_observers_count();
        // A keeper that is too busy leaves a newcomer with the warnings that are still to come.
        let _ = self.setting.news.try_send(News::Opened(channel));
    }

    /// The bridge has closed a channel: a superseded driver learns what was applied, and leaves.
    pub(super) fn closed(&mut self, channel: ChannelNumber, applied: Offset) {
        let Some(index) = self.find(channel) else { return };
        let notice = Notice::TakenOver { applied };
        let _ = self.attachments[index].tell(&ToClient::Notice { notice });
        self.drop_client(index, CloseCode::AnotherDriver, "another client has taken over");
    }

    /// Writes to the link: control first, then the channels in turn. Flushes once.
    pub(super) fn write_link(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let link = &mut self.link;
        while !self.control.is_empty() && Pin::new(&mut *link).poll_ready(cx)?.is_ready() {
            if let Some(message) = self.control.pop_front() {
                self.control_bytes -= message.len() + CONTROL_OVERHEAD;
                Pin::new(&mut *link).start_send(message)?;
                self.link_unflushed = true;
                self.link_stuck_since = None;
            }
        }
        'turns: while self.attachments.iter().any(|attachment| attachment.has_for_link()) {
            self.turn = (self.turn + 1) % self.attachments.len();
            let attachment = &mut self.attachments[self.turn];
            let mut bytes = 0;
            while attachment.has_for_link() && bytes < CHANNEL_TURN {
                if Pin::new(&mut *link).poll_ready(cx)?.is_pending() {
                    break 'turns;
                }
                if let Some(message) = attachment.next_for_link() {
                    bytes += message.len();
                    Pin::new(&mut *link).start_send(message)?;
                    self.link_unflushed = true;
                    self.link_stuck_since = None;
                }
            }
        }
        if self.link_unflushed && Pin::new(link).poll_flush(cx)?.is_ready() {
            self.link_unflushed = false;
            self.link_stuck_since = None;
        }
        if self.link_unflushed {
            self.link_stuck_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }
}

/// Whatever a bridge claims, what is kept of it and sent on is no longer than the protocol says.
fn cut_detail(status: &mut ExitStatus) {
    if let Some(detail) = &mut status.detail {
        cut_text(detail, EXIT_DETAIL_MAX);
    }
}

fn cut_text(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

fn violation(error: &impl std::fmt::Display) -> Down {
    Down::Violation(error.to_string())
}

fn refused(why: Refused) -> (CloseCode, &'static str) {
    match why {
        Refused::StreamForgotten => (CloseCode::BadRequest, STREAM_FORGOTTEN),
        Refused::AnotherDriver => (CloseCode::AnotherDriver, "another client drives this session"),
        Refused::BadInput => (CloseCode::BadRequest, "the bridge refused what was sent"),
        Refused::TooMany => (CloseCode::Quota, "too many clients are attached"),
    }
}
