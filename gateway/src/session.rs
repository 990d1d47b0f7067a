//! A session: what is stored of it, and its life as a pure state machine. No clock, no I/O.
//!
//! ```text
//!   Starting ──LinkUp──▶ Live ──LinkDown──▶ Severed ──LinkUp──▶ Live
//!      └─Deadline,Stop,Gone┴──Ended,Stop,Gone───┴─Deadline,Stop,Gone─▶ Stopping ──TaskGone──▶ Ended
//! ```

use serde::{Deserialize, Serialize};
use shellgate_infra::compute::{Capacity, TaskRef};
use shellgate_protocol::client_leg::{EndReason, ExitStatus, Mode};
use shellgate_protocol::enrolment::Bytes32;
use shellgate_protocol::{Dial, Launch, Offset, SessionId, TerminalSize};

use crate::auth::UserId;

pub mod ending;
pub mod keeper;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its task is being started, or has not called yet.
    Starting,
    /// Its task has a link to this gateway.
    Live,
    /// Its task runs, but its link is broken; it will call again.
    Severed,
    /// Its task is being stopped.
    Stopping,
    /// Its task is gone.
    Ended,
}

impl State {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Severed => "severed",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Starting, Self::Live, Self::Severed, Self::Stopping, Self::Ended]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// Which link: the newest one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    /// Of which launch.
    pub launch: Launch,
    /// The how-many-th dial of that launch.
    pub dial: Dial,
}

/// A session whose third launch fails does not start.
const LAST_LAUNCH: Launch = Launch(3);

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A bridge has enrolled.
    LinkUp(LinkId),
    /// A link is gone.
    LinkDown(LinkId),
    /// The state's deadline has passed.
    Deadline,
    /// The program has ended and its end was handed over.
    ProgramEnded(EndReason),
    /// Somebody, or the idle policy, wants it stopped.
    Stop(EndReason),
    /// The task is gone.
    TaskGone,
    /// The task could not be started.
    StartFailed,
    /// No task of this launch runs, nor will; another launch may do better.
    Relaunch,
}

/// What is to be done, after the new state has been stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Relay over this link, and drop an older one.
    Relay(LinkId),
    /// Send this link away: it is left over from an earlier launch or dial.
    RefuseLink,
    /// Wait for the bridge to call again.
    AwaitLink,
    /// Start the next launch.
    Launch,
    /// Ask the bridge to end its program, then stop the task.
    AskToStop(EndReason),
    /// Stop the task.
    StopTask(EndReason),
    /// It is over.
    End(EndReason),
}

/// The part of a session that its state machine looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Where it is.
    pub state: State,
    /// The newest link that was accepted.
    pub link: LinkId,
    /// Why it stops or has stopped.
    pub reason: Option<EndReason>,
}

