//! Whom the gateway believes: issuers, and where their keys are. Knows no token.

use reqwest::Url;

use super::fault::MISSING;
use super::key::{self, Algorithm, StaticKey};
use super::reader::{Context, Reader, section};
use super::sections::{AuthTimes, Development};
use super::setting::{Setting, quoted, text};
use super::source::Entry;
use super::units::Period;
use crate::auth::key_set::KEYS_MAX;
use crate::issuers;

/// How old published keys usually get: a new one is in use within this time, an unknown `kid` asks
/// earlier.
const REFRESH: Period = Period::mins(10);

/// How long an issuer may be out of reach before nobody of it can sign in.
const MAX_AGE: Period = Period::hours(24);

/// Whom the gateway believes.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// How exact its times are.
    pub times: AuthTimes,
    /// Each issuer once.
    pub issuers: Vec<Issuer>,
    /// The issuer of a developer's machine.
    pub development: Development,
}

/// One who issues tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// What its tokens say in `iss`, to the letter.
    pub issuer: String,
    /// One of these must stand in `aud`. Never empty.
    pub audience: Vec<String>,
    /// The algorithms that it may sign with. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// Its keys.
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySource {
    /// In a JWKS document (RFC 7517, section 5).
    Jwks {
        /// Its address: https, or http on loopback.
        url: Url,
        /// How old keys get before they are fetched again.
        refresh: Period,
        /// How old keys may get while fetching fails. Then they are not believed any more.
        max_age: Period,
    },
    /// In the configuration. Never empty.
    Static(Vec<StaticKey>),
}

section! {
    |context|
    /// One who issues tokens. At least one, unless the development issuer is enabled.
    pub struct IssuerKeys {
        /// What its tokens say in `iss`, to the letter. Required.
        issuer: Option<String> = None;
        /// One of these must stand in a token's `aud`. Required.
        audience: Vec<String> = Vec::new();
        /// The algorithms that it may sign with. Unless set: those of its `keys`; with `jwks_url` every one
        /// that needs no shared secret.
        algorithms: Vec<Algorithm> = Vec::new();
        /// Where its keys are published. This or `keys`.
        jwks_url: Option<JwksUrl> = None;
        /// How old published keys get before they are fetched again.
        refresh: Period = REFRESH, in Period::secs(30)..=Period::hours(24);
        /// How old published keys may get while fetching fails. Then they are not believed any more.
        max_age: Period = MAX_AGE, in Period::mins(1)..=Period::hours(720);
    }
}

/// An address of keys.
#[derive(Debug, Clone, PartialEq)]
pub struct JwksUrl(Url);

impl Setting for JwksUrl {
    fn allowed() -> String {
        "an https URL without user, password and fragment; http on loopback only".into()
    }

    fn read(entry: &Entry) -> Result<Self, String> {
        let url = Url::parse(text(entry)?).map_err(|error| format!("it is no URL: {error}"))?;
        // Checked first, so that no message after this one shows a password.
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user or a password in it".into());
        }
        if url.fragment().is_some() {
            return Err("it has a fragment".into());
        }
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if local => Ok(Self(url)),
            "http" => Err("keys that come by http can be anybody's".into()),
            other => Err(format!("its scheme is {other:?}")),
        }
    }

    fn show(&self) -> String {
        quoted(self.0.as_str())
    }
}

impl Auth {
    pub(super) fn show(&self) -> Vec<(&'static str, String)> {
        self.times.show()
    }
}

impl Issuer {
    pub(super) fn show(&self) -> Vec<(&'static str, String)> {
        let mut shown = IssuerKeys {
            issuer: Some(self.issuer.clone()),
            audience: self.audience.clone(),
            algorithms: self.algorithms.clone(),
            jwks_url: None,
            refresh: REFRESH,
            max_age: MAX_AGE,
        };
        match &self.keys {
            KeySource::Jwks { url, refresh, max_age } => {
                shown.jwks_url = Some(JwksUrl(url.clone()));
                (shown.refresh, shown.max_age) = (*refresh, *max_age);
                shown.show()
            }
            KeySource::Static(keys) => {
                let keys: Vec<_> = keys.iter().map(StaticKey::show).collect();
                let mut shown = shown.show();
                shown.retain(|(key, _)| !matches!(*key, "refresh" | "max_age"));
                shown.push(("keys", format!("[{}]", keys.join(", "))));
                shown
            }
        }
    }
}

