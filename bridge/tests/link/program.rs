//! What runs: its environment, its lines, its signals, its terminal, its end.

use shellgate_protocol::client_leg::{EndReason, GapReason, Mode, Resume, Signal};
use shellgate_protocol::enrolment::Opaque;
use shellgate_protocol::link_leg::{LogSource, Program, Secret};
use shellgate_protocol::{FromBridge, Kind, TerminalSize, ToBridge};

use crate::gateway::{Client, Gateway, Heard, at, script};

#[tokio::test]
async fn it_gets_its_secrets_and_its_motd_and_nothing_of_the_bridges_environment() {
    let program =
        Program { motd: Some("no network here".into()), ..script("env; cat secrets/key") };
    let mut gateway = Gateway::start(program);
    let value = Opaque(b"s3cret".to_vec());
    gateway.secrets = vec![Secret { name: "key".into(), value, env: Some("API_KEY".into()) }];
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    while client.exit.is_none() {
        client.takes(&mut link, opened).await;
    }
    let text = String::from_utf8(client.output).unwrap();
    assert!(text.starts_with("no network here\r\n"), "{text}");
    assert!(text.ends_with("s3cret"), "{text}");
    assert!(text.contains("API_KEY=s3cret\r\n") && text.contains("TERM=xterm-256color\r\n"));
    let ours: Vec<_> = text.lines().filter(|line| line.starts_with("SHELLGATE_")).collect();
    assert_eq!(ours, [format!("SHELLGATE_SESSION={}", gateway.session)]);
}

#[tokio::test]
async fn a_replaced_secret_stays_beside_the_new_one_for_its_overlap_over_a_new_link() {
    let text = "shows() { cat secrets/*; echo; }; \
                until grep -q two secrets/key; do sleep 0.01; done; shows; \
                until grep -q three secrets/key; do sleep 0.01; done; shows; \
                while [ -e secrets/key.previous ]; do sleep 0.01; done; shows";
    let mut gateway = Gateway::start(script(text));
    let key = |value: &str| Secret {
        name: "key".into(),
        value: Opaque(value.as_bytes().to_vec()),
        env: None,
    };
    (gateway.secrets, gateway.overlap_ms) = (vec![key("one.")], 3_600_000);
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    let newer = ToBridge::Secrets { secrets: vec![key("two.")], overlap_ms: 3_600_000 };
    link.says(&newer).await;
    client.sees(&mut link, opened, "two.one.\r\n").await;
    drop(link);
    // A version that came while there was no link, and an overlap that ends.
    (gateway.secrets, gateway.overlap_ms) = (vec![key("three.")], 1_000);
    let mut link = gateway.linked().await;
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "three.two.\r\n").await;
    client.sees(&mut link, opened, "three.two.\r\nthree.\r\n").await;
}

#[tokio::test]
async fn a_program_by_lines_answers_and_its_stderr_goes_to_the_log_and_into_its_end() {
    let text = "while read line; do echo \"{$line}\"; echo \"heard $line\" >&2; done; exit 3";
    let gateway = Gateway::start(Program { mode: Mode::Lines, ..script(text) });
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.types(&mut link, opened, 0, b"one\ntwo\n").await;
    client.sees(&mut link, opened, "{one}\n{two}\n").await;
    let heard = |message: &FromBridge| matches!(message, FromBridge::Log { source: LogSource::Program, text } if text == "heard two");
    while !client.told.iter().any(heard) {
        client.takes(&mut link, opened).await;
    }
    link.stops().await;
    while client.exit.is_none() {
        client.takes(&mut link, opened).await;
    }
    let exit = client.exit.unwrap();
    assert_eq!(
        (exit.reason, exit.detail.as_deref()),
        (EndReason::Stopped, Some("heard one\nheard two"))
    );
}

