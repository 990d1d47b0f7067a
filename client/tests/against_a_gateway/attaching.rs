//! The library's attachment over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use shellgate_client::attach::{Break, Closed, NotTaken, Why};
use shellgate_client::{AttachOptions, Endpoint, Event, Events, Input, TokenSource, attach};
use shellgate_protocol::client_leg::{Notice, Signal, Token};
use shellgate_protocol::{CloseCode, FromClient, Launch, Offset, TerminalSize};

use crate::scripted::{Gateway, Play};

fn tokens() -> TokenSource {
    TokenSource::fixed(Token("t0".into()))
}

fn attaches(gateway: &Gateway) -> (Input, Events) {
    attaches_with(gateway, tokens(), AttachOptions::default())
}

fn attaches_with(
    gateway: &Gateway,
    tokens: TokenSource,
    options: AttachOptions,
) -> (Input, Events) {
    let endpoint: Endpoint = gateway.url.parse().unwrap();
    let options = AttachOptions { output: Some(Offset::ZERO), ..options };
    let id = gateway.state().id;
    attach(&endpoint, tokens, id, options)
}

async fn next(events: &mut Events) -> Option<Event> {
    tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("an event in 20 s")
}

async fn until_closed(events: &mut Events) -> (Vec<Event>, Closed) {
    let mut seen = vec![];
    loop {
        match next(events).await.expect("`closed` comes last") {
            Event::Closed(closed) => {
                assert_eq!(next(events).await, None);
                return (seen, closed);
            }
            event => seen.push(event),
        }
    }
}

async fn until_attached(events: &mut Events) -> shellgate_client::attach::Attached {
    loop {
        if let Event::Attached(attached) = next(events).await.unwrap() {
            return attached;
        }
    }
}

/// Reads output until there are so many bytes of it.
async fn sees(events: &mut Events, len: usize) -> Vec<u8> {
    let mut seen = vec![];
    while seen.len() < len {
        match next(events).await.unwrap() {
            Event::Output { from, bytes, .. } => {
                assert_eq!(from.get(), seen.len() as u64);
                seen.extend_from_slice(&bytes);
            }
            Event::Closed(closed) => panic!("closed: {closed:?}"),
            _ => {}
        }
    }
    seen
}

fn numbered(len: usize, salt: u64) -> Vec<u8> {
    let mut x = salt;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    })
    .take(len)
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_is_typed_into_seen_and_ends() {
    let gateway = Gateway::start().await;
    gateway.state().echoes = true;
    let (input, mut events) = attaches(&gateway);
    input.send("hello").await.unwrap();
    assert_eq!(sees(&mut events, 5).await, b"hello");
    input.flush().await.unwrap();
    gateway.exits(3);
    let (seen, closed) = until_closed(&mut events).await;
    let Some(Event::Exit { at, status }) = seen.last() else { panic!("{seen:?}") };
    assert_eq!((at.get(), status.code), (5, Some(3)));
    assert_eq!((closed.why, closed.code()), (Why::Exited, Some(CloseCode::Ended)));
    assert!(gateway.state().exit_acknowledged);
    assert_eq!(gateway.state().bearers, ["Bearer t0"]);
    assert!(input.send("x").await.is_err());
    gateway.faultless();
}

