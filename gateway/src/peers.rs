//! The gateways that share a store: which of them live, and where they are. Knows no session.
//!
//! Each counts up a number in its row. The others go by their own clocks: a number that has not moved
//! for too long, while the store answered all that time, is a dead gateway's, and its row is deleted.
//! Whoever finds its own row deleted was taken for dead, and leaves.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shellgate_protocol::SessionId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::core::Core;
use crate::store::open::{machine, say};
use crate::store::{Registered, Registration, Store, StoreError};
use crate::{reaper, removal};

pub mod call;
pub mod tunnel;

/// How often a gateway says that it lives, within the time after which it is taken for dead.
const BEATS: u32 = 4;

/// How often a gateway that waits for others to leave looks whether they have.
const AGAIN: Duration = Duration::from_millis(500);

/// The gateways that share a store with this one.
#[derive(Debug)]
pub struct Peers {
    others: watch::Sender<Arc<[Registered]>>,
    lost: watch::Sender<Option<String>>,
    passing: Arc<AtomicU64>,
}

/// A client that is passed on to another gateway, until this is dropped.
#[derive(Debug)]
pub struct Passing(Arc<AtomicU64>);

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Peers {
    fn default() -> Self {
        let others = watch::Sender::new(Arc::new([]) as Arc<[Registered]>);
        Self { others, lost: watch::Sender::new(None), passing: Arc::default() }
    }
}

impl Peers {
    /// Whether there are others, as far as is known.
    #[must_use]
    pub fn has_others(&self) -> bool {
        !self.others.borrow().is_empty()
    }

    /// How many others there are, as far as is known.
    #[must_use]
    pub fn others(&self) -> usize {
        self.others.borrow().len()
    }

    /// Counts a client that is passed on to another gateway.
    #[must_use]
    pub fn pass(&self) -> Passing {
        self.passing.fetch_add(1, Ordering::Relaxed);
        Passing(self.passing.clone())
    }

    /// How many clients are passed on to others.
    #[must_use]
    pub fn passing(&self) -> u64 {
        self.passing.load(Ordering::Relaxed)
    }

    /// Where another gateway is, if it lives.
    #[must_use]
    pub fn address_of(&self, gateway: &str) -> Option<String> {
        let others = self.others.borrow();
        others.iter().find(|other| other.id == gateway)?.says.address.clone()
    }

    /// Waits, as long as it takes, until this gateway was declared dead: in words.
    pub async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// What a gateway says of itself to the others, who listens for them at `listening`.
///
/// # Errors
/// In words, where nobody can know its address.
pub fn registration(
    config: &Config,
    instance: String,
    listening: Option<SocketAddr>,
    since_ms: i64,
) -> Result<Registration, String> {
    let address = match (&config.peers.address, listening) {
        (Some(address), _) => Some(address.clone()),
        (None, None) => None,
        (None, Some(at)) if !at.ip().is_unspecified() => Some(at.to_string()),
        (None, Some(at)) => {
            let own = own_address(config).map_err(|why| {
                format!("peers.address: set it; this gateway's own address can't be known ({why})")
            })?;
            Some(SocketAddr::new(own, at.port()).to_string())
        }
    };
    Ok(Registration { instance, name: machine(), address, since_ms })
}

/// By which address this machine goes to its database. Nothing is sent.
fn own_address(config: &Config) -> std::io::Result<std::net::IpAddr> {
    let host = config.store.host.as_deref().unwrap_or_default();
    let port = u16::try_from(config.store.port).unwrap_or_default();
    let to = (host, port).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// Registers this gateway, once nobody stands in the way. `waiting` says, in words, who does.
///
/// # Errors
/// Where the store fails.
pub async fn join(
    store: &Store,
    says: &Registration,
    deadline: Duration,
    waiting: &watch::Sender<String>,
) -> Result<(), StoreError> {
    if !store.is_shared() {
        return Ok(());
    }
    let mut watcher = Watcher::new(deadline);
    while !store.register(says).await? {
        let others = store.gateways().await?;
        watcher.look(store, &others).await;
        let who = |other: &Registered| {
            let since = crate::clock::rfc3339(other.says.since_ms);
            format!("{} since {since}", other.says.name)
        };
        let who: Vec<_> = others.iter().take(3).map(who).collect();
        let alone = match says.address {
            None => "this gateway has no listen.peer",
            Some(_) => "that one has no listen.peer",
        };
        let who = who.join(", ");
        say(
            waiting,
            format!("another gateway has the store, and {alone}: it waits its turn: {who}"),
        );
        sleep(AGAIN).await;
    }
    Ok(())
}

/// Says that this gateway lives, sees which others do, and takes what is nobody's, until it stops.
pub async fn keep(core: Arc<Core>) {
    let deadline = core.config.peers.deadline.get();
    let mut watcher = Watcher::new(deadline);
    let mut unkept = HashSet::new();
    loop {
        match round(&core, &mut watcher, &mut unkept).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!("this gateway was declared dead");
                let why = "it gave no sign of life for too long, and others have its sessions";
                core.peers.lost.send_replace(Some(why.to_owned()));
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the other gateways can't be seen");
                // Nor could they say that they live.
                watcher.forget();
            }
        }
        tokio::select! {
            () = sleep(deadline / BEATS) => {}
            () = core.stopping.cancelled() => return,
        }
    }
}

