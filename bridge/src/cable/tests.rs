//! Cables of both kinds, with a scripted other end.

use std::sync::Arc;

use nix::sys::socket::getsockopt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream as ServerStream;

use super::*;

/// A gateway that only speaks TLS, and how to get to it.
struct There {
    listener: TcpListener,
    tls: TlsAcceptor,
    to: DialTo,
}

impl There {
    /// With a certificate for `name` of the authority that its callers trust.
    async fn called(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &authority).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let ours = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .unwrap();
        let mut authorities = RootCertStore::empty();
        authorities.add(authority.der().clone()).unwrap();
        let theirs = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let name = "127.0.0.1".try_into().unwrap();
        let to = DialTo::Network(Remote { address, name, trust: Arc::new(theirs) });
        Self { listener, tls: Arc::new(ours).into(), to }
    }

    async fn accept(&self) -> io::Result<ServerStream<TcpStream>> {
        let (stream, _) = self.listener.accept().await?;
        self.tls.accept(stream).await
    }

    async fn both_ends(&self) -> (Cable, ServerStream<TcpStream>) {
        let (ours, theirs) = tokio::join!(Cable::connect(&self.to), self.accept());
        (ours.unwrap(), theirs.unwrap())
    }
}

async fn arrival(cable: &Cable) {
    std::future::poll_fn(|cx| cable.poll_arrival(cx)).await;
}

#[tokio::test]
async fn what_the_kernel_holds_of_a_cable_is_little_over_either_kind_of_socket() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("dial.sock");
    let _local = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let there = There::called("127.0.0.1").await;
    let local = Cable::connect(&DialTo::Unix(path)).await.unwrap();
    let (network, _theirs) = there.both_ends().await;
    // The kernel may allow less, and counts double.
    let most: usize =
        std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap().trim().parse().unwrap();
    for cable in [local, network] {
        let wire = match &cable {
            Cable::Bare(wire) => wire,
            Cable::Sealed(tls) => tls.get_ref().0,
        };
        let buffer = getsockopt(&wire.0, SndBuf).unwrap();
        assert_eq!(buffer, 2 * SEND_BUFFER.min(most));
    }
}

#[tokio::test]
async fn where_too_many_wait_to_be_let_in_a_cable_waits_too() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("dial.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        match UnixStream::connect(&path).await {
            Ok(one) => waiting.push(one),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let dial = DialTo::Unix(path);
    let mut cable = Box::pin(Cable::connect(&dial));
    assert!(futures_util::poll!(&mut cable).is_pending());
    listener.accept().unwrap();
    cable.await.unwrap();
}

#[tokio::test]
async fn a_cable_over_a_network_carries_both_ways_and_ends() {
    let there = There::called("127.0.0.1").await;
    let (mut ours, mut theirs) = there.both_ends().await;
    // More than all that lies between takes.
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut heard = vec![0; sent.len()];
    let wrote = async {
        ours.write_all(&sent).await.unwrap();
        ours.flush().await.unwrap();
    };
    let (_, read) = tokio::join!(wrote, theirs.read_exact(&mut heard));
    assert!(read.unwrap() == sent.len() && heard == sent);
    theirs.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    ours.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    ours.shutdown().await.unwrap();
    assert_eq!(theirs.read(&mut heard).await.unwrap(), 0, "it is told, not cut off");
    theirs.shutdown().await.unwrap();
    assert_eq!(ours.read(&mut heard).await.unwrap(), 0);
}

#[tokio::test]
async fn what_was_unsealed_and_not_taken_has_arrived_although_the_socket_has_nothing() {
    let there = There::called("127.0.0.1").await;
    let (mut ours, mut theirs) = there.both_ends().await;
    theirs.write_all(b"one record").await.unwrap();
    let mut some = [0; 3];
    ours.read_exact(&mut some).await.unwrap();
    arrival(&ours).await;
    let mut rest = [0; 7];
    ours.read_exact(&mut rest).await.unwrap();
    assert_eq!((&some, &rest), (b"one", b" record"));
    // Now it has to wait, and wakes up for what comes.
    let pending = futures_util::poll!(Box::pin(ours.read(&mut some))).is_pending();
    assert!(pending && futures_util::poll!(Box::pin(arrival(&ours))).is_pending());
    let (_, written) = tokio::join!(arrival(&ours), theirs.write_all(b"two"));
    written.unwrap();
    ours.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"two");
}

#[tokio::test]
async fn a_channel_s_binding_is_known_at_both_ends_and_nowhere_else() {
    let there = There::called("127.0.0.1").await;
    let (ours, theirs) = there.both_ends().await;
    let binding = ours.binding().unwrap().unwrap();
    let (_, tls) = theirs.get_ref();
    let at_the_other = tls.export_keying_material([0; 32], BINDING_LABEL, Some(&[])).unwrap();
    assert_eq!(binding.0, at_the_other);
    let (another, _theirs) = there.both_ends().await;
    assert_ne!(another.binding().unwrap(), Some(binding));
}

#[tokio::test]
async fn who_has_a_certificate_for_another_name_is_not_the_gateway() {
    let there = There::called("127.0.0.2").await;
    let (ours, theirs) = tokio::join!(Cable::connect(&there.to), there.accept());
    let inner = ours.unwrap_err();
    assert!(inner.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()), "{inner}");
    assert!(theirs.is_err(), "nothing was said to it");
}
