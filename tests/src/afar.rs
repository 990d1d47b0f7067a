//! A gateway within the test's own process, whose tasks dial over a network: a task is a process
//! that waits, and its bridge runs beside it. Knows how a gateway is put together, and that it has
//! adopted every session that it has.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime};

use shellgate_gateway::admission::{Admission, AdmissionLimits, StartQueue};
use shellgate_gateway::auth::enrolment::EnrolmentKeys;
use shellgate_gateway::auth::origin::AllowedOrigins;
use shellgate_gateway::auth::{UserId, Verifier};
use shellgate_gateway::authority::Authorities;
use shellgate_gateway::config::Config;
use shellgate_gateway::core::{Core, Way};
use shellgate_gateway::http::link::{Doors, network};
use shellgate_gateway::http::{Listener, client_routes, serve};
use shellgate_gateway::issuers::verifier_config;
use shellgate_gateway::kept::Kept;
use shellgate_gateway::launcher::{Timings, task_name};
use shellgate_gateway::registry::Registry;
use shellgate_gateway::removal::Removals;
use shellgate_gateway::room::Room;
use shellgate_gateway::session::keeper::Keeper;
use shellgate_gateway::session::{Record, State};
use shellgate_gateway::state_dir::StateDir;
use shellgate_gateway::store::Most;
use shellgate_gateway::store::sqlite::Sqlite;
use shellgate_infra::aws::AwsSettings;
use shellgate_infra::compute::TaskRef;
use shellgate_infra::compute::any::AnyCompute;
use shellgate_infra::compute::sandbox::{Sandbox, SandboxConfig};
use shellgate_infra::secrets::any::AnySecrets;
use shellgate_infra::secrets::file::FileSecrets;
use shellgate_infra::volumes::any::AnyVolumes;
use shellgate_infra::volumes::directory::DirectoryVolumes;
use shellgate_protocol::client_leg::Mode;
use shellgate_protocol::{SessionId, TerminalSize};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::issuer::ISSUER;
use crate::leftovers::Process;
use crate::world::Shared;
use crate::{Cable, User, World, WorldBuilder, binaries, within};

/// Of everything that a gateway may hold, enough.
const PLENTY: AdmissionLimits = AdmissionLimits {
    sessions_per_user: 100,
    sessions: 100,
    starts_per_minute_per_user: 100,
    attachments_per_session: 16,
    unauthenticated_per_address: 100,
    connections: 1000,
    descriptors: 4000,
};

/// How long the gateway's tasks may take to end.
const STOP: Duration = Duration::from_secs(20);

/// A gateway whose tasks dial over a network.
pub struct Afar {
    shared: Arc<Shared>,
    core: Arc<Core>,
    authorities: Arc<Authorities>,
    task: SocketAddr,
    _state: StateDir,
}

/// A session's task: a process that waits.
pub struct Task {
    /// Whose task it is.
    pub session: SessionId,
    place: PathBuf,
    token: String,
    waits: Child,
}

/// A bridge of a task.
pub struct Bridge(Child);

impl Afar {
    /// A gateway to which tasks may call from anywhere.
    pub async fn start() -> Self {
        Self::start_with(World::builder().set("tasks.check_address", false)).await
    }

