//! Whom a bridge takes for its gateway over a network: who shows a certificate for the gateway's
//! name, signed by one of the authorities that the bridge was given, and nobody else. Knows no
//! address.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};

/// Why a text is no list of authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthorities {
    /// It is not PEM.
    #[error("it is not PEM: {0}")]
    NotPem(String),
    /// There is something else in it than certificates.
    #[error("it holds something else than certificates")]
    NotACertificate,
    /// A certificate in it cannot be read.
    #[error("a certificate in it cannot be read: {0}")]
    Unreadable(String),
    /// There is none in it.
    #[error("there is no certificate in it")]
    None,
    /// TLS cannot be had.
    #[error("there is no TLS: {0}")]
    NoTls(String),
}

/// How to speak to a gateway whose certificate one of these authorities (PEM, one or more) has
/// signed: TLS 1.3, and no session is resumed.
///
/// # Errors
/// [`BadAuthorities`].
pub fn trusting(pem: &str) -> Result<Arc<ClientConfig>, BadAuthorities> {
    let mut authorities = RootCertStore::empty();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        let (SectionKind::Certificate, certificate) =
            section.map_err(|error| BadAuthorities::NotPem(error.to_string()))?
        else {
            return Err(BadAuthorities::NotACertificate);
        };
        authorities
            .add(CertificateDer::from(certificate))
            .map_err(|error| BadAuthorities::Unreadable(error.to_string()))?;
    }
    if authorities.is_empty() {
        return Err(BadAuthorities::None);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| BadAuthorities::NoTls(error.to_string()))?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("../tests/authority.pem");

    #[test]
    fn authorities_are_certificates_and_nothing_else() {
        assert!(trusting(CERTIFICATE).is_ok());
        assert!(trusting(&format!("The first:\n{CERTIFICATE}\nThe other:\n{CERTIFICATE}")).is_ok());
        let refused = |text: &str| trusting(text).unwrap_err();
        assert_eq!(refused(""), BadAuthorities::None);
        assert_eq!(refused("ssm:/shellgate/authority"), BadAuthorities::None);
        let cut = &CERTIFICATE[..CERTIFICATE.len() / 2];
        assert!(matches!(refused(cut), BadAuthorities::NotPem(_)));
        assert!(matches!(refused(&format!("{CERTIFICATE}{cut}")), BadAuthorities::NotPem(_)));
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(refused(&format!("{CERTIFICATE}{key}")), BadAuthorities::NotACertificate);
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(refused(empty), BadAuthorities::Unreadable(_)));
    }
}
