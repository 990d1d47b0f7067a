//! What must hold of the database. Knows no driver.

use super::Broken;
use crate::config::{Config, StoreAuth, StoreKind};

/// Every rule that a configuration breaks.
pub(super) fn broken(config: &Config) -> Vec<Broken> {
    let mut broken = Vec::new();
    let store = &config.store;
    if store.kind != StoreKind::Postgres {
        return broken;
    }
    if store.host.as_deref().unwrap_or_default().is_empty() {
        broken.push(Broken {
            key: "store.host",
            others: &["store.kind"],
            wrong: "it is missing, and store.kind is \"postgres\"".into(),
            allowed: "the database's host, or the directory with its Unix socket",
        });
    }
    let by_token = store.auth == StoreAuth::Iam;
    if by_token && !store.tls {
        broken.push(Broken {
            key: "store.tls",
            others: &["store.auth"],
            wrong: "it is off, and store.auth is \"iam\": a token would be for all to read".into(),
            allowed: "true, or store.auth = \"password\"",
        });
    }
    if by_token && store.password.is_some() {
        broken.push(Broken {
            key: "store.password",
            others: &["store.auth"],
            wrong: "it is set, and store.auth is \"iam\": there is no password then".into(),
            allowed: "none, or store.auth = \"password\"",
        });
    }
    if store.tls && store.host.as_deref().is_some_and(|host| host.starts_with('/')) {
        broken.push(Broken {
            key: "store.tls",
            others: &["store.host"],
            wrong: "it is on, and store.host is a Unix socket's directory".into(),
            allowed: "false, where nobody else can listen",
        });
    }
    broken
}
