//! The private authority by which tasks know their gateway: its certificates, the key of one of
//! them, and what that signs. Knows neither where these are kept nor any task.
//!
//! A gateway never makes an authority by itself: two gateways that share tasks must share it, too.

mod current;
mod made;
mod pem;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use current::Authorities;
pub use made::{MakeError, make};

use crate::kept::KeptError;

/// How far a task's clock may be off from the gateway's.
const SKEW: Duration = Duration::from_secs(3600);

/// How long a gateway's certificate is good for, from its making. Short, so that what leaks with a
/// gateway's memory is soon of no use.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What a gateway is called by the others, in its certificate: whatever its address is.
pub const PEER: &str = "peer.shellgate.internal";

/// An authority.
pub struct Authority {
    /// Each that tasks trust.
    certificates: Vec<CertificateDer<'static>>,
    /// The one that signs.
    issuer: Issuer<'static, KeyPair>,
    /// When that one runs out.
    not_after: SystemTime,
}

/// A gateway's certificate and its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// As TLS wants it.
    pub certified: Arc<CertifiedKey>,
    /// When it is half as old as it gets.
    pub renew_at: SystemTime,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its certificates or its key can't be read.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A text is not what it should be.
    #[error("tasks.{setting}: {why}")]
    Text {
        /// Of which setting.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The key is none of theirs.
    #[error("tasks.authority_key: it is the key of none of tasks.authorities")]
    AnotherKey,
    /// Its time has not come, or is over.
    #[error("tasks.authorities: the certificate of tasks.authority_key is not valid now")]
    NotNow,
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    Unmade(String),
}

impl AuthorityError {
    /// Whether the configuration is at fault, so that trying again is of no use.
    #[must_use]
    pub fn is_the_configurations(&self) -> bool {
        match self {
            Self::Kept(error) => !error.is_retryable(),
            Self::Text { .. } | Self::AnotherKey | Self::NotNow => true,
            Self::Unmade(_) => false,
        }
    }
}

fn wrong(setting: &'static str, why: impl Into<String>) -> AuthorityError {
    AuthorityError::Text { setting, why: why.into() }
}

impl Authority {
    /// Reads certificates and the key of one of them (all PEM). Of several that have this key the
    /// newest that is valid signs.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn read(certificates: &str, key: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let certificates = certificates_of(certificates)?;
        let key = key_of(key)?;
        let mut fitting = Vec::new();
        for certificate in &certificates {
            let parsed = authority_of(certificate)?;
            if parsed.public_key().raw == key.subject_public_key_info() {
                let validity = parsed.validity();
                let times = [validity.not_before, validity.not_after].map(time_of);
                fitting.push((times, certificate));
            }
        }
        if fitting.is_empty() {
            return Err(AuthorityError::AnotherKey);
        }
        // A clock that is a little slow does not make a new one useless.
        let valid = |[from, to]: [SystemTime; 2]| from <= now + SKEW && now < to;
        let ([_, not_after], signer) = fitting
            .into_iter()
            .filter(|(times, _)| valid(*times))
            .max_by_key(|([from, _], _)| *from)
            .ok_or(AuthorityError::NotNow)?;
        let issuer = Issuer::from_ca_cert_der(signer, key)
            .map_err(|error| wrong("authorities", error.to_string()))?;
        Ok(Self { issuer, not_after, certificates })
    }

    /// The certificates as tasks get them (PEM): nothing else that stood beside them.
    #[must_use]
    pub fn pem(&self) -> String {
        let certificates = self.certificates.iter();
        certificates.map(|certificate| pem::of("CERTIFICATE", certificate)).collect()
    }

    /// Those by which gateways know each other.
    ///
    /// # Errors
    /// [`AuthorityError::Unmade`].
    pub fn roots(&self) -> Result<RootCertStore, AuthorityError> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|error| AuthorityError::Unmade(error.to_string()))?;
        }
        Ok(roots)
    }

    /// When the one that signs runs out.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// A new key, and a certificate: for this host towards tasks, and as a gateway towards others.
    ///
    /// # Errors
    /// [`AuthorityError::Unmade`].
    pub fn issue(&self, host: &str, now: SystemTime) -> Result<Leaf, AuthorityError> {
        let unmade = |error: &dyn std::fmt::Display| AuthorityError::Unmade(error.to_string());
        let key = KeyPair::generate().map_err(|error| unmade(&error))?;
        let mut params = CertificateParams::new([host.to_owned(), PEER.to_owned()])
            .map_err(|error| unmade(&error))?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Shellgate gateway");
        params.not_before = (now - SKEW).into();
        params.not_after = (now + LIFETIME).min(self.not_after).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| unmade(&error))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = any_supported_type(&key).map_err(|error| unmade(&error))?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key));
        Ok(Leaf { certified, renew_at: now + LIFETIME / 2 })
    }
}

/// The sections of a PEM text.
fn sections(
    setting: &'static str,
    text: &str,
) -> Result<Vec<(SectionKind, Vec<u8>)>, AuthorityError> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(setting, format!("it is not PEM: {error}")))
}

fn certificates_of(text: &str) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let setting = "authorities";
    let mut certificates = Vec::new();
    for (kind, bytes) in sections(setting, text)? {
        if kind != SectionKind::Certificate {
            return Err(wrong(setting, "there is something else in it than certificates"));
        }
        certificates.push(CertificateDer::from(bytes));
    }
    match certificates.len() {
        1 | 2 => Ok(certificates),
        n => Err(wrong(setting, format!("there are {n} certificates; one or two are expected"))),
    }
}

fn key_of(text: &str) -> Result<KeyPair, AuthorityError> {
    let setting = "authority_key";
    let none = || wrong(setting, "it is not one private key of a kind that is known (PEM)");
    let [(kind, bytes)] = <[_; 1]>::try_from(sections(setting, text)?).map_err(|_| none())?;
    let key = PrivateKeyDer::from_pem(kind, bytes).ok_or_else(none)?;
    KeyPair::try_from(&key).map_err(|_| none())
}

/// The certificate, if it may sign others.
fn authority_of<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, AuthorityError> {
    let setting = "authorities";
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| wrong(setting, format!("a certificate can't be read: {error}")))?;
    let signs = match parsed.key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Err(_) => false,
    };
    if !parsed.is_ca() || !signs {
        let subject = parsed.subject();
        return Err(wrong(setting, format!("{subject} may not sign certificates")));
    }
    Ok(parsed)
}

fn time_of(time: x509_parser::time::ASN1Time) -> SystemTime {
    crate::clock::time_of(time.timestamp().saturating_mul(1000))
}

#[cfg(test)]
mod tests;
