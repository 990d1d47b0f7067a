//! The bridge's side towards the program: output in, input out, its screen, and who has ended.

use std::task::{Context, Poll};

use nix::sys::wait::WaitStatus;
use shellgate_protocol::TerminalSize;
use shellgate_protocol::client_leg::EndReason;
use shellgate_protocol::limits::KEYFRAME_MAX;
use shellgate_protocol::link_leg::LogSource;

use super::{Bridge, DRAIN_MS};
use crate::shell::Shell;

/// Output that is read before others have their turn.
const READ_TURN: usize = 64 * 1024;

/// A turn ends before a read of less than this, which is what a terminal gives at a time: a shorter
/// one would leave a rest for a read of its own.
const READ_LEAST: usize = 4096;

/// Pieces of its stderr that are read before others have their turn.
const STDERR_TURN: usize = 16;

/// How long output must neither come nor go before the screen follows it.
const QUIET_MS: u64 = 20;

/// The same while a driver is attached: on a busy machine a program in the midst of a flood waits
/// longer than [`QUIET_MS`] for its turn.
const QUIET_WATCHED_MS: u64 = 250;

/// While a driver is attached nobody waits for the screen: it follows only when it lies so far
/// behind, so that a keyframe is quick when it is wanted.
const SCREEN_BEHIND: u64 = 512 * 1024;

/// How long a size is held that is only there to make the program repaint: programs look at the
/// size some time after they are told, and two changes too close together look like none.
const WIGGLE_MS: u64 = 60;

/// How long at least a program need not repaint again for observers, who may be too slow each
/// second.
const OBSERVERS_REPAINT_MS: u64 = 30_000;

/// How long a program may take to end where the whole task was told to: whoever runs it kills it
/// after 10 s (Docker) or 30 s (ECS).
const DISMISSAL_MS: u64 = 3_000;

/// A terminal that nobody has open may be opened again as long as the program runs.
const LOOK_AGAIN_MS: u64 = 200;

impl Bridge {
    pub(super) fn resize(&mut self, size: TerminalSize) {
        if self.output.resize(size)
            && let Some(shell) = &self.shell
        {
            shell.resize(size);
        }
    }

    /// Shows the newest screen to who waits for it; a screen with holes makes the program repaint.
    pub(super) fn give_keyframe(&mut self, now: u64) {
        let Some((keyframe, answers)) = self.output.keyframe(KEYFRAME_MAX) else { return };
        self.input.answer(answers);
        let for_driver = self.board.driver_wants_keyframe();
        self.board.give_keyframe(&keyframe, &self.output);
        let size = self.output.sizes.now();
        let other = if size.rows() > 1 { size.rows() - 1 } else { size.rows() + 1 };
        if keyframe.partial
            && self.true_size_at.is_none()
            && self.painted_at.is_none()
            && may_repaint(for_driver, self.painted_for_observers_at, now)
            && let (Some(shell), Some(other)) = (&self.shell, TerminalSize::new(size.cols(), other))
        {
            shell.resize(other);
            self.true_size_at = Some(now + WIGGLE_MS);
            if !for_driver {
                self.painted_for_observers_at = Some(now);
            }
        }
    }

    /// Takes what the program prints, as far as a driver who is there has room for it. Tells whether
    /// there may be more.
    pub(super) fn read_output(&mut self, cx: &mut Context<'_>, now: u64) -> bool {
        let more_errors = self.read_stderr(cx);
        let Some(shell) = &mut self.shell else { return false };
        self.held = false;
        let mut left = READ_TURN;
        while left >= READ_LEAST && now >= self.read_at && !self.ending.output_is_over() {
            let allowed = if self.ending.is_draining() {
                u64::MAX
            } else {
                self.board.allows(&self.output, now)
            };
            let space = self.output.history.space();
            let most = space.len().min(left).min(usize::try_from(allowed).unwrap_or(usize::MAX));
            if most == 0 {
                self.held = true;
                break;
            }
            match shell.poll_read(cx, &mut space[..most]) {
                Poll::Pending => break,
                Poll::Ready(Ok(read)) if read > 0 => {
                    self.output.history.fill(read);
                    self.busy_at = now;
                    left -= read;
                }
                Poll::Ready(over) => {
                    if let Err(error) = over {
                        self.log.add(LogSource::Bridge, format!("the program's output: {error}"));
                    }
                    if self.ending.is_running() {
                        self.read_at = now + LOOK_AGAIN_MS;
                    } else if self.stderr.is_over() {
                        self.ending.output_ended();
                    } else {
                        self.read_at = now + DRAIN_MS;
                    }
                }
            }
        }
        left < READ_LEAST || more_errors
    }

