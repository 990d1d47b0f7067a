//! What clients type, exactly once: a position for each input stream, and one queue towards the
//! program. Knows neither channels nor descriptors; time is only an order of events.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::{Buf, Bytes, BytesMut};
use shellgate_protocol::limits::{INPUT_STREAMS_KEPT, INPUT_UNAPPLIED_MAX};
use shellgate_protocol::link_leg::Refused;
use shellgate_protocol::offset::{Overlap, overlap};
use shellgate_protocol::{InputStream, Offset};

/// Input of all streams together that may wait for the program, in bytes: clients that come and go
/// with a stream each, while the program takes nothing, cost no more than this.
const QUEUED_MAX: usize = 8 * INPUT_UNAPPLIED_MAX as usize;

/// Forgotten streams that are remembered as such.
const FORGOTTEN_KEPT: usize = 4096;

/// Input that is joined to what its stream typed just before, in bytes: a mebibyte of keystrokes is
/// not to be a million pieces.
const PIECE_MAX: usize = 16 * 1024;

/// Answers to queries that the bridge itself may have queued, in bytes.
const ANSWERS_MAX: usize = 4096;

/// Requests of one stream that are remembered, so that a repeated one is applied once.
const REQUESTS_KEPT: usize = 64;

#[derive(Debug, Default)]
struct Stream {
    received: Offset,
    applied: Offset,
    queued: usize,
    attached: u32,
    used: u64,
    requests: VecDeque<u64>,
}

/// All input of one launch.
#[derive(Debug, Default)]
pub struct Input {
    streams: HashMap<InputStream, Stream>,
    forgotten: HashSet<u64>,
    forgotten_order: VecDeque<u64>,
    /// Whose bytes, and which; the bridge's own belong to no stream.
    queue: VecDeque<(Option<InputStream>, BytesMut)>,
    queued: usize,
    answers: usize,
    clock: u64,
}

impl Input {
    /// A channel types on this stream from now on; tells what is applied of it.
    ///
    /// # Errors
    /// [`Refused::StreamForgotten`] where its position is not known any more.
    pub fn attach(&mut self, id: InputStream) -> Result<Offset, Refused> {
        if !self.streams.contains_key(&id) {
            if self.forgotten.contains(&fingerprint(id)) {
                return Err(Refused::StreamForgotten);
            }
            while self.streams.len() >= INPUT_STREAMS_KEPT && self.evict() {}
        }
        self.clock += 1;
        let stream = self.streams.entry(id).or_default();
        stream.attached += 1;
        stream.used = self.clock;
        Ok(stream.applied)
    }

