//! TLS: REST and WebSocket believe the same authorities.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::commands::{run, shellgate, told};
use crate::scripted::Gateway;

/// Speaks TLS for a gateway. Its certificate holds for a hundred years, from an authority whose key
/// nobody has.
struct Terminator {
    url: String,
    /// The authority's certificate.
    authority: PathBuf,
    _tasks: JoinSet<()>,
}

impl Terminator {
    async fn before(gateway: &Gateway) -> Self {
        let papers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/against_a_gateway/trusting");
        let certificate = CertificateDer::from_pem_file(papers.join("gateway.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(papers.join("gateway.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let behind = gateway.url.trim_start_matches("http://").to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                connections.spawn(async move {
                    // A client that does not believe the certificate leaves here.
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let mut inside = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Self { url, authority: papers.join("authority.pem"), _tasks: tasks }
    }
}

#[tokio::test]
async fn a_private_authority_is_believed_by_rest_and_by_attachments() {
    let gateway = Gateway::start().await;
    gateway.state().exits_with = Some(5);
    let home = tempfile::tempdir().unwrap();
    let outside = Terminator::before(&gateway).await;
    let command = |authority: Option<&Path>| {
        let mut command = shellgate(&gateway, home.path());
        command.env("SHELLGATE_TOKEN", "t0").args(["new", "--url", &outside.url]);
        command.envs(authority.map(|path| ("SSL_CERT_FILE", path)));
        command
    };
    let (status, _, error) = told(run(command(Some(&outside.authority)), "exit\n").await);
    assert_eq!(status, 5, "{error}");
    assert_eq!(gateway.state().attaches.len(), 1);
    gateway.faultless();

    let (status, _, error) = told(run(command(None), "exit\n").await);
    assert!(status == 255 && error.contains("certificate"), "{status} {error}");
    assert_eq!(gateway.state().attaches.len(), 1);
}

#[tokio::test]
async fn a_machine_without_authorities_reaches_gateways_in_the_clear_and_says_what_it_lacks() {
    let gateway = Gateway::start().await;
    let home = tempfile::tempdir().unwrap();
    let command = |url: &str| {
        let mut command = shellgate(&gateway, home.path());
        command.env("SHELLGATE_TOKEN", "t0").env("SSL_CERT_FILE", "/dev/null");
        command.args(["ls", "--url", url]);
        command
    };
    let (status, _, error) = told(run(command(&gateway.url), "").await);
    assert_eq!(status, 0, "{error}");
    let (status, _, error) = told(run(command("https://127.0.0.1:1"), "").await);
    assert!(status == 1 && error.contains("SSL_CERT_FILE"), "{status} {error}");
}
