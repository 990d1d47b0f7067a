//! The program's output as everybody sees it: its bytes, the terminal's sizes, the screen that
//! follows them, and the end. Knows no channel, no descriptor and no clock.

use std::fs::File;

use shellgate_protocol::client_leg::{ExitStatus, Mode};
use shellgate_protocol::limits::KEYFRAME_MAX;
use shellgate_protocol::{Offset, TerminalSize};

use crate::history::History;
use crate::screen::Checkpoint;
use crate::sizes::Sizes;

/// The screen takes so many bytes in one go: a few milliseconds, after which others have a turn.
pub const SLICE: usize = 256 * 1024;

/// The screen catches up with so many bytes when a keyframe is wanted: less than 50 ms. Beyond, it
/// starts anew near the end and the program has to repaint.
const CATCH_UP_MAX: u64 = 1024 * 1024;

/// Cells that the screen may touch in one go, where few bytes ask for many: about ten milliseconds at
/// five nanoseconds each.
const SLICE_WORK: u64 = 2 << 20;

/// Cells that it may touch to catch up for a keyframe, as [`CATCH_UP_MAX`] in bytes.
const KEYFRAME_WORK: u64 = 8 << 20;

/// Cells that it may touch before it has caught up at all: a second or so. Beyond, it starts anew at
/// the end.
const FOLLOW_WORK: u64 = 256 << 20;

/// What a terminal shows that was just switched on: stands for a screen that nobody can know.
pub const RESET: &[u8] = b"\x1bc";

/// The screen at one offset, as terminal output.
#[derive(Debug, PartialEq, Eq)]
pub struct Keyframe {
    /// Where in the output it stands.
    pub at: Offset,
    /// Terminal output that paints it.
    pub bytes: Vec<u8>,
    /// Whether output is missing from it, so that the program has to repaint.
    pub partial: bool,
}

/// One launch's output.
pub struct Output {
    /// Its bytes, as far as they are kept.
    pub history: History,
    /// Its terminal's sizes.
    pub sizes: Sizes,
    screen: Option<Checkpoint>,
    /// Cells touched since it last stood at the end.
    work: u64,
    next_size: u64,
    /// Queries printed in this range are the bridge's to answer: nobody was there to do it.
    unattended: std::ops::Range<Offset>,
    answered: Offset,
    ended: Option<ExitStatus>,
}

impl Output {
    /// Nothing has been printed yet. A program that runs by lines has no screen.
    #[must_use]
    pub fn new(mode: Mode, size: TerminalSize, spill: Option<File>) -> Self {
        Self {
            history: History::new(spill),
            sizes: Sizes::new(size),
            screen: (mode == Mode::Terminal).then(|| Checkpoint::new(size)),
            work: 0,
            next_size: 0,
            unattended: Offset::ZERO..Offset::MAX,
            answered: Offset::ZERO,
            ended: None,
        }
    }