/// `false` where this gateway was declared dead.
async fn round(
    core: &Arc<Core>,
    watcher: &mut Watcher,
    unkept: &mut HashSet<SessionId>,
) -> Result<bool, StoreError> {
    if !core.store.beat().await? {
        return Ok(false);
    }
    let mut others = core.store.gateways().await?;
    others.retain(|other| other.id != core.store.gateway());
    watcher.look(&core.store, &others).await;
    core.peers.others.send_if_modified(|known| {
        let same = known.iter().map(|of| &of.id).eq(others.iter().map(|of| &of.id));
        if !same {
            *known = others.into();
        }
        !same
    });
    reaper::compare_keepers(core, unkept).await?;
    reaper::take_unkept(core).await?;
    removal::take_up_all(core).await?;
    Ok(true)
}

/// Sees whose numbers move.
struct Watcher {
    deadline: Duration,
    /// By gateway: its number, and since when.
    seen: HashMap<String, (i64, Instant)>,
}

impl Watcher {
    fn new(deadline: Duration) -> Self {
        Self { deadline, seen: HashMap::new() }
    }

    /// Starts over: what was not seen says nothing.
    fn forget(&mut self) {
        self.seen.clear();
    }

    /// Which of these have not moved for too long.
    fn dead<'a>(&mut self, others: &'a [Registered], now: Instant) -> Vec<&'a Registered> {
        self.seen.retain(|id, _| others.iter().any(|other| other.id == *id));
        let mut dead = Vec::new();
        for other in others {
            let (beat, since) = self.seen.entry(other.id.clone()).or_insert((other.beat, now));
            if *beat != other.beat {
                (*beat, *since) = (other.beat, now);
            }
            if now.duration_since(*since) >= self.deadline {
                dead.push(other);
            }
        }
        dead
    }

    async fn look(&mut self, store: &Store, others: &[Registered]) {
        for gone in self.dead(others, Instant::now()) {
            let (gateway, name) = (&gone.id, &gone.says.name);
            match store.declare_dead(gone).await {
                Ok(true) => tracing::warn!(gateway, name, "a gateway is declared dead"),
                // It was just slow, or somebody else was quicker.
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, gateway, "it can't be declared dead"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(id: &str, beat: i64) -> Registered {
        let says = Registration {
            instance: id.into(),
            name: id.into(),
            address: Some("10.0.0.1:7803".into()),
            since_ms: 0,
        };
        Registered { id: id.into(), says, beat }
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_is_dead_whose_number_stands_while_the_store_answers() {
        let mut watcher = Watcher::new(Duration::from_secs(20));
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let ids =
            |dead: Vec<&Registered>| dead.into_iter().map(|of| of.id.clone()).collect::<Vec<_>>();
        assert!(watcher.dead(&[gateway("a", 7), gateway("b", 3)], at(0)).is_empty());
        assert!(watcher.dead(&[gateway("a", 7), gateway("b", 4)], at(19)).is_empty());
        assert_eq!(ids(watcher.dead(&[gateway("a", 7), gateway("b", 4)], at(20))), ["a"]);
        assert_eq!(ids(watcher.dead(&[gateway("a", 8), gateway("b", 4)], at(39))), ["b"]);
        // The store was away: nobody could say anything.
        watcher.forget();
        assert!(watcher.dead(&[gateway("a", 8), gateway("b", 4)], at(900)).is_empty());
        assert_eq!(ids(watcher.dead(&[gateway("a", 8), gateway("b", 5)], at(920))), ["a"]);
    }

    #[test]
    fn a_gateway_is_where_it_says_or_where_it_listens_or_where_its_way_to_the_database_begins() {
        let text = "[auth.development]\nenabled = true\n";
        let (path, none) =
            (std::path::Path::new("gateway.toml"), std::collections::BTreeMap::new());
        let mut config = Config::read(Some((path, text)), &none, path).expect("it holds");
        config.store.host = Some("127.0.0.1".into());
        let address = |config: &Config, listening: Option<&str>| {
            let at = listening.map(|at| at.parse().expect("an address"));
            registration(config, "i".into(), at, 0).expect("it is known").address
        };
        assert_eq!(address(&config, None), None);
        assert_eq!(address(&config, Some("10.0.0.7:7803")).as_deref(), Some("10.0.0.7:7803"));
        assert_eq!(address(&config, Some("0.0.0.0:7803")).as_deref(), Some("127.0.0.1:7803"));
        config.peers.address = Some("gateway-1.internal:7803".into());
        let named = address(&config, Some("0.0.0.0:1"));
        assert_eq!(named.as_deref(), Some("gateway-1.internal:7803"));
    }
}
