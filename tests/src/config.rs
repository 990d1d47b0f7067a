//! A gateway's configuration, as a world writes it. Knows no process.

use std::net::SocketAddr;
use std::path::Path;

use toml::{Table, Value};

use crate::binaries;
use crate::issuer::{AUDIENCE, ISSUER, Issuer};

/// The longest that a sandbox outlives a test that was killed and could not clean up.
const ORPHAN: &str = "3m";

/// A configuration that can be changed before a gateway reads it.
#[derive(Debug, Clone)]
pub struct Config(Table);

impl Config {
    /// What a world starts from: own directories, free ports, no limits that a story would meet
    /// by accident.
    #[must_use]
    pub fn new(state: &Path, issuer: &Issuer) -> Self {
        let mut config = Self(Table::new());
        let key = serde_json::json!({ "alg": "EdDSA", "jwk": issuer.jwk });
        let issuers =
            serde_json::json!([{ "issuer": ISSUER, "audience": [AUDIENCE], "keys": [key] }]);
        config.set("auth.issuers", Value::try_from(issuers).expect("TOML"));
        config.set("server.state_dir", state.to_str().expect("a path in UTF-8"));
        config.set("server.drain", "5s");
        config.set("log.format", "json");
        config.set("log.filter", "info,shellgate_gateway=debug");
        config.set("listen.client", "127.0.0.1:0");
        config.set("listen.admin", "127.0.0.1:0");
        config.set("limits.sessions_per_user", 100);
        config.set("limits.starts_per_minute_per_user", 1000);
        config.set("limits.stop_grace", "2s");
        config.set("limits.orphan", ORPHAN);
        let bridge = binaries::folder().join("shellgate-bridge");
        config.set("sandbox.bridge", bridge.to_str().expect("a path in UTF-8"));
        config
    }

    /// Sets a key, given with its sections: `limits.sessions_per_user`.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let mut path: Vec<&str> = key.split('.').collect();
        let last = path.pop().expect("a key");
        let mut table = &mut self.0;
        for section in path {
            let entry = table.entry(section).or_insert_with(|| Table::new().into());
            table = entry.as_table_mut().expect("a section");
        }
        table.insert(last.to_owned(), value.into());
    }

    /// Takes a key away, given likewise.
    pub(crate) fn unset(&mut self, key: &str) {
        let (section, key) = key.rsplit_once('.').expect("a section");
        let table = section.split('.').try_fold(&mut self.0, |table, section| {
            table.get_mut(section).and_then(Value::as_table_mut)
        });
        table.and_then(|table| table.remove(key)).expect("it was set");
    }

    /// Keeps the ports that a first gateway has found: its clients know them.
    pub(crate) fn listen_on(&mut self, client: SocketAddr, admin: SocketAddr) {
        self.set("listen.client", client.to_string());
        self.set("listen.admin", admin.to_string());
    }

    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, self.0.to_string()).expect("the configuration is written");
    }
}