#[tokio::test]
async fn a_hole_is_closed_with_4400_and_mended_by_coming_back() {
    let gateway = Gateway::start().await;
    gateway.plays([Play::Hole(0)]);
    gateway.prints(b"0123456789abcdef");
    let (_input, mut events) = attaches(&gateway);
    assert_eq!(sees(&mut events, 16).await, b"0123456789abcdef");
    assert_eq!(gateway.state().goodbyes, [4400]);
    let (asked, faults) = {
        let state = gateway.state();
        let asked: Vec<_> = state.attaches.iter().map(|attach| attach.output).collect();
        (asked, state.faults.clone())
    };
    assert_eq!((asked, faults), (vec![Some(Offset::ZERO); 2], vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_breaks_lose_and_repeat_nothing() {
    let gateway = Gateway::start().await;
    let printed = numbered(6 << 20, 1);
    let typed = numbered(3 << 20, 2);
    // Breaks of each kind, each after a number of frames that no other has.
    gateway.plays((0..100).map(|n| match n % 5 {
        0 => Play::Cut(3 + n),
        1 => Play::CloseAfter(2 + n / 2, 4502),
        2 => Play::Hole(n % 9),
        3 => Play::Goaway(n % 17),
        _ => Play::CloseAfter(n / 3, 1012),
    }));
    let (input, mut events) = attaches(&gateway);
    let types = async {
        for chunk in typed.chunks(5000) {
            input.send(chunk).await.unwrap();
        }
        input.flush().await.unwrap();
    };
    let prints = async {
        for chunk in printed.chunks(100_000) {
            gateway.prints(chunk);
            tokio::task::yield_now().await;
        }
    };
    let (_, _, seen) = tokio::join!(types, prints, sees(&mut events, printed.len()));
    assert!(seen == printed, "output differs");
    // Chatter until the script is played out.
    while !gateway.state().plays.is_empty() {
        let at = gateway.state().printed.len();
        gateway.prints(b"0123456789abcdef");
        let mut more = 0;
        while more < 16 {
            match next(&mut events).await.unwrap() {
                Event::Output { from, bytes, .. } => {
                    assert_eq!(from.get(), (at + more) as u64);
                    more += bytes.len();
                }
                Event::Closed(closed) => panic!("{closed:?}"),
                _ => {}
            }
        }
    }
    assert!(gateway.state().program == typed, "input differs");
    assert!(gateway.state().attaches.len() >= 99);
    gateway.faultless();
}

#[tokio::test]
async fn a_code_that_says_stop_is_told_with_its_words() {
    let gateway = Gateway::start().await;
    gateway.plays([Play::CloseAtOnce(4409, "ada drives on her laptop")]);
    let (_input, mut events) = attaches(&gateway);
    let (seen, closed) = until_closed(&mut events).await;
    assert_eq!(seen, []);
    assert_eq!((closed.why, closed.code()), (Why::Stopped, Some(CloseCode::AnotherDriver)));
    assert_eq!(closed.last.unwrap().to_string(), "ada drives on her laptop");
    assert_eq!(gateway.state().attaches.len(), 1);
}

#[tokio::test]
async fn every_code_does_what_the_contract_says() {
    for code in CloseCode::ALL {
        let gateway = Gateway::start().await;
        gateway.plays([Play::CloseAtOnce(code.number(), "")]);
        let renewable = TokenSource::refresh(|_| async { Ok(Token("t1".into())) });
        let (_input, mut events) = attaches_with(&gateway, renewable, AttachOptions::default());
        match code.then() {
            shellgate_protocol::close::Then::Stop => {
                let (_, closed) = until_closed(&mut events).await;
                assert_eq!((closed.why, closed.code()), (Why::Stopped, Some(code)));
            }
            _ => {
                let first = next(&mut events).await.unwrap();
                let Event::Reconnecting { why, .. } = first else { panic!("{code:?}: {first:?}") };
                assert_eq!(why.code(), Some(code.number()));
                until_attached(&mut events).await;
            }
        }
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_then_it_stops() {
    let gateway = Gateway::start().await;
    gateway.plays([Play::CloseAtOnce(4401, ""), Play::Refuse(401, json!({"detail": "run out"}))]);
    let renewals = Arc::new(AtomicU32::new(0));
    let tokens = TokenSource::refresh({
        let renewals = renewals.clone();
        move |_| {
            let n = renewals.fetch_add(1, Ordering::Relaxed);
            async move { Ok(Token(format!("t{n}"))) }
        }
    });
    let (_input, mut events) = attaches_with(&gateway, tokens, AttachOptions::default());
    let (_, closed) = until_closed(&mut events).await;
    assert_eq!(closed.why, Why::Unauthenticated);
    assert_eq!(closed.last.unwrap().to_string(), "run out");
    assert_eq!(gateway.state().bearers, ["Bearer t0", "Bearer t1"]);
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed_on_the_way() {
    let gateway = Gateway::start().await;
    gateway.plays([Play::WantsReauth]);
    gateway.prints(b"after");
    let tokens = TokenSource::refresh(|old: Option<Token>| async move {
        Ok(Token(if old.is_some() { "newer".into() } else { "first".into() }))
    });
    let (_input, mut events) = attaches_with(&gateway, tokens, AttachOptions::default());
    assert_eq!(sees(&mut events, 5).await, b"after");
    assert_eq!(gateway.state().controls, [FromClient::Reauth { token: Token("newer".into()) }]);
    assert_eq!(gateway.state().attaches.len(), 1);
}

#[tokio::test]
async fn a_refused_upgrade_is_read_and_heeded() {
    let gateway = Gateway::start().await;
    gateway.plays([
        Play::Refuse(503, json!({"detail": "too many sockets", "retry_after": 1})),
        Play::Refuse(404, json!({"detail": "no such session"})),
    ]);
    let (_input, mut events) = attaches(&gateway);
    let Some(Event::Reconnecting { wait_ms, why, .. }) = next(&mut events).await else { panic!() };
    assert!(wait_ms >= 1000);
    assert_eq!(why.to_string(), "too many sockets");
    let (_, closed) = until_closed(&mut events).await;
    assert_eq!(closed.why, Why::Stopped);
    assert!(matches!(closed.last, Some(Break::Refused { status: 404, .. })));
}

#[tokio::test]
async fn a_gateway_that_lies_is_left_and_come_back_to() {
    for lie in [Play::AppliesTooMuch, Play::Floods, Play::Babbles] {
        let gateway = Gateway::start().await;
        gateway.plays([lie.clone()]);
        let (_input, mut events) = attaches(&gateway);
        let why = loop {
            if let Event::Reconnecting { why, .. } = next(&mut events).await.unwrap() {
                break why;
            }
        };
        assert!(matches!(why, Break::Violation(_)), "{lie:?}: {why:?}");
        gateway.until("another attach", |state| state.attaches.len() == 2).await;
    }
}

#[tokio::test]
async fn input_is_not_typed_to_another_launch() {
    let gateway = Gateway::start().await;
    gateway.prints(b"old");
    let (input, mut events) = attaches(&gateway);
    sees(&mut events, 3).await;
    input.send("applied").await.unwrap();
    input.flush().await.unwrap();
    gateway.starts_another_launch(b"new");
    // Typed while the connection is down, for the old program.
    while !matches!(next(&mut events).await, Some(Event::Reconnecting { .. })) {}
    input.send("late").await.unwrap();
    let (flushed, attached) = tokio::join!(input.flush(), until_attached(&mut events));
    assert_eq!(flushed, Err(NotTaken::Dropped));
    assert_eq!((attached.launch, attached.new_launch), (Launch(2), true));
    assert_eq!(attached.dropped_input, 4);
    assert_eq!(sees(&mut events, 3).await, b"new");
    input.send("fresh").await.unwrap();
    input.flush().await.unwrap();
    assert_eq!(gateway.state().program, b"fresh");
    gateway.faultless();
}

#[tokio::test]
async fn a_caller_who_does_not_look_makes_the_program_wait() {
    let gateway = Gateway::start().await;
    gateway.prints(&numbered(1 << 20, 3));
    let options = AttachOptions { window: 64 * 1024, ..AttachOptions::default() };
    let (_input, mut events) = attaches_with(&gateway, tokens(), options);
    until_attached(&mut events).await;
    gateway.until("the window is full", |state| state.sent == 64 * 1024).await;
    assert_eq!(sees(&mut events, 1 << 20).await, numbered(1 << 20, 3));
    gateway.faultless();
}

#[tokio::test]
async fn size_signals_and_extensions_arrive_and_are_answered() {
    let gateway = Gateway::start().await;
    let (input, mut events) = attaches(&gateway);
    until_attached(&mut events).await;
    let size = TerminalSize::new(132, 43).unwrap();
    input.resize(size);
    let signal = input.signal(Signal::Int).unwrap();
    let extend = input.extend().unwrap();
    let mut answers = vec![];
    while answers.len() < 2 {
        if let Event::Notice(notice) = next(&mut events).await.unwrap() {
            answers.push(notice);
        }
    }
    assert_eq!(
        answers,
        [Notice::Signalled { id: signal }, Notice::Extended { id: extend, seconds: 60 }]
    );
    gateway.until("the size", |state| state.size == size).await;
}

#[tokio::test]
async fn leaving_closes_the_socket_and_dropping_does_too() {
    let gateway = Gateway::start().await;
    let (input, mut events) = attaches(&gateway);
    until_attached(&mut events).await;
    input.leave();
    let (_, closed) = until_closed(&mut events).await;
    assert_eq!(closed.why, Why::Left);
    events.finished().await;
    gateway.until("the goodbye", |state| state.goodbyes == [1000]).await;

    let (_input, mut events) = attaches(&gateway);
    until_attached(&mut events).await;
    drop(events);
    gateway.until("the second goodbye", |state| state.goodbyes == [1000, 1000]).await;
}