    /// Where the output ends so far.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.history.end()
    }

    /// Below this, whatever queries were printed have been answered, by a driver or by the bridge.
    #[must_use]
    pub fn answered(&self) -> Offset {
        self.answered.max(self.history.acknowledged())
    }

    /// The program has ended, and all its output is here.
    pub fn finish(&mut self, status: ExitStatus) {
        self.ended = Some(status);
    }

    /// How the program ended, once all its output is here.
    #[must_use]
    pub fn ended(&self) -> Option<&ExitStatus> {
        self.ended.as_ref()
    }

    /// The terminal has another size from here on. Tells whether it is another.
    pub fn resize(&mut self, size: TerminalSize) -> bool {
        self.sizes.change(self.end(), size)
    }

    /// A driver came, who will see the output from `from` on. After a keyframe what lies before it
    /// is still the bridge's to answer; after an exact resume, what the screen has not seen yet is
    /// left to the driver's own terminal.
    pub fn driver_came(&mut self, from: Offset, keyframe: bool) {
        let seen = self.screen.as_ref().map_or(from, Checkpoint::at);
        self.unattended.end = if keyframe { from } else { seen.min(from) };
    }

    /// The driver went, who had been sent everything before `sent`.
    pub fn driver_went(&mut self, sent: Offset) {
        self.unattended = sent..Offset::MAX;
    }

    /// Whether there is a screen, and so keyframes.
    #[must_use]
    pub fn has_screen(&self) -> bool {
        self.screen.is_some()
    }

    /// Bytes that the screen has not seen yet.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        self.screen.as_ref().map_or(0, |screen| self.end().since(screen.at()))
    }

    /// Shows the screen the next bytes, at most [`SLICE`]; gives the answers to queries among them
    /// that nobody else answers.
    pub fn advance(&mut self) -> Vec<u8> {
        let Some(screen) = &mut self.screen else { return Vec::new() };
        screen.overtaken(self.history.kept_from());
        let at = screen.at();
        let mut change = self.sizes.from_number(self.next_size);
        while let Some((_, size, next)) = change.filter(|(from, ..)| *from <= at) {
            screen.resize(size);
            self.next_size = next;
            change = self.sizes.from_number(next);
        }
        let edges = [change.map(|(from, ..)| from), Some(self.unattended.start)];
        let edges = edges.into_iter().flatten().chain([self.unattended.end, self.history.end()]);
        let stop = edges.filter(|edge| *edge > at).min().unwrap_or(at);
        let len = (stop.since(at) as usize).min(SLICE);
        let mut strength = SLICE_WORK;
        if at >= self.history.in_memory_from() {
            let mut left = len;
            while left > 0 && strength > 0 {
                let piece = self.history.peek(screen.at(), left);
                if piece.is_empty() {
                    break;
                }
                left -= screen.advance(piece, &mut strength);
            }
        } else {
            let mut piece = Vec::with_capacity(len);
            // What cannot be read back is gone, and `overtaken` finds that out the next time.
            if self.history.read(at, len, &mut piece).is_ok() {
                screen.advance(&piece, &mut strength);
            }
        }
        screen.settle();
        self.work += SLICE_WORK - strength;
        if screen.at() == self.history.end() {
            self.work = 0;
        } else if self.work >= FOLLOW_WORK {
            screen.overtaken(self.history.end());
        }
        let answers = screen.screen_mut().take_answers();
        if !self.unattended.contains(&at) {
            return Vec::new();
        }
        self.answered = self.answered.max(screen.at());
        answers
    }

    /// The screen at the newest output, at most `max` bytes of terminal output; and answers, as
    /// [`Output::advance`] gives them. `None` for a program without a screen.
    pub fn keyframe(&mut self, max: usize) -> Option<(Keyframe, Vec<u8>)> {
        let end = self.end();
        if self.unseen() > CATCH_UP_MAX {
            let near = Offset::new(end.get() - SLICE as u64)?;
            self.screen.as_mut()?.overtaken(near);
        }
        let mut answers = Vec::new();
        self.work = 0;
        while self.unseen() > 0 {
            if self.work >= KEYFRAME_WORK {
                self.screen.as_mut()?.overtaken(end);
            }
            answers.extend(self.advance());
        }
        // Sizes that changed since the last byte.
        answers.extend(self.advance());
        let screen = self.screen.as_ref()?;
        let mut bytes = screen.screen().keyframe(max.min(KEYFRAME_MAX));
        if bytes.is_empty() {
            bytes = RESET.to_vec();
        }
        Some((Keyframe { at: end, bytes, partial: screen.is_partial() }, answers))
    }

    /// The program has painted its screen anew.
    pub fn repainted(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.repainted();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn terminal() -> Output {
        Output::new(Mode::Terminal, TerminalSize::DEFAULT, None)
    }

    fn catch_up(output: &mut Output) -> Vec<u8> {
        let mut answers = Vec::new();
        while output.unseen() > 0 {
            answers.extend(output.advance());
        }
        answers
    }

    const QUERY: &[u8] = b"\x1b[6n";

    #[test]
    fn a_query_that_nobody_saw_is_answered_here_and_not_again_by_who_comes_later() {
        let mut output = terminal();
        output.history.append(QUERY);
        assert_eq!(catch_up(&mut output), b"\x1b[1;1R");
        assert_eq!(output.answered(), at(4));
        output.driver_came(Offset::ZERO, false);
        output.history.append(QUERY);
        assert!(catch_up(&mut output).is_empty());
        assert_eq!(output.answered(), at(4), "the rest is the driver's to answer");
    }

    #[test]
    fn what_a_driver_was_sent_is_not_answered_after_it_has_gone() {
        let mut output = terminal();
        output.driver_came(Offset::ZERO, false);
        output.history.append(QUERY);
        output.driver_went(at(4));
        output.history.append(QUERY);
        assert_eq!(catch_up(&mut output), b"\x1b[1;1R");
    }

    #[test]
    fn what_lies_before_a_drivers_keyframe_is_answered_here() {
        let mut output = terminal();
        output.history.append(QUERY);
        output.driver_came(at(4), true);
        let (keyframe, answers) = output.keyframe(KEYFRAME_MAX).unwrap();
        assert_eq!((keyframe.at, keyframe.partial), (at(4), false));
        assert_eq!(answers, b"\x1b[1;1R");
    }

    #[test]
    fn a_screen_far_behind_starts_anew_near_the_end_and_says_so_until_it_is_repainted() {
        let mut output = terminal();
        let line = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
        output.history.append(&line.repeat(40_000));
        output.history.append(b"the last line");
        let (keyframe, _) = output.keyframe(KEYFRAME_MAX).unwrap();
        assert!(keyframe.partial && keyframe.at == output.end());
        assert!(String::from_utf8_lossy(&keyframe.bytes).contains("the last line"));
        output.repainted();
        assert!(!output.keyframe(KEYFRAME_MAX).unwrap().0.partial);
    }

    /// Three bytes for a million cells.
    const FILL: &[u8] = b"\x1b#8";

    #[test]
    fn a_screen_that_was_asked_for_too_much_starts_anew_near_the_end_too() {
        let mut output = terminal();
        output.resize(TerminalSize::new(1000, 1000).unwrap());
        output.history.append(&FILL.repeat(10_000));
        assert!(output.advance().is_empty());
        let seen = output.end().get() - output.unseen();
        assert!((1..100).contains(&seen), "{seen} bytes in one go");
        let (keyframe, _) = output.keyframe(KEYFRAME_MAX).unwrap();
        assert!(keyframe.partial && keyframe.at == output.end());
        output.history.append(b"\x1b[2J\x1b[Hfirst line");
        let (keyframe, _) = output.keyframe(KEYFRAME_MAX).unwrap();
        assert!(!keyframe.partial && String::from_utf8_lossy(&keyframe.bytes).contains("first"));
    }

    #[test]
    fn a_screen_does_not_follow_for_ever() {
        let mut output = terminal();
        output.resize(TerminalSize::new(1000, 100).unwrap());
        output.history.append(&FILL.repeat(1_000_000));
        let turns = std::iter::from_fn(|| (output.unseen() > 0).then(|| output.advance()));
        assert!(turns.count() as u64 <= FOLLOW_WORK / SLICE_WORK + 1);
    }

    #[test]
    fn the_screen_has_each_size_from_its_offset_on() {
        let mut output = terminal();
        output.history.append(b"before");
        output.resize(TerminalSize::new(20, 5).unwrap());
        output.history.append(b"\x1b[999;999H\x1b[6n");
        assert_eq!(catch_up(&mut output), b"\x1b[5;20R");
    }

    #[test]
    fn a_program_by_lines_has_no_screen() {
        let mut output = Output::new(Mode::Lines, TerminalSize::DEFAULT, None);
        output.history.append(QUERY);
        assert_eq!((output.unseen(), output.keyframe(100)), (0, None));
        assert!(output.advance().is_empty());
    }
}
