//! What a gateway sends to the command line: output of which the queries are left out, server-sent
//! events, and problem documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shellgate_bridge::screen::Screen;
use shellgate_client::problem::{Problem, in_words, plain};
use shellgate_client::sse::{Parser, ServerSent};
use shellgate_protocol::TerminalSize;
use shellgate_protocol::limits::KEYFRAME_MAX;

// A part of the command line, which is no library.
#[path = "../../client/src/cli/queries.rs"]
mod queries;
use queries::Queries;

fuzz_target!(|bytes: &[u8]| {
    muted(bytes);
    events(bytes);
    problem(bytes);
});

/// In pieces of these sizes, one after the other.
fn left_of(output: &[u8], most: usize) -> Vec<u8> {
    let mut queries = Queries::default();
    let mut left: Vec<u8> =
        output.chunks(most).flat_map(|piece| queries.leave_out(piece)).collect();
    left.extend(queries.release());
    left
}

/// A terminal that has seen output and is in the midst of no sequence.
fn shown(output: &[u8]) -> Screen {
    let mut screen = Screen::new(TerminalSize::DEFAULT);
    screen.feed(output);
    screen.feed(b"\x18");
    screen
}

fn muted(output: &[u8]) {
    let left = left_of(output, usize::MAX);
    assert_eq!(left_of(output, 1), left, "it matters how output was cut");
    let mut after = shown(&left);
    let answers = after.take_answers();
    assert!(answers.is_empty(), "still asks for {:?}", String::from_utf8_lossy(&answers));
    // C1's end of a string is one to most terminals, and not to this one.
    if !output.windows(2).any(|pair| pair == b"\xc2\x9c") {
        assert_eq!(after.keyframe(KEYFRAME_MAX), shown(output).keyframe(KEYFRAME_MAX));
    }
}

fn events(stream: &[u8]) {
    let (mut whole, mut cut) = (Parser::default(), Parser::default());
    // The largest event is larger than any input here.
    let events = whole.take(stream).expect("not too big");
    let again: Vec<_> =
        stream.iter().flat_map(|byte| cut.take(&[*byte]).expect("not too big")).collect();
    assert_eq!(again, events, "it matters how a stream was cut");
    for ServerSent { event, data } in events {
        assert!(!event.is_empty());
        // A lone carriage return is part of a text here, and cannot be written at its end.
        if event.contains('\r') || data.contains('\r') {
            continue;
        }
        let lines: String = data.split('\n').map(|line| format!("data: {line}\n")).collect();
        let written = format!("event: {event}\n{lines}\n");
        let read = Parser::default().take(written.as_bytes()).expect("not too big");
        assert_eq!(read, [ServerSent { event, data }]);
    }
}

fn problem(body: &[u8]) {
    let Some(problem) = Problem::parse(body) else { return };
    for words in [problem.title, problem.detail, problem.code].into_iter().flatten() {
        for printed in [plain(&words), in_words(&words)] {
            assert!(!printed.contains(char::is_control) && printed.chars().count() <= 500);
            assert!(words.contains(char::is_control) || words.starts_with(&printed));
        }
    }
}
