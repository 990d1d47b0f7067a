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

use shellgate_infra::compute::Compute;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::core::Core;
use crate::peers::call::Teller;
use crate::store::open::{machine, say};
use crate::store::{Registered, Registration, Store, StoreError};
use crate::{reaper, removal};

pub mod call;
pub mod tunnel;

/// How often a gateway says that it lives, within the time after which it is taken for dead.
const BEATS: u32 = 4;

/// How often a gateway that waits for others to leave looks whether they have.
const AGAIN: Duration = Duration::from_millis(500);

/// Clients that look at the same time where their session is by now.
const LOOKERS: usize = 16;

/// Questions to other gateways at the same time.
const ASKERS: usize = 32;

/// The gateways that share a store with this one.
#[derive(Debug)]
pub struct Peers {
    others: watch::Sender<Arc<[Registered]>>,
    lost: watch::Sender<Option<String>>,
    passing: Arc<AtomicU64>,
    /// Clients that look where their session is by now: so many at the same time.
    pub lookers: Semaphore,
    /// Questions to other gateways, likewise.
    pub askers: Semaphore,
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
        Self {
            others,
            lost: watch::Sender::new(None),
            passing: Arc::default(),
            lookers: Semaphore::new(LOOKERS),
            askers: Semaphore::new(ASKERS),
        }
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

    /// This gateway was declared dead.
    pub fn lose(&self) {
        if !self.is_lost() {
            tracing::error!("this gateway was declared dead");
            let why = "it gave no sign of life for too long, and others have its sessions";
            self.lost.send_replace(Some(why.to_owned()));
        }
    }

    /// Whether it was.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
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
/// Where the store fails, and goes on to for so long.
pub async fn join(
    store: &Store,
    says: &Registration,
    deadline: Duration,
    patience: Duration,
    waiting: &watch::Sender<String>,
) -> Result<(), StoreError> {
    if !store.is_shared() {
        return Ok(());
    }
    let mut watcher = Watcher::new(deadline);
    let mut away = Instant::now();
    loop {
        let asked = async {
            let registered = store.register(says).await?;
            let others = if registered { Vec::new() } else { store.gateways().await? };
            watcher.look(store, &others).await;
            Ok((registered, others))
        };
        match asked.await {
            Ok((true, _)) => return Ok(()),
            Ok((false, others)) => {
                away = Instant::now();
                say(waiting, who_is_in_the_way(says, &others));
            }
            // As when it is opened, a database may be away for a while.
            Err(error) => {
                let error: StoreError = error;
                if !error.is_retryable() || away.elapsed() >= patience {
                    return Err(error);
                }
                watcher.forget();
                say(waiting, error.to_string());
            }
        }
        sleep(AGAIN).await;
    }
}

fn who_is_in_the_way(says: &Registration, others: &[Registered]) -> String {
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
    format!("another gateway has the store, and {alone}: it waits its turn: {who}")
}

/// Says again and again that this gateway lives, and sees which others do, until it was declared dead
/// itself. By a connection of its own to the store, and beside everything else: whoever has much to do is
/// not dead.
pub async fn live(store: Arc<Store>, peers: Arc<Peers>, tell: Option<Teller>, deadline: Duration) {
    let mut watcher = Watcher::new(deadline);
    loop {
        match sign(&store, &peers, tell.as_ref(), &mut watcher).await {
            Ok(true) => {}
            Ok(false) => return peers.lose(),
            Err(error) => {
                tracing::warn!(%error, "the other gateways can't be seen");
                // Nor could they say that they live.
                watcher.forget();
            }
        }
        sleep(deadline / BEATS).await;
    }
}

/// One sign of life, and a look at the others'. `false` where this gateway was declared dead.
async fn sign(
    store: &Store,
    peers: &Peers,
    tell: Option<&Teller>,
    watcher: &mut Watcher,
) -> Result<bool, StoreError> {
    if !store.beat().await? {
        return Ok(false);
    }
    let mut others = store.gateways().await?;
    others.retain(|other| other.id != store.gateway());
    for gone in watcher.look(store, &others).await {
        if let Some(tell) = tell {
            tell.tell(gone);
        }
    }
    peers.others.send_if_modified(|known| {
        let same = known.iter().map(|of| &of.id).eq(others.iter().map(|of| &of.id));
        if !same {
            *known = others.into();
        }
        !same
    });
    Ok(true)
}

/// Takes again and again what is nobody's, lets go of what is another's, and takes no more than its part of
/// what all have together, until the gateway stops.
pub async fn keep(core: Arc<Core>) {
    let mut unkept = HashSet::new();
    let mut among = 1;
    loop {
        let all = u32::try_from(core.peers.others()).unwrap_or(u32::MAX).saturating_add(1);
        if std::mem::replace(&mut among, all) != all {
            core.starts.share(all);
            core.compute.share(all);
        }
        if let Err(error) = reaper::compare_keepers(&core, &mut unkept).await {
            tracing::warn!(%error, "the keepers here are not compared with the store");
        }
        if let Err(error) = reaper::take_unkept(&core).await {
            tracing::warn!(%error, "what is nobody's is not taken yet");
        }
        if let Err(error) = removal::take_up_all(&core).await {
            tracing::warn!(%error, "removals that nobody works at are not taken up yet");
        }
        tokio::select! {
            () = sleep(core.config.peers.deadline.get() / BEATS) => {}
            () = core.stopping.cancelled() => return,
        }
    }
}

/// Sees whose numbers move.
struct Watcher {
    deadline: Duration,
    /// When it looked last.
    looked: Option<Instant>,
    /// By gateway: its number, and for how long that was seen to stand.
    seen: HashMap<String, (i64, Duration)>,
}

impl Watcher {
    fn new(deadline: Duration) -> Self {
        Self { deadline, looked: None, seen: HashMap::new() }
    }

