//! The sections that are plain lists of keys: each key with its default, its range and its reason.
//! Knows no section's neighbours: what must hold between keys stands in `rules`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use shellgate_protocol::limits::{WINDOW_MAX, WINDOW_MIN};

use super::cloud::{SecretKind, VolumeKind};
use super::dial_url::DialUrl;
use super::network::{Network, WebOrigin};
use super::reader::section;
use super::secret_ref::SecretRef;
use super::setting::choice;
use super::uids::UidRange;
use super::units::{ByteSize, Cores, Period};

/// An address of this machine alone.
const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

section! {
    |context|
    /// The gateway as a process.
    pub struct Server {
        /// Where everything lies that the gateway must not forget: its keys, its database, its
        /// sandboxes' sockets. Made with mode 0700, and locked by the gateway that uses it.
        state_dir: PathBuf = context.state_dir.clone();
        /// How long a gateway that was told to stop waits for requests under way before it leaves.
        /// Sessions are not among them: they outlive it.
        drain: Period = Period::secs(10), in Period::millis(0)..=Period::mins(10);
    }
}

choice! {
    /// How log lines look.
    pub enum LogFormat {
        /// Plain on a terminal, JSON elsewhere.
        Auto = "auto",
        /// For people.
        Plain = "plain",
        /// One JSON object a line.
        Json = "json",
    }
}

section! {
    |context|
    /// What the gateway says about itself, on standard error.
    pub struct Log {
        /// How log lines look: `auto` is plain on a terminal and JSON elsewhere.
        format: LogFormat = LogFormat::Auto;
        /// Which lines are written, by module and level, as `tracing-subscriber` reads it.
        filter: String = "info".into();
    }
}

section! {
    |context|
    /// Where the gateway listens, and whom it takes for what.
    pub struct Listen {
        /// The public listener: the API, the WebSockets, the page. TLS is a proxy's task.
        client: SocketAddr = loopback(7800);
        /// The operator's listener: health and metrics, without authentication.
        admin: SocketAddr = loopback(7801);
        /// The tasks' listener, over TLS, for tasks that dial by a network. There is none unless set:
        /// sandboxes have sockets of their own.
        task: Option<SocketAddr> = None;
        /// The other gateways' listener, over TLS with certificates on both sides. A gateway without one
        /// lives alone: it waits while another one has the store, and the others wait while it has.
        peer: Option<SocketAddr> = None;
        /// Networks whose `X-Forwarded-For` is believed. Everybody else's is ignored.
        proxies: Vec<Network> = Vec::new();
        /// Origins whose pages may open a WebSocket or ask for a ticket. The development issuer's own
        /// page need not be listed.
        origins: Vec<WebOrigin> = Vec::new();
        /// Connections at one time on the public listener, authenticated or not.
        max_connections: u32 = 10_000, in 1..=1_000_000;
        /// Connections at one time from one address (one /64 of IPv6) that have not authenticated.
        unauthenticated_per_address: u32 = 32, in 1..=1_000_000;
        /// How long a connection may take to send a request's headers.
        header_timeout: Period = Period::secs(10), in Period::millis(100)..=Period::mins(5);
    }
}

section! {
    |context|
    /// The other gateways that share the store.
    pub struct Peers {
        /// Where they reach this gateway's `listen.peer`, as `host:port`. Unless set, its own address on the
        /// way to the database, where `listen.peer` names none.
        address: Option<String> = None;
        /// How long a gateway may give no sign of life before the others take its sessions. It says so four
        /// times as often.
        deadline: Period = Period::secs(20), in Period::millis(200)..=Period::mins(5);
    }
}

choice! {
    /// What runs tasks.
    pub enum TaskCompute {
        /// Sandboxes on this machine.
        Sandbox = "sandbox",
        /// Amazon ECS.
        Ecs = "ecs",
    }
}

section! {
    |context|
    /// Where tasks run, and how their bridges get back to the gateway.
    pub struct Tasks {
        /// What runs them: `sandbox` on this machine, `ecs` on Amazon ECS, where they dial `listen.task`.
        compute: TaskCompute = TaskCompute::Sandbox;
        /// Where tasks dial `listen.task`. The gateway makes itself a certificate for this host.
        dial: Option<DialUrl> = None;
        /// Where the certificates (PEM) are, by one of which the gateway's own is signed: one, or two while
        /// one replaces another. Tasks trust these and no others. `shellgate-gateway make-authority` makes
        /// one. Read again every few minutes.
        authorities: Vec<SecretRef> = Vec::new();
        /// Where the private key (PEM) of one of them is: a file of mode 0600, or a parameter.
        authority_key: Option<SecretRef> = None;
        /// Where the key is that enrolment tokens are made with, the same for all gateways of a deployment:
        /// 32 random bytes in unpadded base64url (RFC 4648, section 5). The gateway makes itself one, in its
        /// state directory, unless set.
        enrolment_key: Option<SecretRef> = None;
        /// Whether a bridge that calls over a network must have its task's own address. Off only where
        /// something on the way hides it.
        check_address: bool = true;
    }
}

impl Tasks {
    /// Whether any of these secrets is a parameter.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        let all = self.authorities.iter().chain(&self.authority_key).chain(&self.enrolment_key);
        all.into_iter().any(|of| matches!(of, SecretRef::Parameter(_)))
    }
}

section! {
    |context|
    /// What one task may use.
    pub struct TaskLimits {
        /// Memory of all its processes, its /tmp included.
        memory: ByteSize = context.task.memory, in ByteSize::mib(16)..=ByteSize::gib(1024);
        /// Its share of the processor.
        cpu: Cores = context.task.cpu, in Cores::millis(10)..=Cores::millis(1_024_000);
        /// Its processes and threads.
        pids: u32 = context.task.pids, in 8..=1_000_000;
        /// Its private /tmp, which lies in memory.
        tmp: ByteSize = context.task.tmp, in ByteSize::mib(1)..=ByteSize::gib(1024);
    }
}

