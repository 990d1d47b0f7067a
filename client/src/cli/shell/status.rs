//! The line about the connection: what it says at a moment. Pure: time comes in as an argument.
//! Knows no terminal.

use std::time::Duration;

use shellgate_client::attach::Break;
use shellgate_protocol::client_leg::Notice;
use tokio::time::Instant;

use crate::cli::humane;

/// A break, or a wait, shorter than this is not worth a word.
pub const UNNOTICED: Duration = Duration::from_millis(400);

/// How long a message stays.
const READABLE: Duration = Duration::from_secs(6);

/// What a wait usually takes is said from here on: less is over before it is read.
const WORTH_SAYING: Duration = Duration::from_millis(100);

/// What is said, in layers: a passing word before how the connection stands, and that before a
/// warning. What lies below comes again when what lies above is gone.
pub struct Status {
    keys: Keys,
    passing: Option<(String, Instant)>,
    link: Option<Link>,
    warning: Option<Warning>,
}

/// What whoever looks can do with the keyboard.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// The key that begins an escape, if there is a keyboard and such a key.
    pub escape: Option<char>,
    /// Nothing that is typed reaches the session.
    pub observes: bool,
}

/// How the connection stands, while it does not.
enum Link {
    Waits { what: String, since: Instant, elapsed: Duration, expected: Duration },
    Lost { why: Break, dials_at: Instant, since: Instant },
}

/// The session's end is near.
struct Warning {
    is_idle: bool,
    seconds: u64,
    told: Instant,
}

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// As it is now, counting.
    pub counting: String,
    /// As it is as long as nothing but time has changed.
    pub still: String,
}

impl Status {
    /// Nothing to say yet.
    pub fn new(keys: Keys) -> Self {
        Self { keys, passing: None, link: None, warning: None }
    }

    /// Whether there is anything that time changes.
    pub fn is_anything(&self) -> bool {
        self.passing.is_some() || self.link.is_some() || self.warning.is_some()
    }

    /// A word that passes.
    pub fn says(&mut self, text: String, now: Instant) {
        self.passing = Some((text, now + READABLE));
    }

    /// All escapes.
    pub fn helps(&mut self, now: Instant) {
        if let Some(key) = self.keys.escape {
            let help = format!(
                "{key}. detach · {key}e more time · {key}r retry · {key}^Z suspend · {key}{key} \
                 types {key}"
            );
            self.says(help, now);
        }
    }

    /// The last typed bytes are on their way, and who typed them waits to leave.
    pub fn leaves(&mut self, now: Instant) {
        self.says("detaching when what was typed has arrived".to_owned(), now);
    }

    /// There is no room for what is typed.
    pub fn drops(&mut self, now: Instant) {
        let leaves = self.way_out();
        self.says(format!("{leaves}no room: the end of what was typed is dropped"), now);
    }

    /// The session has no link yet, or again.
    pub fn waits(&mut self, what: String, elapsed_ms: u64, expected_ms: u64, now: Instant) {
        let elapsed = Duration::from_millis(elapsed_ms);
        let expected = Duration::from_millis(expected_ms);
        self.link = Some(Link::Waits { what, since: now, elapsed, expected });
    }

    /// The connection is gone, and dialled again after so long.
    pub fn is_lost(&mut self, why: Break, wait: Duration, now: Instant) {
        let since = match &self.link {
            Some(Link::Lost { since, .. }) => *since,
            Some(Link::Waits { .. }) | None => now,
        };
        self.link = Some(Link::Lost { why, dials_at: now + wait, since });
    }

    /// The connection stands. What the session warns of, it says again.
    pub fn stands(&mut self) {
        self.link = None;
        self.warning = None;
    }

    /// A key was typed: a driver's keeps an idle session, and any shows that somebody has read the
    /// other warning.
    pub fn is_typed_at(&mut self, now: Instant) {
        let kept = |w: &Warning| w.is_idle && !self.keys.observes;
        let read = |w: &Warning| !w.is_idle && now >= w.told + READABLE;
        if self.warning.as_ref().is_some_and(|w| kept(w) || read(w)) {
            self.warning = None;
        }
    }

