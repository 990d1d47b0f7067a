//! The switches of a terminal: which there are, which are on, and how they are put back. Does not
//! know what they do.

/// A switch, by its number in `CSI ? n h`, that stands for itself alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Mode {
    CursorKeys = 1,
    ReverseVideo = 5,
    Origin = 6,
    AutoWrap = 7,
    CursorBlinks = 12,
    CursorShown = 25,
    ReverseWrap = 45,
    KeypadKeys = 66,
    FocusEvents = 1004,
    AlternateScroll = 1007,
    BracketedPaste = 2004,
    ColourSchemeEvents = 2031,
    SizeEvents = 2048,
}

const ALL: [Mode; 13] = [
    Mode::CursorKeys,
    Mode::ReverseVideo,
    Mode::Origin,
    Mode::AutoWrap,
    Mode::CursorBlinks,
    Mode::CursorShown,
    Mode::ReverseWrap,
    Mode::KeypadKeys,
    Mode::FocusEvents,
    Mode::AlternateScroll,
    Mode::BracketedPaste,
    Mode::ColourSchemeEvents,
    Mode::SizeEvents,
];

/// What the mouse reports; at most one is on.
const MOUSE: [u16; 4] = [9, 1000, 1002, 1003];

/// How the mouse reports it; at most one is on.
const MOUSE_ENCODING: [u16; 4] = [1005, 1006, 1015, 1016];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Modes {
    on: u16,
    /// 0: the mouse reports nothing.
    mouse: u16,
    /// 0: in the oldest way.
    mouse_encoding: u16,
    /// `CSI 4 h`.
    pub(super) insert: bool,
    /// `CSI 20 h`.
    pub(super) newline: bool,
}

impl Default for Modes {
    fn default() -> Self {
        let on = bit(Mode::AutoWrap) | bit(Mode::CursorShown);
        Self { on, mouse: 0, mouse_encoding: 0, insert: false, newline: false }
    }
}

impl Modes {
    pub(super) fn has(self, mode: Mode) -> bool {
        self.on & bit(mode) != 0
    }

    pub(super) fn set(&mut self, mode: Mode, on: bool) {
        if on { self.on |= bit(mode) } else { self.on &= !bit(mode) }
    }

    /// Sets the private mode of this number, if it is known.
    pub(super) fn set_number(&mut self, number: u16, on: bool) {
        let chosen = if on { number } else { 0 };
        if let Some(mode) = ALL.iter().find(|mode| **mode as u16 == number) {
            self.set(*mode, on);
        } else if MOUSE.contains(&number) {
            self.mouse = chosen;
        } else if MOUSE_ENCODING.contains(&number) {
            self.mouse_encoding = chosen;
        }
    }

    /// Whether the private mode of this number is on; `None` for one that is not known.
    pub(super) fn number(self, number: u16) -> Option<bool> {
        if MOUSE.contains(&number) {
            Some(self.mouse == number)
        } else if MOUSE_ENCODING.contains(&number) {
            Some(self.mouse_encoding == number)
        } else {
            ALL.iter().find(|mode| **mode as u16 == number).map(|mode| self.has(*mode))
        }
    }

    /// The private modes that differ from those of a reset terminal, besides the two that painting
    /// itself depends on.
    pub(super) fn changed(self) -> impl Iterator<Item = (u16, bool)> {
        let reset = Self::default();
        ALL.into_iter()
            .filter(|mode| !matches!(mode, Mode::Origin | Mode::AutoWrap))
            .filter(move |mode| self.has(*mode) != reset.has(*mode))
            .map(move |mode| (mode as u16, self.has(mode)))
            .chain([(self.mouse, true), (self.mouse_encoding, true)])
            .filter(|(number, _)| *number != 0)
    }
}

fn bit(mode: Mode) -> u16 {
    ALL.iter().position(|known| *known == mode).map_or(0, |at| 1 << at)
}
