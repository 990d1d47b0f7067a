//! A keeper's dealings with time: the idle clock and the lifetime clock of a live session.

use std::sync::atomic::Ordering;

use shellgate_protocol::ChannelNumber;
use shellgate_protocol::client_leg::{Mode, Notice};

use super::Keeper;
use crate::clock;
use crate::idle::{IdleClock, Terms, Verdict};
use crate::relay::Command;
use crate::session::{Event, State};

impl Keeper {
    pub(super) async fn extend(&mut self, channel: ChannelNumber, id: u64) {
        let Some(clocks) = &mut self.clocks else { return };
        let seconds = clocks.extend(clock::unix_millis()).as_secs();
        self.record_mut().detail.ends_ms = Some(clocks.ends_ms());
        self.save().await;
        let Some(line) = &mut self.relay else { return };
        // Asked again until answered, so a relay that is too busy loses nothing.
        let answer = Command::Answer(channel, Notice::Extended { id, seconds });
        let _ = line.commands.try_send(answer);
    }

    /// Tells a client that has just come what the others were told before.
    pub(super) async fn opened(&mut self, channel: ChannelNumber) {
        // A key that was typed since the last look may have taken a warning back.
        let all_are_told = self.look_at_clocks().await;
        if all_are_told || self.record.life.state != State::Live {
            return;
        }
        let standing =
            self.clocks.as_ref().and_then(|clocks| clocks.standing(clock::unix_millis()));
        if let (Some(notice), Some(line)) = (standing, &mut self.relay) {
            let _ = line.commands.try_send(Command::Answer(channel, notice));
        }
    }

    pub(super) fn start_clocks(&mut self) {
        let Some(template) = self.core.config.templates.get(&self.record.detail.template) else {
            return;
        };
        if self.clocks.is_some() {
            return;
        }
        let now = clock::unix_millis();
        let began = self.record.detail.live_ms.unwrap_or(now);
        let mut clocks = IdleClock::new(now, began, Terms::from(template));
        if let Some(ends_ms) = self.record.detail.ends_ms {
            clocks.ends_at(ends_ms);
        }
        self.record_mut().detail.ends_ms = Some(clocks.ends_ms());
        self.clocks = Some(clocks);
    }

    /// Warns or stops, where it is time for that. Whether all clients were warned just now.
    pub(super) async fn look_at_clocks(&mut self) -> bool {
        if self.record.life.state != State::Live {
            return false;
        }
        let Some(clocks) = &mut self.clocks else { return false };
        let stats = self.activity.stats.lock().ok().and_then(|stats| *stats);
        let typed_ms = self.activity.last_input_ms.load(Ordering::Relaxed);
        let typed_ms = (typed_ms > 0).then_some(typed_ms);
        let now_ms = clock::unix_millis();
        if self.record.detail.mode == Mode::Lines
            && let Some(stats) = stats
        {
            // An agent that was told something and has not answered is at work, however quietly.
            if self.answered.is_none_or(|(output, _)| output < stats.output) {
                self.answered = Some((stats.output, now_ms));
            }
            let answered_ms = self.answered.map_or(0, |(_, at_ms)| at_ms);
            clocks.turn(typed_ms.is_some_and(|typed_ms| typed_ms > answered_ms), now_ms);
        }
        let verdict = clocks.look(now_ms, typed_ms, stats.as_ref());
        self.activity.idle_ms.store(clocks.idle_ms().unwrap_or(0), Ordering::Relaxed);
        match verdict {
            Verdict::Fine => false,
            Verdict::Warn(notice) => {
                if let Some(line) = &mut self.relay {
                    let _ = line.commands.try_send(Command::Tell(notice));
                }
                true
            }
            Verdict::Stop(reason) => {
                self.record_mut().detail.evidence = Some(clocks.evidence());
                self.step(Event::Stop(reason)).await;
                false
            }
        }
    }
}