    fn read_stderr(&mut self, cx: &mut Context<'_>) -> bool {
        if self.stderr.is_over() {
            return false;
        }
        let Some(shell) = &mut self.shell else { return false };
        let mut piece = [0; 4096];
        for _ in 0..STDERR_TURN {
            match shell.poll_stderr(cx, &mut piece) {
                Poll::Pending => return false,
                Poll::Ready(Ok(read)) if read > 0 => self.stderr.add(&piece[..read], &mut self.log),
                Poll::Ready(_) => {
                    self.stderr.end(&mut self.log);
                    return false;
                }
            }
        }
        true
    }

    /// Gives the program what was typed, as far as it takes it.
    pub(super) fn write_input(&mut self, cx: &mut Context<'_>, now: u64) {
        let Some(shell) = self.shell.as_mut().filter(|_| self.ending.is_running()) else { return };
        while let Some(front) = self.input.front() {
            let Poll::Ready(written) = shell.poll_write(cx, front) else { break };
            let len = match written {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) => {
                    self.log.add(LogSource::Bridge, format!("the program's input: {error}"));
                    front.len()
                }
            };
            if let Some((stream, at)) = self.input.take(len) {
                self.board.applied(stream, at, now);
            }
        }
    }

    /// Reaps what has ended, and sees the program itself among it.
    pub(super) fn reap(&mut self, cx: &mut Context<'_>, now: u64) -> bool {
        let mut asked = false;
        while self.children.poll_recv(cx).is_ready() {
            asked = true;
        }
        if !asked && !self.ending.is_draining() {
            return false;
        }
        let mut ended = false;
        while let Some((pid, status)) = self.processes.reap() {
            if self.shell.as_ref().map(Shell::pid) != Some(pid) || !self.ending.is_running() {
                continue;
            }
            let (code, signal) = match status {
                WaitStatus::Exited(_, code) => (Some(code), None),
                WaitStatus::Signaled(_, signal, _) => {
                    (None, Some(signal.as_str().trim_start_matches("SIG").to_owned()))
                }
                _ => continue,
            };
            self.ending.program_ended(code, signal, None, now);
            self.read_at = now;
            ended = true;
        }
        ended
    }

    /// Whoever runs the task wants its end: the program is asked, and nobody is waited for who is
    /// not there.
    pub(super) fn heed_dismissal(&mut self, cx: &mut Context<'_>, now: u64) {
        while self.dismissal.poll(cx).is_ready() {
            // Whoever ends the task may say so again and again.
            if self.ending.hurry()
                && self.ending.stop(EndReason::Stopped, now + DISMISSAL_MS)
                && let Some(shell) = &self.shell
            {
                shell.hang_up();
            }
        }
    }

    pub(super) fn follow_with_the_screen(&mut self, cx: &mut Context<'_>, now: u64) {
        if self.screen_is_due().is_none_or(|due| now < due) {
            return;
        }
        self.input.answer(self.output.advance());
        if self.input.front().is_some() || self.screen_is_due().is_some() {
            cx.waker().wake_by_ref();
        }
    }

    pub(super) fn screen_is_due(&self) -> Option<u64> {
        let wanted = is_worth_following(self.output.unseen(), self.board.has_driver(), self.held);
        let quiet = if self.board.has_driver() { QUIET_WATCHED_MS } else { QUIET_MS };
        wanted.then_some(self.busy_at + quiet)
    }
}

/// A repaint goes to everybody, and the driver's program has better things to do.
fn may_repaint(for_driver: bool, for_observers_at: Option<u64>, now: u64) -> bool {
    for_driver || for_observers_at.is_none_or(|at| now >= at + OBSERVERS_REPAINT_MS)
}

/// A program that is `held` is not quiet: it is in the midst of a flood, and whoever takes that
/// flood needs the processor.
fn is_worth_following(unseen: u64, has_driver: bool, held: bool) -> bool {
    if has_driver { unseen > SCREEN_BEHIND && !held } else { unseen > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_repaints_for_each_driver_and_now_and_then_for_observers() {
        assert!(may_repaint(false, None, 0) && may_repaint(true, Some(1000), 1001));
        assert!(!may_repaint(false, Some(1000), 1000 + OBSERVERS_REPAINT_MS - 1));
        assert!(may_repaint(false, Some(1000), 1000 + OBSERVERS_REPAINT_MS));
    }

    #[test]
    fn the_screen_follows_a_quiet_program_and_no_flood_that_waits_for_its_driver() {
        assert!(is_worth_following(1, false, false) && !is_worth_following(0, false, false));
        assert!(!is_worth_following(SCREEN_BEHIND, true, false));
        assert!(is_worth_following(SCREEN_BEHIND + 1, true, false));
        assert!(!is_worth_following(u64::MAX, true, true));
    }
}
