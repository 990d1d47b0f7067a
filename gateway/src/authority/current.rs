//! The authority as it is kept now, and the gateway's certificate by it: both are replaced while the
//! gateway runs. Connections that stand stay. Knows no task.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use tokio::sync::watch;

use super::{Authority, AuthorityError, Leaf};
use crate::config::{SecretRef, Tasks};
use crate::kept::Kept;

/// How long before it runs out an authority is spoken of.
const RUNS_OUT_SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// The authority as it is kept now.
pub struct Authorities {
    kept: Kept,
    certificates: Vec<SecretRef>,
    key: SecretRef,
    host: String,
    /// What was read last.
    read: watch::Sender<Read>,
    leaf: watch::Sender<Leaf>,
}

/// What was read, and what it came to.
#[derive(Clone)]
struct Read {
    texts: [String; 2],
    authority: Arc<Authority>,
}

impl Authorities {
    /// Reads an authority, and makes the gateway's first certificate.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn load(tasks: &Tasks, kept: Kept) -> Result<Self, AuthorityError> {
        let missing = |setting| super::wrong(setting, "it is missing");
        let host = tasks.dial.as_ref().ok_or_else(|| missing("dial"))?.host().to_owned();
        let key = tasks.authority_key.clone().ok_or_else(|| missing("authority_key"))?;
        let certificates = tasks.authorities.clone();
        let now = SystemTime::now();
        let read = read(&kept, &certificates, &key, now).await?;
        let leaf = read.authority.issue(&host, now)?;
        let (read, leaf) = (watch::Sender::new(read), watch::Sender::new(leaf));
        Ok(Self { kept, certificates, key, host, read, leaf })
    }

    /// The certificates that tasks are to trust, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.read.borrow().authority.pem()
    }

    /// What the gateway speaks to tasks: TLS 1.3 with the newest certificate, and no session is
    /// resumed.
    ///
    /// # Errors
    /// Never: this version is there.
    pub fn tls(&self) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&TLS13])
                .map_err(|error| AuthorityError::Unmade(error.to_string()))?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Newest(self.leaf.subscribe())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// What the gateway speaks to other gateways that call it: TLS 1.3, with whoever has a certificate
    /// by the same authority. For one connection: the authority may be another one by the next.
    ///
    /// # Errors
    /// Where the authority's certificates are of no use for that.
    pub fn peer_server(&self) -> Result<Arc<ServerConfig>, AuthorityError> {
        let unmade = |error: &dyn std::fmt::Display| AuthorityError::Unmade(error.to_string());
        let roots = Arc::new(self.read.borrow().authority.roots()?);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let known = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| unmade(&error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| unmade(&error))?
            .with_client_cert_verifier(known)
            .with_cert_resolver(Arc::new(Newest(self.leaf.subscribe())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// What the gateway speaks to another gateway that it calls, for one connection.
    ///
    /// # Errors
    /// Where the authority's certificates are of no use for that.
    pub fn peer_client(&self) -> Result<Arc<ClientConfig>, AuthorityError> {
        let roots = self.read.borrow().authority.roots()?;
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&TLS13])
                .map_err(|error| AuthorityError::Unmade(error.to_string()))?
                .with_root_certificates(roots)
                .with_client_cert_resolver(Arc::new(Newest(self.leaf.subscribe())));
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Reads again, and makes a new certificate where the authority has changed or the old
    /// certificate is half as old as it gets. Where something fails all stays as it is.
    pub async fn look(&self, now: SystemTime) {
        let mut changed = false;
        match read(&self.kept, &self.certificates, &self.key, now).await {
            Ok(newer) => {
                changed = newer.texts != self.read.borrow().texts;
                if changed {
                    tracing::info!("the tasks' authority has changed");
                    self.read.send_replace(newer);
                }
            }
            Err(error) => tracing::warn!(%error, "the tasks' authority stays as it was"),
        }
        let authority = self.read.borrow().authority.clone();
        if authority.not_after() < now + RUNS_OUT_SOON {
            tracing::warn!("the tasks' authority runs out within 30 days: replace it");
        }
        if !changed && now < self.leaf.borrow().renew_at {
            return;
        }
        match authority.issue(&self.host, now) {
            Ok(leaf) => drop(self.leaf.send_replace(leaf)),
            Err(error) => tracing::error!(%error, "the task listener's certificate is not renewed"),
        }
    }
}

async fn read(
    kept: &Kept,
    certificates: &[SecretRef],
    key: &SecretRef,
    now: SystemTime,
) -> Result<Read, AuthorityError> {
    let mut text = String::new();
    for from in certificates {
        text.push_str(&kept.read(from, false).await?);
        text.push('\n');
    }
    let key = kept.read(key, true).await?;
    let authority = Arc::new(Authority::read(&text, &key, now)?);
    Ok(Read { texts: [text, key], authority })
}

/// Shows the newest certificate, whatever is asked for.
#[derive(Debug)]
struct Newest(watch::Receiver<Leaf>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().certified.clone())
    }
}

impl ResolvesClientCert for Newest {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
