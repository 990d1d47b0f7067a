//! Input that is given up, and ends that nobody saw.

use super::*;

#[test]
fn who_has_typed_and_comes_back_after_the_end_learns_how_it_ended() {
    let mut client = standing();
    client.type_in(b"exit\r");
    client.next_message(0);
    let applied = Frame { kind: Kind::Applied, offset: at(5), payload: Bytes::new() };
    client.binary(applied.to_bytes(), 0);
    closes(&mut client, 4502, 0);
    waits(&mut client);
    client.type_in(b"more");
    client.tick(0);
    client.opened(0);
    client.next_message(0);
    tells(&mut client, &attached(1, 0, Resume::Ended, 0), 0);
    assert!(matches!(client.next_event(0), Some(Event::Attached(_))));
    tells(&mut client, &ToClient::Exit { at: at(0), status: exit_status() }, 0);
    assert!(matches!(client.next_event(0), Some(Event::Exit { .. })));
    closes(&mut client, 4410, 0);
    let Some(Event::Closed(closed)) = client.next_event(0) else { panic!() };
    assert_eq!((closed.why, closed.undelivered), (Why::Exited, 4));
}

#[test]
fn an_end_that_nobody_saw_is_wherever_the_gateway_says() {
    for said_at in [0, 5, 30] {
        let mut client = standing();
        let frame = Frame { kind: Kind::Data, offset: at(0), payload: bytes(0, 10).into() };
        client.binary(frame.to_bytes(), 0);
        client.next_event(0);
        closes(&mut client, 4502, 0);
        waits(&mut client);
        client.tick(0);
        client.opened(0);
        client.next_message(0);
        tells(&mut client, &attached(1, 0, Resume::Ended, 0), 0);
        tells(&mut client, &ToClient::Exit { at: at(said_at), status: exit_status() }, 0);
        client.next_event(0);
        assert!(matches!(client.next_event(0), Some(Event::Exit { .. })), "{said_at}");
    }
}

#[test]
fn what_is_wrong_with_an_ended_session_is_not_come_back_to() {
    let mut client = opened();
    tells(&mut client, &attached(1, 0, Resume::Ended, 0), 0);
    client.next_event(0);
    let frame = Frame { kind: Kind::Data, offset: at(9), payload: bytes(9, 1).into() };
    client.binary(frame.to_bytes(), 0);
    let Some(Event::Closed(closed)) = client.next_event(0) else { panic!() };
    assert_eq!(closed.why, Why::Broken);
}

#[test]
fn a_stream_that_was_forgotten_is_given_up_for_another_one_once() {
    let forgotten = |client: &mut Connection| {
        let reason = shellgate_protocol::close::STREAM_FORGOTTEN.to_owned();
        client.broke(Break::Closed { code: 4400, reason }, 0);
    };
    let attaches = |client: &mut Connection| {
        client.tick(30_000);
        client.opened(0);
        let Some(Outgoing::Text(text)) = client.next_message(0) else { panic!() };
        let FromClient::Attach(attach) = serde_json::from_str(&text).unwrap() else { panic!() };
        attach
    };
    let mut client = standing();
    client.type_in(b"lost");
    for _ in 0..3 {
        closes(&mut client, 4502, 0);
        waits(&mut client);
        client.tick(30_000);
        client.opened(0);
    }
    forgotten(&mut client);
    assert_eq!(waits(&mut client), 0);
    let attach = attaches(&mut client);
    assert_ne!(attach.input_stream, options().input_stream);
    assert_eq!((attach.launch, attach.output), (Some(Launch(1)), Some(Offset::ZERO)));
    tells(&mut client, &attached(1, 0, Resume::Exact, 0), 0);
    let Some(Event::Attached(attached)) = client.next_event(0) else { panic!() };
    assert_eq!((attached.dropped_input, attached.new_launch), (4, false));

    forgotten(&mut client);
    waits(&mut client);
    attaches(&mut client);
    forgotten(&mut client);
    let Some(Event::Closed(closed)) = client.next_event(0) else { panic!() };
    assert_eq!(closed.why, Why::Stopped);
}

#[test]
fn what_was_not_applied_at_a_takeover_is_counted() {
    let mut client = standing();
    client.type_in(b"abc");
    client.next_message(0);
    tells(&mut client, &ToClient::Notice { notice: Notice::TakenOver { applied: at(1) } }, 0);
    client.next_event(0);
    closes(&mut client, 4409, 0);
    let Some(Event::Closed(closed)) = client.next_event(0) else { panic!() };
    assert_eq!(closed.undelivered, 2);
}
