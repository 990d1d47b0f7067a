//! The CLI without a terminal: pipes, files and exit statuses.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::scripted::{Gateway, Play};

/// A `shellgate` that knows nothing but this gateway and this home.
pub fn shellgate(gateway: &Gateway, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shellgate"));
    command
        .env_clear()
        .env("HOME", home)
        .env("TERM", "xterm-256color")
        .env("SHELLGATE_URL", &gateway.url)
        .kill_on_drop(true);
    command
}

/// Runs it to its end, at most 20 s, with this on its standard input.
pub async fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read what it is given is no failure here.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await;
    ended.expect("it ends within 20 s").unwrap()
}

/// Runs it with a token and these arguments.
pub async fn says(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let home = tempfile::tempdir().unwrap();
    let mut command = shellgate(gateway, home.path());
    command.env("SHELLGATE_TOKEN", "t0").args(arguments);
    told(run(command, "").await)
}

/// Its exit status, and what it said on standard output and standard error.
pub fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn sessions_are_listed_for_people_and_for_programs() {
    let gateway = Gateway::start().await;
    let id = gateway.state().id.to_string();
    let (status, table, _) = says(&gateway, &["ls"]).await;
    assert_eq!(status, 0);
    let mut lines = table.lines();
    let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "STATE", "AGE", "TEMPLATE", "ATTACHED", "ID"]);
    let row = lines.next().unwrap();
    assert!(row.starts_with("work  live") && row.ends_with(&id), "{row}");
    let (_, text, _) = says(&gateway, &["ls", "-o", "json"]).await;
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(listed[0]["id"], json!(id));
    says(&gateway, &["ls", "--all"]).await;
    assert!(gateway.state().requests.last().unwrap().1.contains("all=true"));
    let (_, shown, _) = says(&gateway, &["show", "work"]).await;
    assert!(shown.contains("state         live"), "{shown}");
    assert_eq!(gateway.state().bearers[0], "Bearer t0");
    gateway.exits(4);
    let (_, shown, _) = says(&gateway, &["show", "work"]).await;
    assert!(shown.contains("its program ended\nstatus        exit status 4"), "{shown}");
    let (status, _, said) = says(&gateway, &["ls"]).await;
    assert!(status == 0 && said.contains("No sessions."), "{said}");
    let (_, table, _) = says(&gateway, &["ls", "--ended"]).await;
    assert!(table.contains("ATTACHED  END       ID"), "{table}");
    assert!(table.contains("nobody    status 4  ses_"), "{table}");
}

#[tokio::test]
async fn an_address_without_the_api_says_so_and_how_to_give_another() {
    let gateway = Gateway::start().await;
    let expected = |what: &str| {
        format!(
            "shellgate: there is no {what} at {}\n  Is the address right? It is given by --url or \
             SHELLGATE_URL.\n",
            gateway.url
        )
    };
    // As the gateway's other listeners answer, and as a web server does.
    let problem =
        json!({ "title": "Not Found", "status": 404, "detail": "Not Found.", "code": "not_found" });
    for answer in [problem, Value::Null, json!("<html>")] {
        gateway.state().answers = vec![("/v1/", 404, answer.clone()), ("/dev/", 404, answer)];
        let (status, _, error) = says(&gateway, &["ls"]).await;
        assert_eq!((status, error), (1, expected("Shellgate API")));
        let (status, _, error) = says(&gateway, &["login", "--code", "c"]).await;
        assert_eq!((status, error), (1, expected("Shellgate gateway that signs people in")));
    }
    let problem =
        json!({ "status": 404, "detail": "You have no such session.", "code": "no_such_session" });
    gateway.state().answers = vec![("/v1/", 404, problem)];
    let (status, _, error) = says(&gateway, &["ls"]).await;
    assert_eq!((status, error.as_str()), (1, "shellgate: You have no such session.\n"));
}