impl Life {
    /// What an event makes of it.
    #[must_use]
    pub fn step(self, event: Event) -> (Self, Effect) {
        use Event::{
            Deadline, LinkDown, LinkUp, ProgramEnded, Relaunch, StartFailed, Stop, TaskGone,
        };
        use State::{Ended, Live, Severed, Starting, Stopping};
        let stopping = |reason| Self { state: Stopping, reason: Some(reason), ..self };
        let ended = |reason| Self { state: Ended, reason: Some(reason), ..self };
        let unchanged = (self, Effect::None);
        match (self.state, event) {
            // A bridge may redial before we notice that its old connection died: the newer wins.
            (Starting | Live | Severed, LinkUp(link)) if link > self.link => {
                (Self { state: Live, link, ..self }, Effect::Relay(link))
            }
            (Starting | Live | Severed | Stopping | Ended, LinkUp(_)) => (self, Effect::RefuseLink),
            (Live, LinkDown(link)) if link == self.link => {
                (Self { state: Severed, ..self }, Effect::AwaitLink)
            }
            // Whoever was to hand over the end is gone, or can't be heard any more.
            (Stopping, LinkDown(link)) if link == self.link => {
                (self, Effect::StopTask(self.reason.unwrap_or(EndReason::Stopped)))
            }
            // A link that was replaced already, or whose session is over.
            (Starting | Live | Severed | Stopping | Ended, LinkDown(_)) => unchanged,
            (Starting, Deadline) => {
                (stopping(EndReason::StartFailed), Effect::StopTask(EndReason::StartFailed))
            }
            (Severed, Deadline) => (stopping(EndReason::Lost), Effect::StopTask(EndReason::Lost)),
            // Asking was not enough.
            (Stopping, Deadline) => {
                (self, Effect::StopTask(self.reason.unwrap_or(EndReason::Stopped)))
            }
            (Live | Ended, Deadline) => unchanged,
            (Live, ProgramEnded(reason)) => (stopping(reason), Effect::AskToStop(reason)),
            (Stopping, ProgramEnded(_)) => {
                (self, Effect::AskToStop(self.reason.unwrap_or(EndReason::Exited)))
            }
            (Starting | Severed | Ended, ProgramEnded(_)) => unchanged,
            (Live, Stop(reason)) => (stopping(reason), Effect::AskToStop(reason)),
            (Starting | Severed, Stop(reason)) => (stopping(reason), Effect::StopTask(reason)),
            (Stopping | Ended, Stop(_)) => unchanged,
            (Starting, StartFailed | TaskGone) => {
                (ended(EndReason::StartFailed), Effect::End(EndReason::StartFailed))
            }
            (Live | Severed, TaskGone) => (ended(EndReason::Lost), Effect::End(EndReason::Lost)),
            (Stopping, StartFailed | TaskGone) => {
                let reason = self.reason.unwrap_or(EndReason::Stopped);
                (ended(reason), Effect::End(reason))
            }
            (Live | Severed | Ended, StartFailed) | (Ended, TaskGone) => unchanged,
            (Starting, Relaunch) if self.link.launch < LAST_LAUNCH => {
                let link = LinkId { launch: Launch(self.link.launch.0 + 1), dial: Dial(0) };
                (Self { link, ..self }, Effect::Launch)
            }
            (Starting | Stopping, Relaunch) => self.step(StartFailed),
            // Its program has run: it is not run again.
            (Live | Severed | Ended, Relaunch) => unchanged,
        }
    }
}

/// How a session's program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Where its output ends.
    pub at: Offset,
    /// How.
    pub status: ExitStatus,
}

/// What the bridge handed over at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastScreen {
    /// All output before this was acknowledged by a driver.
    pub acknowledged: Offset,
    /// The screen's size.
    pub size: TerminalSize,
}

/// What is stored of a session: all that must survive a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub owner: UserId,
    /// Its name, unique per owner while it has not ended.
    pub name: Option<String>,
    /// Where it is in its life, and its newest link.
    pub life: Life,
    /// The key that the bridge of this launch enrolled with.
    pub pinned_key: Option<Bytes32>,
    /// When it was asked for, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When its task was gone.
    pub ended_ms: Option<i64>,
    /// The rest.
    pub detail: Detail,
}

/// The part of a record that only its keeper reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What it runs: the template's name.
    pub template: String,
    /// How its program runs.
    pub mode: Mode,
    /// Its terminal's first size.
    pub size: TerminalSize,
    /// Its task, once there is one.
    pub task: Option<TaskRef>,
    /// What its task runs on, where that is not what its template says.
    #[serde(default)]
    pub capacity: Option<Capacity>,
    /// When it first had a link.
    pub live_ms: Option<i64>,
    /// When its longest life ends.
    pub ends_ms: Option<i64>,
    /// Why it stops or has stopped.
    pub reason: Option<EndReason>,
    /// How its program ended.
    pub exit: Option<Exit>,
    /// What shows that it ended so: for operators.
    pub evidence: Option<String>,
    /// What its user is told of that.
    #[serde(default)]
    pub told: Option<String>,
    /// What the bridge handed over at its end, besides the screen's bytes.
    pub last_screen: Option<LastScreen>,
}

impl Record {
    /// A session that nobody has begun to start, asked for at `created_ms`.
    #[must_use]
    pub fn new(
        owner: UserId,
        template: &str,
        mode: Mode,
        size: TerminalSize,
        created_ms: i64,
    ) -> Self {
        let link = LinkId { launch: Launch(1), dial: Dial(0) };
        Self {
            id: SessionId::generate(),
            owner,
            name: None,
            life: Life { state: State::Starting, link, reason: None },
            pinned_key: None,
            created_ms,
            ended_ms: None,
            detail: Detail {
                template: template.to_owned(),
                mode,
                size,
                task: None,
                capacity: None,
                live_ms: None,
                ends_ms: None,
                reason: None,
                exit: None,
                evidence: None,
                told: None,
                last_screen: None,
            },
        }
    }

