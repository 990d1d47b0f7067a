//! What each control and sequence means: the table from what the parser found to what the terminal
//! does. Holds no state.

use super::modes::Mode;
use super::parser::{Csi, Perform, StringEnd};
use super::sgr;
use super::terminal::Terminal;

/// Bytes of a title that are kept.
const TITLE_MAX: usize = 256;

impl Perform for Terminal {
    fn is_tired(&self) -> bool {
        self.strength == 0
    }

    fn print(&mut self, text: &str) {
        self.print_text(text);
    }

    fn control(&mut self, control: u8) {
        match control {
            0x08 => self.move_columns(-1),
            b'\t' => self.tab(1),
            b'\n' | 0x0b | 0x0c => {
                self.line_feed();
                if self.modes.newline {
                    self.move_to_column(0);
                }
            }
            b'\r' => self.move_to_column(0),
            0x0e => self.charsets.shifted = true,
            0x0f => self.charsets.shifted = false,
            _ => {}
        }
    }

    fn escape(&mut self, intermediate: u8, end: u8) {
        match (intermediate, end) {
            (b'(', set) => self.charsets.drawing[0] = set == b'0',
            (b')', set) => self.charsets.drawing[1] = set == b'0',
            (b'#', b'8') => self.fill_with_e(),
            (0, b'7') => self.save_cursor(),
            (0, b'8') => self.restore_cursor(),
            (0, b'=') => self.modes.set(Mode::KeypadKeys, true),
            (0, b'>') => self.modes.set(Mode::KeypadKeys, false),
            (0, b'D') => self.line_feed(),
            (0, b'E') => {
                self.line_feed();
                self.move_to_column(0);
            }
            (0, b'H') => self.set_tab(true),
            (0, b'M') => self.reverse_line_feed(),
            (0, b'Z') => self.answers.kind(),
            (0, b'c') => self.reset(),
            _ => {}
        }
    }

    fn csi(&mut self, csi: &Csi) {
        let first = csi.get(0, 0);
        let one = csi.get(0, 1);
        let by = i32::from(one);
        match (csi.prefix, csi.intermediate, csi.end) {
            (0, 0, b'@') => self.insert_cells(one),
            (0, 0, b'A') => self.move_rows(-by),
            (0, 0, b'B' | b'e') => self.move_rows(by),
            (0, 0, b'C' | b'a') => self.move_columns(by),
            (0, 0, b'D') => self.move_columns(-by),
            (0, 0, b'E') => {
                self.move_rows(by);
                self.move_to_column(0);
            }
            (0, 0, b'F') => {
                self.move_rows(-by);
                self.move_to_column(0);
            }
            (0, 0, b'G' | b'`') => self.move_to_column(one - 1),
            (0, 0, b'H' | b'f') => self.move_to(one - 1, csi.get(1, 1) - 1),
            (0, 0, b'I') => self.tab(one),
            (0 | b'?', 0, b'J') => self.erase_screen(first),
            (0 | b'?', 0, b'K') => self.erase_line(first),
            (0, 0, b'L') => self.shift_rows(one, true),
            (0, 0, b'M') => self.shift_rows(one, false),
            (0, 0, b'P') => self.delete_cells(one),
            (0, 0, b'S') => self.scroll_up(self.margins.0, one, true),
            (0, 0, b'T') => self.scroll_down(self.margins.0, one),
            (0, 0, b'X') => self.erase_cells(one),
            (0, 0, b'Z') => self.tab_back(one),
            (0, 0, b'b') => self.repeat(one),
            (0, 0, b'd') => {
                let column = self.cursor.column;
                self.move_to(one - 1, column);
            }
            (0, 0, b'g') if first == 0 => self.set_tab(false),
            (0, 0, b'g') if first == 3 => self.tabs.fill(false),
            (0, 0, b'm') => sgr::apply(csi, &mut self.pen),
            (0, 0, b'r') => self.set_margins(one, csi.get(1, self.rows)),
            (0, 0, b's') => self.save_cursor(),
            (0, 0, b'u') => self.restore_cursor(),
            (0, 0, b'h' | b'l') => csi.groups().for_each(|group| match group[0] {
                4 => self.modes.insert = csi.end == b'h',
                20 => self.modes.newline = csi.end == b'h',
                _ => {}
            }),
            (b'?', 0, b'h' | b'l') => {
                csi.groups().for_each(|group| self.switch(group[0], csi.end == b'h'));
            }
            (0, b' ', b'q') => self.cursor_style = if first <= 6 { first as u8 } else { 0 },
            (0, b'!', b'p') => self.soft_reset(),
            (b'>', 0, b'm') if first == 4 => self.other_keys = csi.get(1, 0).min(2) as u8,
            (b'>', 0, b'm') if first == 0 => self.other_keys = 0,
            _ => self.question(csi),
        }
    }

    fn osc(&mut self, text: &[u8], end: StringEnd) {
        match text {
            [b'0' | b'2', b';', title @ ..] => {
                let title = String::from_utf8_lossy(title);
                self.title.clear();
                for c in title.chars().filter(|c| !c.is_control()) {
                    if self.title.len() + c.len_utf8() > TITLE_MAX {
                        break;
                    }
                    self.title.push(c);
                }
            }
            _ => self.answers.colours(text, end),
        }
    }

    fn dcs(&mut self, intermediate: u8, end: u8) {
        if end == b'q' && matches!(intermediate, b'$' | b'+') {
            self.answers.unknown_setting(intermediate);
        }
    }
}

impl Terminal {
    fn switch(&mut self, number: u16, on: bool) {
        match (number, on) {
            (47 | 1047, true) => self.show_alternate(),
            (47 | 1047, false) => self.show_primary(),
            (1048, true) => self.save_cursor(),
            (1048, false) => self.restore_cursor(),
            (1049, true) => {
                if self.alternate.is_none() {
                    self.save_cursor();
                }
                self.show_alternate();
            }
            (1049, false) => {
                self.show_primary();
                self.restore_cursor();
            }
            _ => {
                self.modes.set_number(number, on);
                if number == Mode::Origin as u16 {
                    self.move_to(0, 0);
                }
            }
        }
    }

    /// A control sequence that asks for something.
    fn question(&mut self, csi: &Csi) {
        let first = csi.get(0, 0);
        match (csi.prefix, csi.intermediate, csi.end) {
            (0, 0, b'c') if first == 0 => self.answers.kind(),
            (b'>', 0, b'c') if first == 0 => self.answers.version(),
            (b'=', 0, b'c') if first == 0 => self.answers.unit(),
            (b'>', 0, b'q') if first == 0 => self.answers.name(),
            (0, 0, b'n') if first == 5 => self.answers.works(),
            (prefix @ (0 | b'?'), 0, b'n') if first == 6 => {
                let row = self.cursor.row.saturating_sub(self.bounds().0) + 1;
                let prefix = if prefix == 0 { "" } else { "?" };
                self.answers.cursor(prefix, row, self.cursor.column + 1);
            }
            (0, 0, b't') if first == 18 => self.answers.size(self.rows, self.cols),
            (0, b'$', b'p') => {
                let on = match first {
                    4 => Some(self.modes.insert),
                    20 => Some(self.modes.newline),
                    _ => None,
                };
                self.answers.mode("", first, on);
            }
            (b'?', b'$', b'p') => {
                let on = match first {
                    47 | 1047 | 1049 => Some(self.alternate.is_some()),
                    _ => self.modes.number(first),
                };
                self.answers.mode("?", first, on);
            }
            _ => {}
        }
    }
}
