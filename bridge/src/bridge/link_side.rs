//! The bridge's side towards the gateway: a link taken, messages in and out, a link lost.

use std::task::{Context, Poll};
use std::time::Duration;

use shellgate_protocol::client_leg::Notice;
use shellgate_protocol::link_leg::LogSource;
use shellgate_protocol::{FromBridge, ToBridge};

use super::clock::STATS_MS;
use super::{Bridge, say_goodbye};
use crate::link::{Incoming, Link};

/// Messages that are read before others have their turn.
const MESSAGES_TURN: usize = 64;

/// Bytes that are handed to the link before others have their turn.
const WRITE_TURN: usize = 256 * 1024;

impl Bridge {
    /// Takes a new link when there is one. `Some` where there will be none any more.
    pub(super) fn dial(&mut self, cx: &mut Context<'_>, now: u64) -> Option<u8> {
        match self.dialler.poll(cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(linked)) => {
                self.board.clear(&mut self.input, &mut self.output);
                self.link = Some(Link::new(linked.socket, now));
                if let Some(secrets) = &linked.secrets {
                    for wrong in self.place.secrets.replace(secrets, linked.overlap_ms, now) {
                        self.log.add(LogSource::Bridge, wrong);
                    }
                }
                // Not now: clients come back in this very moment.
                (self.stats, self.stats_at) = (None, now + STATS_MS);
                self.ending.new_link();
                self.say_exit();
                None
            }
            Poll::Ready(Err(give_up)) => {
                self.processes.kill_all();
                Some(say_goodbye(give_up))
            }
        }
    }

    pub(super) fn lose_link(&mut self, why: &dyn std::fmt::Display, now: u64) {
        self.log.add(LogSource::Bridge, why.to_string());
        self.link = None;
        self.board.clear(&mut self.input, &mut self.output);
        self.dialler.link_lost();
        self.ending.link_lost(now);
    }

    /// Takes messages from the link. Tells whether it is to be asked again.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>, now: u64) -> bool {
        let mut again = false;
        for _ in 0..MESSAGES_TURN {
            let Some(link) = &mut self.link else { return again };
            match link.poll_next(cx, now) {
                Poll::Pending => return again,
                Poll::Ready(Ok(Incoming::Alive)) => {}
                Poll::Ready(Ok(Incoming::Frame(frame))) => {
                    let (channel, inner) = (frame.channel, frame.inner);
                    let wrong = self.board.frame(channel, inner, &mut self.input, &mut self.output);
                    if let Some(wrong) = wrong {
                        self.log.add(LogSource::Bridge, wrong);
                    }
                }
                Poll::Ready(Ok(Incoming::Control(control))) => {
                    self.obey(control, now);
                    // The dialler, for one, may have been told something.
                    again = true;
                }
                Poll::Ready(Err(end)) => {
                    self.lose_link(&end, now);
                    return true;
                }
            }
            if self.board.is_overrun() {
                self.lose_link(&"the gateway asks on and takes no answers", now);
                return true;
            }
        }
        true
    }

    fn obey(&mut self, control: ToBridge, now: u64) {
        match control {
            ToBridge::Open { channel, attach } => {
                let resized = self.board.open(channel, &attach, &mut self.input, &mut self.output);
                if let Some(shell) = self.shell.as_ref().filter(|_| resized) {
                    shell.resize(attach.size);
                }
                // At once, so that it stands where `attached` says.
                if self.board.wants_keyframe() {
                    self.give_keyframe(now);
                }
            }
            ToBridge::Resize { channel, size } => {
                if self.board.drives(channel).is_some() {
                    self.resize(size);
                }
            }
            ToBridge::Visible { channel, yes } => self.board.visible(channel, yes),
            ToBridge::Signal { channel, id, name } => {
                let Some(stream) = self.board.drives(channel) else { return };
                if self.input.is_new_request(stream, id)
                    && let Some(shell) = self.shell.as_ref().filter(|_| self.ending.is_running())
                {
                    shell.signal(name);
                }
                self.board.notice(channel, Notice::Signalled { id });
            }
            ToBridge::Close { channel, drop_input } => {
                self.board.close(channel, drop_input, &mut self.input, &mut self.output);
            }
            ToBridge::Secrets { secrets, overlap_ms } => {
                for wrong in self.place.secrets.write(&secrets, overlap_ms, now) {
                    self.log.add(LogSource::Bridge, wrong);
                }
            }
            ToBridge::Stop { reason, grace_ms } => {
                if self.ending.stop(reason, now.saturating_add(grace_ms))
                    && let Some(shell) = &self.shell
                {
                    shell.hang_up();
                }
            }
            ToBridge::Goaway { retry_ms } => {
                self.dialler.dial_in(Duration::from_millis(retry_ms));
            }
            // Both belong to the beginning of a link, and say nothing new in its middle.
            ToBridge::Challenge { .. } | ToBridge::Welcome { .. } => {}
        }
    }

    pub(super) fn say_exit(&mut self) {
        if let Some(status) = self.output.ended() {
            let (at, status) = (self.output.end(), status.clone());
            self.board.say(FromBridge::Exit { channel: None, at, status });
        }
    }

    /// Gives the link what it takes. Tells whether others are to look at what has gone out, or there
    /// is more.
    pub(super) fn speak(&mut self, cx: &mut Context<'_>, now: u64) -> bool {
        if self.link.is_none() {
            return false;
        }
        while let Some(line) = self.log.next(now) {
            self.board.say(line);
        }
        let mut sent = 0;
        while sent < WRITE_TURN {
            let Some(link) = &mut self.link else { break };
            let gone = match link.poll_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(end)) => Some(end),
                Poll::Ready(Ok(())) => match self.board.next(&mut self.output, now) {
                    None => break,
                    Some(message) => link.send(message).map(|len| sent += len).err(),
                },
            };
            if let Some(end) = gone {
                self.lose_link(&end, now);
                return true;
            }
        }
        if sent > 0 {
            self.busy_at = now;
        }
        // An end that has gone out is one that the rest of the way waits for.
        sent >= WRITE_TURN || (sent > 0 && !self.ending.is_running())
    }

    pub(super) fn flush(&mut self, cx: &mut Context<'_>, now: u64) {
        let Some(link) = &mut self.link else { return };
        match link.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                if self.board.control_is_out() && self.ending.flushed() {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending => {}
            Poll::Ready(Err(end)) => {
                self.lose_link(&end, now);
                // The dialler has not seen this wake-up.
                cx.waker().wake_by_ref();
            }
        }
    }
}
