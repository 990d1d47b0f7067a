//! What comes over a connection's socket: bytes and control messages, judged and turned into events.
//! Knows no deadlines and nothing of what is written.

use bytes::Bytes;
use shellgate_protocol::client_leg::{Notice, Resume};
use shellgate_protocol::limits::{INPUT_FRAME_MAX, INPUT_UNAPPLIED_MAX};
use shellgate_protocol::{Frame, FromClient, Kind, Object, TerminalSize, ToClient};

use super::caller::{Mark, Queued};
use super::{Connection, Stage, Want};
use crate::attach::event::{Attached, Event, Violation};
use crate::attach::reader::Reader;
use crate::problem::plain;

/// The longest that a gateway can ask a client to stay away, in milliseconds.
const GOAWAY_LONGEST_MILLIS: u64 = 60_000;

impl Connection {
    /// The gateway sent something that is for the WebSocket alone: it lives.
    pub(crate) fn heard(&mut self, now: u64) {
        self.heard_at = now;
        self.unreachable_since = None;
    }

    /// A binary message has come.
    pub(crate) fn binary(&mut self, message: Bytes, now: u64) {
        self.heard(now);
        if let Err(violation) = self.frame(message, now) {
            self.violated(violation, now);
        }
    }

    fn frame(&mut self, message: Bytes, now: u64) -> Result<(), Violation> {
        let frame = Frame::to_client(message).map_err(|bad| Violation::Message(bad.to_string()))?;
        let Stage::Attached { .. } = self.stage else {
            return if self.want() == Want::Talk {
                Err(Violation::OutOfTurn("a frame before `attached`"))
            } else {
                Ok(())
            };
        };
        if self.exited && frame.kind != Kind::Applied {
            return Err(Violation::OutOfTurn("output after `exit`"));
        }
        match frame.kind {
            Kind::Data | Kind::Replay => {
                let known = self.reader.known();
                self.reads(|reader, tell| reader.data(frame, now, tell))?;
                // Only what is new makes up for a break: the same again may end the same way.
                if self.reader.known() != known {
                    self.back_off.forget();
                }
            }
            Kind::Keyframe => {
                self.reads(|reader, tell| reader.keyframe(frame.offset, frame.payload, tell))?;
            }
            // News of input that was given up with its program.
            Kind::Applied if self.exited => {}
            Kind::Applied => {
                let applied = self.input.applied();
                self.input.take(frame.offset)?;
                if self.input.applied() != applied {
                    self.back_off.forget();
                }
            }
            // `Frame::to_client` lets none through.
            Kind::Ack => {}
        }
        Ok(())
    }

    /// Has the reader take something in, and queues what it tells.
    fn reads(
        &mut self,
        read: impl FnOnce(&mut Reader, &mut dyn FnMut(Event)) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let launch = self.reader.launch();
        let Self { reader, events, queued_bytes, .. } = self;
        read(reader, &mut |event| {
            let (at, bytes) = match &event {
                Event::Output { from, bytes, .. } => {
                    (Some(from.plus(bytes.len() as u64)), bytes.len())
                }
                Event::Keyframe { at, bytes, .. } => (Some(*at), bytes.len()),
                _ => (None, 0),
            };
            let mark = launch.zip(at).map(|(launch, at)| Mark { launch, at, is_exit: false });
            *queued_bytes += bytes;
            events.push_back(Queued { event, mark, bytes });
        })
    }

    /// A text message has come.
    pub(crate) fn text(&mut self, message: &str, now: u64) {
        self.heard(now);
        let read = serde_json::from_str::<Object<ToClient>>(message)
            .map(|Object(read)| read)
            .map_err(|bad| Violation::Message(plain(&bad.to_string())))
            .and_then(|message| self.control(message, now));
        if let Err(violation) = read {
            self.violated(violation, now);
        }
    }

