//! A program's output as the bridge's headless terminal reads it, and the keyframe made of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shellgate_bridge::screen::Screen;
use shellgate_protocol::TerminalSize;
use shellgate_protocol::limits::KEYFRAME_MAX;

// Where the first three bytes say so, the output is cut, and the terminal resized in between.
fuzz_target!(|bytes: &[u8]| {
    let [cols, rows, cut, output @ ..] = bytes else { return };
    let size = |cols: u8, rows: u8| {
        TerminalSize::new(u16::from(cols) + 1, u16::from(rows % 64) + 1).expect("in range")
    };
    let mut screen = Screen::new(size(*cols, *rows));
    let (before, after) = output.split_at(output.len() * usize::from(*cut) / 256);
    screen.feed(before);
    screen.resize(size(*rows, *cols));
    screen.feed(after);
    assert!(screen.take_answers().len() <= 4096);

    let small = screen.keyframe(4096);
    assert!(small.len() <= 4096, "{} bytes where 4096 were allowed", small.len());
    let whole = screen.keyframe(KEYFRAME_MAX);
    assert!(whole.len() <= KEYFRAME_MAX);
    let repainted = |keyframe: &[u8]| {
        let mut other = Screen::new(size(*rows, *cols));
        other.feed(keyframe);
        // A keyframe is what somebody else's terminal is fed with.
        assert!(other.take_answers().is_empty(), "a keyframe asks its reader");
        other.keyframe(KEYFRAME_MAX)
    };
    let again = repainted(&whole);
    assert_eq!(repainted(&again), again, "a keyframe is its own screen's keyframe");
    // Rows that were printed at another width may not fit into this one as they are; nor does a
    // wide character into a single column.
    if before.is_empty() && *rows > 0 {
        assert_eq!(again, whole, "a keyframe's screen is the screen that it was made of");
    }
});
