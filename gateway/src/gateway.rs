//! A gateway's own life: start, serve, stop. Knows what order things come in.

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::admission::{Admission, AdmissionLimits, StartQueue};
use crate::auth::enrolment::{EnrolmentKeys, KeyError};
use crate::auth::origin::AllowedOrigins;
use crate::auth::{Scopes, Verifier};
use crate::authority::{Authorities, AuthorityError};
use crate::clock;
use crate::config::{Config, Faults, TaskCompute, VolumeKind};
use crate::core::{Core, Way};
use crate::http::link::{Doors, network};
use crate::http::{self, Listener, elsewhere, peer, standby};
use crate::issuer::routes::router;
use crate::issuer::{DevIssuer, DevIssuerConfig, IssuerError, refuse_beside};
use crate::issuers::verifier_config;
use crate::kept::{self, Kept};
use crate::launcher::Timings;
use crate::peers::call::Teller;
use crate::peers::{self, Peers};
use crate::providers::{ProviderError, Providers};
use crate::reaper;
use crate::registry::Registry;
use crate::removal::{self, Removals};
use crate::room::{self, Room};
use crate::state_dir::{StateDir, StateDirError, write_private};
use crate::store::{StoreError, open};

/// How long the rest of a gateway's tasks may take to end.
const LAST_TASKS: Duration = Duration::from_secs(10);

/// How long what was read at the start is believed to be as it was.
const STALE: Duration = Duration::from_secs(30);

/// Connections that the kernel takes before this process does: after a restart everybody comes back
/// at once, and who finds no room tries again a second later.
const BACKLOG: u32 = 4096;

/// The development issuer's name. It stays the same: under another one everybody is somebody else.
const DEVELOPMENT_ISSUER: &str = "shellgate-development";

/// How long a token of the development issuer holds.
const DEVELOPMENT_TOKEN: Duration = Duration::from_secs(12 * 3600);

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The store.
    #[error("{place}: {source}")]
    Store {
        /// The database's file, or the section that names it.
        place: String,
        /// What is wrong with it.
        source: StoreError,
    },
    /// Where tasks run and what they get.
    #[error(transparent)]
    Providers(#[from] ProviderError),
    /// Somebody else has the port.
    #[error("{address} is taken: set {setting} to another address ({source})")]
    Taken {
        /// The address.
        address: SocketAddr,
        /// What sets it.
        setting: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Keys, origins: what the configuration's own checks can't see.
    #[error("the configuration does not hold:\n{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The authority by which tasks know their gateway.
    #[error("the tasks' authority: {0}")]
    Authority(#[from] AuthorityError),
    /// The key that enrolment tokens are made with.
    #[error("tasks.enrolment_key: {0}")]
    Enrolment(#[from] KeyError),
    /// It was told to stop before it served.
    #[error("told to stop before it served")]
    ToldToStop,
    /// The development issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The operating system said no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl StartError {
    /// The process's exit code, by which a service's supervisor tells what a second try may mend
    /// from what it does not (sysexits.h).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => Faults::EXIT_CODE,
            Self::Authority(error) if error.is_the_configurations() => Faults::EXIT_CODE,
            // `EX_UNAVAILABLE`: the machine lacks what holds a sandbox.
            Self::Providers(ProviderError::Compute(error)) if !error.is_retryable() => 69,
            Self::Providers(_)
            | Self::StateDir(_)
            | Self::Store { .. }
            | Self::Taken { .. }
            | Self::Authority(_)
            | Self::Enrolment(_)
            | Self::Issuer(_)
            | Self::ToldToStop
            | Self::Io(_) => 1,
        }
    }
}

/// A gateway that serves.
pub struct Gateway {
    core: Arc<Core>,
    client: SocketAddr,
    admin: SocketAddr,
    task: Option<SocketAddr>,
    preflight: String,
    development: Option<Development>,
    /// Says that it lives, also while it stops.
    alive: Option<AbortOnDropHandle<()>>,
    // Given up last: until then no other gateway touches what is in there.
    _state: StateDir,
}

/// What happens to the sessions of a gateway that stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// They live on: another gateway, or the next one here, takes over.
    Leave,
    /// They are stopped: a person wishes so.
    Stop,
}