    fn control(&mut self, message: ToClient, now: u64) -> Result<(), Violation> {
        let stands = matches!(self.stage, Stage::Attached { .. });
        if self.want() != Want::Talk {
            return Ok(());
        }
        match message {
            ToClient::Starting { phase, position, elapsed_ms, expected_ms } if !stands => {
                self.tell(Event::Starting { phase, position, elapsed_ms, expected_ms }, None);
            }
            ToClient::Starting { .. } => return Err(Violation::OutOfTurn("`starting`")),
            ToClient::Attached {
                session, launch, mode, role, output, input, size, limits, ..
            } if !stands => {
                let new_launch = self.reader.attached(launch, output, limits.window);
                let dropped_input = if output.resume == Resume::Ended {
                    // Nobody is there to say what was applied, and nothing will be any more. What
                    // was sent may be what brought the end about.
                    self.given_up += self.input.never_sent();
                    self.input.clear();
                    0
                } else {
                    let dropped = self.input.attached(launch, input.applied)?;
                    dropped + std::mem::take(&mut self.given_up)
                };
                if new_launch {
                    self.requests
                        .retain(|request| !matches!(request.message, FromClient::Signal { .. }));
                }
                for request in &mut self.requests {
                    request.sent = false;
                }
                // A limit of nothing would be one that nobody can keep to.
                self.input_frame = (limits.input_frame as usize).clamp(1, INPUT_FRAME_MAX);
                self.input_unapplied =
                    u64::from(limits.input_unapplied).clamp(1, INPUT_UNAPPLIED_MAX);
                self.stage = Stage::Attached { since: now };
                self.attempts = 0;
                self.renewed = false;
                self.restreamed = false;
                let from = output.from;
                let resume = output.resume;
                let attached = Attached {
                    session,
                    launch,
                    new_launch,
                    mode,
                    role,
                    from,
                    resume,
                    size,
                    limits,
                    dropped_input,
                };
                self.tell(Event::Attached(attached), None);
            }
            ToClient::Attached { .. } => return Err(Violation::OutOfTurn("`attached`")),
            ToClient::Size { cols, rows, at } => {
                let size = TerminalSize::new(cols, rows)
                    .ok_or_else(|| Violation::Message("a size out of range".to_owned()))?;
                if !stands {
                    return Err(Violation::OutOfTurn("`size`"));
                }
                self.reads(|reader, tell| reader.size(size, at, tell))?;
            }
            ToClient::Gap { from, to, why } => {
                if !stands || self.exited {
                    return Err(Violation::OutOfTurn("`gap`"));
                }
                self.reads(|reader, tell| reader.gap(from, to, why, tell))?;
            }
            ToClient::Live => {
                self.reads(|reader, tell| {
                    reader.release(tell);
                    Ok(())
                })?;
                self.tell(Event::Live, None);
            }
            ToClient::Exit { at, status } => {
                if !stands || self.exited {
                    return Err(Violation::OutOfTurn("`exit`"));
                }
                self.reads(|reader, tell| reader.exit(at, tell))?;
                self.exited = true;
                self.input.clear();
                let mark = self.reader.launch().map(|launch| Mark { launch, at, is_exit: true });
                self.tell(Event::Exit { at, status }, mark);
            }
            ToClient::Notice { notice } => self.noticed(notice)?,
            ToClient::Goaway { retry_ms } => {
                let at = now + retry_ms.min(GOAWAY_LONGEST_MILLIS);
                self.goaway_at = Some(self.goaway_at.map_or(at, |before| before.min(at)));
            }
            ToClient::Pong { .. } => {}
        }
        Ok(())
    }

    fn noticed(&mut self, notice: Notice) -> Result<(), Violation> {
        match &notice {
            Notice::Extended { id, .. } | Notice::Signalled { id } => {
                self.requests.retain(|request| request.id != *id);
            }
            Notice::TokenExpires { .. } => self.reauth_wanted = true,
            Notice::TakenOver { applied } => {
                self.input.take(*applied)?;
                self.given_up += self.input.clear();
            }
            Notice::IdleWarning { .. }
            | Notice::LifetimeWarning { .. }
            | Notice::Observers { .. }
            | Notice::NewLaunch { .. }
            | Notice::PartialKeyframe
            | Notice::Policy { .. } => {}
        }
        self.tell(Event::Notice(notice), None);
        Ok(())
    }
}
