//! Who knocks at the tasks' port and is no bridge: what they hear, and how long they are waited for.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS12;
use rustls::{ClientConfig, RootCertStore};
use shellgate_protocol::{CloseCode, SessionId};
use shellgate_tests::afar::Afar;
use shellgate_tests::bridge::{Played, TurnedAway, shakes_hands};
use shellgate_tests::{World, binaries, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What is answered to some bytes, until the other end closes.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, said: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    let talk = async {
        stream.write_all(said).await?;
        stream.read_to_end(&mut heard).await
    };
    // It may break off before it has read everything.
    let _ = within("an answer", talk).await;
    heard
}

async fn status(afar: &Afar, request: &str) -> String {
    let stream = shakes_hands(afar.task_address(), &afar.authority()).await.expect("TLS");
    let heard = answer(stream, format!("{request}\r\nHost: gateway\r\n\r\n").as_bytes()).await;
    String::from_utf8_lossy(&heard).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn there_is_nothing_but_links_and_who_asks_learns_of_no_session() {
    let afar = Afar::start().await;
    let task = afar.has_a_task_of("ada").await;
    let nobodys = SessionId::generate();
    for request in [
        "GET / HTTP/1.1".to_owned(),
        "GET /livez HTTP/1.1".into(),
        "GET /metrics HTTP/1.1".into(),
        "POST /v1/sessions HTTP/1.1".into(),
        format!("GET /v1/sessions/{} HTTP/1.1", task.session),
        "GET /internal/task/ HTTP/1.1".into(),
        "GET /internal/task/ses_1 HTTP/1.1".into(),
        format!("GET /internal/task/{nobodys} HTTP/1.1"),
        format!("GET /internal/task/{}/ HTTP/1.1", task.session),
    ] {
        assert_eq!(status(&afar, &request).await, "HTTP/1.1 404 Not Found", "{request}");
    }
    let mut stranger = Played::of(&task, afar.task_address(), &afar.authority());
    let other = afar.has_a_task_of("bob").await;
    for wrong in ["no token", other.token()] {
        stranger.token = Some(wrong.into());
        let refused = stranger.enrols().await.err();
        assert_eq!(refused, Some(TurnedAway::Refused(404)), "as where there is no session");
    }
    afar.stop().await;
}

#[tokio::test]
async fn a_session_that_is_over_is_known_to_nobody() {
    let afar = Afar::start().await;
    let (ada, task) = (afar.user("ada"), afar.has_a_task_of("ada").await);
    ada.stops(task.session).await;
    ada.sees_the_end_of(task.session).await;
    let late = Played::of(&task, afar.task_address(), &afar.authority());
    let refused = within("it is forgotten", async {
        loop {
            match late.enrols().await.err().expect("nobody is let in") {
                // Its keeper is about to leave.
                TurnedAway::Closed(code, _) if code == CloseCode::Ended.number() => {}
                refused => return refused,
            }
        }
    })
    .await;
    assert_eq!(refused, TurnedAway::Refused(404));
    afar.stop().await;
}

#[tokio::test]
async fn without_tls_or_with_an_older_one_nobody_is_heard() {
    let afar = Afar::start().await;
    let task = afar.has_a_task_of("ada").await;
    let plain = TcpStream::connect(afar.task_address()).await.expect("a port");
    let request = format!("GET /internal/task/{} HTTP/1.1\r\nHost: g\r\n\r\n", task.session);
    let heard = answer(plain, request.as_bytes()).await;
    assert!(!heard.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&heard));
    let mut roots = RootCertStore::empty();
    let authority = afar.authority();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM")).expect("read");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let older = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .expect("TLS 1.2")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(afar.task_address()).await.expect("a port");
    let name = afar.task_address().ip().into();
    let refused = TlsConnector::from(Arc::new(older)).connect(name, stream).await;
    assert!(refused.expect_err("refused").to_string().contains("ProtocolVersion"));
    afar.stop().await;
}

#[tokio::test]
async fn who_is_slow_with_the_handshake_or_the_request_is_not_waited_for() {
    let afar = Afar::start().await;
    let mut silent = TcpStream::connect(afar.task_address()).await.expect("a port");
    let mut slow = shakes_hands(afar.task_address(), &afar.authority()).await.expect("TLS");
    slow.write_all(b"GET /internal/").await.expect("written");
    // From here on time passes whenever nothing else happens.
    tokio::time::pause();
    let mut heard = Vec::new();
    let ended = within("a slow handshake is dropped", silent.read_to_end(&mut heard)).await;
    assert_eq!((ended.ok(), heard.len()), (Some(0), 0));
    let ended = within("a slow request is dropped", slow.read_to_end(&mut heard)).await;
    assert!(!heard.starts_with(b"HTTP/1.1 1"), "{ended:?}");
    tokio::time::resume();
    afar.stop().await;
}

#[tokio::test]
async fn one_address_cannot_take_all_calls() {
    let afar = Afar::start_with(World::builder()).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(TcpStream::connect(afar.task_address()).await.expect("a port"));
    }
    let last = open.pop().expect("one of them");
    // Everything beyond eight is closed at once, whatever it says.
    assert!(answer(last, b"").await.is_empty());
    // It was closed for no other reason: those before it are waited for.
    let first = open[0].try_read(&mut [0]).expect_err("nothing was said to it");
    assert_eq!(first.kind(), std::io::ErrorKind::WouldBlock);
    drop(open);
    afar.stop().await;
}

/// A real gateway whose tasks are sandboxes, with a port for tasks all the same.
#[tokio::test]
async fn the_network_knows_no_session_of_a_sandbox() {
    let place = tempfile::tempdir().expect("a place");
    let [certificate, key] = ["authority.pem", "authority.key"].map(|name| place.path().join(name));
    let gateway = binaries::folder().join("shellgate-gateway");
    let make = || {
        let mut make = Command::new(&gateway);
        make.arg("make-authority").args([&certificate, &key]).env_clear().output().expect("it runs")
    };
    assert!(make().status.success());
    let again = make();
    assert!(!again.status.success(), "nothing is replaced");
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists"));
    let from = |path: &std::path::Path| format!("file:{}", path.display());
    let world = World::builder()
        .set("listen.task", "127.0.0.1:0")
        .set("tasks.dial", "wss://127.0.0.1:7802")
        .set("tasks.authorities", vec![toml::Value::from(from(&certificate))])
        .set("tasks.authority_key", from(&key))
        .start()
        .await;
    let mut shell = world.user("ada").opens_a_shell().await;
    let authority = std::fs::read_to_string(&certificate).expect("made");
    let known = knows(world.task_address(), &authority, shell.session()).await;
    assert!(!known, "its bridge has a socket of its own");
    shell.types("echo $((6 * 7)) all the same\n").await;
    shell.shows("42 all the same").await;
    world.stop().await;
}

async fn knows(address: SocketAddr, authority: &str, session: SessionId) -> bool {
    let stream = shakes_hands(address, authority).await.expect("TLS");
    let request = format!("GET /internal/task/{session} HTTP/1.1\r\nHost: gateway\r\n\r\n");
    !answer(stream, request.as_bytes()).await.starts_with(b"HTTP/1.1 404 ")
}