impl Gateway {
    /// Starts a gateway: checks everything, then opens the store, adopts what an earlier gateway
    /// has left, and listens.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_unless(config, pending()).await
    }

    /// The same, but gives up where it is told to stop while it waits for its store. Until it has
    /// that, its admin listener says what it waits for, and the others take nobody.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind then.
    pub async fn start_unless(
        mut config: Config,
        told_to_stop: impl Future<Output = ()>,
    ) -> Result<Self, StartError> {
        let state = StateDir::hold(&config.server.state_dir)?;
        config.server.state_dir = state.path().to_path_buf();
        let client = bind(config.listen.client, "listen.client")?;
        let admin = bind(config.listen.admin, "listen.admin")?;
        let (client_address, admin_address) = (client.local_addr()?, admin.local_addr()?);
        if config.auth.development.enabled {
            config.listen.origins.extend(crate::config::development_origins(client_address));
        }
        let origins = AllowedOrigins::new(config.listen.origins.iter().map(|o| o.as_str()))
            .map_err(StartError::Config)?;
        let mut issuers = verifier_config(&config.auth);
        let development = match config.auth.development.enabled {
            true => Some(Development::prepare(&config, &state, client_address, admin_address)?),
            false => None,
        };
        issuers.issuers.extend(development.iter().map(|held| held.issuer.issuer_config()));
        let verifier = Verifier::new(issuers).map_err(StartError::Config)?;
        let providers = Providers::choose(&config, state.path()).await?;
        let read_at = Instant::now();
        let enrolment = match &config.tasks.enrolment_key {
            Some(from) => EnrolmentKeys::load(providers.kept.clone(), from.clone()).await?,
            None => EnrolmentKeys::fixed(state.enrolment_key()?),
        };
        let tasks = match config.listen.task {
            Some(address) => {
                Some(TaskListener::bind(address, &config, providers.kept.clone()).await?)
            }
            None => None,
        };
        let task_address = tasks.as_ref().map(|tasks| tasks.address);
        let place = config.store.place();
        let no_store = |source| StartError::Store { place: place.clone(), source };
        let peer = config.listen.peer.map(|address| bind(address, "listen.peer")).transpose()?;
        let listening = peer.as_ref().map(TcpListener::local_addr).transpose()?;
        let instance = state.instance()?;
        let says = peers::registration(&config, instance, listening, clock::unix_millis());
        let says = says.map_err(|why| StartError::Config(vec![why]))?;
        let (say, waiting) = watch::channel("the gateway starts".to_owned());
        let joining = async {
            let store = open::store(&config, &providers.kept, providers.passwords, &say).await?;
            let (deadline, patience) = (config.peers.deadline.get(), config.store.start_wait.get());
            let joined = peers::join(&store, &says, deadline, patience, &say).await;
            joined.map_err(no_store)?;
            Ok::<_, StartError>(Arc::new(store))
        };
        let store = tokio::select! {
            store = joining => store?,
            never = standby::serve(&admin, &waiting) => match never {},
            () = told_to_stop => return Err(StartError::ToldToStop),
        };
        let peers: Arc<Peers> = Arc::default();
        let tell = tasks.as_ref().map(|tasks| Teller::new(tasks.authorities.clone()));
        let alive = store.is_shared().then(|| {
            let deadline = config.peers.deadline.get();
            let living = peers::live(store.clone(), peers.clone(), tell, deadline);
            AbortOnDropHandle::new(TaskTracker::new().spawn(living))
        });
        if read_at.elapsed() > STALE {
            // What was read before this gateway waited may have been replaced since.
            enrolment.look().await;
            if let Some(tasks) = &tasks {
                tasks.authorities.look(SystemTime::now()).await;
            }
        }
        let limits = AdmissionLimits::new(&config, descriptors());
        let way = way(&config, tasks.as_ref())?;
        let core = Arc::new(Core {
            store,
            peers,
            compute: providers.compute,
            volumes: providers.volumes,
            secrets: providers.secrets,
            way,
            doors: Doors::default(),
            admission: Admission::new(limits),
            starts: StartQueue::new(config.limits.parallel_starts, config.limits.start_queue),
            verifier,
            origins,
            enrolment,
            registry: Registry::default(),
            removals: Removals::default(),
            room: Room::default(),
            timings: Timings::default(),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            sessions_stop: AtomicBool::new(false),
            arrivals: AtomicU64::new(0),
            started: Instant::now(),
            config,
        });
        let adopted = reaper::adopt(&core).await.map_err(no_store)?;
        removal::take_up_all(&core).await.map_err(no_store)?;
        if core.store.is_shared() {
            core.tracker.spawn(peers::keep(core.clone()));
        }
        let mut routes = elsewhere::anywhere(&core, http::client_routes(&core));
        if let Some(held) = &development {
            routes = routes.merge(router(held.issuer.clone(), client_address.port()));
        }
        let admin_routes = http::admin_routes(&core);
        core.tracker.spawn(http::serve(core.clone(), client, Listener::Client, routes));
        core.tracker.spawn(http::serve(core.clone(), admin, Listener::Admin, admin_routes));
        if let Some(TaskListener { listener, authorities, .. }) = tasks {
            if let Some(peer) = peer {
                core.tracker.spawn(peer::serve(core.clone(), peer, authorities.clone()));
            }
            core.tracker.spawn(network::serve(core.clone(), listener, authorities.tls()?));
            let stopping = core.stopping.clone();
            core.tracker.spawn(async move {
                kept::keep_up(stopping, || authorities.look(SystemTime::now())).await;
            });
        }
        if core.config.tasks.enrolment_key.is_some() {
            let keeps = core.clone();
            core.tracker.spawn(async move {
                kept::keep_up(keeps.stopping.clone(), || keeps.enrolment.look()).await;
            });
        }
        core.tracker.spawn(reaper::run(core.clone()));
        if core.config.volumes.kind == VolumeKind::Efs {
            core.tracker.spawn(room::watch(core.clone()));
        }
        let task = task_address.map(tracing::field::display);
        let peer = says.address;
        tracing::info!(client = %client_address, admin = %admin_address, task, peer, adopted, "serving");
        Ok(Self {
            core,
            client: client_address,
            admin: admin_address,
            task: task_address,
            preflight: providers.preflight,
            development,
            alive,
            _state: state,
        })
    }

    /// Where users come in.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// Where health and figures are.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Where tasks dial over a network.
    #[must_use]
    pub fn task_address(&self) -> Option<SocketAddr> {
        self.task
    }

    /// What is enforced around tasks here.
    #[must_use]
    pub fn preflight(&self) -> &str {
        &self.preflight
    }

    /// How to sign in with the development issuer, for the person who started it: holds a secret.
    #[must_use]
    pub fn hello(&self) -> Option<&str> {
        self.development.as_ref().map(|held| held.hello.as_str())
    }

    /// A new link that signs in, once; the one before is void. For the person who started it.
    #[must_use]
    pub fn new_link(&self) -> Option<String> {
        let code = self.development.as_ref()?.issuer.new_sign_in_code(SystemTime::now()).ok()?;
        Some(sign_in_link(self.client, &code))
    }

    /// Waits, as long as it takes, until the others take this gateway for dead: in words, why. It keeps
    /// nothing then, and is to be stopped.
    pub async fn is_taken_for_dead(&self) -> String {
        self.core.peers.lost().await
    }

    /// How many sessions live here.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.core.registry.len()
    }

    /// Stops: takes no more, tells both legs of every session, and waits until all is done.
    pub async fn stop(self, sessions: Sessions) {
        let drain = match sessions {
            Sessions::Leave => self.core.config.server.drain.get(),
            // Asked, and then killed: whoever waits for it wants all of them gone.
            Sessions::Stop => self.core.config.limits.stop_grace.get() * 3 + LAST_TASKS,
        };
        self.core.sessions_stop.store(sessions == Sessions::Stop, Ordering::Release);
        // Every keeper hears it, also of a session that is being asked for at this moment.
        self.core.stopping.cancel();
        self.core.tracker.close();
        if tokio::time::timeout(drain + LAST_TASKS, self.core.tracker.wait()).await.is_err() {
            let (tasks, sessions) = (self.core.tracker.len(), self.core.registry.len());
            tracing::warn!(tasks, sessions, "not everything ended in time");
        }
        self.core.verifier.shutdown().await;
        drop(self.alive);
        if self.core.store.is_shared()
            && let Err(error) = self.core.store.deregister().await
        {
            tracing::warn!(%error, "the others find out by themselves that this gateway is gone");
        }
        self.core.store.close().await;
        tracing::info!("stopped");
    }
}