/// Reads `[auth]`.
pub(super) fn read(reader: &mut Reader<'_>, context: &Context) -> Auth {
    let times = AuthTimes::read(reader, context);
    let mut table = reader.table("development");
    let development = Development::read(&mut table, context);
    table.finish();
    if development.user.trim().is_empty() {
        reader.fault("development", "the user has no name", "a name");
    }
    let mut issuers: Vec<Issuer> = Vec::new();
    for mut table in reader.tables("issuers") {
        let issuer = issuer(&mut table, context);
        if let Some(issuer) = issuer {
            if issuers.iter().any(|other| other.issuer == issuer.issuer) {
                table.fault("issuer", format!("{:?} is there twice", issuer.issuer), "each once");
            } else {
                issuers.push(issuer);
            }
        }
        table.finish();
    }
    Auth { times, issuers, development }
}

/// Reads one issuer; none where something is wrong with it, which is then among the faults.
fn issuer(table: &mut Reader<'_>, context: &Context) -> Option<Issuer> {
    let read = IssuerKeys::read(table, context);
    let keys: Vec<StaticKey> =
        table.tables("keys").into_iter().filter_map(|table| key::read(table, context)).collect();
    if !table.has("issuer") {
        table.fault("issuer", format!("it {MISSING}"), "a text");
    }
    if !table.has("audience") {
        table.fault("audience", format!("it {MISSING}"), "a text or a list of texts");
    } else if table.is_good("audience")
        && (read.audience.is_empty() || read.audience.iter().any(String::is_empty))
    {
        // An audience of none must not come to mean that any will do.
        table.fault("audience", "it is empty, or one of them is", "a text, or at least one");
    }
    if read.issuer.as_ref().is_some_and(|issuer| !issuers::is_name(issuer)) {
        let wrong = "it is empty, too long, or has control characters";
        table.fault("issuer", wrong, "what its tokens say in iss");
    }
    if keys.len() > KEYS_MAX {
        table.fault("keys", format!("it has {} of them", keys.len()), format!("up to {KEYS_MAX}"));
    }
    if read.refresh > read.max_age {
        let key = if table.has("refresh") { "refresh" } else { "max_age" };
        let wrong = format!("refresh ({}) is above max_age ({})", read.refresh, read.max_age);
        table.fault(key, wrong, "refresh up to max_age");
    }
    for (n, key) in keys.iter().enumerate() {
        let earlier = keys[..n]
            .iter()
            .find(|other| other.kid == key.kid && (key.kid.is_some() || other.alg == key.alg));
        match (earlier, &key.kid) {
            (Some(_), Some(kid)) => {
                table.fault("keys", format!("{kid:?} names two of them"), "each kid once");
            }
            (Some(_), None) => {
                let wrong = format!("two of them are for {}, and have no kid", key.alg);
                table.fault("keys", wrong, "a kid for each");
            }
            (None, _) => {}
        }
        if !read.algorithms.is_empty() && !read.algorithms.contains(&key.alg) {
            let wrong = format!("{} of {} is not among them", key.alg, key.place);
            table.fault("algorithms", wrong, "every alg of its keys");
        }
    }
    let (source, algorithms) = match (table.has("jwks_url"), table.has("keys")) {
        (true, true) => {
            table.fault("keys", "jwks_url is there too", "one of them");
            return None;
        }
        (false, false) => {
            table.fault("", format!("where its keys are {MISSING}"), "jwks_url or keys");
            return None;
        }
        (true, false) => {
            if read.algorithms.contains(&Algorithm::Hs256) {
                table.fault("algorithms", "HS256 is no algorithm of a public key", "the others");
            }
            let public = Algorithm::ALL.iter().copied().filter(|alg| *alg != Algorithm::Hs256);
            let JwksUrl(url) = read.jwks_url?;
            let source = KeySource::Jwks { url, refresh: read.refresh, max_age: read.max_age };
            (source, public.collect::<Vec<_>>())
        }
        (false, true) => {
            if keys.is_empty() && table.is_good("keys") {
                table.fault("keys", "there is none that can be used", "at least one");
            }
            let mut algorithms = Vec::new();
            for key in &keys {
                if !algorithms.contains(&key.alg) {
                    algorithms.push(key.alg);
                }
            }
            (KeySource::Static(keys), algorithms)
        }
    };
    let algorithms = if read.algorithms.is_empty() { algorithms } else { read.algorithms };
    Some(Issuer { issuer: read.issuer?, audience: read.audience, algorithms, keys: source })
}
