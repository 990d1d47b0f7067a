//! Where a scripted gateway is dialled: a Unix socket, or a port where TLS is spoken. Knows nothing
//! of what is said there.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use shellgate_protocol::enrolment::{BINDING_LABEL, Bytes32};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

/// Any connection.
pub trait End: AsyncRead + AsyncWrite + Unpin + Send {}

impl<E: AsyncRead + AsyncWrite + Unpin + Send> End for E {}

/// One that a bridge has made, and what binds a proof to it.
pub struct Dialled {
    pub stream: Box<dyn End>,
    pub binding: Option<Bytes32>,
}

/// Where a gateway is dialled.
pub enum Door {
    Socket(UnixListener),
    Port(TcpListener, TlsAcceptor),
}

/// Signs gateways' certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }
}

impl Authority {
    /// Its certificate, as a bridge gets it.
    pub fn pem(&self) -> String {
        pem(self.0.der())
    }

    /// What a gateway with this name speaks.
    pub fn tls(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &self.0).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .unwrap();
        Arc::new(config).into()
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

impl Door {
    pub fn socket(path: &Path) -> Self {
        Self::Socket(UnixListener::bind(path).unwrap())
    }

    /// A port of this machine, and how a bridge is told of it.
    pub fn port(tls: TlsAcceptor) -> (Self, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let dial = format!("wss://{}", listener.local_addr().unwrap());
        (Self::Port(TcpListener::from_std(listener).unwrap(), tls), dial)
    }

    /// The next connection; over a port, whether it came to trust who is there.
    pub async fn opens(&self) -> std::io::Result<Dialled> {
        match self {
            Self::Socket(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Dialled { stream: Box::new(stream), binding: None })
            }
            Self::Port(listener, tls) => {
                let (stream, _) = listener.accept().await?;
                let stream = tls.accept(stream).await?;
                let (_, channel) = stream.get_ref();
                let binding = channel.export_keying_material([0; 32], BINDING_LABEL, Some(&[]));
                let binding = Some(Bytes32(binding.unwrap()));
                Ok(Dialled { stream: Box::new(stream), binding })
            }
        }
    }
}
