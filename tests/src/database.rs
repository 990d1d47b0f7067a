//! The Postgres of a world, where its gateway's store is in one. Knows no table.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use shellgate_database::{Database, NAME, PASSWORD, SUPERUSER};
use sqlx::postgres::PgConnectOptions;

use crate::World;
use crate::clock::{At, Store};
use crate::config::Config;
use crate::world::{Shared, lock};

/// Makes a gateway's configuration one whose store is there: by TLS, with a password in a file.
pub(crate) fn configure(database: &Database, config: &mut Config, place: &Path) {
    let write = |name: &str, text: &str| {
        let path = place.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
        format!("file:{}", path.display())
    };
    config.set("store.kind", "postgres");
    config.set("store.host", database.host());
    config.set("store.port", i64::from(database.port()));
    config.set("store.database", NAME);
    config.set("store.user", NAME);
    config.set("store.password", write("database.password", PASSWORD));
    config.set("store.ca", write("database-ca.pem", &database.authority()));
}

fn database(world: &World) -> &Mutex<Database> {
    world.shared.database.get().expect("its store is in Postgres")
}

impl World {
    /// Stops the gateway's Postgres at once, as a crash would.
    ///
    /// # Panics
    /// Where its store is not in one.
    pub fn stops_its_database(&self) {
        lock(database(self)).stops();
    }

    /// Starts it again.
    ///
    /// # Panics
    /// Where its store is not in one.
    pub fn starts_its_database_again(&self) {
        lock(database(self)).starts_again();
    }

    /// Has the gateway sign in by a token of its AWS role, from its next start.
    pub fn signs_in_by_a_token(&self) {
        let mut config = lock(&self.shared.config);
        config.set("store.auth", "iam");
        config.set("aws.region", "eu-central-1");
        config.unset("store.password");
    }

    pub(crate) fn database_port(&self) -> u16 {
        lock(database(self)).port()
    }

    /// What its database said.
    ///
    /// # Panics
    /// Where its store is not in Postgres.
    #[must_use]
    pub fn log_of_its_database(&self) -> String {
        lock(database(self)).log()
    }

    /// Has somebody else do something in the database, who may do everything.
    ///
    /// # Panics
    /// Where its store is not in Postgres, or it can't be done.
    pub async fn does_in_its_database(&self, sql: &str) {
        let at = At::Server(Box::new(as_superuser(&lock(database(self)))));
        let mut store = Store::open(&at).await;
        store.run(sql, &[]).await;
        store.close().await;
    }
}

impl Shared {
    /// Where the gateway's store is.
    pub(crate) fn store_at(&self) -> At {
        match self.database.get() {
            Some(database) => At::Server(Box::new(as_superuser(&lock(database)))),
            None => At::File(self.state().join("shellgate.db")),
        }
    }
}

fn as_superuser(database: &Database) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(database.port())
        .username(SUPERUSER)
        .password(PASSWORD)
        .database(NAME)
}