    /// A channel that typed on this stream has gone.
    pub fn detach(&mut self, id: InputStream) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.attached = stream.attached.saturating_sub(1);
        }
    }

    /// What the program took of this stream; nothing of one that nobody typed on.
    #[must_use]
    pub fn applied(&self, id: InputStream) -> Offset {
        self.streams.get(&id).map_or(Offset::ZERO, |stream| stream.applied)
    }

    /// Queues what a client typed at `at`, except what is there already.
    ///
    /// # Errors
    /// [`Refused::StreamForgotten`] where a stream that has no beginning here goes on, and
    /// [`Refused::BadInput`] where bytes are missing in between or there are too many.
    pub fn receive(
        &mut self,
        id: InputStream,
        at: Offset,
        mut bytes: Bytes,
    ) -> Result<(), Refused> {
        self.clock += 1;
        let Some(stream) = self.streams.get_mut(&id) else { return Err(Refused::StreamForgotten) };
        stream.used = self.clock;
        match overlap(stream.received, at, bytes.len()) {
            Overlap::Known => return Ok(()),
            Overlap::New { skip } => bytes.advance(skip),
            Overlap::Missing if stream.received == Offset::ZERO => {
                return Err(Refused::StreamForgotten);
            }
            Overlap::Missing => return Err(Refused::BadInput),
        }
        let len = bytes.len();
        if stream.queued + len > INPUT_UNAPPLIED_MAX as usize || self.queued + len > QUEUED_MAX {
            return Err(Refused::BadInput);
        }
        if len > 0 {
            stream.received = stream.received.plus(len as u64);
            stream.queued += len;
            self.queued += len;
            match self.queue.back_mut() {
                Some((whose, last)) if *whose == Some(id) && last.len() + len <= PIECE_MAX => {
                    last.extend_from_slice(&bytes);
                }
                // A copy: the frame is part of a larger buffer, which would be held as long.
                _ => self.queue.push_back((Some(id), BytesMut::from(&bytes[..]))),
            }
        }
        Ok(())
    }

    /// Queues an answer of the bridge's own to a query that the program printed. Dropped where the
    /// program does not read the answers that it asked for.
    pub fn answer(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() && self.answers + bytes.len() <= ANSWERS_MAX {
            self.answers += bytes.len();
            self.queue.push_back((None, BytesMut::from(&bytes[..])));
        }
    }

    /// What is to be written next; `None` where nothing waits.
    #[must_use]
    pub fn front(&self) -> Option<&[u8]> {
        self.queue.front().map(|(_, bytes)| &bytes[..])
    }

    /// The program took the first `len` bytes of [`Input::front`]; tells whose they were and how far
    /// that stream is applied now.
    pub fn take(&mut self, len: usize) -> Option<(InputStream, Offset)> {
        let (id, bytes) = self.queue.front_mut()?;
        let (id, len) = (*id, len.min(bytes.len()));
        bytes.advance(len);
        if bytes.is_empty() {
            self.queue.pop_front();
        }
        let Some(id) = id else {
            self.answers -= len;
            return None;
        };
        self.queued -= len;
        let stream = self.streams.get_mut(&id)?;
        stream.queued -= len;
        stream.applied = stream.applied.plus(len as u64);
        Some((id, stream.applied))
    }

    /// Drops what this stream has queued, as if it had never come; tells what is applied of it.
    pub fn drop_queued(&mut self, id: InputStream) -> Offset {
        let Some(stream) = self.streams.get_mut(&id) else { return Offset::ZERO };
        self.queue.retain(|(whose, _)| *whose != Some(id));
        self.queued -= stream.queued;
        stream.queued = 0;
        stream.received = stream.applied;
        stream.applied
    }

    /// Whether this stream's request is new; a repeated one is not to be applied again.
    pub fn is_new_request(&mut self, id: InputStream, request: u64) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        if stream.requests.contains(&request) {
            return false;
        }
        if stream.requests.len() == REQUESTS_KEPT {
            stream.requests.pop_front();
        }
        stream.requests.push_back(request);
        true
    }

    /// Forgets the stream that was used longest ago, unless something holds every one.
    fn evict(&mut self) -> bool {
        let free = self.streams.iter().filter(|(_, s)| s.attached == 0 && s.queued == 0);
        let Some((&id, stream)) = free.min_by_key(|(_, stream)| stream.used) else { return false };
        // A stream that nothing was typed on starts anew without harm.
        if stream.received > Offset::ZERO {
            let print = fingerprint(id);
            if self.forgotten.insert(print) {
                self.forgotten_order.push_back(print);
            }
            if self.forgotten_order.len() > FORGOTTEN_KEPT
                && let Some(oldest) = self.forgotten_order.pop_front()
            {
                self.forgotten.remove(&oldest);
            }
        }
        self.streams.remove(&id);
        true
    }
}

