//! The core's rules, one at a time; what a gateway may do to it in general stands in `honest` and
//! `hostile`.

mod given_up;
mod honest;
mod hostile;

use ::bytes::Bytes;
use shellgate_protocol::client_leg::{
    EndReason, ExitStatus, InputStart, Limits, Mode, Notice, OutputStart, Phase, Resume, Signal,
};
use shellgate_protocol::{
    ClientId, Frame, FromClient, InputStream, Kind, Launch, SessionId, ToClient,
};

use super::outgoing::ack;
use super::*;

fn at(offset: u64) -> Offset {
    Offset::new(offset).unwrap()
}

/// The n-th byte of the program's output, or of what is typed.
fn byte(n: u64) -> u8 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(byte).collect()
}

fn options() -> AttachOptions {
    AttachOptions {
        client: ClientId::from_bits(1),
        input_stream: InputStream::from_bits(2),
        output: Some(Offset::ZERO),
        window: WINDOW_MIN,
        ..AttachOptions::default()
    }
}

fn attached(launch: u32, from: u64, resume: Resume, applied: u64) -> ToClient {
    ToClient::Attached {
        session: SessionId::generate(),
        launch: Launch(launch),
        mode: Mode::Terminal,
        role: Role::Driver,
        output: OutputStart { from: at(from), resume },
        input: InputStart { applied: at(applied) },
        size: TerminalSize::DEFAULT,
        limits: Limits::with_window(WINDOW_MIN),
        can: vec![],
    }
}

fn exit_status() -> ExitStatus {
    ExitStatus { code: Some(0), signal: None, reason: EndReason::Exited, detail: None }
}
/// A client with a socket that has said its `attach`.
fn opened() -> Connection {
    let mut client = Connection::new(options(), 1, 0);
    client.opened(0);
    assert!(matches!(client.next_message(0), Some(Outgoing::Text(_))));
    client
}

fn tells(client: &mut Connection, message: &ToClient, now: u64) {
    client.text(&serde_json::to_string(message).unwrap(), now);
}

fn standing() -> Connection {
    let mut client = opened();
    tells(&mut client, &attached(1, 0, Resume::Exact, 0), 0);
    assert!(matches!(client.next_event(0), Some(Event::Attached(_))));
    client
}

fn closes(client: &mut Connection, code: u16, now: u64) {
    client.broke(Break::Closed { code, reason: String::new() }, now);
}

