//! A world: one real gateway with its own state, its own issuer and its own users. Knows how it
//! starts, dies, and comes back, and that nothing of it may be left.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use shellgate_client::{Api, Endpoint, TokenSource};
use shellgate_database::Database;
use shellgate_gateway::auth::UserId;
use shellgate_gateway::config::Config as Configured;
use shellgate_protocol::SessionId;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use toml::Value;

use crate::another::Another;
use crate::aws::Aws;
use crate::config::Config;
use crate::disk::{Ballast, Disk};
use crate::gateway::Gateway;
use crate::issuer::{ISSUER, Issuer};
use crate::leftovers::Leftovers;
use crate::link::{Link, LinkCable};
use crate::{Cable, User, afar, again, database, until};

/// The user that a world itself acts as.
const OPERATOR: &str = "the-operator";

/// What an operator may do.
const OPERATOR_SCOPES: &str = "sessions:read sessions:observe sessions:admin";

/// How long a gateway that is dropped with a failed test may take to stop its sandboxes.
const DROPPED: Duration = Duration::from_secs(10);

/// A world. Dropped without [`World::stop`], as by a test that fails, it ends what it started and
/// shows what the gateway said.
pub struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) gateway: Option<Gateway>,
    /// The gateway that its users come to, where that is another one.
    between: Option<Another>,
    leftovers: Leftovers,
}

/// What users need of their world.
pub(crate) struct Shared {
    // Dropped with the world and its last user, and before the folder that it is mounted in.
    disk: Option<Disk>,
    // And so that its tasks end before their homes are removed.
    aws: OnceLock<Aws>,
    pub(crate) database: OnceLock<Mutex<Database>>,
    place: TempDir,
    pub(crate) issuer: Issuer,
    pub(crate) config: Mutex<Config>,
    address: Mutex<Option<SocketAddr>>,
    /// Where bridges dial, where that is no gateway's own port.
    pub(crate) balancer: Mutex<Option<SocketAddr>>,
    pub(crate) tracker: TaskTracker,
}

/// A world that is still to be made.
pub struct WorldBuilder {
    pub(crate) shared: Shared,
    on_aws: bool,
    on_postgres: bool,
}

impl WorldBuilder {
    /// Sets a key of the gateway's configuration, given with its sections.
    #[must_use]
    pub fn set(self, key: &str, value: impl Into<Value>) -> Self {
        self.shared.set(key, value);
        self
    }

    /// Adds a template that runs a command.
    #[must_use]
    pub fn template(self, name: &str, command: &[&str]) -> Self {
        let command: Vec<Value> = command.iter().map(|&word| word.into()).collect();
        self.set(&format!("templates.{name}.command"), command)
    }

    /// Adds a template that runs a command by lines.
    #[must_use]
    pub fn agent(self, name: &str, command: &[&str]) -> Self {
        self.template(name, command).set(&format!("templates.{name}.mode"), "lines")
    }

    /// Puts all that the gateway keeps on a disk of its own, of so many bytes. Where this process
    /// may not mount one, it says so and gives nothing.
    #[must_use]
    pub fn on_a_disk_of(mut self, bytes: u64) -> Option<Self> {
        match Disk::mount(self.shared.state(), bytes) {
            Ok(disk) => self.shared.disk = Some(disk),
            Err(why) => {
                println!("left out: this process may not mount a small disk ({why})");
                return None;
            }
        }
        Some(self)
    }

    /// Has the gateway's store in Postgres.
    #[must_use]
    pub fn on_postgres(mut self) -> Self {
        self.on_postgres = true;
        self
    }

    /// Has the gateway's tasks, files and secrets on AWS, instead of on this machine, and its store in
    /// Postgres.
    #[must_use]
    pub fn on_aws(mut self) -> Self {
        self.on_aws = true;
        self
    }

    /// What users need of a world whose gateway somebody else starts, and how that is configured.
    pub(crate) fn configured(self) -> (Arc<Shared>, Configured) {
        let configured = self.shared.configured();
        (Arc::new(self.shared), configured)
    }