/// The tasks' port, before anybody is heard there.
struct TaskListener {
    listener: TcpListener,
    address: SocketAddr,
    authorities: Arc<Authorities>,
}

impl TaskListener {
    async fn bind(address: SocketAddr, config: &Config, kept: Kept) -> Result<Self, StartError> {
        let listener = bind(address, "listen.task")?;
        let address = listener.local_addr()?;
        let authorities = Arc::new(Authorities::load(&config.tasks, kept).await?);
        Ok(Self { listener, address, authorities })
    }
}

/// How the bridges of what runs tasks here get back.
fn way(config: &Config, tasks: Option<&TaskListener>) -> Result<Way, StartError> {
    match (config.tasks.compute, &config.tasks.dial, tasks) {
        (TaskCompute::Sandbox, ..) => Ok(Way::Sockets),
        (TaskCompute::Ecs, Some(url), Some(tasks)) => {
            Ok(Way::Network { url: url.clone(), authorities: tasks.authorities.clone() })
        }
        (TaskCompute::Ecs, ..) => {
            Err(StartError::Config(vec!["listen.task and tasks.dial: they are missing".into()]))
        }
    }
}

/// The development issuer, and how to sign in with it.
struct Development {
    issuer: Arc<DevIssuer>,
    hello: String,
}