/// Pauses announced by the next event.
fn waits(client: &mut Connection) -> u64 {
    match client.next_event(0) {
        Some(Event::Reconnecting { wait_ms, .. }) => wait_ms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn input_waits_for_attached() {
    let mut client = opened();
    client.type_in(b"early").unwrap();
    assert_eq!(client.next_message(0), None);
    let starting =
        ToClient::Starting { phase: Phase::Task, position: None, elapsed_ms: 1, expected_ms: 2 };
    tells(&mut client, &starting, 0);
    assert_eq!(client.next_message(0), None);
    tells(&mut client, &attached(1, 0, Resume::Exact, 0), 0);
    assert!(matches!(client.next_message(0), Some(Outgoing::Binary(_))));
}

#[test]
fn every_code_that_says_stop_stops() {
    for code in CloseCode::ALL.into_iter().filter(|code| code.then() == Then::Stop) {
        let mut client = standing();
        closes(&mut client, code.number(), 0);
        assert_eq!(client.want(), Want::Nothing, "{code:?}");
        let Some(Event::Closed(closed)) = client.next_event(0) else { panic!("{code:?}") };
        assert_eq!((closed.code(), closed.why), (Some(code), Why::Stopped));
        assert_eq!(client.next_event(0), None);
        assert_eq!(client.type_in(b"x"), None);
    }
}

#[test]
fn codes_that_say_retry_come_back_at_once_and_then_back_off() {
    for code in [4500, 4502, 4504, 4999] {
        let mut client = standing();
        closes(&mut client, code, 0);
        assert_eq!(waits(&mut client), 0, "{code}");
        let mut pauses = 0;
        for _ in 0..20 {
            client.tick(1_000_000_000);
            assert_eq!(client.want(), Want::Dial { renew: false });
            client.failed(DialFailure::Unreachable("refused".into()), 0);
            let pause = waits(&mut client);
            assert!(pause <= 30_000);
            pauses += pause;
        }
        assert!(pauses > 30_000, "twenty pauses made {pauses} ms");
    }
}

#[test]
fn an_overloaded_gateway_is_not_asked_again_at_once() {
    let pauses: u64 = (0..50)
        .map(|seed| {
            let mut client = Connection::new(options(), seed, 0);
            client.opened(0);
            closes(&mut client, 1013, 0);
            waits(&mut client)
        })
        .sum();
    assert!((50 * 100..50 * 400).contains(&pauses), "{pauses}");
}

#[test]
fn retry_after_is_respected() {
    let mut client = Connection::new(options(), 1, 0);
    let refused =
        DialFailure::Refused { status: 503, detail: "full".into(), retry_after_ms: Some(9000) };
    client.failed(refused, 0);
    assert!(waits(&mut client) >= 9000);
}

#[test]
fn a_token_is_renewed_once_between_two_attached() {
    let mut client = standing();
    closes(&mut client, 4401, 0);
    waits(&mut client);
    client.tick(0);
    assert_eq!(client.want(), Want::Dial { renew: true });
    client.opened(0);
    client.next_message(0);
    tells(&mut client, &attached(1, 0, Resume::Exact, 0), 0);
    client.next_event(0);
    closes(&mut client, 4401, 0);
    waits(&mut client);
    client.tick(30_000);
    assert_eq!(client.want(), Want::Dial { renew: true });
    client.opened(30_000);
    closes(&mut client, 4401, 30_000);
    let Some(Event::Closed(closed)) = client.next_event(0) else { panic!() };
    assert_eq!(closed.why, Why::Unauthenticated);
}

#[test]
fn a_takeover_is_asked_for_once() {
    let mut client = Connection::new(AttachOptions { takeover: true, ..options() }, 1, 0);
    let asks = |client: &mut Connection| {
        client.tick(0);
        client.opened(0);
        let Some(Outgoing::Text(text)) = client.next_message(0) else { panic!() };
        let FromClient::Attach(attach) = serde_json::from_str(&text).unwrap() else { panic!() };
        closes(client, 4502, 0);
        attach.takeover
    };
    assert!(asks(&mut client));
    assert!(!asks(&mut client));
}

#[test]
fn a_goaway_is_obeyed_in_its_time_and_the_old_socket_used_until_then() {
    let mut client = standing();
    tells(&mut client, &ToClient::Goaway { retry_ms: 300 }, 0);
    client.tick(299);
    client.type_in(b"x");
    assert!(client.next_message(299).is_some());
    client.tick(300);
    assert_eq!(client.want(), Want::HangUp(CloseCode::Normal));
    client.hung_up(300);
    client.tick(300);
    assert_eq!(client.want(), Want::Dial { renew: false });

    let mut client = standing();
    tells(&mut client, &ToClient::Goaway { retry_ms: 300 }, 0);
    closes(&mut client, 1001, 100);
    assert_eq!(waits(&mut client), 200);
}

#[test]
fn silence_is_death_unless_the_caller_does_not_let_it_listen() {
    let mut client = standing();
    client.tick(59_999);
    assert_eq!(client.want(), Want::Talk);
    client.tick(60_000);
    assert_eq!(client.want(), Want::HangUp(CloseCode::GoingAway));

    let mut client = standing();
    client.listening(false, 10);
    client.tick(600_000);
    assert_eq!(client.want(), Want::Talk);
    client.listening(true, 600_000);
    client.tick(659_999);
    assert_eq!(client.want(), Want::Talk);
}

#[test]
fn a_gateway_that_takes_back_applied_input_is_not_come_back_to() {
    let mut client = standing();
    client.type_in(b"abc");
    client.next_message(0);
    let applied = Frame { kind: Kind::Applied, offset: at(3), payload: Bytes::new() };
    client.binary(applied.to_bytes(), 0);
    closes(&mut client, 4502, 0);
    client.tick(0);
    client.opened(0);
    client.next_message(0);
    tells(&mut client, &attached(1, 0, Resume::Exact, 1), 0);
    waits(&mut client);
    let Some(Event::Closed(closed)) = client.next_event(0) else { panic!() };
    assert_eq!(closed.why, Why::Broken);
    assert_eq!(client.want(), Want::HangUp(CloseCode::BadRequest));
}

#[test]
fn a_hole_is_mended_by_coming_back_with_the_own_offset() {
    let mut client = standing();
    let frame = |from, len| {
        let payload = bytes(from, len).into();
        Frame { kind: Kind::Data, offset: at(from), payload }.to_bytes()
    };
    client.binary(frame(0, 10), 0);
    client.binary(frame(11, 10), 0);
    assert_eq!(client.want(), Want::HangUp(CloseCode::BadRequest));
    client.hung_up(0);
    client.tick(500);
    client.opened(500);
    let Some(Outgoing::Text(text)) = client.next_message(500) else { panic!() };
    assert!(text.contains(r#""launch":1,"output":10,"#), "{text}");
}

#[test]
fn requests_are_repeated_until_answered() {
    let mut client = standing();
    let signal = client.signal(Signal::Int).unwrap();
    let extend = client.extend().unwrap();
    let sent = |client: &mut Connection| {
        std::iter::from_fn(|| client.next_message(0))
            .map(|message| match message {
                Outgoing::Text(text) => serde_json::from_str::<FromClient>(&text).unwrap(),
                Outgoing::Binary(_) => panic!("no bytes are due"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(&mut client).len(), 2);
    tells(&mut client, &ToClient::Notice { notice: Notice::Signalled { id: signal } }, 0);
    closes(&mut client, 4502, 0);
    client.tick(0);
    client.opened(0);
    client.next_message(0);
    tells(&mut client, &attached(1, 0, Resume::Exact, 0), 0);
    assert_eq!(sent(&mut client), [FromClient::Extend { id: extend }]);
}

#[test]
fn a_dragged_window_edge_is_told_a_few_times() {
    let mut client = standing();
    let mut told = 0;
    for now in 1000..2000u64 {
        client.resize(TerminalSize::new((now % 900) as u16 + 1, 24).unwrap());
        told += std::iter::from_fn(|| client.next_message(now)).count();
    }
    assert!((20..=26).contains(&told), "{told}");
}

#[test]
fn patience_ends() {
    let patience = Some(std::time::Duration::from_secs(5));
    let mut client = Connection::new(AttachOptions { patience, ..options() }, 1, 0);
    client.failed(DialFailure::Unreachable("refused".into()), 10);
    client.tick(4_000);
    assert_ne!(client.want(), Want::Nothing);
    client.tick(5_000);
    assert_eq!(client.want(), Want::Nothing);
    waits(&mut client);
    let Some(Event::Closed(closed)) = client.next_event(0) else { panic!() };
    assert_eq!(closed.why, Why::OutOfPatience);
    assert!(matches!(closed.last, Some(Break::Unreachable(_))));
}

#[test]
fn what_the_caller_has_not_consumed_is_not_acknowledged() {
    let mut client = standing();
    let payload: Bytes = bytes(0, 60_000).into();
    let frame = Frame { kind: Kind::Data, offset: Offset::ZERO, payload };
    client.binary(frame.to_bytes(), 0);
    assert_eq!(client.next_message(5000), None);
    assert!(matches!(client.next_event(5000), Some(Event::Output { .. })));
    assert_eq!(client.next_message(9000), None, "the caller still holds it");
    assert_eq!(client.next_event(9000), None);
    assert_eq!(client.next_message(9000), Some(ack(at(60_000))));
}

#[test]
fn leaving_after_the_end_still_acknowledges_it() {
    let mut client = standing();
    tells(&mut client, &ToClient::Exit { at: Offset::ZERO, status: exit_status() }, 0);
    assert!(matches!(client.next_event(0), Some(Event::Exit { .. })));
    client.leave(0);
    assert_eq!(client.want(), Want::HangUp(CloseCode::Normal));
    assert_eq!(client.next_message(0), Some(ack(Offset::ZERO)));
}

#[test]
fn a_token_that_cannot_be_got_for_now_is_asked_for_again() {
    let mut client = opened();
    closes(&mut client, 4401, 0);
    waits(&mut client);
    client.tick(0);
    let fails = |client: &mut Connection, passes, now| {
        client.failed(DialFailure::NoToken { why: "nobody there".into(), passes }, now);
        client.next_event(now)
    };
    let Some(Event::Reconnecting { wait_ms, why, .. }) = fails(&mut client, true, 0) else {
        panic!("{:?}", client.want())
    };
    assert_eq!(why, Break::NoToken("nobody there".into()));
    client.tick(wait_ms);
    assert_eq!(client.want(), Want::Dial { renew: true }, "the old one is still refused");
    let Some(Event::Closed(closed)) = fails(&mut client, false, wait_ms) else { panic!() };
    assert_eq!(closed.why, Why::Unauthenticated);
}

#[test]
fn a_token_that_is_gone_is_not_blamed_on_an_older_break() {
    let mut client = standing();
    closes(&mut client, 4502, 0);
    waits(&mut client);
    client.tick(0);
    client.failed(DialFailure::NoToken { why: "its file is gone".into(), passes: false }, 0);
    let Some(Event::Closed(closed)) = client.next_event(0) else { panic!() };
    assert_eq!(closed.last.unwrap().to_string(), "its file is gone");
}

#[test]
fn no_refusal_keeps_a_client_away_for_ever() {
    let mut client = Connection::new(options(), 1, 5);
    let retry_after_ms = Some(u64::MAX);
    client.failed(DialFailure::Refused { status: 503, detail: String::new(), retry_after_ms }, 5);
    assert_eq!(waits(&mut client), RETRY_AFTER_LONGEST_MILLIS);
}

/// Fails dials until a pause is long, and says how long and until when.
fn rests_long(client: &mut Connection, retry_after_ms: Option<u64>) -> (u64, u64) {
    let mut now = 0;
    loop {
        let refused = DialFailure::Refused { status: 503, detail: String::new(), retry_after_ms };
        client.failed(refused, now);
        let wait = waits(client);
        if wait > 4000 {
            return (now, now + wait);
        }
        now += wait;
        client.tick(now);
    }
}

#[test]
fn who_is_impatient_has_it_dialled_at_once_and_a_key_that_repeats_does_not() {
    let mut client = Connection::new(options(), 1, 0);
    let (failed, until) = rests_long(&mut client, None);
    client.retry_now(failed + 10);
    assert_eq!(waits(&mut client), BETWEEN_DIALS_MILLIS - 10, "it was dialled just now");
    client.retry_now(failed + 20);
    assert!(client.next_event(0).is_none(), "once is enough");
    client.tick(failed + BETWEEN_DIALS_MILLIS);
    assert_eq!(client.want(), Want::Dial { renew: false });
    assert!(failed + BETWEEN_DIALS_MILLIS < until);

    let mut client = standing();
    client.retry_now(7);
    assert_eq!((client.want(), client.next_event(0)), (Want::Talk, None));
}

#[test]
fn no_impatience_shortens_what_a_gateway_asked_for() {
    let mut client = Connection::new(options(), 1, 0);
    let (failed, until) = rests_long(&mut client, Some(5000));
    client.retry_now(failed + 1);
    assert_eq!((until, client.next_event(0)), (failed + 5000, None));
    client.tick(until - 1);
    assert_eq!(client.want(), Want::Rest);
}

/// The sum of the pauses after ten connections, each of which ends soon after it stood.
fn pauses(ends: impl Fn(&mut Connection, u64)) -> u64 {
    let mut client = Connection::new(options(), 1, 0);
    let mut now = 0;
    for _ in 0..10 {
        client.tick(now);
        client.opened(now);
        client.next_message(now);
        tells(&mut client, &attached(1, 0, Resume::Exact, 0), now);
        ends(&mut client, now);
        client.tick(now);
        client.hung_up(now);
        let mut pause = 0;
        while let Some(event) = client.next_event(now) {
            if let Event::Reconnecting { wait_ms, .. } = event {
                pause = wait_ms;
            }
        }
        now += pause;
    }
    now
}

#[test]
fn a_gateway_that_only_sends_away_is_not_dialled_without_a_pause() {
    let goaway = ToClient::Goaway { retry_ms: 0 };
    assert!(pauses(|client, now| tells(client, &goaway, now)) > 5_000);
    assert!(
        pauses(|client, now| {
            tells(client, &goaway, now);
            closes(client, 1001, now);
        }) > 5_000
    );
}

#[test]
fn output_that_was_known_makes_up_for_no_break() {
    let payload = Bytes::from_static(b"again");
    let again = Frame { kind: Kind::Data, offset: Offset::ZERO, payload };
    assert!(
        pauses(|client, now| {
            client.binary(again.to_bytes(), now);
            closes(client, 4502, now);
        }) > 5_000
    );
}

#[test]
fn news_of_input_may_follow_the_end_and_the_end_is_acknowledged() {
    let mut client = standing();
    client.type_in(b"exit\n");
    client.next_message(0);
    let exit = ToClient::Exit { at: Offset::ZERO, status: exit_status() };
    tells(&mut client, &exit, 0);
    let applied = Frame { kind: Kind::Applied, offset: at(5), payload: Bytes::new() };
    client.binary(applied.to_bytes(), 0);
    assert!(matches!(client.next_event(0), Some(Event::Exit { .. })));
    assert_eq!(client.next_event(0), None);
    assert_eq!(client.next_message(0), Some(ack(Offset::ZERO)));
    assert_eq!(client.want(), Want::Talk);
}

#[test]
fn a_takeover_says_what_was_applied_before_the_rest_is_dropped() {
    let mut client = standing();
    client.type_in(b"abcdef");
    client.next_message(0);
    let notice = Notice::TakenOver { applied: at(4) };
    tells(&mut client, &ToClient::Notice { notice: notice.clone() }, 0);
    assert_eq!(client.next_event(0), Some(Event::Notice(notice)));
    assert_eq!(client.input_position(), (at(4), at(4)));
    assert_eq!(client.input_drops(), 1);
    let applied = Frame { kind: Kind::Applied, offset: at(4), payload: Bytes::new() };
    client.binary(applied.to_bytes(), 0);
    assert_eq!(client.want(), Want::Talk);
}
