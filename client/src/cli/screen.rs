//! What the terminal shows, followed along, so that a status line can be drawn over it and taken
//! away again, and the terminal left as it was found. Knows escape sequences, no terminal.

use std::num::NonZeroU16;

use shellgate_protocol::TerminalSize;
use vt100::{MouseProtocolMode, Parser};

/// Ends whatever sequence the terminal is in the midst of.
const CANCEL: u8 = 0x18;

/// A terminal's screen as far as its output tells.
pub struct Screen {
    parser: Parser,
    covered: bool,
}

fn edges(size: TerminalSize) -> (NonZeroU16, NonZeroU16) {
    // An edge is never 0.
    let edge = |cells| NonZeroU16::new(cells).unwrap_or(NonZeroU16::MIN);
    (edge(size.rows()), edge(size.cols()))
}

impl Screen {
    /// An empty screen, and what makes the terminal's one so: its content scrolls up.
    pub fn start(size: TerminalSize) -> (Self, Vec<u8>) {
        let (rows, cols) = edges(size);
        let mut clear = vec![b'\n'; rows.get().into()];
        clear.extend_from_slice(b"\x1b[H");
        (Self { parser: Parser::new(rows, cols, 0), covered: false }, clear)
    }

    /// Follows output.
    pub fn follow(&mut self, output: &[u8]) {
        self.parser.process(output);
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: TerminalSize) {
        let (rows, cols) = edges(size);
        self.parser.set_size(rows, cols);
    }

    /// Forgets all, and does to the terminal what of that is the session's: modes, attributes and
    /// the screen, and not what can be scrolled back to.
    pub fn begin_anew(&mut self) -> Vec<u8> {
        let mut clear = vec![CANCEL];
        clear.extend(self.leave());
        clear.extend_from_slice(b"\x1b[!p\x1b[?7h\x1b[H\x1b[2J");
        let (rows, cols) = self.parser.screen().size();
        self.parser = Parser::new(rows, cols, 0);
        clear
    }

    /// Draws a line over the last row.
    pub fn cover(&mut self, line: &str) -> Vec<u8> {
        let (rows, cols) = self.parser.screen().size();
        self.covered = true;
        let line: String =
            line.chars().filter(|c| !c.is_control()).take(cols.get().into()).collect();
        let drawn = format!("\x1b[{rows};1H\x1b[0;7m{line}\x1b[K\x1b[0m");
        [drawn, self.rest()].concat().into_bytes()
    }

    /// Takes the line away again; nothing where none is drawn.
    pub fn uncover(&mut self) -> Vec<u8> {
        if !std::mem::take(&mut self.covered) {
            return Vec::new();
        }
        let (rows, cols) = self.parser.screen().size();
        let last = self.parser.screen().rows_formatted(0, cols.get()).last().unwrap_or_default();
        format!("\x1b[{rows};1H\x1b[0m\x1b[2K{last}{}", self.rest()).into_bytes()
    }

    /// Draws everything again.
    pub fn redraw(&mut self) -> Vec<u8> {
        self.covered = false;
        self.parser.screen().state_formatted().into_bytes()
    }

    /// Puts the cursor and its attributes back to where the program left them.
    fn rest(&self) -> String {
        let screen = self.parser.screen();
        // The cursor's state may redraw a cell, with that cell's attributes.
        format!("{}{}", screen.cursor_state_formatted(), screen.attributes_formatted())
    }