impl Development {
    fn prepare(
        config: &Config,
        state: &StateDir,
        client: SocketAddr,
        admin: SocketAddr,
    ) -> Result<Self, StartError> {
        refuse_beside(&[client, admin])?;
        let scopes = Scopes { read: true, observe: true, admin: true };
        let issuer = DevIssuer::open(
            state.path(),
            DevIssuerConfig {
                issuer: DEVELOPMENT_ISSUER.to_owned(),
                audience: "shellgate".to_owned(),
                subject: config.auth.development.user.clone(),
                scopes,
                lifetime: DEVELOPMENT_TOKEN,
            },
        )?;
        let now = SystemTime::now();
        let code = issuer.new_sign_in_code(now)?;
        let minted = issuer.mint(&config.auth.development.user, scopes, DEVELOPMENT_TOKEN, now)?;
        let token_path = state.path().join("token");
        write_private(&token_path, minted.token.as_bytes())?;
        let hello = format!(
            "\nShellgate is ready. Open this in a browser (it works once, for ten minutes):\n\n    \
             {}\n\nor, in a terminal:\n\n    \
             SHELLGATE_URL=http://{client} SHELLGATE_TOKEN=$(cat {}) {} attach --create main\n\n\
             Ctrl-C stops it and its sandboxes; Enter prints a new link.\n",
            sign_in_link(client, &code),
            shown(&token_path),
            shown(&config.sandbox.bridge.with_file_name("shellgate")),
        );
        Ok(Self { issuer: Arc::new(issuer), hello })
    }
}

fn sign_in_link(client: SocketAddr, code: &str) -> String {
    format!("http://{client}/#code={code}")
}

/// A path as a person types it: from here, where that is shorter.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A port whose last connections are still settling is free.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| StartError::Taken { address, setting, source })
}

/// How many descriptors this process may have open: as many as its hard limit allows.
fn descriptors() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) => {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
            hard
        }
        Err(_) => 1024,
    }
}
