//! A bridge that dials over a network: whom it takes for its gateway, and that a link within TLS is
//! a link like any other.

use std::process::{Command, Output};

use shellgate_protocol::Dial;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::door::{Authority, Door};
use crate::gateway::{BRIDGE, Client, Gateway, PATIENCE, script};
use crate::{RAW_CAT, arrives_pasted, numbers};

/// What the kernel calls the machine itself.
const HERE: &str = "127.0.0.1";

#[tokio::test]
async fn within_tls_a_link_breaks_in_a_megabyte_and_is_resumed_exactly() {
    let gateway = Gateway::start_over_a_network(script("seq 100000 260000; sleep 1000"));
    let (mut link, first) = gateway.is_dialled().await;
    assert_eq!(first.token.as_deref(), Some("burn-after-reading"));
    gateway.greet(&mut link).await;
    let mut client = Client::driver();
    let expected = numbers(260_000);
    for (number, cut) in (2..).zip([1, 300_001, 700_000, expected.len()]) {
        let opened = link.opens(1, &client).await;
        assert_eq!(opened.from, client.knows_up_to());
        client.has(&mut link, opened, cut).await;
        drop(link);
        let (next, introduction) = gateway.is_dialled().await;
        link = next;
        // Its proof holds for the new channel, or it would not have come so far.
        assert_eq!((introduction.dial, introduction.token), (Dial(number), None));
        assert_eq!(introduction.key, first.key);
        gateway.greet(&mut link).await;
    }
    assert!(client.output == expected);
}

#[tokio::test]
async fn within_tls_a_paste_arrives_whole_however_it_is_cut_into_records() {
    let gateway = Gateway::start_over_a_network(script(RAW_CAT));
    arrives_pasted(&gateway, 400_000).await;
}

#[tokio::test]
async fn nothing_is_said_to_who_has_a_certificate_of_another_authority_or_for_another_name() {
    let (ours, theirs) = (Authority::default(), Authority::default());
    for (tls, what) in [(theirs.tls(HERE), "authority"), (ours.tls("127.0.0.2"), "name")] {
        let (door, dial) = Door::port(tls);
        let mut bridge = bridge(&[("SHELLGATE_DIAL", &dial), ("SHELLGATE_CA", &ours.pem())]);
        let mut bridge = bridge.spawn().unwrap();
        let dialled = timeout(PATIENCE, door.opens()).await.expect("the bridge dials");
        let heard = match dialled {
            Err(refused) => format!("{refused}"),
            // TLS 1.3 lets a server think that all is well until it reads.
            Ok(mut dialled) => {
                let mut said = Vec::new();
                let ended = timeout(PATIENCE, dialled.stream.read_to_end(&mut said)).await.unwrap();
                assert!(said.is_empty(), "{what}: it said {} bytes", said.len());
                format!("{}", ended.expect_err("an alert"))
            }
        };
        assert!(heard.contains("alert"), "{what}: {heard}");
        bridge.kill().unwrap();
        bridge.wait().unwrap();
    }
}

#[tokio::test]
async fn either_of_two_authorities_will_do() {
    let (old, new) = (Authority::default(), Authority::default());
    for signer in [&old, &new] {
        let (door, dial) = Door::port(signer.tls(HERE));
        let both = format!("{}{}", old.pem(), new.pem());
        let mut bridge = bridge(&[("SHELLGATE_DIAL", &dial), ("SHELLGATE_CA", &both)]);
        let mut bridge = bridge.spawn().unwrap();
        let dialled = timeout(PATIENCE, door.opens()).await.expect("the bridge dials");
        let mut first = [0; 4];
        let mut stream = dialled.expect("it trusts").stream;
        timeout(PATIENCE, stream.read_exact(&mut first)).await.unwrap().unwrap();
        assert_eq!(&first, b"GET ");
        bridge.kill().unwrap();
        bridge.wait().unwrap();
    }
}

#[test]
fn a_bridge_that_is_not_told_whom_to_trust_does_not_start() {
    let said = |settings: &[(&str, &str)]| {
        let Output { status, stderr, .. } = bridge(settings).output().unwrap();
        assert_eq!(status.code(), Some(64), "{settings:?}");
        String::from_utf8(stderr).unwrap()
    };
    let dial = ("SHELLGATE_DIAL", "wss://127.0.0.1:1");
    assert!(said(&[dial]).contains("SHELLGATE_CA is not set"));
    let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n";
    assert!(said(&[dial, ("SHELLGATE_CA", cut)]).contains("SHELLGATE_CA is wrong"));
    assert!(said(&[dial, ("SHELLGATE_CA", "")]).contains("there is no certificate in it"));
    let open = ("SHELLGATE_DIAL", "ws://127.0.0.1:1");
    assert!(said(&[open]).contains("SHELLGATE_DIAL is wrong"), "no link without TLS");
}

fn bridge(settings: &[(&str, &str)]) -> Command {
    let mut bridge = Command::new(BRIDGE);
    bridge
        .env_clear()
        .env("SHELLGATE_SESSION", "ses_0198c7000000700080000000000000ff")
        .env("SHELLGATE_LAUNCH", "1")
        .env("SHELLGATE_TOKEN", "burn-after-reading")
        .envs(settings.iter().copied());
    bridge
}