    /// What a notice says to a person; `false` where it is none of their business.
    pub fn hears(&mut self, notice: &Notice, now: Instant) -> bool {
        let text = match notice {
            Notice::IdleWarning { seconds } => return self.warns(true, *seconds, now),
            Notice::LifetimeWarning { seconds } => return self.warns(false, *seconds, now),
            Notice::Extended { seconds, .. } => {
                self.warning = None;
                format!("it goes on for at least {}", humane::duration(*seconds))
            }
            Notice::Observers { count: 0 } => "nobody watches any more".to_owned(),
            Notice::Observers { count: 1 } => "one other watches".to_owned(),
            Notice::Observers { count } => format!("{count} others watch"),
            Notice::TakenOver { .. } => "somebody else has taken over".to_owned(),
            Notice::NewLaunch { .. } => {
                "the session was started again: this is a new shell".to_owned()
            }
            Notice::Policy { text } => text.clone(),
            Notice::Signalled { .. } | Notice::PartialKeyframe | Notice::TokenExpires { .. } => {
                return false;
            }
        };
        self.says(text, now);
        true
    }

    fn warns(&mut self, is_idle: bool, seconds: u64, now: Instant) -> bool {
        self.warning = Some(Warning { is_idle, seconds, told: now });
        true
    }

    /// What there is to say now.
    pub fn now(&mut self, now: Instant) -> Option<Said> {
        self.passing.take_if(|(_, until)| now >= *until);
        if let Some((text, _)) = &self.passing {
            return Some(Said { counting: text.clone(), still: text.clone() });
        }
        match &self.link {
            Some(Link::Lost { since, .. }) if now < *since + UNNOTICED => {}
            Some(Link::Lost { why, dials_at, .. }) => {
                let leaves = self.way_out();
                let wait = dials_at.saturating_duration_since(now).as_secs_f32().ceil();
                let retry = self.keys.escape.map(|key| format!(", {key}r: now"));
                let when = match retry {
                    _ if wait < 1.0 => "reconnecting".to_owned(),
                    retry => format!("again in {wait} s{}", retry.unwrap_or_default()),
                };
                let why = match why {
                    Break::Unreachable(why) => why.clone(),
                    why => why.to_string(),
                };
                return Some(Said {
                    counting: format!("offline · {leaves}{when} · {why}"),
                    still: format!("offline · {leaves}{why}"),
                });
            }
            Some(Link::Waits { what, since, elapsed, expected }) => {
                let seconds = (*elapsed + (now - *since)).as_secs_f32();
                let usual = expected.as_secs_f32();
                let is_usual = *expected >= WORTH_SAYING;
                let usual =
                    if is_usual { format!(", usually {usual:.1} s") } else { String::new() };
                let counting = format!("{what} · {seconds:.1} s{usual}");
                return Some(Said { counting, still: what.clone() });
            }
            None => {}
        }
        let warning = self.warning.as_ref()?;
        let left = Duration::from_secs(warning.seconds).saturating_sub(now - warning.told);
        // Up, so that what is told first is what the session said.
        let left = left.as_millis().div_ceil(1000) as u64;
        Some(Said {
            counting: self.warned(warning, left),
            still: self.warned(warning, warning.seconds),
        })
    }

    fn warned(&self, warning: &Warning, seconds: u64) -> String {
        let left = humane::duration(seconds);
        let mut text = if warning.is_idle {
            format!("nobody works here: it stops in {left}")
        } else {
            format!("its longest life is over in {left}")
        };
        // What an observer types changes nothing.
        match self.keys.escape.filter(|_| !self.keys.observes) {
            _ if warning.is_idle && !self.keys.observes => text += "; any key keeps it",
            Some(key) => text += &format!("; {key}e asks for more"),
            None => {}
        }
        text
    }

