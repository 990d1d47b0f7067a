//! Clients that send what no honest client sends. Each gets a clear answer, and the session loses
//! nothing.

use std::time::Duration;

use serde_json::{Value, json};
use shellgate_protocol::client_leg::Role;
use shellgate_protocol::frame::Kind;
use shellgate_protocol::limits::{CONTROL_MAX, INPUT_FRAME_MAX, INPUT_UNAPPLIED_MAX, WINDOW_MAX};
use shellgate_protocol::{Offset, ToClient};
use shellgate_tests::raw::attach;
use shellgate_tests::{Raw, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

fn at(offset: u64) -> Offset {
    Offset::new(offset).expect("an offset")
}

#[tokio::test]
async fn what_is_no_message_of_this_protocol_is_closed_with_its_code() {
    let world = World::start().await;
    let ada = world.user("ada");
    let mut shell = ada.opens_a_shell().await;
    let session = shell.session();
    shell.types("echo $((6 * 7)) before\n").await;
    shell.shows("42 before").await;
    let away = shell.hangs_up().await;
    let text = Message::text::<String>;
    let cases: Vec<(&str, Message, u16)> = vec![
        ("no JSON", text("{".into()), 4400),
        ("no type", text("{}".into()), 4400),
        ("an unknown type", text(r#"{"type":"format_disk"}"#.into()), 4400),
        ("attached twice", text(attach(Role::Driver).to_string()), 4400),
        ("too long a message", text("x".repeat(CONTROL_MAX + INPUT_FRAME_MAX)), 1009),
        (
            "too long a control message",
            text(format!(r#"{{"type":"ping","t":1,"x":"{}"}}"#, "x".repeat(CONTROL_MAX))),
            1009,
        ),
        ("an empty frame", Message::binary(vec![]), 4400),
        ("a short frame", Message::binary(vec![0, 0, 0]), 4400),
        ("an unknown kind", Message::binary(vec![9, 0, 0, 0, 0, 0, 0, 0, 0, 1]), 4400),
        ("a kind of the gateway's", Message::binary(vec![4, 0, 0, 0, 0, 0, 0, 0, 0]), 4400),
        ("an offset beyond all", Message::binary(vec![0, 255, 0, 0, 0, 0, 0, 0, 0, 1]), 4400),
        ("a size of nothing", text(r#"{"type":"resize","cols":0,"rows":0}"#.into()), 4400),
        (
            "a size with more to it",
            text(r#"{"type":"resize","cols":8,"rows":8,"x":1}"#.into()),
            4400,
        ),
        ("an unknown signal", text(r#"{"type":"signal","id":1,"name":"SEGV"}"#.into()), 4400),
    ];
    for (what, message, code) in cases {
        let mut raw = Raw::drives(&ada, session).await;
        raw.sends(message).await;
        assert_eq!(raw.is_closed().await.0, code, "{what}");
    }
    let mut shell = away.comes_back().await;
    shell.types("echo $((6 * 7)) after\n").await;
    shell.shows("42 after").await;
    world.stop().await;
}

#[tokio::test]
async fn what_comes_before_attach_is_closed() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.opens_a_shell().await.session();
    let changed = |name: &str, value: Value| {
        let mut wants = attach(Role::Observer);
        wants[name] = value;
        Message::text(wants.to_string())
    };
    let cases = [
        ("another message", Message::text(r#"{"type":"ping","t":1}"#)),
        ("input", Message::binary(vec![0; 12])),
        ("an unknown role", changed("role", "king".into())),
        ("a client that is no id", changed("client", "me".into())),
        ("a stream that is no id", changed("input_stream", 7.into())),
        ("an offset beyond all", changed("output", (1_u64 << 53).into())),
        ("a negative window", changed("window", (-1).into())),
        ("an offset of no launch", changed("output", 1.into())),
        ("a list", Message::text(r#"["ping",1]"#)),
        ("a size as a list", changed("size", serde_json::json!([80, 24]))),
    ];
    for (what, message) in cases {
        let mut raw = Raw::knocks(&ada, session).await;
        raw.sends(message).await;
        assert_eq!(raw.is_closed().await.0, 4400, "{what}");
    }
    world.stop().await;
}

#[tokio::test]
async fn text_that_is_no_utf8_is_closed_with_1007() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let token = ada.token().0;
    let mut socket = TcpStream::connect(ada.address()).await.expect("a gateway listens");
    let request = format!(
        "GET /v1/sessions/{session}/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: shellgate.v1\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).await.expect("an answer");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    // A text message of one byte, masked with zeros.
    socket.write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).await.expect("sent");
    let mut close = [0; 4];
    shellgate_tests::within("a close", socket.read_exact(&mut close)).await.expect("a close");
    assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1007));
    world.stop().await;
}

#[tokio::test]
async fn a_body_whose_length_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_a_request()
{
    let world = World::start().await;
    let ada = world.user("ada");
    let allowed = format!("Host: x\r\nAuthorization: Bearer {}\r\n", ada.token().0);
    let cases = [
        ("a length and a coding", "1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("a coding and a length", "1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("a coding alone", "1.1", "Transfer-Encoding: chunked"),
        ("an old coding", "1.0", "Transfer-Encoding: chunked"),
        ("two codings", "1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("an unknown coding", "1.1", "Transfer-Encoding: xchunked\r\nContent-Length: 5"),
        ("a name with a space", "1.1", "Transfer-Encoding : chunked\r\nContent-Length: 5"),
        ("a folded coding", "1.1", "Content-Length: 5\r\nX: x\r\n Transfer-Encoding: chunked"),
        ("two lengths", "1.1", "Content-Length: 5\r\nContent-Length: 6"),
        ("a list of lengths", "1.1", "Content-Length: 5, 5"),
        ("a length with a sign", "1.1", "Content-Length: +5"),
    ];
    for (what, version, said) in cases {
        let request = format!(
            "POST /v1/sessions HTTP/{version}\r\n{allowed}{said}\r\n\r\n0\r\n\r\n\
             GET /v1/sessions HTTP/1.1\r\n{allowed}\r\n"
        );
        let mut socket = TcpStream::connect(ada.address()).await.expect("a gateway listens");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut answers = String::new();
        let ended = shellgate_tests::within(what, socket.read_to_string(&mut answers)).await;
        assert!(ended.is_ok(), "{what}: {ended:?}");
        assert_eq!(answers.split(' ').nth(1), Some("400"), "{what}: {answers}");
        assert_eq!(answers.matches("HTTP/1.").count(), 1, "{what}: {answers}");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_acknowledgement_of_what_was_not_sent_is_closed() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut raw = Raw::drives(&ada, session).await;
    raw.shows("$ ").await;
    raw.sends_frame(Kind::Ack, at(1_000_000), b"").await;
    assert_eq!(raw.is_closed().await.0, 4400);
    world.stop().await;
}

#[tokio::test]
async fn input_out_of_order_is_closed() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    for wrong in [1000, 5] {
        let mut raw = Raw::drives(&ada, session).await;
        raw.sends_frame(Kind::Data, at(0), b"echo $((6 * 7)) ").await;
        raw.sends_frame(Kind::Data, at(16), b"in turn\n").await;
        raw.shows("42 in turn\r\n").await;
        raw.sends_frame(Kind::Data, at(wrong), b"out of turn\n").await;
        assert_eq!(raw.is_closed().await.0, 4400);
    }
    world.stop().await;
}

#[tokio::test]
async fn more_input_than_may_wait_is_closed() {
    let world = World::builder().template("deaf", &["sleep", "1000"]).start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("deaf").await.id;
    let mut raw = Raw::drives(&ada, session).await;
    let piece = vec![b'x'; INPUT_FRAME_MAX];
    let pieces = INPUT_UNAPPLIED_MAX / piece.len() as u64 + 8;
    for number in 0..pieces {
        raw.sends_frame(Kind::Data, at(number * piece.len() as u64), &piece).await;
    }
    assert_eq!(raw.is_closed().await.0, 4400);
    world.stop().await;
}

#[tokio::test]
async fn a_huge_window_is_held_within_what_is_granted() {
    let world = World::builder().set("limits.window", "256KiB").start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut raw = Raw::knocks(&ada, session).await;
    let mut wants = attach(Role::Driver);
    wants["window"] = u32::MAX.into();
    raw.says(&wants).await;
    let ToClient::Attached { limits, .. } = raw.stands().await else { unreachable!() };
    assert_eq!(limits.window, 256 * 1024);
    // It acknowledges nothing, and gets no more than that.
    raw.sends_frame(Kind::Data, at(0), b"seq 1 1000000\n").await;
    let mut sent = 0;
    while sent <= 200 * 1024 {
        sent += output_in(&raw.receives().await.expect("it stands"));
    }
    let quiet = Duration::from_secs(1);
    while let Ok(message) = tokio::time::timeout(quiet, raw.receives()).await {
        sent += output_in(&message.expect("it stands"));
    }
    assert!(sent <= 256 * 1024, "{sent} bytes");
    assert!(limits.window <= WINDOW_MAX);
    world.stop().await;
}

/// How many bytes of output a message brings.
fn output_in(message: &Message) -> usize {
    match message {
        Message::Binary(frame) if frame[0] == Kind::Data as u8 => frame.len() - 9,
        _ => 0,
    }
}

#[tokio::test]
async fn a_flood_of_control_is_closed() {
    let world = World::start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut raw = Raw::drives(&ada, session).await;
    for t in 0..2000 {
        raw.says(&json!({ "type": "ping", "t": t })).await;
    }
    assert_eq!(raw.is_closed().await.0, 4400);
    world.stop().await;
}

#[tokio::test]
async fn who_says_nothing_is_closed_in_time() {
    let world = World::builder().set("listen.header_timeout", "1s").start().await;
    let ada = world.user("ada");
    let session = ada.asks_for_a("default").await.id;
    let mut raw = Raw::knocks(&ada, session).await;
    let mut slow = TcpStream::connect(ada.address()).await.expect("a gateway listens");
    slow.write_all(b"GET /v1/sess").await.expect("sent");
    let mut rest = Vec::new();
    let ended = shellgate_tests::within("half a request ends", slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok());
    assert_eq!(raw.is_closed().await.0, 4400);
    world.stop().await;
}