#[tokio::test]
async fn a_flood_of_errors_holds_up_neither_input_nor_output() {
    let text = "tr '\\0' x </dev/zero >&2 & while read line; do echo \"{$line}\"; done";
    let gateway = Gateway::start(Program { mode: Mode::Lines, ..script(text) });
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    let flows = |message: &FromBridge| {
        matches!(message, FromBridge::Log { source: LogSource::Program, .. })
    };
    while !client.told.iter().any(flows) {
        client.takes(&mut link, opened).await;
    }
    for (from, line) in [(0, "one\n"), (4, "two\n"), (8, "six\n")] {
        client.types(&mut link, opened, from, line.as_bytes()).await;
        client.sees(&mut link, opened, &format!("{{{}}}\n", line.trim_end())).await;
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_says_so_and_ends_as_a_shell_would() {
    let mut program = script("");
    program.command = vec!["no-such-program".into()];
    let gateway = Gateway::start(program);
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "no-such-program cannot be started").await;
    while client.exit.is_none() {
        client.takes(&mut link, opened).await;
    }
    assert_eq!(client.exit.unwrap().code, Some(127));
}

#[tokio::test]
async fn a_signal_reaches_the_foreground_job_once_and_is_answered_each_time() {
    // Not in the shell's own language: a signal between a shell's commands may be its child's alone.
    let text = "exec perl -e '$| = 1; $SIG{INT} = sub { print \"caught \", ++$n, \"\\n\" }; \
                print \"ready\\n\"; sleep 1 while 1'";
    let gateway = Gateway::start(script(text));
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "ready").await;
    let signal = |id| ToBridge::Signal { channel: opened.channel, id, name: Signal::Int };
    for id in [1, 1, 1] {
        link.says(&signal(id)).await;
    }
    client.sees(&mut link, opened, "caught 1").await;
    link.says(&signal(2)).await;
    client.sees(&mut link, opened, "caught 2").await;
    let answers = |message: &&FromBridge| matches!(message, FromBridge::Notice { .. });
    while client.told.iter().filter(answers).count() < 4 {
        client.takes(&mut link, opened).await;
    }
    assert!(!String::from_utf8_lossy(&client.output).contains("caught 3"));
}

#[tokio::test]
async fn nothing_that_it_started_outlives_it() {
    // It ends once its child has said who it is, in a session of its own.
    let text = "trap '' HUP TERM; mkfifo said; \
                (setsid sh -c 'echo child $$; : >said; exec sleep 3210' & wait) & \
                read -r _ <said; exit 0";
    let gateway = Gateway::start(script(text));
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    while client.exit.is_none() {
        client.takes(&mut link, opened).await;
    }
    let text = String::from_utf8(client.output).unwrap();
    let child = text.split("child ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{child}/stat")).exists(), "{child} lives");
}

#[tokio::test]
async fn as_pid_1_the_bridge_survives_whatever_its_program_sends_to_everybody() {
    let text = "echo pid $$ parent $PPID; (setsid sleep 3210 &); trap '' TERM; kill -TERM -1; \
                kill -STOP 1; kill -KILL 1; cat /proc/1/environ; echo still here; kill -KILL -1; exit 4";
    let mut gateway = Gateway::start_as_pid_1(script(text));
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "still here").await;
    while client.exit.is_none() {
        client.takes(&mut link, opened).await;
    }
    let text = String::from_utf8_lossy(&client.output);
    assert!(
        text.contains("parent 1") && text.contains("/proc/1/environ: Permission denied"),
        "{text}"
    );
    assert!(!text.contains("burn-after-reading"));
    // `kill -1` spares the process that says it, so the script came to its end.
    assert_eq!(client.exit.as_ref().unwrap().code, Some(4));
    link.stops().await;
    assert_eq!(gateway.sees_the_bridge_leave().await.code(), Some(0));
}

#[tokio::test]
async fn a_stop_is_asked_for_and_then_enforced() {
    let mut gateway =
        Gateway::start(script("trap '' HUP TERM; echo deaf; while :; do sleep 1; done"));
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "deaf").await;
    link.stops().await;
    while client.exit.is_none() {
        client.takes(&mut link, opened).await;
    }
    let exit = client.exit.clone().unwrap();
    assert_eq!((exit.signal.as_deref(), exit.reason), (Some("KILL"), EndReason::Stopped));
    assert_eq!(gateway.sees_the_bridge_leave().await.code(), Some(0));
}