#[tokio::test]
async fn an_unknown_name_says_what_to_do() {
    let gateway = Gateway::start().await;
    let (status, _, error) = says(&gateway, &["show", "play"]).await;
    assert_eq!(status, 1);
    assert!(error.contains("no session named `play`") && error.contains("shellgate new play"));
    let unknown = "ses_00000000000000000000000000000000";
    let (status, _, error) = says(&gateway, &["attach", unknown]).await;
    assert_eq!((status, error.trim()), (255, "shellgate: There is no such session."));
}

#[tokio::test]
async fn stopping_asks_first() {
    let gateway = Gateway::start().await;
    let deletes = |gateway: &Gateway| {
        gateway.state().requests.iter().filter(|(method, _, _)| method == "DELETE").count()
    };
    let (status, _, error) = says(&gateway, &["stop", "work"]).await;
    assert_eq!((status, deletes(&gateway)), (64, 0), "{error}");
    let (status, said, _) = says(&gateway, &["stop", "work", "--yes"]).await;
    assert_eq!((status, said.as_str(), deletes(&gateway)), (0, "work is being stopped\n", 1));
}

#[tokio::test]
async fn removing_a_user_asks_first_and_tells_what_came_of_it() {
    let gateway = Gateway::start().await;
    let removal = |state: &str, failure: Option<&str>| {
        json!({ "id": "3f2a", "issuer": "https://i", "user": "ada", "state": state,
                "failure": failure, "asked_by": "root of https://i",
                "asked_at": "2026-01-02T03:00:00Z" })
    };
    let command = ["user", "remove", "--issuer", "https://i", "--user", "ada"];
    let with = |more: &[&'static str]| [&command, more].concat();
    let (status, _, error) = says(&gateway, &command).await;
    assert!(status == 64 && error.contains("say --yes"), "{status} {error}");
    assert!(gateway.state().requests.is_empty());
    gateway.state().answers = vec![("/v1/removals", 202, removal("done", None))];
    let (status, said, _) = says(&gateway, &with(&["--yes"])).await;
    assert_eq!((status, said.as_str()), (0, "ada of https://i: removed\n"));
    let (method, path, body) = gateway.state().requests[0].clone();
    assert_eq!((method.as_str(), path.as_str()), ("POST", "/v1/removals"));
    let asked: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(asked, json!({ "issuer": "https://i", "user": "ada" }));
    // It is under way, and fails while it is followed.
    let failed = removal("failed", Some("EFS says no"));
    gateway.state().answers = vec![
        ("/v1/removals/", 200, failed),
        ("/v1/removals", 202, removal("deleting_files", None)),
    ];
    let (status, said, error) = says(&gateway, &with(&["--yes"])).await;
    assert_eq!((status, said.as_str()), (1, ""), "{error}");
    assert!(error.contains("their files are being deleted") && error.contains("EFS says no"));
    let (status, said, _) = says(&gateway, &with(&["--yes", "--no-wait", "-o", "json"])).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["state"]), (0, &json!("deleting_files")));
}

#[tokio::test]
async fn one_that_cannot_be_stopped_keeps_nobody_from_stopping_the_next() {
    let gateway = Gateway::start().await;
    let id = gateway.state().id.to_string();
    let session = |id: &str, name: &str| {
        json!({ "id": id, "name": name, "template": "default", "state": "live", "launch": 1,
                "created_at": "2026-01-02T03:00:00Z", "mode": "terminal" })
    };
    // It ends between the question and the stop, and is nobody's any more.
    let gone = "ses_00000000000000000000000000000000";
    let both = json!({ "sessions": [session(gone, "gone"), session(&id, "work")] });
    gateway.state().answers.push(("/v1/sessions?", 200, both));
    let asked = ["stop", "nowhere", "gone", "work", "--yes"];
    let (status, said, error) = says(&gateway, &asked).await;
    assert_eq!((status, said.as_str()), (1, "work is being stopped\n"), "{error}");
    assert!(error.contains("nowhere is not stopped: you have no session named `nowhere`"));
    assert!(error.contains("gone is not stopped: There is no such session."), "{error}");

    let (status, text, _) = says(&gateway, &[&asked[..], &["-o", "json"]].concat()).await;
    let done: Value = serde_json::from_str(&text).unwrap();
    let of = |n: usize| (&done[n]["asked"], &done[n]["id"], &done[n]["had_ended"]);
    assert_eq!(status, 1);
    assert_eq!(of(0), (&json!("nowhere"), &Value::Null, &Value::Null));
    assert_eq!(of(1), (&json!("gone"), &json!(gone), &Value::Null));
    assert_eq!(of(2), (&json!("work"), &json!(id), &json!(false)));
    assert_eq!(done[1]["error"], json!("There is no such session."));
    assert_eq!(done[2]["error"], Value::Null);
}

