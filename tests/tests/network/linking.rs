//! The link over a network: made, broken, made again, and made with nobody but the gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;
use shellgate_client::session::State;
use shellgate_gateway::authority::Authority;
use shellgate_protocol::{CloseCode, Dial};
use shellgate_tests::afar::Afar;
use shellgate_tests::bridge::{Played, TurnedAway, shakes_hands};
use shellgate_tests::{World, until};
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

#[tokio::test]
async fn a_bridge_enrols_over_a_network_is_cut_off_and_loses_no_byte() {
    let afar = Afar::start().await;
    let (ada, task) = (afar.user("ada"), afar.has_a_task_of("ada").await);
    let cable = afar.cable().await;
    let mut bridge = task.starts_its_bridge(cable.address(), &afar.authority());
    let mut shell = ada.attaches_to(task.session).await;
    shell
        .types("stty -echo; export ANSWER=$((6 * 7)); echo be''gin; seq 1 200000; echo d''one\n")
        .await;
    let begin = shell.finds("begin\r\n").await.end;
    let attached = shell.times_attached();
    cable.cut();
    shell.stands_again(attached).await;
    let end = shell.finds("done\r\n").await.start;
    let stream: String = (1..=200_000).map(|line| format!("{line}\r\n")).collect();
    assert_eq!(end - begin, stream.len(), "no byte more and none less");
    assert!(shell.seen().output[begin..end] == *stream.as_bytes());
    assert_eq!(shell.seen().breaks[0].code(), Some(CloseCode::LinkLost.number()));
    shell.types("echo the answer is $ANSWER\n").await;
    shell.shows("the answer is 42").await;
    assert!(cable.carried() >= 2);
    ada.stops(task.session).await;
    ada.sees_the_end_of(task.session).await;
    bridge.leaves().await;
    afar.stop().await;
}

/// Somebody on the way who has got hold of the authority's key: ends TLS, and passes everything on.
/// Tells where, and counts whom it has carried.
async fn in_the_middle(afar: &Afar, tracker: &TaskTracker) -> (SocketAddr, Arc<AtomicU32>) {
    let (certificate, key) = afar.authority_and_key();
    let now = SystemTime::now();
    let authority = Authority::read(&certificate, &key, now).expect("an authority");
    let leaf = authority.issue("127.0.0.1", now).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(leaf.certified)));
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let carried = Arc::new(AtomicU32::new(0));
    let (counted, gateway, inner) = (carried.clone(), afar.task_address(), tracker.clone());
    tracker.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, counted, certificate) = (tls.clone(), counted.clone(), certificate.clone());
            inner.spawn(async move {
                let mut near = tls.accept(stream).await?;
                let mut far = shakes_hands(gateway, &certificate).await?;
                counted.fetch_add(1, Ordering::SeqCst);
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    (address, carried)
}

#[tokio::test]
async fn who_stands_in_the_middle_with_a_good_certificate_gets_nobody_in() {
    let afar = Afar::start().await;
    let (ada, task) = (afar.user("ada"), afar.has_a_task_of("ada").await);
    let tracker = TaskTracker::new();
    let (address, carried) = in_the_middle(&afar, &tracker).await;
    let mut played = Played::of(&task, address, &afar.authority());
    let refused = played.enrols().await.err().expect("refused");
    assert_eq!(
        refused,
        TurnedAway::Closed(CloseCode::Forbidden.number(), "the proof does not hold".into())
    );
    let bridge = task.starts_its_bridge(address, &afar.authority());
    until("a real bridge has called again", async || carried.load(Ordering::SeqCst) >= 3).await;
    assert_eq!(ada.looks_at(task.session).await.state, State::Severed);
    drop(bridge);
    // Its token is not burnt, and its key not pinned: whoever calls by themselves is let in.
    let mut straight = Played::of(&task, afar.task_address(), &afar.authority());
    straight.dial = Dial(1);
    straight.enrols().await.expect("welcome");
    played.dial = Dial(2);
    assert!(played.enrols().await.is_err());
    afar.stop().await;
}

#[tokio::test]
async fn a_proof_for_a_channel_without_tls_does_not_hold_within_tls() {
    let afar = Afar::start().await;
    let task = afar.has_a_task_of("ada").await;
    let mut played = Played::of(&task, afar.task_address(), &afar.authority());
    played.binds = false;
    let refused = played.enrols().await.err().expect("refused");
    assert!(
        matches!(refused, TurnedAway::Closed(code, _) if code == CloseCode::Forbidden.number())
    );
    afar.stop().await;
}

#[tokio::test]
async fn who_calls_before_anybody_knows_where_the_task_is_is_asked_to_call_again() {
    // Nobody knows the address of a process that only waits.
    let afar = Afar::start_with(World::builder()).await;
    let task = afar.has_a_task_of("ada").await;
    let mut played = Played::of(&task, afar.task_address(), &afar.authority());
    let later = TurnedAway::Closed(CloseCode::Overloaded.number(), "try again".into());
    assert_eq!(played.enrols().await.err(), Some(later.clone()));
    assert_eq!(played.enrols().await.err(), Some(later), "its token is as good as before");
    // Whoever is nobody hears that, and costs no question.
    played.token = None;
    let refused = played.enrols().await.err();
    let nobody = TurnedAway::Closed(CloseCode::Forbidden.number(), "no enrolment token".into());
    assert_eq!(refused, Some(nobody));
    afar.stop().await;
}
