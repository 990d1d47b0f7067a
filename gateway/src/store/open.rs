//! Opens the store that a configuration names. Knows no statement.

use tokio::sync::watch;

use super::postgres::{Passwords, Postgres, PostgresConfig};
use super::sqlite::Sqlite;
use super::{Store, StoreError};
use crate::config::{Config, StoreKind};
use crate::gateway::StartError;
use crate::kept::Kept;

/// Longest name of a client that Postgres keeps, in bytes.
const NAME_MAX: usize = 63;

/// Opens it, once it is there. `waiting` says, in words, what is waited for.
///
/// # Errors
/// Where it can't be opened, or does not come.
pub async fn store(
    config: &Config,
    kept: &Kept,
    passwords: Option<Passwords>,
    waiting: &watch::Sender<String>,
) -> Result<Store, StartError> {
    let of = &config.store;
    let opened = match of.kind {
        StoreKind::Sqlite => Sqlite::open(&of.path, of.busy_timeout.get()).await.map(Store::from),
        StoreKind::Postgres => {
            let authorities = match &of.ca {
                Some(from) => {
                    let read = kept.read(from, false).await;
                    let wrong = |error| StartError::Config(vec![format!("store.ca: {error}")]);
                    Some(read.map_err(wrong)?)
                }
                None => None,
            };
            let config = postgres(config, authorities);
            Postgres::open(config, passwords, waiting).await.map(Store::from)
        }
    };
    let place = || of.place();
    opened.map_err(|source: StoreError| StartError::Store { place: place(), source })
}

fn postgres(config: &Config, authorities: Option<String>) -> PostgresConfig {
    let of = &config.store;
    let mut name = format!("shellgate-gateway {}", machine());
    name.truncate(name.floor_char_boundary(NAME_MAX));
    PostgresConfig {
        host: of.host.clone().unwrap_or_default(),
        // The configuration's own range is that of ports.
        port: u16::try_from(of.port).unwrap_or_default(),
        database: of.database.clone(),
        user: of.user.clone(),
        tls: of.tls,
        authorities,
        connections: of.connections as usize,
        start_wait: of.start_wait.get(),
        name,
    }
}

/// What this machine is called.
#[must_use]
pub fn machine() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_default()
}

/// Says what is waited for, and logs it where that is news.
pub fn say(waiting: &watch::Sender<String>, why: String) {
    let is_news = waiting.send_if_modified(|said| {
        let is_news = *said != why;
        said.clone_from(&why);
        is_news
    });
    if is_news {
        tracing::warn!("not ready: {why}");
    }
}