#[tokio::test]
async fn a_ticket_is_printed_alone() {
    let gateway = Gateway::start().await;
    let asked = |role, origin: &str| format!(r#"{{"role":"{role}","origin":"{origin}"}}"#);
    let (status, ticket, _) = says(&gateway, &["ticket", "work", "--observe"]).await;
    assert_eq!((status, ticket.as_str()), (0, "dGlja2V0\n"));
    assert_eq!(gateway.state().requests.last().unwrap().2, asked("observer", &gateway.url));
    let origin = "https://wall.example.org";
    says(&gateway, &["ticket", "work", "--origin", "https://Wall.example.org:443/"]).await;
    assert_eq!(gateway.state().requests.last().unwrap().2, asked("driver", origin));
    let (status, _, error) = says(&gateway, &["ticket", "work", "--origin", "wall"]).await;
    assert!(status == 64 && error.contains("that is no origin"), "{error}");
    let refused = json!({ "title": "Unauthorized", "status": 401, "code": "origin_refused" });
    gateway.state().answers.push(("/v1/sessions/", 401, refused));
    let (status, _, error) = says(&gateway, &["ticket", "work"]).await;
    assert!(status == 1 && error.contains("--origin"), "{error}");
}

#[tokio::test]
async fn wrong_use_is_64_and_help_teaches() {
    let gateway = Gateway::start().await;
    for wrong in [
        &["reboot"][..],
        &[],
        &["attach"],
        &["--url", "ftp://x", "ls"],
        &["ls", "-o", "x"],
        &["new", "-o", "json"],
    ] {
        assert_eq!(says(&gateway, wrong).await.0, 64, "{wrong:?}");
    }
    let (status, help, _) = says(&gateway, &["--help"]).await;
    assert!(status == 0 && help.contains("Examples:") && help.contains("SHELLGATE_TOKEN"));
    let (status, version, _) = says(&gateway, &["--version"]).await;
    assert_eq!((status, version), (0, format!("shellgate {}\n", env!("CARGO_PKG_VERSION"))));
    for shell in ["bash", "zsh", "fish"] {
        assert!(says(&gateway, &["completions", shell]).await.1.contains("shellgate"));
    }
}

#[tokio::test]
async fn a_session_that_has_ended_is_found_by_its_name() {
    let gateway = Gateway::start().await;
    gateway.exits(7);
    let (status, _, error) = says(&gateway, &["attach", "work"]).await;
    assert_eq!(status, 7, "{error}");
    assert!(error.contains("shellgate: work ended ") && error.contains(" ago\n"), "{error}");
}

#[tokio::test]
async fn a_completion_script_needs_no_gateway_and_no_reader() {
    let gateway = Gateway::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut command = shellgate(&gateway, home.path());
    command.env("SHELLGATE_URL", "nonsense").args(["completions", "zsh"]);
    let (status, script, error) = told(run(command, "").await);
    assert!(status == 0 && script.contains("--takeover"), "{error}");
    let mut command = shellgate(&gateway, home.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.args(["completions", "zsh"]).stdout(writer).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[tokio::test]
async fn a_failure_that_nobody_hears_is_the_same_failure() {
    let gateway = Gateway::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut command = shellgate(&gateway, home.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.env("SHELLGATE_TOKEN", "t0").args(["show", "nothing"]).stderr(writer);
    assert_eq!(command.spawn().unwrap().wait().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_reader_who_leaves_ends_the_command_and_not_the_session() {
    let gateway = Gateway::start().await;
    gateway.prints(b"one\n");
    let home = tempfile::tempdir().unwrap();
    let mut command = shellgate(&gateway, home.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let id = gateway.state().id.to_string();
    command.env("SHELLGATE_TOKEN", "t0").args(["attach", &id, "--from-start"]).stdout(writer);
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await;
    let (status, _, error) = told(ended.expect("it ends within 20 s").unwrap());
    assert_eq!((status, error.as_str()), (255, "shellgate: standard output is closed\n"));
    assert_eq!(gateway.state().goodbyes, [1000]);
}

#[tokio::test]
async fn a_pipe_that_does_not_wait_by_itself_loses_nothing() {
    let gateway = Gateway::start().await;
    let printed: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
    gateway.prints(&printed);
    gateway.exits(0);
    let home = tempfile::tempdir().unwrap();
    let mut command = shellgate(&gateway, home.path());
    let (mut reader, writer) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(&writer, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    let id = gateway.state().id.to_string();
    command.env("SHELLGATE_TOKEN", "t0").args(["attach", &id, "--from-start"]);
    let mut child = command.stdin(Stdio::null()).stdout(writer).spawn().unwrap();
    // The command has its own copy, and the reader's end comes with that one's.
    drop(command);
    // The pipe is full before anybody reads.
    let fills = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        while rustix::io::ioctl_fionread(&reader).unwrap() < 60_000 {
            again.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), fills).await.expect("a full pipe");
    let read = tokio::task::spawn_blocking(move || {
        let mut text = vec![];
        std::io::Read::read_to_end(&mut reader, &mut text).unwrap();
        text
    });
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert!(read.await.unwrap() == printed, "it is not what was printed");
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_given_the_token() {
    let gateway = Gateway::start().await;
    let proxy = Gateway::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut command = shellgate(&gateway, home.path());
    command.env("http_proxy", &proxy.url).env("SHELLGATE_TOKEN", "t0").arg("ls");
    assert_eq!(run(command, "").await.status.code(), Some(0));
    assert_eq!(proxy.state().bearers, Vec::<String>::new());
    assert_eq!(gateway.state().bearers, ["Bearer t0"]);
}

#[tokio::test]
async fn nobody_signed_in_and_nobody_there_say_what_to_do() {
    let gateway = Gateway::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut command = shellgate(&gateway, home.path());
    command.arg("ls");
    let (status, _, error) = told(run(command, "").await);
    assert!(status == 1 && error.contains("shellgate login"), "{error}");
    let (status, _, error) = says(&gateway, &["--url", "http://127.0.0.1:1", "ls"]).await;
    assert!(status == 1 && error.contains("--url or SHELLGATE_URL"), "{error}");
}

#[tokio::test]
async fn a_pipe_is_typed_and_the_program_s_status_is_the_command_s() {
    let gateway = Gateway::start().await;
    gateway.state().echoes = true;
    gateway.state().exits_with = Some(42);
    gateway.plays([Play::Cut(2), Play::CloseAfter(1, 4502)]);
    let home = tempfile::tempdir().unwrap();
    let mut command = shellgate(&gateway, home.path());
    command.env("SHELLGATE_TOKEN", "t0").args(["new", "work"]);
    let (status, said, error) = told(run(command, "echo ~.\nexit\n").await);
    assert_eq!((status, said.as_str()), (42, "echo ~.\nexit\n\u{4}"), "{error}");
    assert_eq!(gateway.state().program, b"echo ~.\nexit\n\x04");
    gateway.faultless();
}

#[tokio::test]
async fn a_lost_connection_is_255_and_a_signal_is_128_and_its_number() {
    let gateway = Gateway::start().await;
    gateway.plays([Play::CloseAtOnce(4409, "ada drives on her laptop")]);
    let (status, _, error) = says(&gateway, &["attach", "work"]).await;
    assert_eq!(status, 255);
    assert!(error.contains("ada drives") && error.contains("--takeover"), "{error}");

    let gateway = Gateway::start().await;
    let reason = shellgate_protocol::client_leg::EndReason::Idle;
    let signal = Some("HUP".to_owned());
    gateway.ends(shellgate_protocol::client_leg::ExitStatus {
        code: None,
        signal,
        reason,
        detail: None,
    });
    let id = gateway.state().id.to_string();
    let (status, _, error) = says(&gateway, &["attach", &id]).await;
    assert_eq!(status, 129);
    assert!(error.contains("nobody worked in it"), "{error}");
}

/// Ends the session as one whose program is not there, for this reason.
pub fn misses_its_program(gateway: &Gateway, why: &str) {
    let reason = shellgate_protocol::client_leg::EndReason::Exited;
    let (code, detail) = (Some(127), Some(why.to_owned()));
    gateway.ends(shellgate_protocol::client_leg::ExitStatus { code, signal: None, reason, detail });
}

#[tokio::test]
async fn who_comes_after_the_end_learns_why_a_program_was_missing() {
    let gateway = Gateway::start().await;
    let why = "nonsense cannot be started";
    misses_its_program(&gateway, why);
    let (status, _, error) = says(&gateway, &["attach", "work"]).await;
    assert_eq!((status, error.matches(why).count()), (127, 1), "{error}");
    let (_, shown, _) = says(&gateway, &["show", "work"]).await;
    assert!(shown.contains(&format!("because       {why}")), "{shown}");
}

#[tokio::test]
async fn attaching_makes_a_session_only_when_asked_to() {
    let gateway = Gateway::start().await;
    gateway.exits(0);
    let makes = |gateway: &Gateway| {
        let state = gateway.state();
        let made = state.requests.iter().find(|(method, _, _)| method == "POST");
        made.map(|(_, _, body)| body.clone())
    };
    assert_eq!(says(&gateway, &["attach", "build"]).await.0, 255);
    assert_eq!(makes(&gateway), None);
    assert_eq!(says(&gateway, &["attach", "build", "--create"]).await.0, 0);
    assert_eq!(makes(&gateway).as_deref(), Some(r#"{"name":"build"}"#));
}

#[tokio::test]
async fn who_wants_the_name_of_a_session_that_is_being_stopped_waits_for_it() {
    let gateway = Gateway::start().await;
    gateway.exits(5);
    gateway.state().stopping = 1;
    let (status, _, error) = says(&gateway, &["attach", "work", "--create"]).await;
    assert_eq!(status, 5, "{error}");
    assert!(error.contains("is being stopped; waiting"), "{error}");
    let state = gateway.state();
    assert_eq!(state.requests.iter().filter(|(method, _, _)| method == "POST").count(), 2);
}

#[tokio::test]
async fn a_long_history_is_not_asked_for() {
    let gateway = Gateway::start().await;
    let id = gateway.state().id.to_string();
    let work = json!({ "id": id, "name": "work", "template": "default", "state": "live",
                       "launch": 1, "created_at": "2026-01-02T03:00:00Z", "mode": "terminal" });
    let live = json!({ "sessions": [work] });
    let nobody = json!({ "sessions": [] });
    let history = json!({ "sessions": [], "next": id });
    let answers = [
        ("/v1/sessions?limit=200&state=live", 200, live),
        ("/v1/sessions?limit=200&state", 200, nobody),
        ("/v1/sessions?limit=200", 200, history),
    ];
    gateway.state().answers.extend(answers);
    let (status, listed, error) = says(&gateway, &["ls"]).await;
    assert!(status == 0 && listed.matches("work").count() == 1, "{listed}{error}");
    let (status, shown, error) = says(&gateway, &["show", "work"]).await;
    assert!(status == 0 && shown.contains(&id), "{error}");
    let state = gateway.state();
    assert!(!state.requests.iter().any(|(_, path, _)| path.contains("after")));
}

#[tokio::test]
async fn an_end_that_was_missed_is_asked_for() {
    let gateway = Gateway::start().await;
    gateway.plays([Play::CloseAtOnce(4410, "")]);
    gateway.exits(7);
    let id = gateway.state().id.to_string();
    assert_eq!(says(&gateway, &["attach", &id]).await.0, 7);
}
