//! Whom a client believes over TLS: the certificate authorities of this machine, or those that
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` name; the same for REST and for WebSockets. Knows no gateway.

use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// There is nobody to believe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine has no certificate authorities ({0}): install them (`ca-certificates`), or name \
     their file in SSL_CERT_FILE"
)]
pub(crate) struct NoAuthorities(String);

/// TLS that believes this machine's authorities. They are read once in a process.
pub(crate) fn of_this_machine() -> Result<Arc<ClientConfig>, NoAuthorities> {
    static READ: OnceLock<Result<Arc<ClientConfig>, NoAuthorities>> = OnceLock::new();
    READ.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Old authorities that rustls cannot read stand in many stores; the others do.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map_or_else(|| "none found".into(), ToString::to_string);
            return Err(NoAuthorities(crate::problem::plain(&why)));
        }
        Ok(Arc::new(believing(roots)))
    })
    .clone()
}

/// TLS that believes nobody, for gateways that are spoken to in the clear.
pub(crate) fn of_nobody() -> ClientConfig {
    believing(RootCertStore::empty())
}

fn believing(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
