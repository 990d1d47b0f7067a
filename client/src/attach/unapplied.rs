//! Input from the caller's hands until the program's terminal has taken it. Knows offsets and
//! launches, and nothing of sockets.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use shellgate_protocol::frame::{HEADER_LEN, Kind, put_header};
use shellgate_protocol::limits::{INPUT_FRAME_MAX, INPUT_UNAPPLIED_MAX};
use shellgate_protocol::{Launch, Offset};

use super::event::Violation;

/// An emptied buffer that grew beyond this gives its memory back, in bytes.
const KEPT_CAPACITY: usize = 64 * 1024;

/// One stream's input that is not applied yet: at most [`INPUT_UNAPPLIED_MAX`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Unapplied {
    /// The launch that the bytes were typed to, once one is known.
    launch: Option<Launch>,
    /// Everything before this was taken by the program's terminal.
    applied: Offset,
    /// Everything before this was sent on the present connection.
    sent: Offset,
    /// Everything before this was sent to this launch on some connection: what the bridge had
    /// received when one broke it may apply at any time.
    ever_sent: Offset,
    /// From `applied` on.
    bytes: VecDeque<u8>,
    /// How often something was dropped that had not been applied.
    drops: u64,
}

impl Unapplied {
    /// Bytes that may be typed now.
    pub(crate) fn room(&self) -> usize {
        (INPUT_UNAPPLIED_MAX as usize).saturating_sub(self.bytes.len())
    }

