//! The relay's dealings with time: pings, silence, stalls, tokens that run out, answers that do not
//! come.

use std::future::Future;
use std::task::Context;
use std::time::Duration;

use shellgate_protocol::client_leg::Notice;
use shellgate_protocol::limits::{PING_SECONDS, SILENCE_SECONDS};
use shellgate_protocol::{CloseCode, ToClient};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::attachment::{Attachment, Stage};
use super::{CONTROL_OVERHEAD, Down, Relay};

/// How often clocks are looked at. Silence, expiry and stalls are measured in minutes.
pub(super) const TICK: Duration = Duration::from_secs(5);

/// A peer with a full queue that has taken nothing for so long is cut off.
const STUCK: Duration = Duration::from_secs(600);

/// How long before its token runs out a client is told: longer than getting another one takes.
const EXPIRY_NOTICE: Duration = Duration::from_secs(30);

/// How long a bridge may take to answer `open`, and the `close` of a driver that was taken over.
const ANSWER: Duration = Duration::from_secs(30);

impl Relay {
    /// Whether it is time to look at the clocks.
    pub(super) fn poll_clocks(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.tick.as_mut().poll(cx).is_ready();
        if due {
            self.tick.as_mut().reset(Instant::now() + TICK);
        }
        due
    }

    pub(super) fn look_at_clocks(&mut self, now: Instant) -> Option<Down> {
        let silence = Duration::from_secs(SILENCE_SECONDS);
        match self.link_stuck_since {
            Some(since) if now - since > STUCK => {
                return Some(Down::LinkLost("it does not read".into()));
            }
            None if now - self.link_heard > silence => {
                return Some(Down::LinkLost("silent".into()));
            }
            Some(_) | None => {}
        }
        let ping = now >= self.next_ping;
        if ping {
            self.next_ping = now + ping_interval();
            // A bridge that has not read what was written would not get to a ping either.
            if !self.link_unflushed {
                self.control_bytes += CONTROL_OVERHEAD;
                self.control.push_back(Message::Ping(bytes::Bytes::new()));
            }
        }
        let mut index = 0;
        while index < self.attachments.len() {
            let attachment = &mut self.attachments[index];
            match overdue(attachment, now) {
                Some((code, reason)) => self.cut(index, code, reason),
                None => {
                    if ping {
                        attachment.ping();
                    }
                    index += 1;
                }
            }
        }
        self.tell_who_expires(now);
        None
    }

    /// Tells each client once whose token is about to run out, the grace not counted.
    fn tell_who_expires(&mut self, now: Instant) {
        let grace = self.setting.grace;
        let mut due = Vec::new();
        for attachment in &mut self.attachments {
            let left = (attachment.authentic_until - now).saturating_sub(grace);
            let is_due = attachment.stage == Stage::Open && left <= EXPIRY_NOTICE;
            if is_due && !attachment.expiry_told {
                attachment.expiry_told = true;
                due.push((attachment.channel, left.as_secs()));
            }
        }
        for (channel, seconds) in due {
            let notice = Notice::TokenExpires { seconds };
            self.tell(channel, &ToClient::Notice { notice });
        }
    }
}

/// Why a client's time is up, if it is.
fn overdue(attachment: &Attachment, now: Instant) -> Option<(CloseCode, &'static str)> {
    let waited = now - attachment.since;
    let unheard = match attachment.stuck_since {
        Some(since) => now - since > STUCK,
        None if attachment.is_read() => {
            now - attachment.heard > Duration::from_secs(SILENCE_SECONDS)
        }
        // Who is not read is not heard either; a program may take its time to read what it sent.
        None => now - attachment.heard > STUCK,
    };
    match attachment.stage {
        _ if now >= attachment.authentic_until => {
            Some((CloseCode::Unauthenticated, "the token has run out"))
        }
        Stage::Opening if waited > ANSWER => {
            Some((CloseCode::Timeout, "the session's task does not answer"))
        }
        Stage::Superseded if waited > ANSWER => {
            Some((CloseCode::AnotherDriver, "another client has taken over"))
        }
        _ if unheard => Some((CloseCode::GoingAway, "nothing was heard for too long")),
        Stage::Opening | Stage::Open | Stage::Superseded => None,
    }
}

/// [`PING_SECONDS`] ± 10 %, so that the pings of many sessions do not come at once.
pub(super) fn ping_interval() -> Duration {
    let whole = Duration::from_secs(PING_SECONDS);
    whole * 9 / 10 + crate::clock::chance(whole / 5)
}
