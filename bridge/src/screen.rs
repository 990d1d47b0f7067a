//! A headless terminal that follows a program's output and can be turned into a keyframe. Knows no
//! clients, no I/O and no clock.
//!
//! ```text
//! output ─▶ parser ─▶ dispatch ─▶ terminal (printing, scrolling) {row {cell}, history, modes} ─▶ keyframe
//!                         └──────▶ answers
//! ```

mod answers;
mod cell;
mod charset;
mod checkpoint;
mod dispatch;
mod history;
mod keyframe;
mod modes;
mod parser;
mod printing;
mod row;
mod scrolling;
mod sgr;
mod terminal;
#[cfg(test)]
mod tests;

use shellgate_protocol::TerminalSize;

pub use checkpoint::Checkpoint;
use parser::Parser;
use terminal::Terminal;

/// A terminal without anybody in front of it.
pub struct Screen {
    parser: Parser,
    terminal: Terminal,
}

impl Screen {
    /// A freshly reset terminal.
    #[must_use]
    pub fn new(size: TerminalSize) -> Self {
        Self { parser: Parser::default(), terminal: Terminal::new(size.rows(), size.cols()) }
    }

    /// Takes output of the program. It may be cut anywhere, within a sequence or a character too.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.terminal.strength = u64::MAX;
        self.parser.feed(bytes, &mut self.terminal);
        self.settle();
    }

    /// As [`Screen::feed`], while not more than `work` cells have been touched, from which those
    /// are taken off; tells how many bytes. [`Screen::settle`] is still to come.
    pub fn feed_some(&mut self, bytes: &[u8], work: &mut u64) -> usize {
        self.terminal.strength = *work;
        let left = self.parser.feed(bytes, &mut self.terminal).len();
        *work = self.terminal.strength;
        bytes.len() - left
    }

    /// Brings what has been scrolled away into its final form.
    pub fn settle(&mut self) {
        self.terminal.history.settle();
    }

    /// Whether everything that it shows was printed since the last time that this was asked,
    /// because it was cleared or reset.
    #[must_use]
    pub fn was_cleared(&mut self) -> bool {
        std::mem::take(&mut self.terminal.cleared)
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: TerminalSize) {
        self.terminal.resize(size.rows(), size.cols());
        self.settle();
    }

    /// Terminal output that reproduces this screen on any terminal of the same size; at most `max`
    /// bytes. It begins by resetting that terminal.
    ///
    /// Where everything is too much, the primary screen's past goes first, oldest rows ahead; then
    /// colours and attributes; then the screen that is not shown and the uppermost rows. The output
    /// that follows may be fed after any of these.
    #[must_use]
    pub fn keyframe(&self, max: usize) -> Vec<u8> {
        keyframe::paint(&self.terminal, self.parser.unfinished(), max)
    }

    /// Answers to the queries that were printed since the last call, to be typed into the program
    /// where nobody was attached to give them; at most 4 KiB.
    #[must_use]
    pub fn take_answers(&mut self) -> Vec<u8> {
        self.terminal.answers.take()
    }
}
