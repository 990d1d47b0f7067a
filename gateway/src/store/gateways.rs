//! The gateways that share a store, as rows, and what is nobody's of them. Knows no session's life.
//!
//! What a gateway keeps is stored with its id. It writes only what is its own, so that one which
//! stood still, or was taken for dead, takes nothing back from whoever has it since. Of a gateway
//! that is not registered nothing is kept: whoever comes may take it.

use super::statement::{Row, Statement};
use super::{Store, StoreError};

/// Orders registrations: "shelgate" in ASCII.
const LOCK: i64 = 0x7368_656c_6761_7465;

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Of its state directory: the same after a restart there.
    pub instance: String,
    /// What a person calls it.
    pub name: String,
    /// Where the others reach it; none for one that lives alone.
    pub address: Option<String>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: i64,
}

/// A gateway that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// New with each start.
    pub id: String,
    /// What it says of itself.
    pub says: Registration,
    /// Counted up as long as it lives.
    pub beat: i64,
}

impl Store {
    /// This gateway's id.
    #[must_use]
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Whether other gateways may have the same store at the same time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.database, super::Database::Postgres(_))
    }

    /// Registers this gateway. `false` where somebody stands in the way: either of them lives alone. An
    /// earlier start of the same instance is over, and its registration goes.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn register(&self, says: &Registration) -> Result<bool, StoreError> {
        let statement = Statement::new("DELETE FROM gateways WHERE instance = $1 AND id <> $2");
        self.run(statement.text(&says.instance).text(&self.gateway)).await?;
        let statement = Statement::new(
            "INSERT INTO gateways (id, instance, name, address, since_ms)
             SELECT $1, $2, $3, $4, $5
             WHERE NOT EXISTS (
                 SELECT 1 FROM gateways WHERE id <> $1 AND (address IS NULL OR $4 IS NULL)
             )
             ON CONFLICT (id) DO UPDATE SET beat = gateways.beat + 1",
        );
        let statement = statement
            .text(&self.gateway)
            .text(&says.instance)
            .text(&says.name)
            .maybe_text(says.address.as_deref())
            .whole(says.since_ms)
            .in_turn(LOCK);
        Ok(self.run(statement).await? == 1)
    }

    /// Says that this gateway lives. `false` where it was declared dead.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn beat(&self) -> Result<bool, StoreError> {
        let statement = Statement::new("UPDATE gateways SET beat = beat + 1 WHERE id = $1");
        Ok(self.run_aside(statement.text(&self.gateway)).await? == 1)
    }

    /// The gateways that are registered, the eldest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn gateways(&self) -> Result<Vec<Registered>, StoreError> {
        let statement = Statement::new(
            "SELECT id, instance, name, address, since_ms, beat FROM gateways
             ORDER BY since_ms, id LIMIT 1000",
        );
        self.rows_aside(statement).await?.iter().map(registered).collect()
    }

    /// Declares a gateway dead, unless it has said since that it lives: `false`.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn declare_dead(&self, gateway: &Registered) -> Result<bool, StoreError> {
        let statement = Statement::new("DELETE FROM gateways WHERE id = $1 AND beat = $2");
        Ok(self.run_aside(statement.text(&gateway.id).whole(gateway.beat)).await? == 1)
    }

    /// This gateway leaves: what it still keeps is nobody's.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn deregister(&self) -> Result<(), StoreError> {
        let statement = Statement::new("DELETE FROM gateways WHERE id = $1");
        self.run(statement.text(&self.gateway)).await?;
        Ok(())
    }
}

fn registered(row: &Row) -> Result<Registered, StoreError> {
    Ok(Registered {
        id: row.get("id")?,
        says: Registration {
            instance: row.get("instance")?,
            name: row.get("name")?,
            address: row.get("address")?,
            since_ms: row.get("since_ms")?,
        },
        beat: row.get("beat")?,
    })
}
