//! The section of the database. Knows no driver.

use std::path::PathBuf;

use super::reader::section;
use super::secret_ref::SecretRef;
use super::setting::choice;
use super::units::Period;

choice! {
    /// Where everything is stored that must survive a gateway.
    pub enum StoreKind {
        /// In one SQLite file.
        Sqlite = "sqlite",
        /// In Postgres.
        Postgres = "postgres",
    }
}

choice! {
    /// How the gateway signs in to Postgres.
    pub enum StoreAuth {
        /// By a password, or by none where Postgres asks for none.
        Password = "password",
        /// By a token of the gateway's AWS role, made afresh for each connection.
        Iam = "iam",
    }
}

section! {
    |context|
    /// The database. Postgres is for gateways whose machines may go away, as in containers, and for
    /// several of them.
    pub struct Store {
        /// What it is: `sqlite`, a file on this machine, or `postgres`, version 14 or newer.
        kind: StoreKind = StoreKind::Sqlite;
        /// SQLite's file. In the state directory unless set.
        path: PathBuf = context.state("shellgate.db");
        /// How long a write waits while somebody else (a backup) holds SQLite's file.
        busy_timeout: Period = Period::secs(5), in Period::millis(1)..=Period::mins(1);
        /// Postgres' host, or the directory with its Unix socket.
        host: Option<String> = None;
        /// Its port.
        port: u32 = 5432, in 1..=65535;
        /// The name of the database.
        database: String = "shellgate".into();
        /// The user who owns the tables.
        user: String = "gateway".into();
        /// How this user signs in: `password`, or `iam`, by a token of the gateway's AWS role.
        auth: StoreAuth = StoreAuth::Password;
        /// Where the password is: a file of mode 0600, or a parameter. Read for each connection. There is
        /// none unless set.
        password: Option<SecretRef> = None;
        /// Whether connections to `store.host` are TLS: its certificate must be for that name. Off only where
        /// nobody else can listen.
        tls: bool = true;
        /// Where the authorities (PEM) are that may have signed it, besides those that browsers trust. Read
        /// when the gateway starts.
        ca: Option<SecretRef> = None;
        /// Connections at one time, besides one for signs of life.
        connections: u32 = 8, in 1..=1_000;
        /// How long a gateway that starts waits for a database that can't be reached. Then it leaves.
        start_wait: Period = Period::mins(1), in Period::millis(0)..=Period::hours(1);
    }
}

impl Store {
    /// Whether any of its secrets is a parameter.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        let all = self.password.iter().chain(&self.ca);
        all.into_iter().any(|of| matches!(of, SecretRef::Parameter(_)))
    }

    /// Where it is, for whom it does not work.
    #[must_use]
    pub fn place(&self) -> String {
        match (self.kind, &self.host) {
            (StoreKind::Postgres, Some(_)) => "store".into(),
            (StoreKind::Postgres, None) | (StoreKind::Sqlite, _) => self.path.display().to_string(),
        }
    }
}
