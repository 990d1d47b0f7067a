//! What can be measured: each system starts, opens sessions, says what it has used, and stops. Knows
//! no metric.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use tokio::time::Duration;

use crate::conversation::Conversation;
use crate::processes::{Family, Usage, Watched};
use crate::session::Session;
use crate::work::Work;

mod bwrap;
mod crowd;
mod floor;
mod local;
mod product;

use bwrap::Bwrap;
use floor::Floor;
use local::Local;
pub use product::Programs;
use product::{Bridges, Product};

/// The shell of every system that does not say otherwise.
const SHELL: [&str; 2] = ["bash", "--norc"];

/// How long a system may take to stop by itself.
const PATIENCE: Duration = Duration::from_secs(90);

/// Lines of a log that are shown where something failed.
const LAST_WORDS: usize = 10;

/// Which system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// A terminal of the generator's own: what kernel and generator cost.
    Pty,
    /// The bare gateway.
    Floor,
    /// Shellgate.
    Shellgate,
    /// Shellgate with simulated bridges.
    Crowd,
    /// The engine of the sandbox, without a gateway.
    Bwrap,
}

impl Which {
    /// As it stands in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pty => "pty",
            Self::Floor => "floor",
            // Its gateway is the product's: only the other end of its links is simulated.
            Self::Shellgate | Self::Crowd => "shellgate",
            Self::Bwrap => "bwrap",
        }
    }
}

/// How a session is opened.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Which one of the metric's.
    pub number: usize,
    /// Bytes of the client's read buffer. Many idle clients want small ones.
    pub read_buffer: usize,
    /// With the shell that a person gets who asks for nothing else.
    pub login: bool,
}

/// What a client knows of a session that it left.
#[derive(Debug, Clone)]
pub struct Left {
    /// Which one of the metric's.
    pub number: usize,
    /// What its system calls it.
    pub id: String,
    /// Where it stood.
    pub conversation: Conversation,
}

enum Kind {
    Local(Local),
    Bwrap(Bwrap),
    Floor(Floor),
    Product(Box<Product>),
}

/// One running system.
pub struct System {
    kind: Kind,
    family: Family,
}

impl System {
    /// Starts it, with nothing left of earlier ones.
    pub async fn start(which: Which, work: &Work, programs: &Programs) -> Result<Self> {
        let place = work.place.join("run");
        if place.exists() {
            std::fs::remove_dir_all(&place)?;
        }
        std::fs::create_dir_all(&place)?;
        let family = Family::default();
        let kind = match which {
            Which::Pty => Kind::Local(Local::new(work.files())),
            Which::Bwrap => Kind::Bwrap(Bwrap::new(&place)?),
            Which::Floor => Kind::Floor(Floor::start(&family, &place, work, programs).await?),
            Which::Shellgate => {
                let product = Product::start(&family, &place, work, programs, Bridges::Real);
                Kind::Product(Box::new(product.await?))
            }
            Which::Crowd => {
                let product = Product::start(&family, &place, work, programs, Bridges::Simulated);
                Kind::Product(Box::new(product.await?))
            }
        };
        Ok(Self { kind, family })
    }

    /// Opens a session; its shell's output is on the way.
    pub async fn open(&self, wish: Wish) -> Result<Session> {
        match &self.kind {
            Kind::Local(local) => local.open(wish),
            Kind::Bwrap(bwrap) => bwrap.open(wish),
            Kind::Floor(floor) => floor.open(wish).await,
            Kind::Product(product) => product.open(wish).await,
        }
    }

    /// Comes back to a session whose client has left.
    pub async fn attach(&self, left: &Left) -> Result<Session> {
        match &self.kind {
            Kind::Product(product) => product.attach(left).await,
            Kind::Local(_) | Kind::Bwrap(_) | Kind::Floor(_) => bail!("this system keeps nothing"),
        }
    }

    /// What its processes have used so far, shells left out.
    pub fn usage(&self, with_memory: bool) -> Usage {
        self.family.usage(with_memory)
    }

    /// Its processes, to be looked at while others are measured.
    pub fn watched(&self) -> Watched {
        self.family.watched()
    }

    /// Ends it and everything that it has started.
    pub fn stop(self) {
        let Self { kind, family } = self;
        // Simulated bridges end first, as real ones do when their sandboxes are stopped.
        drop(kind);
        family.stop(Signal::SIGINT, PATIENCE);
    }
}

/// The last lines that the servers of the last system have logged.
pub fn last_words(place: &Path) -> String {
    let logs = std::fs::read_dir(place.join("run")).into_iter().flatten().flatten();
    let logs =
        logs.map(|entry| entry.path()).filter(|path| path.extension() == Some("log".as_ref()));
    let mut words = String::new();
    for log in logs {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(LAST_WORDS)..] {
            words.push_str("# ");
            words.push_str(line);
            words.push('\n');
        }
    }
    words
}

/// A port of this machine that nobody had a moment ago.
fn free_port() -> Result<std::net::SocketAddr> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// The shell's surroundings where no sandbox makes them: the same for all systems.
fn plain(command: &mut Command, home: &Path) {
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm-256color")
        .env("HOME", home)
        .current_dir(home);
}
