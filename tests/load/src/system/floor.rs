//! The bare gateway as a system: one process, and one bridge process a session.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Programs, SHELL, Wish, free_port, plain};
use crate::processes::{Family, Role};
use crate::session::{Session, connect};
use crate::work::Work;

/// A bare gateway that runs.
pub struct Floor {
    address: SocketAddr,
}

impl Floor {
    /// Starts it.
    pub async fn start(
        family: &Family,
        place: &Path,
        work: &Work,
        programs: &Programs,
    ) -> Result<Self> {
        let address = free_port()?;
        let log = place.join("floor.log");
        let mut command = Command::new(&programs.floor);
        plain(&mut command, &work.files());
        command.arg("gateway").arg(address.port().to_string()).arg(place.join("floor.sock"));
        command.args(SHELL);
        family.start(Role::Gateway, command, &log)?;
        family.listens(address, &log).await?;
        Ok(Self { address })
    }

    /// A session: the gateway starts a bridge for it.
    pub async fn open(&self, wish: Wish) -> Result<Session> {
        let id = format!("/{}", wish.number);
        let ws = connect(self.address, &id, &[], wish.read_buffer).await?;
        Ok(Session::over_ws(wish.number, id, ws, None))
    }
}
