//! Where a client's output goes on, from what it says that it has. Knows no channel.

use shellgate_protocol::client_leg::{Mode, Resume};
use shellgate_protocol::credit::Violation;
use shellgate_protocol::{Launch, Offset};

use crate::output::Output;

/// What a client asks for, as far as output goes.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// The launch that its offset speaks of.
    pub launch: Option<Launch>,
    /// What it has.
    pub output: Option<Offset>,
    /// Bytes that may be under way to it.
    pub window: u32,
}

/// Where a client's output goes on.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The first byte that the client does not have.
    pub(crate) has: Offset,
    /// The first byte that will come.
    pub from: Offset,
    /// How that was found.
    pub resume: Resume,
    /// The launch that runs, if the client thinks of another.
    pub(crate) other_launch: Option<Launch>,
    /// Whether a keyframe of the newest screen comes first.
    pub(crate) newest: bool,
}

impl Wish {
    /// Where output goes on for this client, as far as what it knows is known here.
    ///
    /// # Errors
    /// Where the client claims to have what was never printed.
    pub fn start(self, mode: Mode, launch: Launch, output: &Output) -> Result<Start, Violation> {
        let (end, kept_from) = (output.end(), output.history.kept_from());
        let other_launch = self.launch.is_some_and(|theirs| theirs != launch).then_some(launch);
        let newest = self.output.is_none() && mode == Mode::Terminal;
        let has = match self.output {
            None => match mode {
                Mode::Terminal => end,
                // Half a line is of no use.
                Mode::Lines => output.history.newest_line(),
            },
            Some(has) if self.launch == Some(launch) => has,
            // What the client knows is not of this launch.
            Some(_) => Offset::ZERO,
        };
        if has > end {
            return Err(Violation::AckBeyondSent { at: has, sent: end });
        }
        let exact = has >= kept_from && !newest;
        let resume = if exact { Resume::Exact } else { Resume::Keyframe };
        Ok(Start { has, from: has.max(kept_from), resume, other_launch, newest })
    }
}