    /// A gateway with a configuration of its own.
    pub async fn start_with(world: WorldBuilder) -> Self {
        let client = listener().await;
        let task = listener().await;
        let (client_at, task_at) = (address(&client), address(&task));
        let (shared, config) = world
            // Nobody calls it: nothing is started.
            .with_tasks_on(&AwsSettings::default())
            .set("listen.task", task_at.to_string())
            .set("tasks.dial", format!("wss://{task_at}"))
            .configured();
        shared.is_at(client_at);
        let state = StateDir::hold(&config.server.state_dir).expect("a state directory");
        let authorities = Authorities::load(&config.tasks, Kept::in_files()).await;
        let authorities = Arc::new(authorities.expect("an authority"));
        let store = Sqlite::open(&config.store.path, config.store.busy_timeout.get()).await;
        let url = config.tasks.dial.clone().expect("it was set");
        let core = Arc::new(Core {
            store: Arc::new(store.expect("a database").into()),
            peers: Arc::default(),
            // Nothing is started: it watches what waits.
            compute: AnyCompute::Sandbox(
                Sandbox::new(SandboxConfig::new(state.path().join("sandbox"), "/bin/true"))
                    .expect("sandboxes"),
            ),
            way: Way::Network { url, authorities: authorities.clone() },
            doors: Doors::default(),
            volumes: AnyVolumes::Directory(DirectoryVolumes::new(
                config.volumes.root.clone(),
                None,
            )),
            secrets: AnySecrets::File(FileSecrets::new(config.secrets.file.clone())),
            admission: Admission::new(PLENTY),
            starts: StartQueue::new(1, 1),
            verifier: Verifier::new(verifier_config(&config.auth)).expect("issuers"),
            origins: AllowedOrigins::new::<&str>([]).expect("no origins"),
            enrolment: EnrolmentKeys::fixed(state.enrolment_key().expect("a key")),
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
        let routes = client_routes(&core);
        core.tracker.spawn(serve(core.clone(), client, Listener::Client, routes));
        let tls = authorities.tls().expect("TLS");
        core.tracker.spawn(network::serve(core.clone(), task, tls));
        Self { shared, core, authorities, task: task_at, _state: state }
    }

    /// Where tasks dial.
    #[must_use]
    pub fn task_address(&self) -> SocketAddr {
        self.task
    }

    /// The certificates that new tasks get.
    #[must_use]
    pub fn authority(&self) -> String {
        self.authorities.pem()
    }

    /// The authority's own files, read: its certificates and its key.
    #[must_use]
    pub fn authority_and_key(&self) -> (String, String) {
        let (certificate, key) = papers(self.shared.place());
        let read = |path| std::fs::read_to_string(path).expect("it is there");
        (read(certificate), read(key))
    }

    /// Puts these certificates and this key where the gateway reads its authority, and has it look.
    pub async fn keeps(&self, certificates: &str, key: &str) {
        let (certificate_file, key_file) = papers(self.shared.place());
        std::fs::write(certificate_file, certificates).expect("written");
        std::fs::write(key_file, key).expect("written");
        self.authorities.look(SystemTime::now()).await;
    }

    /// A user of this gateway.
    #[must_use]
    pub fn user(&self, name: &str) -> User {
        User::new(self.shared.clone(), name, "")
    }

    /// A cable to the tasks' port.
    pub async fn cable(&self) -> Cable {
        Cable::to(self.task, &self.shared.tracker).await
    }

    /// A session of a user, whose task runs and has not called yet.
    pub async fn has_a_task_of(&self, user: &str) -> Task {
        let owner = UserId::new(ISSUER, user).expect("a user");
        let now = shellgate_gateway::clock::unix_millis();
        let mut record = Record::new(owner, "default", Mode::Terminal, TerminalSize::DEFAULT, now);
        let waits = Command::new("sleep").arg("1000").spawn().expect("it waits");
        let process = Process::of(waits.id().cast_signed()).expect("it waits");
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
        record.life.state = State::Severed;
        record.detail.task = Some(TaskRef::Sandbox {
            name: task_name(record.id, record.life.link.launch).expect("a name"),
            boot_id: boot_id.trim().to_owned(),
            pid: process.pid,
            start_time: process.start_time,
        });
        let place = self.shared.place().join(record.id.to_string());
        std::fs::create_dir(&place).expect("a place for the task");
        let most = Most { of_user: 1000, in_all: 1000 };
        self.core.store.insert(&record, most).await.expect("stored");
        let (session, launch) = (record.id, record.life.link.launch);
        let token = self.core.enrolment.token(session, launch).0;
        Keeper::adopt(&self.core, record);
        Task { session, place, token, waits }
    }

    /// Stops every session, and the gateway.
    pub async fn stop(self) {
        self.core.sessions_stop.store(true, std::sync::atomic::Ordering::Release);
        self.core.stopping.cancel();
        self.core.tracker.close();
        let ended = tokio::time::timeout(STOP, self.core.tracker.wait()).await;
        assert!(ended.is_ok(), "{} of its tasks go on", self.core.tracker.len());
        assert!(self.core.registry.is_empty(), "a session goes on");
        self.core.verifier.shutdown().await;
        self.core.store.close().await;
    }
}

impl Task {
    /// The enrolment token that it was started with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Starts its bridge, which dials this address and trusts these authorities.
    #[must_use]
    pub fn starts_its_bridge(&self, address: SocketAddr, authorities: &str) -> Bridge {
        let bridge = Command::new(binaries::folder().join("shellgate-bridge"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("SHELLGATE_DIAL", format!("wss://{address}"))
            .env("SHELLGATE_CA", authorities)
            .env("SHELLGATE_SESSION", self.session.to_string())
            .env("SHELLGATE_LAUNCH", "1")
            .env("SHELLGATE_TOKEN", &self.token)
            .env("SHELLGATE_HOME", &self.place)
            .env("SHELLGATE_SECRETS_DIR", self.place.join("secrets"))
            .stdin(Stdio::null())
            .spawn();
        Bridge(bridge.expect("a bridge starts"))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Its gateway may have ended it.
        let _ = self.waits.kill();
        let _ = self.waits.wait();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bridge {
    /// Waits until it has left by itself.
    pub async fn leaves(&mut self) {
        crate::until("a bridge leaves", async || self.0.try_wait().expect("a child").is_some())
            .await;
    }
}

async fn listener() -> TcpListener {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    within("a free port", bound).await.expect("a free port")
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("an address")
}

/// The files with an authority's certificate and its key.
pub(crate) fn papers(place: &Path) -> (PathBuf, PathBuf) {
    (place.join("authority.pem"), place.join("authority.key"))
}

/// A configuration as the gateway reads it.
pub(crate) fn read(path: &Path) -> Config {
    Config::load(Some(path), &Default::default(), binaries::folder())
        .unwrap_or_else(|faults| panic!("{faults}"))
}
