//! What a terminal says when it is asked. Knows the questions and the form of the answers; holds
//! them, within a bound, until somebody takes them.

use super::parser::StringEnd;

/// Answers that are held. A question beyond gets none: nobody reads so many.
const HELD_MAX: usize = 4096;

/// The name and version that `CSI > q` asks for.
const NAME: &str = concat!("shellgate(", env!("CARGO_PKG_VERSION"), ")");

/// The usual colours, as red, green and blue.
const FOREGROUND: [u8; 3] = [0xe5, 0xe5, 0xe5];
const BACKGROUND: [u8; 3] = [0, 0, 0];
const SIXTEEN: [[u8; 3]; 16] = [
    [0x00, 0x00, 0x00],
    [0xcd, 0x00, 0x00],
    [0x00, 0xcd, 0x00],
    [0xcd, 0xcd, 0x00],
    [0x00, 0x00, 0xee],
    [0xcd, 0x00, 0xcd],
    [0x00, 0xcd, 0xcd],
    [0xe5, 0xe5, 0xe5],
    [0x7f, 0x7f, 0x7f],
    [0xff, 0x00, 0x00],
    [0x00, 0xff, 0x00],
    [0xff, 0xff, 0x00],
    [0x5c, 0x5c, 0xff],
    [0xff, 0x00, 0xff],
    [0x00, 0xff, 0xff],
    [0xff, 0xff, 0xff],
];

#[derive(Debug, Default)]
pub(super) struct Answers {
    held: Vec<u8>,
}

impl Answers {
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn say(&mut self, answer: &str) {
        if self.held.len() + answer.len() <= HELD_MAX {
            self.held.extend_from_slice(answer.as_bytes());
        }
    }

    /// What kind of terminal is this: a VT100 with advanced video, as xterm.js says it.
    pub(super) fn kind(&mut self) {
        self.say("\x1b[?1;2c");
    }

    pub(super) fn version(&mut self) {
        self.say("\x1b[>0;276;0c");
    }

    pub(super) fn unit(&mut self) {
        self.say("\x1bP!|00000000\x1b\\");
    }

    pub(super) fn name(&mut self) {
        self.say(&format!("\x1bP>|{NAME}\x1b\\"));
    }

    pub(super) fn works(&mut self) {
        self.say("\x1b[0n");
    }

    /// Where the cursor is, counted from 1; `prefix` as in the question.
    pub(super) fn cursor(&mut self, prefix: &str, row: u16, column: u16) {
        self.say(&format!("\x1b[{prefix}{row};{column}R"));
    }

    pub(super) fn size(&mut self, rows: u16, cols: u16) {
        self.say(&format!("\x1b[8;{rows};{cols}t"));
    }

    /// Whether a mode is on; `None` for one that is not known.
    pub(super) fn mode(&mut self, prefix: &str, number: u16, on: Option<bool>) {
        let state = match on {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        self.say(&format!("\x1b[{prefix}{number};{state}$y"));
    }

    /// A device control string that asks for a setting (`DECRQSS`) or a capability (`XTGETTCAP`):
    /// not known.
    pub(super) fn unknown_setting(&mut self, intermediate: u8) {
        self.say(&format!("\x1bP0{}r\x1b\\", char::from(intermediate)));
    }

    /// An operating system command that asks for colours. Others, such as for the clipboard or the
    /// title, get no answer: what comes back would be typed into the shell.
    pub(super) fn colours(&mut self, command: &[u8], end: StringEnd) {
        let mut parts = command.split(|byte| *byte == b';');
        let end = match end {
            StringEnd::Bell => "\x07",
            StringEnd::Terminator => "\x1b\\",
        };
        match parts.next() {
            Some(b"4") => {
                while let (Some(index), Some(value)) = (parts.next(), parts.next()) {
                    let index = std::str::from_utf8(index).ok().and_then(|text| text.parse().ok());
                    if let (Some(index), b"?") = (index, value) {
                        self.say(&format!("\x1b]4;{index};{}{end}", spelled(palette(index))));
                    }
                }
            }
            Some(first @ (b"10" | b"11" | b"12")) => {
                // Each further value speaks of the next number.
                let first = u16::from(first[1] - b'0') + 10;
                for (number, value) in (first..=12).zip(parts) {
                    let colour = if number == 11 { BACKGROUND } else { FOREGROUND };
                    if value == b"?" {
                        self.say(&format!("\x1b]{number};{}{end}", spelled(colour)));
                    }
                }
            }
            _ => {}
        }
    }
}

fn spelled([r, g, b]: [u8; 3]) -> String {
    format!("rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}")
}

/// xterm's 256 colours: sixteen names, a cube of 6 × 6 × 6, 24 greys.
fn palette(index: u8) -> [u8; 3] {
    match index {
        0..16 => SIXTEEN[usize::from(index)],
        16..232 => {
            let at = index - 16;
            [at / 36, at / 6 % 6, at % 6].map(|level| if level == 0 { 0 } else { 55 + 40 * level })
        }
        232.. => [8 + 10 * (index - 232); 3],
    }
}