    /// Any session of this user's.
    #[cfg(test)]
    pub(crate) fn of(owner: UserId) -> Self {
        Self::new(owner, "default", Mode::Terminal, TerminalSize::DEFAULT, 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(dial: u32) -> LinkId {
        LinkId { launch: Launch(1), dial: Dial(dial) }
    }

    fn new() -> Life {
        Life { state: State::Starting, link: link(0), reason: None }
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0u32..5).prop_map(|dial| Event::LinkUp(link(dial))),
            (0u32..5).prop_map(|dial| Event::LinkDown(link(dial))),
            Just(Event::Deadline),
            Just(Event::ProgramEnded(EndReason::Exited)),
            Just(Event::Stop(EndReason::Stopped)),
            Just(Event::TaskGone),
            Just(Event::StartFailed),
            Just(Event::Relaunch),
        ]
    }

    #[test]
    fn a_link_that_breaks_and_returns_keeps_the_session() {
        let (life, effect) = new().step(Event::LinkUp(link(1)));
        assert_eq!((life.state, effect), (State::Live, Effect::Relay(link(1))));
        let (life, effect) = life.step(Event::LinkDown(link(1)));
        assert_eq!((life.state, effect), (State::Severed, Effect::AwaitLink));
        let (life, effect) = life.step(Event::LinkUp(link(1)));
        assert_eq!((life.state, effect), (State::Severed, Effect::RefuseLink));
        let (life, _) = life.step(Event::LinkUp(link(2)));
        assert_eq!(life.state, State::Live);
        // The old connection is noticed late: nothing happens to the new one.
        assert_eq!(life.step(Event::LinkDown(link(1))), (life, Effect::None));
    }

    #[test]
    fn a_start_goes_on_to_its_next_launch_and_not_for_ever() {
        let (life, effect) = new().step(Event::Relaunch);
        let next = LinkId { launch: Launch(2), dial: Dial(0) };
        assert_eq!((life.state, life.link, effect), (State::Starting, next, Effect::Launch));
        // Whatever the first launch has left is too late now.
        assert_eq!(life.step(Event::LinkUp(link(7))), (life, Effect::RefuseLink));
        let (life, _) = life.step(Event::Relaunch);
        let (life, effect) = life.step(Event::Relaunch);
        assert_eq!((life.state, effect), (State::Ended, Effect::End(EndReason::StartFailed)));
    }

    #[test]
    fn a_start_that_nobody_finishes_ends() {
        let (life, effect) = new().step(Event::Deadline);
        assert_eq!(effect, Effect::StopTask(EndReason::StartFailed));
        let (life, effect) = life.step(Event::TaskGone);
        assert_eq!((life.state, effect), (State::Ended, Effect::End(EndReason::StartFailed)));
    }

    proptest! {
        #[test]
        fn an_ended_session_stays_ended_and_a_stopping_one_is_never_revived(
            before in proptest::collection::vec(events(), 0..20),
            after in proptest::collection::vec(events(), 0..20),
        ) {
            let mut life = new();
            for event in before {
                life = life.step(event).0;
            }
            let ended = life.state == State::Ended;
            let stopping = life.state == State::Stopping;
            for event in after {
                let (next, effect) = life.step(event);
                life = next;
                if ended {
                    prop_assert_eq!(life.state, State::Ended);
                    prop_assert!(matches!(effect, Effect::None | Effect::RefuseLink));
                }
                if stopping {
                    prop_assert!(matches!(life.state, State::Stopping | State::Ended));
                }
            }
        }

        #[test]
        fn whatever_happened_the_end_of_the_task_ends_the_session(
            before in proptest::collection::vec(events(), 0..20)
        ) {
            let life = before.into_iter().fold(new(), |life, event| life.step(event).0);
            let (life, _) = life.step(Event::TaskGone);
            prop_assert_eq!(life.state, State::Ended);
            prop_assert!(life.reason.is_some());
        }

        #[test]
        fn links_only_get_newer(events in proptest::collection::vec(events(), 0..40)) {
            let mut life = new();
            for event in events {
                let next = life.step(event).0;
                prop_assert!(next.link >= life.link);
                life = next;
            }
        }
    }
}
