//! The CLI on a pseudo-terminal, as a person has it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use shellgate_protocol::client_leg::{Mode, Role};
use shellgate_protocol::{FromClient, TerminalSize};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::commands::{misses_its_program, shellgate};
use crate::scripted::{Gateway, Play};

/// A person's terminal with a command running on it.
struct Person {
    child: Child,
    keyboard: File,
    /// Kept open: its settings are looked at, and reads end only when the test does.
    terminal: OwnedFd,
    found: Termios,
    seen: Arc<Seen>,
    _home: tempfile::TempDir,
}

/// What no program writes.
const END: &str = "(nothing comes after this)";

#[derive(Default)]
struct Seen {
    bytes: Mutex<Vec<u8>>,
    more: Notify,
}

impl Person {
    fn runs(gateway: &Gateway, arguments: &[&str]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let found = tcgetattr(&pty.slave).unwrap();
        let home = tempfile::tempdir().unwrap();
        let plain = shellgate(gateway, home.path());
        // A session of its own makes the terminal its controlling one, for signals from it.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(plain.as_std().get_program()).args(arguments);
        command.env_clear().envs(plain.as_std().get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.env("SHELLGATE_TOKEN", "t0").env("PATH", "/usr/bin:/bin").kill_on_drop(true);
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let seen = Arc::new(Seen::default());
        let mut screen = File::from(pty.master.try_clone().unwrap());
        let sees = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = screen.read(&mut buffer) {
                sees.bytes.lock().unwrap().extend_from_slice(&buffer[..len]);
                sees.more.notify_one();
            }
        });
        let keyboard = File::from(pty.master);
        Self { child, keyboard, terminal: pty.slave, found, seen, _home: home }
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Pastes so much, beside the test: a terminal that is not read takes only a little.
    async fn pastes(&self, len: usize) {
        let mut keyboard = self.keyboard.try_clone().unwrap();
        let pastes = tokio::task::spawn_blocking(move || keyboard.write_all(&vec![b'x'; len]));
        let pasted = tokio::time::timeout(Duration::from_secs(20), pastes).await;
        pasted.expect("the terminal is read").unwrap().unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.bytes.lock().unwrap()).into_owned()
    }

    /// Waits until the terminal was sent this text, at most 20 s.
    async fn sees(&self, text: &str) {
        self.sees_so_often(1, text).await;
    }

    async fn sees_so_often(&self, times: usize, text: &str) {
        let waits = async {
            while self.text().matches(text).count() < times {
                self.seen.more.notified().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), waits).await.is_err() {
            panic!("`{text}` is not shown, but: {}", self.text());
        }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_flags.contains(LocalFlags::ICANON)
    }

    fn signals(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().unwrap() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for the end, and checks that the terminal is as it was found.
    async fn ends(&mut self) -> i32 {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end: {}", self.text())).unwrap();
        // What it has written is read when this is, which comes after it.
        File::from(self.terminal.try_clone().unwrap()).write_all(END.as_bytes()).unwrap();
        self.sees(END).await;
        let written = self.text().replace(END, "");
        *self.seen.bytes.lock().unwrap() = written.into_bytes();
        let left = tcgetattr(&self.terminal).unwrap();
        assert_eq!(left.local_flags, self.found.local_flags);
        assert_eq!(left.input_flags, self.found.input_flags);
        assert_eq!(left.output_flags, self.found.output_flags);
        status.code().expect("an exit status")
    }
}

#[tokio::test]
async fn a_person_types_sees_and_exits() {
    let gateway = Gateway::start().await;
    gateway.state().echoes = true;
    gateway.state().exits_with = Some(3);
    gateway.prints(b"welcome $ ");
    let mut person = Person::runs(&gateway, &["new", "work"]);
    person.sees("welcome $ ").await;
    gateway.until("raw mode", |_| person.is_raw()).await;
    // ^C is for the session, not for this process.
    person.types("hello\x03");
    person.sees("hello\x03").await;
    person.types("exit\r");
    assert_eq!(person.ends().await, 3);
    assert_eq!(gateway.state().program, b"hello\x03exit\r");
    assert!(gateway.state().exit_acknowledged);
    gateway.faultless();
}

#[tokio::test]
async fn an_escape_detaches_and_another_helps() {
    let gateway = Gateway::start().await;
    gateway.prints(b"$ ");
    let mut person = Person::runs(&gateway, &["attach", "work", "--from-start"]);
    person.sees("$ ").await;
    person.types("~?");
    person.sees("~. detach").await;
    person.types("~.");
    assert_eq!(person.ends().await, 0);
    person.sees("`shellgate attach work` comes back").await;
    assert_eq!(gateway.state().program, b"");
    assert_eq!(gateway.state().goodbyes, [1000]);
}

