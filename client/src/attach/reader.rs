//! The client's place in a session's output: what is known, what was consumed, what is owed to the
//! bridge. Knows offsets and credit, and nothing of sockets or callers.

use bytes::Bytes;
use shellgate_protocol::client_leg::{GapReason, OutputStart, Resume};
use shellgate_protocol::credit::{Due, Lazy};
use shellgate_protocol::limits::{KEYFRAME_MAX, OUTPUT_FRAME_MAX};
use shellgate_protocol::offset::{Overlap, overlap};
use shellgate_protocol::{Frame, Kind, Launch, Offset, TerminalSize};

use super::event::{Event, Violation};

/// One launch's output as far as it has got here.
///
/// A gap and its keyframe are one thing: they are held back until the keyframe is whole. A
/// connection that breaks in between leaves the client where it was before the gap, and it will be
/// told of it again; a caller never has a piece of a screen.
#[derive(Debug)]
pub(crate) struct Reader {
    launch: Option<Launch>,
    /// Everything before this was handed to the caller, or announced as a gap. Unknown until the
    /// first keyframe where the client asked for one.
    known: Option<Offset>,
    /// Where the present connection said that output goes on.
    start: Offset,
    /// The caller is done with everything before this.
    consumed: Offset,
    /// What this client asked to have under way at most.
    window: u64,
    /// The present connection may not send beyond this.
    limit: Offset,
    acks: Lazy,
    held: Held,
    /// The session had ended before this connection: only its last screen is left.
    ended: bool,
}

/// News that wait for the end of their keyframe, in their order.
#[derive(Debug, Default)]
struct Held {
    gap: Option<(Offset, Offset, GapReason)>,
    size: Option<TerminalSize>,
    at: Offset,
    pieces: Vec<Bytes>,
    len: usize,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.gap.is_none() && self.pieces.is_empty()
    }
}

impl Reader {
    pub(crate) fn new(output: Option<Offset>, window: u32) -> Self {
        Self {
            launch: None,
            known: output,
            start: Offset::ZERO,
            consumed: output.unwrap_or_default(),
            window: window.into(),
            limit: Offset::ZERO,
            acks: Lazy::new(Offset::ZERO, window.into()),
            held: Held::default(),
            ended: false,
        }
    }

    /// The same reader, whose caller knows of which launch it has something already.
    pub(crate) fn of(self, launch: Option<Launch>) -> Self {
        Self { launch, ..self }
    }

    pub(crate) fn launch(&self) -> Option<Launch> {
        self.launch
    }

    pub(crate) fn known(&self) -> Option<Offset> {
        self.known
    }

    /// The session had ended before the present connection, or the last one.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// A connection stands. Says whether it leads to another launch than the one before.
    pub(crate) fn attached(&mut self, launch: Launch, start: OutputStart, granted: u32) -> bool {
        let new_launch = self.launch.is_some_and(|mine| mine != launch);
        if new_launch {
            // A client that waits for its first keyframe goes on waiting for it.
            self.known = self.known.map(|_| Offset::ZERO);
            self.consumed = Offset::ZERO;
        }
        self.launch = Some(launch);
        self.start = start.from;
        if start.resume == Resume::Exact {
            self.known.get_or_insert(start.from);
        }
        let window = u64::from(granted).min(self.window);
        self.limit = start.from.plus(self.window);
        // A keyframe is owed an acknowledgement although it stands where output goes on.
        let told = match start.resume {
            Resume::Exact => start.from,
            Resume::Keyframe | Resume::Ended => {
                Offset::new(start.from.get().saturating_sub(1)).unwrap_or_default()
            }
        };
        self.acks = Lazy::new(told, window);
        self.held = Held::default();
        self.ended = start.resume == Resume::Ended;
        new_launch
    }

    /// Where output goes on, what is held back included.
    fn next(&self) -> Offset {
        if self.held.is_empty() { self.known.unwrap_or(self.start) } else { self.held.at }
    }

    /// Output may go on at `at` without anything being announced: nothing is known yet, or nothing
    /// but a last screen is left.
    fn may_start_at(&self, at: Offset) -> bool {
        at > self.next() && self.held.is_empty() && (self.known.is_none() || self.ended)
    }

