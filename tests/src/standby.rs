//! Another gateway with the store of a world: it waits its turn. Knows no session.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::aws::free_port;
use crate::gateway::{Gateway, NotServing};
use crate::world::lock;
use crate::{World, within};

/// How often it is asked whether it lives.
const LOOK: Duration = Duration::from_millis(20);

/// A gateway that waits for the store.
pub struct Standby {
    admin: SocketAddr,
    starting: AbortOnDropHandle<Result<Gateway, NotServing>>,
    _place: TempDir,
}

impl World {
    /// Starts another gateway with the same store, and a state directory of its own.
    pub async fn has_a_standby(&self) -> Standby {
        let place = tempfile::Builder::new().prefix("shellgate-standby-").tempdir();
        let place = place.expect("a place");
        std::fs::create_dir(place.path().join("tmp")).expect("a folder");
        let mut config = lock(&self.shared.config).clone();
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let state = place.path().join("state");
        config.set("server.state_dir", state.to_str().expect("a path in UTF-8"));
        config.set("listen.client", "127.0.0.1:0");
        config.set("listen.admin", admin.to_string());
        let path = place.path().join("gateway.toml");
        config.write(&path);
        let home = place.path().to_path_buf();
        let starting = async move { Gateway::start(&path, &home).await };
        let starting = AbortOnDropHandle::new(TaskTracker::new().spawn(starting));
        let mut standby = Standby { admin, starting, _place: place };
        let lives = async {
            while says(admin, "livez").await.is_none_or(|(status, _)| status != 200) {
                tokio::time::sleep(LOOK).await;
            }
        };
        // Polled beside, so that one that does not start is not waited for.
        tokio::select! {
            () = within("a standby lives", lives) => {}
            ended = &mut standby.starting => match ended.expect("it did not panic") {
                Ok(_) => panic!("it serves: the store is nobody's"),
                Err(NotServing(said)) => panic!("it does not live:\n{said}"),
            },
        }
        standby
    }
}

impl Standby {
    /// What it answers an operator: a status, and words.
    pub async fn says(&self, of: &str) -> Option<(u16, String)> {
        says(self.admin, of).await
    }

    /// Waits until it serves, and stops it in good order.
    pub async fn serves_and_is_stopped(self) {
        let started = within("the standby has its turn", self.starting).await;
        let Ok(gateway) = started.expect("it did not panic") else { panic!("it does not serve") };
        gateway.signal(Signal::TERM);
        let ended = gateway.ended().await;
        assert!(ended.success(), "{ended}\n{}", gateway.log());
    }
}

async fn says(admin: SocketAddr, of: &str) -> Option<(u16, String)> {
    let answer = reqwest::get(format!("http://{admin}/{of}")).await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.text().await.ok()?))
}
