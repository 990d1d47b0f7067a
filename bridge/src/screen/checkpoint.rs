//! Where a screen stands in the output stream, and whether it saw all of it. Does not know the
//! ring that the bytes come from.

use shellgate_protocol::{Offset, TerminalSize};

use crate::screen::Screen;

/// Ends whatever sequence a terminal is in the midst of.
const CANCEL: u8 = 0x18;

/// A screen, and the offset up to which it has seen the output.
pub struct Checkpoint {
    screen: Screen,
    at: Offset,
    partial: bool,
}

impl Checkpoint {
    /// An empty screen at offset 0.
    #[must_use]
    pub fn new(size: TerminalSize) -> Self {
        Self { screen: Screen::new(size), at: Offset::ZERO, partial: false }
    }

    /// The next byte that the screen has not seen.
    #[must_use]
    pub fn at(&self) -> Offset {
        self.at
    }

    /// Feeds the screen, while not more than `work` cells have been touched, from which those are
    /// taken off. `bytes` start at [`Self::at`]; tells how many were taken. [`Self::settle`] is still
    /// to come.
    pub fn advance(&mut self, bytes: &[u8], work: &mut u64) -> usize {
        let taken = self.screen.feed_some(bytes, work);
        self.at = self.at.plus(taken as u64);
        taken
    }

    /// The screen has been fed for now.
    pub fn settle(&mut self) {
        self.screen.settle();
        // What was missing cannot be seen any more.
        if self.partial && self.screen.was_cleared() {
            self.partial = false;
        }
    }

    /// The terminal got another size at [`Self::at`]: the caller advances up to a size's offset
    /// first.
    pub fn resize(&mut self, size: TerminalSize) {
        self.screen.resize(size);
    }

    /// The bytes from [`Self::at`] up to `kept_from` are gone. What the screen shows may be wrong
    /// until the program repaints; the stream goes on at `kept_from`. Nothing happens where the
    /// screen has seen those bytes.
    pub fn overtaken(&mut self, kept_from: Offset) {
        if kept_from <= self.at {
            return;
        }
        // The end of a sequence that began before may be among what is gone.
        self.screen.feed(&[CANCEL]);
        let _ = self.screen.was_cleared();
        self.at = kept_from;
        self.partial = true;
    }

    /// Whether output that the screen never saw may be missing from it.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial
    }

    /// The program has painted its screen anew since it was overtaken.
    pub fn repainted(&mut self) {
        self.partial = false;
    }

    /// The screen.
    #[must_use]
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// The screen, to take its answers.
    pub fn screen_mut(&mut self) -> &mut Screen {
        &mut self.screen
    }
}
