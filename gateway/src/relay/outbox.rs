//! What is queued for one client: bounded in bytes, and small neighbours become one message.
//! Knows neither what the bytes mean nor when they may leave.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use shellgate_protocol::Kind;
use shellgate_protocol::frame::{Frame, HEADER_LEN};
use tokio_tungstenite::tungstenite::Message;

/// What a queued message costs besides its own bytes: a million small ones cost more by this than
/// by what they say.
const OVERHEAD: usize = 64;

/// Frames are joined up to this many bytes: beyond, copying costs more than a message does.
const JOINED_MAX: usize = 16 * 1024;

/// The queue has no room: its client reads too slowly for what it is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more waits for this client than it may have outstanding")]
pub struct Full;

/// Messages on their way to a client.
#[derive(Debug)]
pub struct Outbox {
    messages: VecDeque<Message>,
    /// What all of them cost.
    cost: usize,
    most: usize,
}

impl Outbox {
    /// An empty queue for at most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { messages: VecDeque::new(), cost: 0, most }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes that it may still take, if they come in one message.
    #[must_use]
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.cost)
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(&mut self, message: Message) -> Result<(), Full> {
        let cost = message.len() + OVERHEAD;
        if cost > self.room() {
            return Err(Full);
        }
        self.cost += cost;
        self.messages.push_back(message);
        Ok(())
    }

    /// Queues a frame; `whole` is the same one as the message that carried it.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push_frame(&mut self, frame: &Frame, whole: Bytes) -> Result<(), Full> {
        let stream = matches!(frame.kind, Kind::Data | Kind::Replay);
        if stream
            && let Some(Message::Binary(last)) = self.messages.back_mut()
            && follows(last, frame)
        {
            return self.join(&frame.payload);
        }
        self.push(Message::Binary(whole))
    }

    /// Queues bare bytes.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push_bytes(&mut self, bytes: Bytes) -> Result<(), Full> {
        match self.messages.back_mut() {
            Some(Message::Binary(last)) if last.len() + bytes.len() <= JOINED_MAX => {
                self.join(&bytes)
            }
            _ => self.push(Message::Binary(bytes)),
        }
    }

    fn join(&mut self, more: &[u8]) -> Result<(), Full> {
        if more.len() > self.room() {
            return Err(Full);
        }
        if let Some(Message::Binary(last)) = self.messages.back_mut() {
            append(last, more);
            self.cost += more.len();
        }
        Ok(())
    }

    /// The next message.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.cost -= message.len() + OVERHEAD;
        Some(message)
    }

    /// All that still waits.
    #[must_use]
    pub fn into_messages(self) -> VecDeque<Message> {
        self.messages
    }
}

/// Whether a frame goes on where the message before it, a frame of the same kind, ends.
fn follows(last: &[u8], frame: &Frame) -> bool {
    let Some((header, payload)) = last.split_at_checked(HEADER_LEN) else { return false };
    let [kind, offset @ ..] = header else { return false };
    let Ok(offset) = <[u8; 8]>::try_from(offset) else { return false };
    *kind == frame.kind as u8
        && payload.len() + frame.payload.len() <= JOINED_MAX
        && u64::from_be_bytes(offset) + payload.len() as u64 == frame.offset.get()
}

/// Lengthens shared bytes, in place where nobody else has them.
pub fn append(bytes: &mut Bytes, more: &[u8]) {
    let mut whole =
        std::mem::take(bytes).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    whole.extend_from_slice(more);
    *bytes = whole.freeze();
}

#[cfg(test)]
mod tests {
    use shellgate_protocol::Offset;

    use super::*;

    fn frame(kind: Kind, offset: u64, payload: &[u8]) -> (Frame, Bytes) {
        let offset = Offset::new(offset).expect("small");
        let frame = Frame { kind, offset, payload: Bytes::copy_from_slice(payload) };
        let whole = frame.to_bytes();
        (frame, whole)
    }

    fn push(outbox: &mut Outbox, kind: Kind, offset: u64, payload: &[u8]) -> Result<(), Full> {
        let (frame, whole) = frame(kind, offset, payload);
        outbox.push_frame(&frame, whole)
    }

    #[test]
    fn small_frames_that_follow_on_each_other_become_one() {
        let mut outbox = Outbox::new(1 << 20);
        for (at, byte) in b"hello".iter().enumerate() {
            push(&mut outbox, Kind::Data, at as u64, &[*byte]).expect("room");
        }
        let (_, whole) = frame(Kind::Data, 0, b"hello");
        assert_eq!(outbox.pop(), Some(Message::Binary(whole)));
        assert!(outbox.is_empty());
        assert_eq!(outbox.room(), 1 << 20);
    }

    #[test]
    fn frames_of_another_kind_or_place_stay_apart() {
        let mut outbox = Outbox::new(1 << 20);
        push(&mut outbox, Kind::Replay, 0, b"a").expect("room");
        push(&mut outbox, Kind::Data, 1, b"b").expect("room");
        push(&mut outbox, Kind::Data, 3, b"d").expect("room");
        push(&mut outbox, Kind::Keyframe, 4, b"k").expect("room");
        push(&mut outbox, Kind::Keyframe, 4, b"k").expect("room");
        outbox.push(Message::text("{}")).expect("room");
        push(&mut outbox, Kind::Data, 4, b"e").expect("room");
        assert_eq!(std::iter::from_fn(|| outbox.pop()).count(), 7);
    }

    #[test]
    fn a_million_single_bytes_cost_little_more_than_a_million_bytes() {
        let mut outbox = Outbox::new((1 << 20) + (1 << 16));
        for at in 0..1 << 20 {
            push(&mut outbox, Kind::Data, at, b"x").expect("room");
        }
        assert!(outbox.messages.len() < 70);
        let sum: usize = std::iter::from_fn(|| outbox.pop()).map(|m| m.len() - HEADER_LEN).sum();
        assert_eq!(sum, 1 << 20);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_counted_with_its_overhead() {
        let mut outbox = Outbox::new(10 * OVERHEAD);
        assert!((0..10).all(|_| outbox.push(Message::text("")).is_ok()));
        assert_eq!(outbox.push(Message::text("")), Err(Full));
        outbox.pop();
        assert!(outbox.push(Message::text("")).is_ok());
    }
}