    /// Output has come: what of it is new. What was held back goes before it.
    pub(crate) fn data(
        &mut self,
        frame: Frame,
        now: u64,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(), Violation> {
        let end = frame.end();
        if end > self.limit {
            return Err(Violation::BeyondWindow { end, limit: self.limit });
        }
        let next = self.next();
        match overlap(next, frame.offset, frame.payload.len()) {
            Overlap::New { skip } => {
                self.release(tell);
                let mut bytes = frame.payload;
                if skip > 0 {
                    bytes::Buf::advance(&mut bytes, skip);
                }
                self.known = Some(end);
                let (from, replay) = (frame.offset.plus(skip as u64), frame.kind == Kind::Replay);
                tell(Event::Output { from, bytes, replay });
                Ok(())
            }
            Overlap::Known => {
                // Nobody will consume it a second time, and it took room in the window.
                self.acks.reach(end.min(self.consumed), now);
                Ok(())
            }
            Overlap::Missing => Err(Violation::Hole { at: frame.offset, expected: next }),
        }
    }

    /// A piece of a keyframe has come.
    pub(crate) fn keyframe(
        &mut self,
        at: Offset,
        piece: Bytes,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(), Violation> {
        let expected = self.next();
        if at < expected {
            return Ok(());
        }
        if at > expected && !self.may_start_at(at) {
            return Err(Violation::Hole { at, expected });
        }
        self.held.len += piece.len();
        if self.held.len > KEYFRAME_MAX {
            return Err(Violation::KeyframeTooBig);
        }
        // A piece that is not full is the last one; after a full one the next message tells.
        let is_last = piece.len() < OUTPUT_FRAME_MAX;
        self.held.pieces.push(piece);
        self.skip_to(at);
        if is_last {
            self.release(tell);
        }
        Ok(())
    }

    /// Output will not come.
    pub(crate) fn gap(
        &mut self,
        from: Offset,
        to: Offset,
        why: GapReason,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(), Violation> {
        self.release(tell);
        let known = self.known.unwrap_or(self.start);
        if from > known {
            return Err(Violation::Hole { at: from, expected: known });
        }
        if to > known {
            self.held.gap = Some((known, to, why));
            self.skip_to(to);
        }
        Ok(())
    }

    fn skip_to(&mut self, to: Offset) {
        self.held.at = to;
        self.limit = self.limit.max(to.plus(self.window));
    }

    /// The terminal has another size from `at` on.
    pub(crate) fn size(
        &mut self,
        size: TerminalSize,
        at: Offset,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(), Violation> {
        let expected = self.next();
        if at > expected && !self.may_start_at(at) {
            return Err(Violation::Hole { at, expected });
        }
        if at < expected {
            return Ok(());
        }
        if self.held.gap.is_some() && self.held.pieces.is_empty() {
            self.held.size = Some(size);
        } else {
            self.release(tell);
            tell(Event::Size(size));
        }
        Ok(())
    }

    /// The output ends at `at`.
    pub(crate) fn exit(
        &mut self,
        at: Offset,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(), Violation> {
        let expected = self.next();
        // Where a bridge did not live to say it, nobody knows where the output ended.
        if at != expected && !self.ended && !self.may_start_at(at) {
            return Err(Violation::Hole { at, expected });
        }
        self.release(tell);
        self.known = Some(at);
        Ok(())
    }

    /// Whatever follows, no piece of a keyframe does: hands out what was held back.
    pub(crate) fn release(&mut self, tell: &mut dyn FnMut(Event)) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        self.known = Some(held.at);
        if let Some((from, to, why)) = held.gap {
            tell(Event::Gap { from, to, why });
        }
        if let Some(size) = held.size {
            tell(Event::Size(size));
        }
        for (n, bytes) in held.pieces.into_iter().enumerate() {
            tell(Event::Keyframe { at: held.at, bytes, first: n == 0 });
        }
    }

    /// The caller is done with everything before `at` of this launch.
    pub(crate) fn consume(&mut self, launch: Launch, at: Offset, now: u64) {
        if self.launch == Some(launch) {
            self.consumed = self.consumed.max(at);
            self.acks.reach(at, now);
        }
    }

    pub(crate) fn ack_due(&self, now: u64) -> Due {
        self.acks.due(now)
    }

    /// What to acknowledge. From now on the bridge may send up to a window beyond.
    pub(crate) fn acknowledge(&mut self) -> Offset {
        let at = self.acks.tell();
        self.limit = self.limit.max(at.plus(self.window));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn start(from: u64, resume: Resume) -> OutputStart {
        OutputStart { from: at(from), resume }
    }

    fn exact(from: u64) -> OutputStart {
        start(from, Resume::Exact)
    }

    /// What the reader tells, in short.
    fn told(
        tells: impl FnOnce(&mut dyn FnMut(Event)) -> Result<(), Violation>,
    ) -> Result<Vec<String>, Violation> {
        let mut told = vec![];
        tells(&mut |event| {
            told.push(match event {
                Event::Output { from, bytes, .. } => {
                    format!("{from} {}", String::from_utf8_lossy(&bytes))
                }
                Event::Keyframe { at, bytes, first } => {
                    format!("keyframe {at} +{}{}", bytes.len(), if first { " first" } else { "" })
                }
                Event::Gap { from, to, .. } => format!("gap {from} {to}"),
                Event::Size(size) => format!("size {}", size.cols()),
                other => format!("{other:?}"),
            });
        })?;
        Ok(told)
    }

    fn data(reader: &mut Reader, from: u64, text: &'static str) -> Result<Vec<String>, Violation> {
        let payload = Bytes::from_static(text.as_bytes());
        let frame = Frame { kind: Kind::Data, offset: at(from), payload };
        told(|tell| reader.data(frame, 0, tell))
    }

    fn keyframe(reader: &mut Reader, from: u64, len: usize) -> Result<Vec<String>, Violation> {
        told(|tell| reader.keyframe(at(from), vec![0; len].into(), tell))
    }

    fn gap(reader: &mut Reader, from: u64, to: u64) -> Result<Vec<String>, Violation> {
        told(|tell| reader.gap(at(from), at(to), GapReason::Lost, tell))
    }

    fn nothing() -> Result<Vec<String>, Violation> {
        Ok(vec![])
    }

    fn said(what: &[&str]) -> Result<Vec<String>, Violation> {
        Ok(what.iter().map(|&what| what.to_owned()).collect())
    }

    #[test]
    fn an_overlap_is_cut_off_and_a_hole_is_a_violation() {
        let mut reader = Reader::new(None, 64);
        assert!(!reader.attached(Launch(1), exact(10), 64));
        assert_eq!(data(&mut reader, 10, "abc"), said(&["10 abc"]));
        assert!(!reader.attached(Launch(1), exact(11), 64));
        assert_eq!(data(&mut reader, 11, "bcde"), said(&["13 de"]));
        assert_eq!(data(&mut reader, 12, "cd"), nothing());
        let hole = Violation::Hole { at: at(16), expected: at(15) };
        assert_eq!(data(&mut reader, 16, "x"), Err(hole));
    }

    #[test]
    fn what_an_earlier_process_knew_holds_for_its_launch_alone() {
        let knows = || Reader::new(Some(at(5)), 64).of(Some(Launch(1)));
        let mut reader = knows();
        assert_eq!((reader.launch(), reader.known()), (Some(Launch(1)), Some(at(5))));
        assert!(!reader.attached(Launch(1), exact(5), 64));
        assert_eq!(data(&mut reader, 5, "f"), said(&["5 f"]));
        let mut reader = knows();
        assert!(reader.attached(Launch(2), exact(0), 64));
        assert_eq!(data(&mut reader, 0, "a"), said(&["0 a"]));
    }

    #[test]
    fn a_gap_comes_with_its_whole_keyframe_or_not_at_all() {
        let mut reader = Reader::new(Some(at(5)), 64);
        reader.attached(Launch(1), exact(5), 64);
        assert!(keyframe(&mut reader, 9, 3).is_err(), "nothing announced what is missing");
        assert_eq!(gap(&mut reader, 2, 9), nothing());
        let size = TerminalSize::DEFAULT;
        assert_eq!(told(|tell| reader.size(size, at(9), tell)), nothing());
        assert_eq!(keyframe(&mut reader, 9, OUTPUT_FRAME_MAX), nothing());
        assert_eq!(reader.known(), Some(at(5)), "a break now means that all of it comes again");
        let all = ["gap 5 9", "size 80", "keyframe 9 +65536 first", "keyframe 9 +7"];
        assert_eq!(keyframe(&mut reader, 9, 7), said(&all));
        assert_eq!(reader.known(), Some(at(9)));
        assert_eq!(gap(&mut reader, 5, 9), nothing());
        assert!(gap(&mut reader, 10, 12).is_err());
        assert_eq!(data(&mut reader, 9, "x"), said(&["9 x"]));
        assert_eq!(told(|tell| reader.exit(at(10), tell)), nothing());
        assert!(reader.exit(at(11), &mut |_| ()).is_err());
    }

    #[test]
    fn a_full_last_piece_is_whole_when_something_else_comes() {
        let mut reader = Reader::new(None, 64);
        reader.attached(Launch(1), start(9, Resume::Keyframe), 64);
        assert_eq!(keyframe(&mut reader, 9, OUTPUT_FRAME_MAX), nothing());
        assert_eq!(data(&mut reader, 9, "x"), said(&["keyframe 9 +65536 first", "9 x"]));
    }

    #[test]
    fn a_first_keyframe_may_be_newer_than_the_attachment() {
        let mut reader = Reader::new(None, 64);
        reader.attached(Launch(1), start(9, Resume::Keyframe), 64);
        assert_eq!(reader.known(), None, "without it there is no place to go on from");
        assert_eq!(keyframe(&mut reader, 20, 3), said(&["keyframe 20 +3 first"]));
        assert!(keyframe(&mut reader, 30, 3).is_err());
        assert_eq!(data(&mut reader, 20, "x"), said(&["20 x"]));
    }

    #[test]
    fn a_gap_without_a_keyframe_comes_with_what_follows() {
        let mut reader = Reader::new(Some(Offset::ZERO), 64);
        reader.attached(Launch(1), exact(0), 64);
        assert_eq!(gap(&mut reader, 0, 9), nothing());
        assert_eq!(data(&mut reader, 9, "{}"), said(&["gap 0 9", "9 {}"]));
    }

    #[test]
    fn nothing_comes_beyond_what_was_acknowledged_and_the_window() {
        let mut reader = Reader::new(None, 4);
        reader.attached(Launch(1), exact(0), 4);
        assert_eq!(data(&mut reader, 0, "abcd"), said(&["0 abcd"]));
        assert!(data(&mut reader, 4, "e").is_err());
        reader.consume(Launch(1), at(2), 0);
        assert_eq!(reader.ack_due(0), Due::Now);
        assert_eq!(reader.acknowledge(), at(2));
        assert_eq!(data(&mut reader, 4, "ef"), said(&["4 ef"]));
        assert!(data(&mut reader, 6, "g").is_err());
    }

    #[test]
    fn what_is_known_already_is_acknowledged_all_the_same() {
        let mut reader = Reader::new(None, 8);
        reader.attached(Launch(1), exact(0), 8);
        data(&mut reader, 0, "abcdefgh").unwrap();
        reader.consume(Launch(1), at(6), 0);
        reader.attached(Launch(1), exact(0), 8);
        assert_eq!(data(&mut reader, 0, "abcdefgh"), nothing());
        assert_eq!(reader.acknowledge(), at(6), "not what the caller has not consumed");
        reader.consume(Launch(1), at(8), 0);
        assert_eq!(reader.acknowledge(), at(8));
    }

    #[test]
    fn a_keyframe_alone_is_acknowledged() {
        let mut reader = Reader::new(None, 64);
        reader.attached(Launch(1), start(100, Resume::Keyframe), 64);
        assert_eq!(keyframe(&mut reader, 100, 10), said(&["keyframe 100 +10 first"]));
        assert_eq!(reader.ack_due(0), Due::Never);
        reader.consume(Launch(1), at(100), 0);
        assert!(matches!(reader.ack_due(0), Due::Later { .. }));
        assert_eq!(reader.acknowledge(), at(100));
    }

    #[test]
    fn another_launch_starts_from_nothing() {
        let mut reader = Reader::new(None, 64);
        reader.attached(Launch(1), exact(50), 64);
        data(&mut reader, 50, "old").unwrap();
        assert!(reader.attached(Launch(2), exact(0), 64));
        reader.consume(Launch(1), at(53), 0);
        assert_eq!(reader.ack_due(9999), Due::Never, "the old launch's bytes are owed to nobody");
        assert_eq!(data(&mut reader, 0, "new"), said(&["0 new"]));
    }
}