    /// Undoes what the program has switched on, and moves below what it has printed.
    pub fn leave(&mut self) -> Vec<u8> {
        let mut undo = self.uncover();
        let screen = self.parser.screen();
        let mut also = |is_on: bool, sequence: &[u8]| {
            if is_on {
                undo.extend_from_slice(sequence);
            }
        };
        also(true, b"\x1b[0m");
        also(screen.bracketed_paste(), b"\x1b[?2004l");
        also(screen.application_cursor(), b"\x1b[?1l");
        also(screen.application_keypad(), b"\x1b>");
        let mouse = screen.mouse_protocol_mode() != MouseProtocolMode::None;
        also(mouse, b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?9l");
        also(screen.hide_cursor(), b"\x1b[?25h");
        also(screen.alternate_screen(), b"\x1b[?1049l");
        also(screen.cursor_position().1 > 0 || screen.alternate_screen(), b"\r\n");
        undo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows that was sent all this.
    fn shows(size: TerminalSize, sent: &[u8]) -> (String, (u16, u16), String) {
        let (rows, cols) = edges(size);
        let mut terminal = Parser::new(rows, cols, 0);
        terminal.process(sent);
        let screen = terminal.screen();
        (screen.contents_formatted(), screen.cursor_position(), screen.attributes_formatted())
    }

    #[test]
    fn a_status_line_comes_and_goes_without_a_trace() {
        let size = TerminalSize::new(20, 4).unwrap();
        for printed in [
            &b"one\r\ntwo\r\nthree\r\n\x1b[31mfour and \x1b[1mmore"[..],
            b"\x1b[?1049hin an editor\x1b[4;1H-- INSERT --\x1b[2;5H\x1b[7m",
            b"$ ",
            b"\r\n\r\n\r\n01234567890123456789",
        ] {
            let (mut screen, clear) = Screen::start(size);
            let mut sent = [clear, printed.to_vec()].concat();
            screen.follow(printed);
            let before = shows(size, &sent);
            sent.extend(screen.cover("connection lost"));
            let covered = shows(size, &sent);
            assert!(covered.0.contains("connection lost"));
            assert_eq!(covered.1, before.1, "the cursor stays where it was");
            sent.extend(screen.uncover());
            assert_eq!(shows(size, &sent), before);
            assert_eq!(screen.uncover(), b"");
        }
    }

    #[test]
    fn a_terminal_that_begins_anew_keeps_what_was_scrolled_away() {
        let size = TerminalSize::new(20, 3).unwrap();
        let (rows, cols) = edges(size);
        let mut terminal = Parser::new(rows, cols, 100);
        let (mut screen, clear) = Screen::start(size);
        terminal.process(b"my own work\r\n");
        terminal.process(&clear);
        let printed = b"\x1b[?1049h\x1b[?2004h\x1b[31mold\x1b[3";
        for bytes in [&printed[..], &screen_after(&mut screen, printed), b"new"] {
            terminal.process(bytes);
        }
        assert_eq!(terminal.screen().contents().trim_end(), "new");
        assert_eq!(terminal.screen().cursor_position(), (0, 3));
        assert!(!terminal.screen().alternate_screen() && !terminal.screen().bracketed_paste());
        terminal.screen_mut().set_scrollback(100);
        assert!(terminal.screen().contents().contains("my own work"));
    }

    /// What a screen that has followed this does when it begins anew.
    fn screen_after(screen: &mut Screen, printed: &[u8]) -> Vec<u8> {
        screen.follow(printed);
        let clear = screen.begin_anew();
        assert!(!clear.windows(2).any(|two| two == b"\x1bc"), "that would take the scrollback");
        clear
    }

    #[test]
    fn what_a_program_switched_on_is_switched_off() {
        let size = TerminalSize::DEFAULT;
        let (mut screen, _) = Screen::start(size);
        screen.follow(b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1h\x1b[?1002h\x1b[?1006h\x1b[1;31mx");
        let undo = screen.leave();
        screen.follow(&undo);
        let after = screen.parser.screen();
        assert!(!after.alternate_screen() && !after.hide_cursor() && !after.bracketed_paste());
        assert!(!after.application_cursor());
        assert_eq!(after.mouse_protocol_mode(), MouseProtocolMode::None);
        assert!(Screen::start(size).0.leave().ends_with(b"\x1b[0m"), "nothing else to undo");
    }
}
