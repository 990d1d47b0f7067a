//! Another gateway beside the one of a world, with the same store and the same AWS. Bridges dial
//! whichever of them the balancer between leads to. Knows no session.

use std::net::SocketAddr;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::aws::free_port;
use crate::gateway::Gateway;
use crate::world::lock;
use crate::{Cable, User, World, WorldBuilder, afar};

/// A gateway beside the world's own.
pub struct Another {
    gateway: Gateway,
    _place: TempDir,
}

impl WorldBuilder {
    /// Has bridges dial a balancer, so that there may be several gateways. On AWS.
    #[must_use]
    pub async fn with_a_balancer(self) -> (Self, Cable) {
        let balancer = Cable::to(([127, 0, 0, 1], 0).into(), &self.shared.tracker).await;
        *lock(&self.shared.balancer) = Some(balancer.address());
        (self.on_aws(), balancer)
    }
}

impl World {
    /// A cable to the gateways' database: one of them may go by it.
    pub async fn cable_to_its_database(&self) -> Cable {
        let at = ([127, 0, 0, 1], self.database_port()).into();
        Cable::to(at, &self.shared.tracker).await
    }

    /// The certificate of the authority by which tasks know their gateways.
    ///
    /// # Panics
    /// Where it is not on AWS.
    #[must_use]
    pub fn authority(&self) -> String {
        let (certificate, _) = afar::papers(self.shared.place());
        std::fs::read_to_string(certificate).expect("it was made")
    }

    /// Starts another gateway with the same configuration, and a state directory of its own.
    ///
    /// # Panics
    /// Where it does not serve.
    pub async fn has_another_gateway(&self) -> Another {
        self.has_another_gateway_with(&[]).await
    }

    /// The same, with some keys of its configuration changed.
    ///
    /// # Panics
    /// Where it does not serve.
    pub async fn has_another_gateway_with(&self, changes: &[(&str, toml::Value)]) -> Another {
        let place = tempfile::Builder::new().prefix("shellgate-another-").tempdir();
        let place = place.expect("a place");
        std::fs::create_dir(place.path().join("tmp")).expect("a folder");
        let mut config = lock(&self.shared.config).clone();
        let state = place.path().join("state");
        config.set("server.state_dir", state.to_str().expect("a path in UTF-8"));
        config.set("listen.client", "127.0.0.1:0");
        config.set("listen.admin", "127.0.0.1:0");
        config.set("listen.task", format!("127.0.0.1:{}", free_port()));
        for (key, value) in changes {
            config.set(key, value.clone());
        }
        let path = place.path().join("gateway.toml");
        config.write(&path);
        let started = Gateway::start(&path, place.path()).await;
        let gateway = started.unwrap_or_else(|why| panic!("it does not serve:\n{}", why.0));
        Another { gateway, _place: place }
    }
}

impl Another {
    /// Where its users come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.gateway.addresses().0
    }

    /// Where bridges dial it.
    #[must_use]
    pub fn task_address(&self) -> SocketAddr {
        self.gateway.task_address()
    }

    /// Where other gateways call it.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.gateway.peer_address()
    }

    /// The same user, who comes to this gateway.
    #[must_use]
    pub fn has(&self, user: &User) -> User {
        user.at(self.address())
    }

    /// One of its figures.
    ///
    /// # Panics
    /// Where it has no such figure.
    pub async fn figure(&self, name: &str) -> u64 {
        let url = format!("http://{}/metrics", self.gateway.addresses().1);
        let text = reqwest::get(url).await.expect("an answer").text().await.expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("{name}:\n{text}"))
    }

    /// Waits until it has said something in its log.
    pub async fn is_heard_to_say(&self, words: &str) {
        self.gateway.says(words).await;
    }

    /// What it said.
    #[must_use]
    pub fn log(&self) -> String {
        self.gateway.log()
    }

    /// It stands still: nothing of it moves until it goes on.
    pub fn stands_still(&self) {
        self.gateway.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn goes_on(&self) {
        self.gateway.signal(Signal::CONT);
    }

    /// Waits until it has left by itself, and not in good order.
    pub async fn is_seen_to_leave(&self) {
        let ended = self.gateway.ended().await;
        assert!(!ended.success(), "whoever watches over it is to start it again: {ended}");
    }

    /// Kills it, as a crash would.
    pub async fn is_killed(self) {
        self.gateway.signal(Signal::KILL);
        self.gateway.ended().await;
    }

    /// Stops it and leaves its sessions, as a deployment does.
    pub async fn is_stopped(self) {
        self.gateway.signal(Signal::TERM);
        let ended = self.gateway.ended().await;
        assert!(ended.success(), "it stops in good order: {ended}\n{}", self.gateway.log());
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("another gateway said:\n{}", self.gateway.log());
        }
        self.gateway.signal(Signal::KILL);
    }
}