fn fingerprint(id: InputStream) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(n: u128) -> InputStream {
        InputStream::from_bits(n)
    }

    fn at(offset: usize) -> Offset {
        Offset::new(offset as u64).unwrap()
    }

    fn drain(input: &mut Input, most: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(front) = input.front()
        {
            let len = front.len().min(most - taken.len());
            taken.extend(&front[..len]);
            input.take(len);
        }
        taken
    }

    proptest! {
        #[test]
        fn a_client_that_resends_after_every_break_is_applied_once(
            steps in proptest::collection::vec((any::<bool>(), 1usize..300, 0usize..300), 1..60)
        ) {
            let text: Vec<u8> = (0..4000).map(|i| (i % 251) as u8).collect();
            let mut input = Input::default();
            let mut sent = input.attach(stream(1)).unwrap().get() as usize;
            let mut taken = Vec::new();
            for (breaks, send, take) in steps {
                if breaks {
                    // The client knows only what was applied, and sends all the rest again.
                    input.detach(stream(1));
                    sent = input.attach(stream(1)).unwrap().get() as usize;
                }
                let end = (sent + send).min(text.len());
                if end > sent {
                    let bytes = Bytes::copy_from_slice(&text[sent..end]);
                    prop_assert_eq!(input.receive(stream(1), at(sent), bytes), Ok(()));
                    sent = end;
                }
                taken.extend(drain(&mut input, take));
                prop_assert_eq!(input.applied(stream(1)), at(taken.len()));
            }
            prop_assert!(taken == text[..taken.len()]);
        }
    }

    #[test]
    fn a_hole_is_refused() {
        let mut input = Input::default();
        input.attach(stream(1)).unwrap();
        input.receive(stream(1), at(0), Bytes::from_static(b"ab")).unwrap();
        let hole = input.receive(stream(1), at(3), Bytes::from_static(b"d"));
        assert_eq!(hole, Err(Refused::BadInput));
        input.attach(stream(2)).unwrap();
        let later = input.receive(stream(2), at(3), Bytes::from_static(b"d"));
        assert_eq!(later, Err(Refused::StreamForgotten));
    }

    #[test]
    fn more_than_a_mebibyte_unapplied_is_refused() {
        let mut input = Input::default();
        input.attach(stream(1)).unwrap();
        let paste = Bytes::from(vec![b'x'; INPUT_UNAPPLIED_MAX as usize]);
        input.receive(stream(1), at(0), paste.clone()).unwrap();
        let more = input.receive(stream(1), at(paste.len()), Bytes::from_static(b"y"));
        assert_eq!(more, Err(Refused::BadInput));
        drain(&mut input, 1);
        input.receive(stream(1), at(paste.len()), Bytes::from_static(b"y")).unwrap();
    }

    #[test]
    fn a_mebibyte_of_keystrokes_is_few_pieces_and_each_stream_has_its_own() {
        let mut input = Input::default();
        let len = INPUT_UNAPPLIED_MAX as usize;
        let text: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        input.attach(stream(1)).unwrap();
        input.attach(stream(2)).unwrap();
        for (n, key) in text.iter().enumerate() {
            input.receive(stream(1), at(n), Bytes::copy_from_slice(&[*key])).unwrap();
            assert!(n != 100 || drain(&mut input, 50) == text[..50]);
        }
        assert!(input.queue.len() <= len / PIECE_MAX + 1, "{}", input.queue.len());
        input.receive(stream(2), at(0), Bytes::from_static(b"two")).unwrap();
        assert!(drain(&mut input, len - 50) == text[50..]);
        assert_eq!(input.applied(stream(1)), at(len));
        assert_eq!((input.take(3), input.queued), (Some((stream(2), at(3))), 0));
    }

    #[test]
    fn all_streams_together_are_bounded() {
        let mut input = Input::default();
        let paste = Bytes::from(vec![b'x'; INPUT_UNAPPLIED_MAX as usize]);
        let fits = (0..20).filter(|&n| {
            input.attach(stream(n)).unwrap();
            input.receive(stream(n), at(0), paste.clone()).is_ok()
        });
        assert_eq!(fits.count(), 8);
    }

    #[test]
    fn dropped_input_may_come_again() {
        let mut input = Input::default();
        input.attach(stream(1)).unwrap();
        input.attach(stream(2)).unwrap();
        input.receive(stream(1), at(0), Bytes::from_static(b"abc")).unwrap();
        input.receive(stream(2), at(0), Bytes::from_static(b"two")).unwrap();
        assert_eq!(drain(&mut input, 1), b"a");
        assert_eq!(input.drop_queued(stream(1)), at(1));
        assert_eq!(drain(&mut input, 9), b"two");
        input.receive(stream(1), at(1), Bytes::from_static(b"bc")).unwrap();
        assert_eq!(drain(&mut input, 9), b"bc");
    }

    #[test]
    fn the_stream_used_longest_ago_is_forgotten_and_refused_when_it_returns() {
        let mut input = Input::default();
        for n in 0..=INPUT_STREAMS_KEPT as u128 {
            input.attach(stream(n)).unwrap();
            input.receive(stream(n), at(0), Bytes::from_static(b"x")).unwrap();
            drain(&mut input, 1);
            if n != 1 {
                input.detach(stream(n));
            }
        }
        assert_eq!(input.attach(stream(0)), Err(Refused::StreamForgotten));
        assert_eq!(input.attach(stream(2)), Ok(at(1)));
        // Attached streams are never forgotten, however long ago they were used.
        for n in 100..400 {
            input.attach(stream(n)).unwrap();
            input.detach(stream(n));
        }
        assert_eq!(input.applied(stream(1)), at(1));
        assert!(input.streams.len() <= INPUT_STREAMS_KEPT + 1);
        assert_eq!(input.attach(stream(100)), Ok(at(0)));
    }

    #[test]
    fn what_is_remembered_of_forgotten_streams_is_bounded() {
        let mut input = Input::default();
        for n in 0..(FORGOTTEN_KEPT + 200) as u128 {
            input.attach(stream(n)).unwrap();
            input.receive(stream(n), at(0), Bytes::from_static(b"x")).unwrap();
            drain(&mut input, 1);
            input.detach(stream(n));
        }
        assert_eq!(input.forgotten.len(), FORGOTTEN_KEPT);
    }

    #[test]
    fn answers_are_bounded_and_count_in_no_stream() {
        let mut input = Input::default();
        for _ in 0..1000 {
            input.answer(b"\x1b[0n-------".to_vec());
        }
        assert!(drain(&mut input, usize::MAX).len() <= ANSWERS_MAX);
        input.answer(b"\x1b[0n".to_vec());
        assert_eq!(input.front(), Some(&b"\x1b[0n"[..]));
        assert_eq!(input.take(4), None);
    }

    #[test]
    fn a_repeated_request_is_not_new() {
        let mut input = Input::default();
        input.attach(stream(1)).unwrap();
        assert!(input.is_new_request(stream(1), 7));
        assert!(!input.is_new_request(stream(1), 7));
        assert!(input.is_new_request(stream(1), 8));
    }
}
