//! The scripted gateway's front: one HTTP request, answered or upgraded.

use std::sync::Arc;

use serde_json::{Value, json};
use shellgate_protocol::CLIENT_SUBPROTOCOL;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role as Side, WebSocketConfig};

use super::attachment::Attachment;
use super::{Play, Shared};

pub async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
        assert!(head.len() < 16 * 1024);
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let mut first = head.lines().next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    if let Some(bearer) = header("authorization") {
        shared.state.lock().unwrap().bearers.push(bearer);
    }
    if let Some(key) = header("sec-websocket-key") {
        assert_eq!(header("sec-websocket-protocol").as_deref(), Some(CLIENT_SUBPROTOCOL));
        return upgrade(shared, stream, &key, &path).await;
    }
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let body = String::from_utf8(body).unwrap();
    let (status, answer) = rest(&shared, &method, &path, &body);
    shared.changed.notify_waiters();
    respond(&mut stream, status, &answer).await;
}

async fn respond(stream: &mut TcpStream, status: u16, answer: &Value) {
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let text = if answer.is_null() { String::new() } else { answer.to_string() };
    let response = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn rest(shared: &Shared, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut state = shared.state.lock().unwrap();
    state.requests.push((method.into(), path.into(), body.into()));
    if let Some((_, status, answer)) = state.answers.iter().find(|(at, _, _)| path.starts_with(at))
    {
        return (*status, answer.clone());
    }
    if state.stopping > 0 && (method, path) == ("POST", "/v1/sessions") {
        state.stopping -= 1;
        let problem = json!({ "title": "Conflict", "status": 409, "code": "session_stopping",
                              "detail": "It is being stopped.", "retry_after": 1 });
        return (409, problem);
    }
    let ended = state.exit.as_ref().map(|exit| {
        json!({ "reason": exit.reason, "code": exit.code, "signal": exit.signal,
                "at": "2026-01-02T03:04:05Z", "detail": exit.detail })
    });
    let session = json!({
        "id": state.id, "name": state.name, "template": "default",
        "state": if ended.is_some() { "ended" } else { "live" },
        "launch": state.launch, "created_at": "2026-01-02T03:00:00Z", "mode": state.mode,
        "attached": false, "observers": 0, "ended": ended,
    });
    let one = format!("/v1/sessions/{}", state.id);
    match (method, path.split('?').next().unwrap()) {
        ("POST", "/v1/sessions") => (201, session),
        ("GET", "/v1/sessions") => (200, json!({ "sessions": [session] })),
        ("GET", path) if path == one => (200, session),
        ("DELETE", path) if path == one => (202, Value::Null),
        ("POST", path) if path == format!("{one}/tickets") => {
            (200, json!({ "ticket": "dGlja2V0", "expires_in": 30 }))
        }
        _ => (
            404,
            json!({ "title": "Not found", "status": 404, "code": "no_such_session",
                           "detail": "There is no such session." }),
        ),
    }
}

async fn upgrade(shared: Arc<Shared>, mut stream: TcpStream, key: &str, path: &str) {
    let (play, id) = {
        let mut state = shared.state.lock().unwrap();
        (state.plays.pop_front(), state.id)
    };
    assert_eq!(path, format!("/v1/sessions/{id}/attach"));
    if let Some(Play::Refuse(status, body)) = play {
        return respond(&mut stream, status, &body).await;
    }
    let accept = derive_accept_key(key.as_bytes());
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {CLIENT_SUBPROTOCOL}\r\n\r\n"
    );
    stream.write_all(response.as_bytes()).await.unwrap();
    let config = WebSocketConfig::default().max_message_size(Some(64 * 1024));
    let socket = WebSocketStream::from_raw_socket(stream, Side::Server, Some(config)).await;
    let launch = shared.state.lock().unwrap().launch;
    let mut attachment = Attachment {
        shared,
        socket,
        play,
        frames: 0,
        credit: None,
        stream: None,
        exit_at: None,
        launch,
    };
    // A peer that leaves in the middle is part of the game.
    let _ = attachment.run().await;
}
