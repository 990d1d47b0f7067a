//! What the bridge does because time has passed, and when it must be woken for it.

use std::future::Future;
use std::task::Context;
use std::time::Duration;

use shellgate_protocol::FromBridge;
use shellgate_protocol::client_leg::{EndReason, ExitStatus};
use shellgate_protocol::enrolment::Opaque;
use shellgate_protocol::limits::{LAST_SCREEN_MAX, SILENCE_SECONDS};
use shellgate_protocol::link_leg::{LogSource, Stats};

use super::{Bridge, DRAIN_MS};
use crate::ending::Step;
use crate::shell::Shell;

/// How often the program's doings are looked at.
pub(super) const STATS_MS: u64 = 5_000;

/// How long after that a program has painted its screen.
const REPAINT_MS: u64 = 300;

impl Bridge {
    pub(super) fn look_at_the_clock(&mut self, now: u64) -> Option<u8> {
        self.board.tick(&self.output, now);
        if self.board.wants_keyframe() {
            self.give_keyframe(now);
        }
        let silent = SILENCE_SECONDS * 1000;
        if self.link.as_ref().is_some_and(|link| now >= link.heard + silent) {
            self.lose_link(&"the gateway has been silent for a minute", now);
        }
        if self.true_size_at.is_some_and(|at| now >= at) {
            self.true_size_at = None;
            self.painted_at = Some((now + REPAINT_MS, self.output.end()));
            if let Some(shell) = &self.shell {
                shell.resize(self.output.sizes.now());
            }
        }
        if let Some((at, from)) = self.painted_at
            && now >= at
        {
            self.painted_at = None;
            // A program that is held, or does not care for its size, has painted nothing.
            if self.output.end() > from {
                self.output.repainted();
            }
        }
        for wrong in self.place.secrets.expire(now) {
            self.log.add(LogSource::Bridge, wrong);
        }
        if let Some(trouble) = self.output.history.take_trouble() {
            self.log.add(LogSource::Bridge, trouble);
        }
        if now >= self.stats_at && self.link.is_some() {
            self.stats_at = now + STATS_MS;
            self.say_stats();
        }
        self.end(now)
    }

    fn say_stats(&mut self) {
        let usage = self.processes.usage();
        let stats = Stats {
            output: self.output.end(),
            kept_from: self.output.history.kept_from(),
            cpu_ms: usage.cpu_ms,
            processes: usage.processes,
            foreground_job: self.ending.is_running()
                && self.shell.as_ref().is_some_and(Shell::has_foreground_job),
            memory: usage.memory,
        };
        if self.stats != Some(stats) {
            self.stats = Some(stats);
            self.board.say(FromBridge::Stats(stats));
        }
    }

    /// Takes the next step towards the end, if there is one.
    fn end(&mut self, now: u64) -> Option<u8> {
        loop {
            let acknowledged = self.output.history.acknowledged() >= self.output.end();
            let told = acknowledged && !self.board.driver_awaits_exit();
            let watched = self.board.has_driver();
            match self.ending.step(now, self.link.is_some(), told, watched)? {
                Step::Kill => {
                    let any = self.processes.kill_all();
                    self.ending.killed(any, now + DRAIN_MS);
                    if self.shell.is_none() {
                        self.ending.output_ended();
                    }
                    return None;
                }
                Step::SayExit => {
                    let detail = self.stderr.tail();
                    let status = self.ending.status(detail);
                    self.output.finish(status);
                    self.say_exit();
                }
                Step::HandOver => self.hand_over(),
                Step::Leave => {
                    self.processes.kill_all();
                    return Some(0);
                }
            }
        }
    }

    fn hand_over(&mut self) {
        let screen = self.output.keyframe(LAST_SCREEN_MAX).map(|(keyframe, _)| keyframe.bytes);
        let status = self.output.ended().cloned().unwrap_or(ExitStatus {
            code: None,
            signal: None,
            reason: EndReason::Lost,
            detail: None,
        });
        self.board.say(FromBridge::Ended {
            at: self.output.end(),
            acknowledged: self.output.history.acknowledged(),
            screen: Opaque(screen.unwrap_or_default()),
            size: self.output.sizes.now(),
            status,
        });
    }

    /// Sees to being woken when something is due.
    pub(super) fn set_alarm(&mut self, cx: &mut Context<'_>, now: u64) {
        let linked = self.link.as_ref();
        let all = [
            self.board.due(now),
            self.ending.due(linked.is_some()),
            self.true_size_at,
            self.painted_at.map(|(at, _)| at),
            self.screen_is_due(),
            linked.map(|link| link.heard + SILENCE_SECONDS * 1000),
            linked.and(Some(self.stats_at)),
            linked.and(self.log.due()),
            self.place.secrets.due(),
            Some(self.read_at).filter(|at| *at > now),
        ];
        let due = all.into_iter().flatten().min().unwrap_or(u64::MAX);
        // An alarm that rings too early is cheaper than setting it at each keystroke.
        if due < self.alarm_at || self.alarm_at <= now {
            self.alarm_at = due.clamp(now + 1, now + 3_600_000);
            self.alarm.as_mut().reset(self.started + Duration::from_millis(self.alarm_at));
        }
        if self.alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