    /// Takes as much as there is room for, and says how much that was.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.room());
        self.bytes.extend(&bytes[..len]);
        len
    }

    pub(crate) fn applied(&self) -> Offset {
        self.applied
    }

    /// The offset after the last byte that was typed.
    pub(crate) fn end(&self) -> Offset {
        self.applied.plus(self.bytes.len() as u64)
    }

    /// Lays the buffer against what the bridge has applied. Says how many bytes were typed to
    /// another launch and are dropped.
    pub(crate) fn attached(&mut self, launch: Launch, applied: Offset) -> Result<u64, Violation> {
        let mut dropped = 0;
        match self.launch {
            Some(mine) if mine == launch => self.take_off(applied)?,
            Some(_) => {
                // Another program runs now: what was meant for the old one is not typed to it.
                dropped = self.clear();
                self.applied = applied;
                self.ever_sent = applied;
            }
            // Typed ahead of the first launch that answers.
            None => {
                self.applied = applied;
                self.ever_sent = applied;
            }
        }
        self.launch = Some(launch);
        self.sent = self.applied;
        Ok(dropped)
    }

    /// The bridge has applied everything before `at`.
    pub(crate) fn take(&mut self, at: Offset) -> Result<(), Violation> {
        if at > self.ever_sent {
            return Err(Violation::AppliedBeyondSent { at, sent: self.ever_sent });
        }
        // Older news than `attached` brought.
        if at > self.applied {
            self.take_off(at)?;
            self.sent = self.sent.max(at);
        }
        Ok(())
    }

    fn take_off(&mut self, at: Offset) -> Result<(), Violation> {
        if at < self.applied {
            // Those bytes were reported as applied and are gone here.
            return Err(Violation::AppliedTakenBack { at, applied: self.applied });
        }
        let len = at.since(self.applied);
        if len > self.bytes.len() as u64 {
            return Err(Violation::AppliedBeyondSent { at, sent: self.end() });
        }
        // `len` is at most the buffer's length, which is a usize.
        self.bytes.drain(..len as usize);
        self.applied = at;
        self.shrink();
        Ok(())
    }

    fn shrink(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes = VecDeque::new();
        }
    }

    /// Forgets what has not been applied, and says how much that was.
    pub(crate) fn clear(&mut self) -> u64 {
        let len = self.bytes.len() as u64;
        self.drops += u64::from(len > 0);
        self.bytes.clear();
        self.shrink();
        self.sent = self.applied;
        len
    }

    /// Begins anew on another stream, and says how much of this one is given up.
    pub(crate) fn restart(&mut self) -> u64 {
        let len = self.clear();
        // Whoever waits for an offset of the old stream waits in vain.
        *self = Self { launch: self.launch, drops: self.drops + 1, ..Self::default() };
        len
    }

    /// Bytes that were never sent to this launch, on no connection.
    pub(crate) fn never_sent(&self) -> u64 {
        self.end().since(self.ever_sent)
    }

    pub(crate) fn drops(&self) -> u64 {
        self.drops
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.end()
    }

    /// The next frame to send: at most `frame` bytes, and no more than `unapplied` bytes beyond
    /// what was applied.
    pub(crate) fn next_frame(&mut self, frame: usize, unapplied: u64) -> Option<Bytes> {
        let in_flight = self.sent.since(self.applied);
        let allowed = unapplied.saturating_sub(in_flight).min(frame.min(INPUT_FRAME_MAX) as u64);
        // Both are at most the buffer's length, which is a usize.
        let start = in_flight as usize;
        let len = (self.bytes.len() - start).min(allowed as usize);
        if len == 0 {
            return None;
        }
        let mut message = BytesMut::with_capacity(HEADER_LEN + len);
        put_header(&mut message, Kind::Data, self.sent);
        let (front, back) = self.bytes.as_slices();
        let from_front = &front[start.min(front.len())..(start + len).min(front.len())];
        message.put_slice(from_front);
        let from_back = start.saturating_sub(front.len());
        message.put_slice(&back[from_back..from_back + len - from_front.len()]);
        self.sent = self.sent.plus(len as u64);
        self.ever_sent = self.ever_sent.max(self.sent);
        Some(message.freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shellgate_protocol::Frame;

    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    proptest! {
        /// Random typing, sending, applying and reconnecting: the bridge's end sees each byte once
        /// and in order.
        #[test]
        fn the_program_gets_each_typed_byte_once(
            steps in proptest::collection::vec((0u8..4, 1usize..3000), 1..200), base in 0u64..5000,
        ) {
            let mut input = Unapplied::default();
            let mut typed = Vec::new();
            let mut program = Vec::new();
            let mut in_flight: VecDeque<Frame> = VecDeque::new();
            let mut received = at(base);
            input.attached(Launch(1), received).unwrap();
            for (step, n) in steps {
                match step {
                    0 => {
                        let bytes: Vec<u8> = (0..n).map(|i| ((typed.len() + i) % 251) as u8).collect();
                        let taken = input.type_in(&bytes);
                        typed.extend_from_slice(&bytes[..taken]);
                    }
                    1 => in_flight.extend(
                        input.next_frame(n, 4000).map(|frame| Frame::from_client(frame).unwrap()),
                    ),
                    2 => if let Some(frame) = in_flight.pop_front() {
                        prop_assert_eq!(frame.offset, received);
                        program.extend_from_slice(&frame.payload);
                        received = frame.end();
                        input.take(received).unwrap();
                    },
                    _ => {
                        in_flight.clear();
                        prop_assert_eq!(input.attached(Launch(1), received), Ok(0));
                    }
                }
                prop_assert!(input.sent.since(received) <= 4000);
            }
            while let Some(frame) = in_flight.pop_front() {
                program.extend_from_slice(&frame.payload);
                input.take(frame.end()).unwrap();
            }
            while let Some(frame) = input.next_frame(999, 4000) {
                let frame = Frame::from_client(frame).unwrap();
                program.extend_from_slice(&frame.payload);
                input.take(frame.end()).unwrap();
            }
            prop_assert_eq!(program, typed);
        }
    }

    #[test]
    fn what_was_typed_to_another_launch_is_dropped() {
        let mut input = Unapplied::default();
        input.type_in(b"ahead ");
        assert_eq!(input.attached(Launch(1), Offset::ZERO), Ok(0));
        assert_eq!(&input.next_frame(99, 99).unwrap()[HEADER_LEN..], b"ahead ");
        input.type_in(b"late");
        assert_eq!(input.attached(Launch(2), Offset::ZERO), Ok(10));
        assert_eq!(input.next_frame(99, 99), None);
        input.type_in(b"new");
        let frame = Frame::from_client(input.next_frame(99, 99).unwrap()).unwrap();
        assert_eq!((frame.offset, &frame.payload[..]), (Offset::ZERO, &b"new"[..]));
    }

    #[test]
    fn a_bridge_cannot_apply_what_was_not_sent_nor_take_back_what_it_applied() {
        let mut input = Unapplied::default();
        input.attached(Launch(1), at(5)).unwrap();
        input.type_in(b"abc");
        assert!(input.take(at(6)).is_err());
        input.next_frame(2, 99).unwrap();
        assert_eq!(input.take(at(7)), Ok(()));
        assert_eq!(input.take(at(6)), Ok(()), "old news changes nothing");
        assert!(input.take(at(8)).is_err());
        assert!(input.attached(Launch(1), at(6)).is_err());
        assert!(input.attached(Launch(1), at(9)).is_err());
        assert_eq!(input.attached(Launch(1), at(8)), Ok(0), "sent on an older connection");
    }

    #[test]
    fn what_was_sent_before_a_break_may_be_applied_before_it_is_sent_again() {
        let mut input = Unapplied::default();
        input.attached(Launch(1), Offset::ZERO).unwrap();
        input.type_in(b"abcdef");
        input.next_frame(4, 99).unwrap();
        assert_eq!(input.attached(Launch(1), at(1)), Ok(0));
        assert_eq!(input.take(at(3)), Ok(()), "the bridge had it before the break");
        let frame = Frame::from_client(input.next_frame(99, 99).unwrap()).unwrap();
        assert_eq!((frame.offset, &frame.payload[..]), (at(3), &b"def"[..]));
        assert_eq!(input.attached(Launch(1), at(3)), Ok(0));
        assert!(input.take(at(7)).is_err(), "that was never typed");
    }

    #[test]
    fn another_stream_begins_with_nothing_and_for_the_same_launch() {
        let mut input = Unapplied::default();
        input.attached(Launch(1), Offset::ZERO).unwrap();
        input.type_in(b"abcdef");
        input.next_frame(4, 99).unwrap();
        input.take(at(1)).unwrap();
        assert_eq!(input.never_sent(), 2);
        assert_eq!((input.restart(), input.drops()), (5, 2));
        input.type_in(b"xy");
        assert_eq!(input.attached(Launch(1), Offset::ZERO), Ok(0));
        let frame = Frame::from_client(input.next_frame(99, 99).unwrap()).unwrap();
        assert_eq!((frame.offset, &frame.payload[..]), (Offset::ZERO, &b"xy"[..]));
        input.restart();
        input.type_in(b"z");
        assert_eq!(input.attached(Launch(2), Offset::ZERO), Ok(1), "meant for the old launch");
    }

    #[test]
    fn it_never_holds_more_than_a_mebibyte() {
        let mut input = Unapplied::default();
        assert_eq!(input.type_in(&vec![0; 2 << 20]), 1 << 20);
        assert_eq!((input.room(), input.type_in(b"x")), (0, 0));
    }
}