#[tokio::test]
async fn a_drivers_size_is_the_terminals_and_an_observers_is_not() {
    let text = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let gateway = Gateway::start(script(text));
    let mut link = gateway.linked().await;
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    client.sees(&mut link, opened, "ready").await;
    let watching = link.opens(2, &Client::observer()).await;
    let size = |cols, rows| TerminalSize::new(cols, rows).unwrap();
    link.says(&ToBridge::Resize { channel: watching.channel, size: size(33, 11) }).await;
    link.says(&ToBridge::Resize { channel: opened.channel, size: size(101, 41) }).await;
    client.sees(&mut link, opened, "41 101").await;
    assert!(!String::from_utf8_lossy(&client.output).contains("11 33"));
    let told =
        |message: &FromBridge| matches!(message, FromBridge::Size { cols: 101, rows: 41, .. });
    assert!(client.told.iter().any(told));
}

#[tokio::test]
async fn queries_printed_while_nobody_is_there_are_answered_by_the_bridge() {
    let text = "stty raw -echo; printf '\\033[6n'; IFS= read -r -d R answer; stty sane; \
                printf 'got %q\\n' \"$answer\"; sleep 1000";
    let gateway = Gateway::start(script(text));
    let mut link = gateway.linked().await;
    let mut watcher = Client::observer();
    let watching = link.opens(1, &watcher).await;
    watcher.sees(&mut link, watching, "got $'\\E[1;1'").await;
    // Who comes later is not to answer again: those bytes are a replay.
    assert!(watcher.replayed > 0 || watcher.output.starts_with(b"\x1b[6n"));
    let mut client = Client::driver();
    let opened = link.opens(2, &client).await;
    client.sees(&mut link, opened, "\x1b[6n").await;
    assert!(client.replayed >= 4);
}

#[tokio::test]
async fn a_client_without_an_offset_gets_the_screen() {
    let gateway = Gateway::start(script("printf 'on the screen'; sleep 1000"));
    let mut link = gateway.linked().await;
    let mut watcher = Client::observer();
    let watching = link.opens(1, &watcher).await;
    watcher.sees(&mut link, watching, "on the screen").await;
    let newcomer = Client { wants_the_screen: true, ..Client::driver() };
    let opened = link.opens(2, &newcomer).await;
    assert_eq!((opened.from, opened.resume), (at(13), Resume::Keyframe));
    loop {
        if let Heard::Frame(channel, frame) = link.hears().await
            && channel == opened.channel
        {
            assert_eq!((frame.kind, frame.offset), (Kind::Keyframe, at(13)));
            assert!(String::from_utf8_lossy(&frame.payload).contains("on the screen"));
            break;
        }
    }
}

#[tokio::test]
async fn what_was_printed_beyond_ring_and_spill_is_announced_as_a_gap() {
    // 90 MB with nobody there: 8 MiB and 64 MiB of it are kept.
    let gateway =
        Gateway::start(script("yes 0123456789abcdef | head -c 85000000; echo the end; sleep 1000"));
    let mut link = gateway.linked().await;
    loop {
        if let Heard::Control(FromBridge::Stats(stats)) = link.hears().await
            && stats.output > at(90_000_000)
        {
            break;
        }
    }
    let mut client = Client::driver();
    let opened = link.opens(1, &client).await;
    assert_eq!(opened.resume, Resume::Keyframe);
    let gap = loop {
        if let FromBridge::Gap { from, to, why, .. } = link.control().await {
            assert_eq!((from, why), (at(0), GapReason::Lost));
            break to;
        }
    };
    assert_eq!(gap, opened.from);
    client.begins = gap;
    client.lets_keyframes_pass = true;
    client.sees_at_the_end(&mut link, opened, "the end\r\n").await;
    assert!(client.output.len() >= 72 << 20 && client.output.len() <= 73 << 20);
    let whole: Vec<u8> = b"0123456789abcdef\r\n".repeat(2);
    let phase = (gap.get() % 18) as usize;
    assert!(
        client.output[..1 << 20].iter().enumerate().all(|(n, b)| *b == whole[(phase + n) % 18])
    );
}