#[tokio::test]
async fn what_was_typed_before_the_escape_arrives() {
    let gateway = Gateway::start().await;
    gateway.prints(b"$ ");
    let mut person = Person::runs(&gateway, &["attach", "work", "--from-start"]);
    person.sees("$ ").await;
    person.types("make\r~.");
    assert_eq!(person.ends().await, 0);
    assert_eq!(gateway.state().program, b"make\r");
}

#[tokio::test]
async fn a_session_that_takes_nothing_more_can_be_left() {
    let gateway = Gateway::start().await;
    gateway.state().is_stopped = true;
    gateway.prints(b"$ ");
    let mut person = Person::runs(&gateway, &["attach", "work", "--from-start"]);
    person.sees("$ ").await;
    // More than may be on its way, and less than is held.
    person.pastes(3 << 20).await;
    person.types("\r~.");
    person.sees("detaching when what was typed has arrived").await;
    assert_eq!(person.ends().await, 0);
    person.sees("3145729 bytes that were typed may not have arrived").await;
}

#[tokio::test]
async fn what_there_is_no_room_for_is_dropped_and_said_so() {
    let gateway = Gateway::start().await;
    gateway.state().is_stopped = true;
    gateway.prints(b"$ ");
    let mut person = Person::runs(&gateway, &["attach", "work", "--from-start"]);
    person.sees("$ ").await;
    person.pastes(6 << 20).await;
    person.sees("the end of what was typed is dropped").await;
    person.types("\r~.");
    assert_eq!(person.ends().await, 0);
}

#[tokio::test]
async fn a_break_is_told_on_the_last_row_and_taken_away_again() {
    let gateway = Gateway::start().await;
    gateway.state().echoes = true;
    gateway.prints(b"$ ");
    let busy = || Play::Refuse(503, serde_json::json!({ "detail": "full", "retry_after": 1 }));
    gateway.plays([Play::CloseAfter(3, 4502), busy(), busy()]);
    let mut person = Person::runs(&gateway, &["new", "work"]);
    person.sees("$ ").await;
    person.types("x");
    person.sees("\x1b[24;1H\x1b[0;7m shellgate: offline · ~. leaves · ").await;
    person.sees(" · full ").await;
    person.sees("\x1b[24;1H\x1b[0m\x1b[2K").await;
    person.types("yz");
    person.sees("yz").await;
    assert_eq!(gateway.state().program, b"xyz");
    person.types("\r~.");
    assert_eq!(person.ends().await, 0);
    gateway.faultless();
}

#[tokio::test]
async fn a_signal_leaves_the_terminal_as_it_was() {
    use nix::sys::signal::Signal;
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let gateway = Gateway::start().await;
        gateway.prints(b"\x1b[?1049h\x1b[?25l\x1b[?2004hediting");
        let mut person = Person::runs(&gateway, &["new"]);
        person.sees("editing").await;
        assert!(person.is_raw());
        person.signals(signal);
        assert_eq!(person.ends().await, status);
        person.sees("\x1b[?2004l\x1b[?25h\x1b[?1049l").await;
    }
}

#[tokio::test]
async fn lines_are_typed_as_lines() {
    let gateway = Gateway::start().await;
    gateway.state().mode = Mode::Lines;
    gateway.prints(b"{\"ready\":true}\n");
    let mut person = Person::runs(&gateway, &["new"]);
    person.sees("ready").await;
    assert!(!person.is_raw());
    person.types("{}\r");
    gateway.until("a line", |state| state.program == b"{}\n").await;
    // The end of a line that was an escape is no line for the agent.
    person.types("~?\r");
    person.sees("shellgate: ~. detach").await;
    assert!(!person.text().contains("\x1b[K"), "nothing is drawn among lines");
    person.types("[]\r");
    gateway.until("a line", |state| state.program == b"{}\n[]\n").await;
    person.types("~.\r");
    assert_eq!(person.ends().await, 0);
}

#[tokio::test]
async fn who_interrupts_lines_is_told_that_the_session_lives_on() {
    let gateway = Gateway::start().await;
    gateway.state().mode = Mode::Lines;
    gateway.prints(b"{\"ready\":true}\n");
    let mut person = Person::runs(&gateway, &["attach", "work"]);
    person.sees("ready").await;
    person.types("\x03");
    assert_eq!(person.ends().await, 130);
    person.sees("shellgate: interrupted; the session lives on: `shellgate attach work`").await;
}