    /// Starts the gateway.
    pub async fn start(self) -> World {
        if self.on_aws {
            let aws = Aws::start(self.shared.place.path()).await;
            aws.configure(&mut lock(&self.shared.config));
            if let Some(balancer) = *lock(&self.shared.balancer) {
                self.shared.set("tasks.dial", format!("wss://localhost:{}", balancer.port()));
            }
            // It is empty: nobody else has this builder.
            let _ = self.shared.aws.set(aws);
        }
        if self.on_aws || self.on_postgres {
            let database = Database::start();
            database::configure(&database, &mut lock(&self.shared.config), self.shared.place());
            let _ = self.shared.database.set(Mutex::new(database));
        }
        let mut world = World {
            shared: Arc::new(self.shared),
            gateway: None,
            between: None,
            leftovers: Leftovers::default(),
        };
        world.starts_the_gateway_again().await;
        if again::is_by_another() && world.shared.aws.get().is_some() {
            let another = world.has_another_gateway().await;
            world.shared.is_at(another.address());
            world.between = Some(another);
        }
        world
    }
}

impl World {
    /// A world with a gateway that serves.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A world that is still to be made.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        let place = tempfile::Builder::new().prefix("shellgate-world-").tempdir().expect("a place");
        std::fs::create_dir(place.path().join("tmp")).expect("a folder");
        let issuer = Issuer::default();
        let config = Mutex::new(Config::new(&place.path().join("state"), &issuer));
        let (address, balancer, tracker) = (Mutex::new(None), Mutex::new(None), TaskTracker::new());
        let (aws, database) = (OnceLock::new(), OnceLock::new());
        let shared =
            Shared { disk: None, aws, database, place, issuer, config, address, balancer, tracker };
        WorldBuilder { shared, on_aws: again::is_on_aws(), on_postgres: false }
    }

    /// A user of this world's issuer.
    #[must_use]
    pub fn user(&self, name: &str) -> User {
        User::new(self.shared.clone(), name, "")
    }

    /// The user who sees, watches and stops everybody's sessions.
    #[must_use]
    pub fn operator(&self) -> User {
        User::new(self.shared.clone(), OPERATOR, OPERATOR_SCOPES)
    }

    /// The issuer whose tokens the gateway believes.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.shared.issuer
    }

    /// The AWS that the gateway is on.
    ///
    /// # Panics
    /// Where it is on none.
    #[must_use]
    pub fn aws(&self) -> &Aws {
        self.shared.aws.get().expect("this world is on AWS")
    }

    /// A cable to the gateway's client listener, to be used by [`User::through`].
    pub async fn cable(&self) -> Cable {
        Cable::to(self.shared.address(), &self.shared.tracker).await
    }

    /// The link between a session's bridge and the gateway, to be cut.
    #[must_use]
    pub fn link(&self, session: SessionId) -> Link {
        let gateway = self.gateway.as_ref().expect("a gateway runs");
        Link::new(gateway, self.leftovers.first_process(&self.state(), session))
    }

    /// Puts a cable between a session's bridge and the gateway: for the next dial of the bridge,
    /// and until this gateway ends.
    pub async fn link_cable(&self, session: SessionId) -> LinkCable {
        LinkCable::plug_in(&self.dial_directory(session), &self.shared.tracker).await
    }

    /// The directory with a session's dial socket.
    #[must_use]
    pub fn dial_directory(&self, session: SessionId) -> PathBuf {
        self.state().join("dial").join(session.to_string())
    }

    /// Where the files of a user of a world with sandboxes are.
    #[must_use]
    pub fn home_of(&self, user: &str) -> PathBuf {
        self.state().join("volumes").join(UserId::new(ISSUER, user).expect("a user").key())
    }

    /// The gateway's client address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address()
    }

    /// The gateway's admin address.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.gateway.as_ref().expect("a gateway runs").addresses().1
    }

    /// Where the gateway is dialled over a network.
    #[must_use]
    pub fn task_address(&self) -> SocketAddr {
        self.gateway.as_ref().expect("a gateway runs").task_address()
    }

    /// The gateway's process id.
    #[must_use]
    pub fn gateway_pid(&self) -> u32 {
        self.gateway.as_ref().expect("a gateway runs").pid()
    }

    /// The gateway's state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.shared.state()
    }

    /// The gateway's database, in SQLite.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.state().join("shellgate.db")
    }

    /// Takes all the space that is left on this world's own disk, until the ballast is dropped.
    ///
    /// # Panics
    /// Where it has none: nobody else's disk is filled.
    #[must_use]
    pub fn fills_its_disk(&self) -> Ballast {
        assert!(self.shared.disk.is_some(), "this world has no disk of its own");
        Ballast::fill(&self.state())
    }

    /// Gives a user a secret.
    pub async fn keeps_a_secret(&self, user: &str, name: &str, value: &str) {
        let key = UserId::new(ISSUER, user).expect("a user").key();
        if let Some(aws) = self.shared.aws.get() {
            return aws.keeps_a_secret(&key, name, value).await;
        }
        let path = self.state().join("secrets.toml");
        let mut document: toml::Table = match std::fs::read_to_string(&path) {
            Ok(text) => text.parse().expect("TOML"),
            Err(_) => toml::Table::new(),
        };
        let users = document.entry("users").or_insert_with(|| toml::Table::new().into());
        let users = users.as_table_mut().expect("a section");
        let own = users.entry(key).or_insert_with(|| toml::Table::new().into());
        own.as_table_mut().expect("a section").insert(name.to_owned(), value.into());
        shellgate_gateway::state_dir::write_private(&path, document.to_string().as_bytes())
            .expect("the secrets are written");
    }

    /// Changes a key of the configuration, for the next start of the gateway.
    pub fn configures(&self, key: &str, value: impl Into<Value>) {
        self.shared.set(key, value);
    }

    /// Kills the gateway, as a crash would.
    pub async fn kills_the_gateway(&mut self) {
        let gateway = self.gateway.take().expect("a gateway runs");
        self.leftovers.look(&self.state());
        gateway.signal(Signal::KILL);
        gateway.ended().await;
    }

    /// Waits until the gateway has left by itself, and not in good order.
    pub async fn sees_the_gateway_leave(&mut self) {
        let gateway = self.gateway.take().expect("a gateway runs");
        self.leftovers.look(&self.state());
        let ended = gateway.ended().await;
        assert!(!ended.success(), "whoever watches over it is to start it again: {ended}");
    }

    /// Stops the gateway and leaves its sandboxes, as an upgrade would.
    pub async fn stops_the_gateway(&mut self) {
        let gateway = self.gateway.take().expect("a gateway runs");
        self.leftovers.look(&self.state());
        gateway.signal(Signal::TERM);
        let ended = gateway.ended().await;
        assert!(ended.success(), "a gateway stops in good order: {ended}\n{}", gateway.log());
    }

    /// Stops the gateway and its sandboxes, as Ctrl-C does.
    pub async fn interrupts_the_gateway(&mut self) {
        let gateway = self.gateway.take().expect("a gateway runs");
        self.leftovers.look(&self.state());
        gateway.signal(Signal::INT);
        let ended = gateway.ended().await;
        assert!(ended.success(), "a gateway stops in good order: {ended}\n{}", gateway.log());
    }

    /// Starts the gateway, on the ports that it had before.
    ///
    /// # Panics
    /// Where one runs already, or it does not serve.
    pub async fn starts_the_gateway_again(&mut self) {
        assert!(self.gateway.is_none(), "a gateway runs already");
        if self.shared.aws.get().is_some() && self.state().exists() {
            // Its disk there goes with its machine.
            std::fs::remove_dir_all(self.state()).expect("it is a world's");
        }
        let home = self.shared.place.path();
        let path = home.join("gateway.toml");
        let mut started = None;
        until("a gateway gets its ports", async || {
            lock(&self.shared.config).write(&path);
            match Gateway::start(&path, home).await {
                Ok(gateway) => started = Some(gateway),
                // A connection of somebody else's may have been given that port meanwhile.
                Err(refused) if refused.0.contains("is taken: set") => {}
                Err(refused) => panic!("the gateway does not serve:\n{}", refused.0),
            }
            started.is_some()
        })
        .await;
        let gateway = started.expect("waited for");
        let (client, admin) = gateway.addresses();
        lock(&self.shared.config).listen_on(client, admin);
        if self.between.is_none() {
            self.shared.is_at(client);
        }
        self.gateway = Some(gateway);
    }

    /// Starts the gateway in vain, and gives what it said.
    pub async fn fails_to_start(&self) -> String {
        assert!(self.gateway.is_none(), "a gateway runs already");
        self.fails_to_start_beside().await
    }

    /// Starts another gateway on the same state in vain, and gives what it said.
    pub async fn fails_to_start_beside(&self) -> String {
        let home = self.shared.place.path();
        let path = home.join("in-vain.toml");
        let mut config = lock(&self.shared.config).clone();
        config.set("listen.client", "127.0.0.1:0");
        config.set("listen.admin", "127.0.0.1:0");
        config.write(&path);
        match Gateway::start(&path, home).await {
            Err(refused) => refused.0,
            Ok(_) => panic!("it starts"),
        }
    }

    /// Waits until the gateway has said something in its log.
    pub async fn hears_the_gateway_say(&self, words: &str) {
        self.gateway.as_ref().expect("a gateway runs").says(words).await;
    }

    /// What the gateway said so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.gateway.as_ref().map(Gateway::log).unwrap_or_default()
    }

    /// Ends every session and the gateway.
    ///
    /// # Panics
    /// Where anything is left: a process, a row that has not ended, a socket, a control group, a
    /// temporary file.
    pub async fn stop(mut self) {
        if self.gateway.is_none() {
            self.starts_the_gateway_again().await;
        }
        self.leftovers.look(&self.state());
        let operator = self.operator();
        for session in operator.sees_all_sessions().await {
            if session.ended.is_none() || session.state != shellgate_client::session::State::Ended {
                operator.stops(session.id).await;
                operator.sees_the_end_of(session.id).await;
            }
        }
        self.stops_the_gateway().await;
        if let Some(another) = self.between.take() {
            another.is_stopped().await;
        }
        if let Some(aws) = self.shared.aws.get() {
            aws.assert_nothing_runs().await;
        }
        let (state, store) = (self.state(), self.shared.store_at());
        let tmp = self.shared.place.path().join("tmp");
        self.leftovers.assert_none(&state, &store, &tmp).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.leftovers.look(&self.state());
        if let Some(gateway) = self.gateway.take() {
            if std::thread::panicking() {
                eprintln!("the gateway said:\n{}", gateway.log());
            }
            // It may have been stopped by its story.
            gateway.signal(Signal::CONT);
            gateway.signal(Signal::INT);
            let mut patience = DROPPED;
            while !gateway.has_ended() && !patience.is_zero() {
                std::thread::sleep(Duration::from_millis(10));
                patience = patience.saturating_sub(Duration::from_millis(10));
            }
            gateway.signal(Signal::KILL);
        }
        self.leftovers.kill();
    }
}

impl Shared {
    /// Sets a key of the configuration.
    pub(crate) fn set(&self, key: &str, value: impl Into<Value>) {
        lock(&self.config).set(key, value);
    }

    /// The configuration as a gateway reads it.
    pub(crate) fn configured(&self) -> Configured {
        let path = self.place().join("gateway.toml");
        lock(&self.config).write(&path);
        afar::read(&path)
    }

    /// A gateway serves at this address.
    pub(crate) fn is_at(&self, client: SocketAddr) {
        *lock(&self.address) = Some(client);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        lock(&self.address).expect("a gateway has served")
    }

    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.place.path().join("state")
    }

    pub(crate) fn api(&self, address: SocketAddr, tokens: TokenSource) -> Api {
        let endpoint: Endpoint = format!("http://{address}").parse().expect("a gateway's URL");
        Api::new(endpoint, tokens).expect("a client")
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