    /// Starts over: what was not seen says nothing.
    fn forget(&mut self) {
        self.looked = None;
        self.seen.clear();
    }

    /// Which of these have not moved for too long.
    fn dead<'a>(&mut self, others: &'a [Registered], now: Instant) -> Vec<&'a Registered> {
        // Whoever looks seldom has not seen for long.
        let passed = self.looked.map_or(Duration::ZERO, |looked| now.duration_since(looked));
        let passed = passed.min(self.deadline * 2 / BEATS);
        self.looked = Some(now);
        self.seen.retain(|id, _| others.iter().any(|other| other.id == *id));
        let mut dead = Vec::new();
        for other in others {
            match self.seen.get_mut(&other.id) {
                Some((beat, still)) if *beat == other.beat => {
                    *still += passed;
                    if *still >= self.deadline {
                        dead.push(other);
                    }
                }
                Some(seen) => *seen = (other.beat, Duration::ZERO),
                None => drop(self.seen.insert(other.id.clone(), (other.beat, Duration::ZERO))),
            }
        }
        dead
    }

    /// Looks at the others, and declares dead who is: these.
    async fn look<'a>(&mut self, store: &Store, others: &'a [Registered]) -> Vec<&'a Registered> {
        let mut declared = Vec::new();
        for gone in self.dead(others, Instant::now()) {
            let (gateway, name) = (&gone.id, &gone.says.name);
            match store.declare_dead(gone).await {
                Ok(true) => {
                    tracing::warn!(gateway, name, "a gateway is declared dead");
                    declared.push(gone);
                }
                // It was just slow, or somebody else was quicker.
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, gateway, "it can't be declared dead"),
            }
        }
        declared
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
        let mut at = 0_u64;
        // How often `a` is looked at, every five seconds, until it is dead.
        let mut looks = |watcher: &mut Watcher, beats: &mut dyn FnMut(u64) -> i64| {
            (1..=100_u64).find(|look| {
                at += 5;
                let others = [gateway("a", beats(*look)), gateway("b", at.cast_signed())];
                let dead = watcher.dead(&others, began + Duration::from_secs(at));
                assert!(dead.iter().all(|of| of.id == "a"), "{dead:?}");
                !dead.is_empty()
            })
        };
        assert_eq!(looks(&mut watcher, &mut |look: u64| look.cast_signed()), None);
        assert_eq!(looks(&mut watcher, &mut |_| 100), Some(4), "20 s, since it moved last");
        assert_eq!(looks(&mut watcher, &mut |look| i64::from(look > 2)), Some(7));
        // The store was away: nobody could say anything.
        watcher.forget();
        assert_eq!(looks(&mut watcher, &mut |_| 1), Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_looks_seldom_declares_nobody_dead_at_a_glance() {
        let mut watcher = Watcher::new(Duration::from_secs(20));
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        assert!(watcher.dead(&[gateway("a", 7)], at(0)).is_empty());
        assert!(watcher.dead(&[gateway("a", 7)], at(900)).is_empty());
        assert_eq!(watcher.dead(&[gateway("a", 7)], at(1800)).len(), 1);
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