    fn way_out(&self) -> String {
        self.keys.escape.map(|key| format!("{key}. leaves · ")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(escape: Option<char>) -> (Status, Instant) {
        (Status::new(Keys { escape, observes: false }), Instant::now())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn refused() -> Break {
        Break::Unreachable("Connection refused".to_owned())
    }

    fn shown(status: &mut Status, now: Instant) -> String {
        status.now(now).map(|said| said.counting).unwrap_or_default()
    }

    #[test]
    fn what_is_offline_is_so_again_when_a_passing_word_is_gone() {
        let (mut status, began) = status(Some('~'));
        status.is_lost(refused(), seconds(21), began);
        assert_eq!(shown(&mut status, began), "", "nobody has noticed yet");
        let line = "offline · ~. leaves · again in 20 s, ~r: now · Connection refused";
        assert_eq!(shown(&mut status, began + seconds(1)), line);
        status.helps(began + seconds(2));
        assert!(shown(&mut status, began + seconds(3)).contains("~. detach"));
        let later = shown(&mut status, began + seconds(9));
        assert_eq!(later, "offline · ~. leaves · again in 12 s, ~r: now · Connection refused");
        status.is_lost(refused(), Duration::ZERO, began + seconds(9));
        let dials = "offline · ~. leaves · reconnecting · Connection refused";
        assert_eq!(shown(&mut status, began + seconds(9)), dials);
        status.stands();
        assert!(!status.is_anything());
    }

    #[test]
    fn every_line_that_advises_fits_a_terminal_and_its_key() {
        for (key, other) in [(Some('%'), '~'), (None, '~')] {
            let (mut status, now) = status(key);
            let mut lines = vec![];
            status.is_lost(refused(), seconds(30), now - seconds(1));
            lines.push(shown(&mut status, now));
            status.stands();
            for notice in
                [Notice::IdleWarning { seconds: 300 }, Notice::LifetimeWarning { seconds: 300 }]
            {
                assert!(status.hears(&notice, now));
                lines.push(shown(&mut status, now));
            }
            status.drops(now);
            lines.push(shown(&mut status, now));
            status.helps(now);
            lines.push(shown(&mut status, now));
            status.leaves(now);
            lines.push(shown(&mut status, now));
            for line in &lines {
                assert!(format!(" shellgate: {line} ").chars().count() <= 80, "{line}");
                assert!(!line.contains(other), "{line}");
            }
            let advise = lines.iter().filter(|line| key.is_some_and(|key| line.contains(key)));
            assert_eq!(advise.count(), if key.is_some() { 4 } else { 0 }, "{lines:?}");
        }
    }

    #[test]
    fn an_idle_warning_counts_down_until_a_key() {
        let (mut status, began) = status(Some('~'));
        status.hears(&Notice::IdleWarning { seconds: 60 }, began);
        let said = status.now(began + seconds(20)).expect("it stays");
        assert_eq!(said.counting, "nobody works here: it stops in 40 s; any key keeps it");
        assert_eq!(said.still, "nobody works here: it stops in 1 min; any key keeps it");
        status.is_typed_at(began + seconds(21));
        assert_eq!(status.now(began + seconds(21)), None);
    }

    #[test]
    fn the_end_of_a_life_is_not_typed_away_before_it_can_be_read() {
        let (mut status, began) = status(Some('~'));
        status.hears(&Notice::LifetimeWarning { seconds: 60 }, began);
        status.is_typed_at(began + seconds(1));
        let line = "its longest life is over in 59 s; ~e asks for more";
        assert_eq!(shown(&mut status, began + seconds(1)), line);
        status.is_typed_at(began + seconds(10));
        assert_eq!(shown(&mut status, began + seconds(10)), "");
        status.hears(&Notice::LifetimeWarning { seconds: 60 }, began);
        status.hears(&Notice::Extended { id: 1, seconds: 600 }, began);
        assert_eq!(shown(&mut status, began), "it goes on for at least 10 min");
        assert_eq!(shown(&mut status, began + seconds(7)), "", "the warning is void");
    }

    #[test]
    fn an_observer_is_not_asked_to_type() {
        let mut status = Status::new(Keys { escape: Some('~'), observes: true });
        let now = Instant::now();
        status.hears(&Notice::IdleWarning { seconds: 60 }, now);
        assert_eq!(shown(&mut status, now), "nobody works here: it stops in 1 min");
        status.is_typed_at(now + READABLE);
        assert!(shown(&mut status, now).contains("it stops"), "it keeps nothing");
    }

    #[test]
    fn what_takes_no_time_is_not_said_to_take_none() {
        let (mut status, now) = status(None);
        status.waits("starting the task".to_owned(), 1000, 40, now);
        assert_eq!(shown(&mut status, now), "starting the task · 1.0 s");
        status.waits("starting the task".to_owned(), 1000, 1400, now);
        assert_eq!(shown(&mut status, now), "starting the task · 1.0 s, usually 1.4 s");
    }
}