#[tokio::test]
async fn among_lines_each_outage_is_told_in_a_line_and_so_is_its_end() {
    let gateway = Gateway::start().await;
    gateway.state().mode = Mode::Lines;
    gateway.state().echoes = true;
    gateway.prints(b"{\"ready\":true}\n");
    let busy = || Play::Refuse(503, serde_json::json!({ "detail": "full", "retry_after": 1 }));
    gateway.plays([Play::CloseAfter(3, 4502), busy(), Play::CloseAfter(2, 4502), busy()]);
    let mut person = Person::runs(&gateway, &["new"]);
    person.sees("ready").await;
    person.types("one\r");
    person.sees("shellgate: connected again\r\n").await;
    person.types("two\r");
    person.sees_so_often(2, "shellgate: connected again\r\n").await;
    let text = person.text();
    assert_eq!(text.matches("shellgate: offline · ~. leaves · full\r\n").count(), 2, "{text}");
    person.types("~.\r");
    assert_eq!(person.ends().await, 0);
}

#[tokio::test]
async fn who_comes_to_lines_is_shown_all_that_are_kept() {
    let gateway = Gateway::start().await;
    gateway.state().mode = Mode::Lines;
    gateway.prints(b"{\"said\":\"before\"}\n");
    let id = gateway.state().id.to_string();
    let mut person = Person::runs(&gateway, &["attach", &id]);
    person.sees("before").await;
    person.types("~.\r");
    assert_eq!(person.ends().await, 0);
}

#[tokio::test]
async fn another_launch_has_a_terminal_as_it_was_found() {
    let gateway = Gateway::start().await;
    gateway.prints(b"\x1b[?1049h\x1b[?2004hediting");
    let mut person = Person::runs(&gateway, &["new"]);
    person.sees("editing").await;
    gateway.starts_another_launch(b"fresh $ ");
    person.sees("\x1b[?2004l\x1b[?1049l\r\n").await;
    person.sees("fresh $ ").await;
    person.types("~.");
    assert_eq!(person.ends().await, 0);
}

#[tokio::test]
async fn a_message_stays_while_output_comes() {
    let gateway = Gateway::start().await;
    gateway.prints(b"$ ");
    let mut person = Person::runs(&gateway, &["new"]);
    person.sees("$ ").await;
    person.types("~?");
    person.sees("~. detach").await;
    let drawn = |person: &Person| person.text().matches("~. detach").count();
    // Output that never pauses for as long as the line is drawn again takes.
    let waits = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while drawn(&person) < 3 {
            gateway.prints(b".");
            pause.tick().await;
        }
    };
    let shown = tokio::time::timeout(Duration::from_secs(5), waits).await;
    assert!(shown.is_ok(), "drawn {} times", drawn(&person));
    person.types("~.");
    assert_eq!(person.ends().await, 0);
}

#[tokio::test]
async fn the_window_s_size_is_the_session_s() {
    let gateway = Gateway::start().await;
    gateway.prints(b"$ ");
    let mut person = Person::runs(&gateway, &["new"]);
    person.sees("$ ").await;
    assert_eq!(gateway.state().attaches[0].size, TerminalSize::DEFAULT);
    let resized = std::process::Command::new("stty")
        .args(["cols", "132", "rows", "50"])
        .stdin(person.terminal.try_clone().unwrap())
        .status();
    assert!(resized.unwrap().success(), "on descriptor {}", person.terminal.as_raw_fd());
    let size = TerminalSize::new(132, 50).unwrap();
    gateway.until("the new size", |state| state.size == size).await;
    person.types("~.");
    assert_eq!(person.ends().await, 0);
}

#[tokio::test]
async fn an_observer_types_nothing() {
    let gateway = Gateway::start().await;
    gateway.prints(b"$ ");
    let mut person = Person::runs(&gateway, &["attach", "work", "--observe"]);
    person.sees("<keyframe>").await;
    assert!(!person.text().contains("\x1bc"), "a reset would take what can be scrolled back to");
    person.types("rm -rf ~\r~e~.");
    assert_eq!(person.ends().await, 0);
    assert_eq!(gateway.state().attaches[0].role, Role::Observer);
    assert_eq!(gateway.state().program, b"");
    let typed = |control: &FromClient| !matches!(control, FromClient::Reauth { .. });
    assert!(!gateway.state().controls.iter().any(typed));
}

#[tokio::test]
async fn replayed_queries_are_not_asked_again() {
    let gateway = Gateway::start().await;
    gateway.state().replays_up_to = 12;
    gateway.prints(b"old\x1b[6n\x1b[c.new\x1b[6n");
    let mut person = Person::runs(&gateway, &["attach", "work", "--from-start"]);
    person.sees("old.new\x1b[6n").await;
    person.types("~.");
    assert_eq!(person.ends().await, 0);
}

#[tokio::test]
async fn a_program_that_is_missing_is_told_once() {
    let gateway = Gateway::start().await;
    let why = "nonsense cannot be started";
    gateway.prints(why.as_bytes());
    misses_its_program(&gateway, why);
    let mut person = Person::runs(&gateway, &["attach", "work", "--from-start"]);
    assert_eq!(person.ends().await, 127);
    assert_eq!(person.text().matches(why).count(), 1, "{}", person.text());
}