impl TaskLimits {
    /// Enough for a shell, an editor and a compiler; little enough for many of them.
    pub(super) const BUILT_IN: Self = Self {
        memory: ByteSize::gib(2),
        cpu: Cores::millis(2000),
        pids: 512,
        tmp: ByteSize::mib(256),
    };
}

impl From<&TaskLimits> for shellgate_infra::compute::Limits {
    fn from(limits: &TaskLimits) -> Self {
        Self {
            memory: limits.memory.get(),
            cpu_millis: limits.cpu.get(),
            pids: limits.pids,
            tmp: limits.tmp.get(),
        }
    }
}

section! {
    |context|
    /// Tasks as sandboxes on this machine.
    pub struct Sandbox {
        /// The `bwrap` program. Ubuntu's exception for unprivileged user namespaces names this path only.
        bwrap: PathBuf = PathBuf::from("/usr/bin/bwrap");
        /// The bridge, linked statically. Next to the gateway's executable unless set.
        bridge: PathBuf = context.executable_dir.join("shellgate-bridge");
        /// The uids that a gateway run by root gives to its users, one each. No account may have one of them.
        uid_range: UidRange = UidRange::default();
    }
    tables {
        /// What a task may use unless its template says otherwise.
        limits: TaskLimits;
    }
}

section! {
    |context|
    /// The users' files.
    pub struct Volumes {
        /// Where they are: `directory`, on this machine, or `efs`, on Amazon EFS.
        kind: VolumeKind = VolumeKind::Directory;
        /// The directory with one directory a user. In the state directory unless set.
        root: PathBuf = context.state("volumes");
        /// A directory that a new user's home is filled from.
        skeleton: Option<PathBuf> = None;
    }
}

section! {
    |context|
    /// The users' secrets.
    pub struct Secrets {
        /// Where they are: `file`, on this machine, or `ssm`, in the Parameter Store of AWS Systems Manager.
        kind: SecretKind = SecretKind::File;
        /// The file, mode 0600. In the state directory unless set.
        file: PathBuf = context.state("secrets.toml");
        /// What the parameters' names begin with: `PREFIX/shared/NAME` is everybody's,
        /// `PREFIX/users/USER/NAME` is one user's.
        prefix: String = "/shellgate".into();
        /// How old what was read may be, and how often a running session's secrets are looked at: a new
        /// version reaches it within twice this time.
        max_age: Period = Period::mins(1), in Period::secs(1)..=Period::hours(1);
        /// How long a running session keeps the value that a new version replaced, as the file
        /// `NAME.previous` beside it. "0s" keeps none.
        overlap: Period = Period::mins(10), in Period::millis(0)..=Period::hours(24);
    }
}

section! {
    |context|
    /// How much of everything there may be, and how long anything may take.
    pub struct Limits {
        /// Sessions of one user that have not ended.
        sessions_per_user: u32 = 5, in 1..=100_000;
        /// Sessions of all users that have not ended, whichever gateway keeps them.
        sessions: u32 = 500, in 1..=1_000_000;
        /// Starts of one user in a minute, at one gateway. A start that fails does not count.
        starts_per_minute_per_user: u32 = 10, in 1..=100_000;
        /// Clients attached to one session, its driver included.
        attachments_per_session: u32 = 16, in 1..=1_000;
        /// Descriptors that connections leave free, for the database, logs and sandboxes.
        descriptor_reserve: u32 = 128, in 16..=100_000;
        /// Sessions that may wait at one gateway for their turn to be started.
        start_queue: u32 = 200, in 1..=10_000;
        /// Sessions that are started at one time, of all gateways together.
        parallel_starts: u32 = 4, in 1..=1_000;
        /// The largest window of output that a client is granted.
        window: ByteSize = ByteSize::bytes(WINDOW_MAX as u64),
            in ByteSize::bytes(WINDOW_MIN as u64)..=ByteSize::bytes(WINDOW_MAX as u64);
        /// From its turn to be started to its bridge's call, for a session. Then it ends. On Fargate a
        /// start takes half a minute, and longer while there is no room.
        start_deadline: Period = Period::mins(2), in Period::secs(1)..=Period::hours(1);
        /// How long a session without a link waits for its bridge to call again. Then it ends.
        /// A bridge calls every 15 seconds at least.
        severed_deadline: Period = Period::mins(5), in Period::secs(1)..=Period::hours(24);
        /// From asking a session's program to end to killing it.
        stop_grace: Period = Period::secs(5), in Period::millis(0)..=Period::mins(5);
        /// How long a bridge may find no gateway before it ends its task: what a gateway's absence may last.
        orphan: Period = Period::hours(1), in Period::secs(10)..=Period::hours(720);
    }
}

section! {
    |context|
    /// The issuer that a gateway on a developer's machine brings with it. Only on loopback.
    pub struct Development {
        /// Whether it is there.
        enabled: bool = false;
        /// The user that it signs in.
        user: String = "developer".into();
    }
}

section! {
    |context|
    /// Whom the gateway believes.
    pub struct AuthTimes {
        /// How far an issuer's clock may be off.
        leeway: Period = Period::secs(5), in Period::millis(0)..=Period::mins(5);
        /// The longest that a token may be good for, from its `iat` to its `exp`.
        token_lifetime: Period = Period::hours(31 * 24), in Period::mins(1)..=Period::hours(10 * 366 * 24);
        /// How long a client with a token that has run out may stay and send a newer one.
        grace: Period = Period::secs(60), in Period::millis(0)..=Period::mins(10);
    }
}
