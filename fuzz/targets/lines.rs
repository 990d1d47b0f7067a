//! A program's output cut into lines: its stdout by the gateway for clients of the plain dialect,
//! its stderr by the bridge for the log. The bytes are a script: an operation, and what it is on.
#![no_main]

use std::collections::VecDeque;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shellgate_bridge::logbook::Logbook;
use shellgate_bridge::stderr::Stderr;
use shellgate_gateway::relay::{Dialect, Lines};
use shellgate_protocol::{CloseCode, Frame, FromBridge, Kind, Offset};
use tokio_tungstenite::tungstenite::Message;

/// Lines as anybody would cut them who has no bound to keep.
#[derive(Default)]
struct Plain {
    whole: VecDeque<Vec<u8>>,
    rest: Vec<u8>,
    skipping: bool,
}

impl Plain {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match (*byte, self.skipping) {
                (b'\n', true) => self.skipping = false,
                (_, true) => {}
                (b'\n', false) => self.whole.push_back(std::mem::take(&mut self.rest)),
                (byte, false) => self.rest.push(byte),
            }
        }
    }

    fn next(&mut self, longest: usize) -> Result<Option<Message>, CloseCode> {
        match self.whole.pop_front() {
            Some(line) if line.len() > longest => Err(CloseCode::TooBig),
            Some(line) => String::from_utf8(line)
                .map(|t| Some(Message::text(t)))
                .map_err(|_| CloseCode::NotUtf8),
            None if self.rest.len() > longest => Err(CloseCode::TooBig),
            None => Ok(None),
        }
    }
}

/// What one operation is on: at most `most` bytes of the script.
fn piece<'a>(script: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (piece, rest) = script.split_at(most.min(script.len()));
    *script = rest;
    piece
}

fuzz_target!(|script: &[u8]| {
    stdout(script);
    stderr(script);
});

fn stdout(mut script: &[u8]) {
    let Some((&longest, rest)) = script.split_first() else { return };
    script = rest;
    let longest = usize::from(longest);
    let (mut dialect, mut plain) = (Dialect::PlainLines(Lines::new(longest)), Plain::default());
    let mut end = Offset::ZERO;
    while let Some((&what, rest)) = script.split_first() {
        script = rest;
        match what % 8 {
            0 => {
                end = end.plus(u64::from(what));
                dialect.skip_to(end);
                plain.rest.clear();
                plain.skipping = true;
            }
            1 => {
                let line = plain.next(longest);
                assert_eq!(dialect.next_line(), line);
                if line.is_err() {
                    return;
                }
            }
            _ => {
                let piece = piece(&mut script, usize::from(what / 8));
                let payload = Bytes::copy_from_slice(piece);
                let frame = Frame { kind: Kind::Data, offset: end, payload };
                end = frame.end();
                dialect.frame(&frame);
                plain.take(piece);
            }
        }
        assert_eq!(dialect.reached(), Some(end));
        assert_eq!(dialect.has_line(), !plain.whole.is_empty() || plain.rest.len() > longest);
        let held = plain.whole.iter().map(|line| line.len() + 1).sum::<usize>() + plain.rest.len();
        assert_eq!(dialect.held(), held, "what is held is what is still owed");
    }
    dialect.finish();
    if !plain.rest.is_empty() {
        plain.take(b"\n");
    }
    loop {
        let line = plain.next(longest);
        assert_eq!(dialect.next_line(), line);
        if !matches!(line, Ok(Some(_))) {
            break;
        }
    }
}

fn stderr(script: &[u8]) {
    let cut = |most: usize| {
        let (mut stderr, mut log, mut lines) = (Stderr::default(), Logbook::default(), Vec::new());
        let mut now = 0;
        let mut take = |log: &mut Logbook| {
            // Long enough for as many lines as there may be.
            now += 100_000;
            while let Some(line) = log.next(now) {
                let FromBridge::Log { text, .. } = line else { panic!("not a line") };
                lines.push(text);
            }
        };
        for piece in script.chunks(most) {
            stderr.add(piece, &mut log);
            take(&mut log);
        }
        stderr.end(&mut log);
        take(&mut log);
        (lines, stderr.tail())
    };
    // At most so many lines in one piece as the log holds, and may give out at once.
    let (lines, tail) = cut(60);
    assert_eq!(cut(1), (lines.clone(), tail.clone()), "it matters how output was cut");
    for line in lines {
        assert!(!line.trim().is_empty() && line.len() <= 4096 && !line.contains('\n'));
    }
    let whole = String::from_utf8_lossy(script);
    match tail {
        Some(tail) => {
            assert!(tail.len() <= 2048);
            assert!(whole.trim_end().ends_with(&tail), "{tail:?} are not its last words");
        }
        None => assert!(whole.len() > 2048 || whole.trim().is_empty()),
    }
}
