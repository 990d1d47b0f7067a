//! The metrics: each gets a freshly started system and puts rows. Knows no particular system.

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;

use crate::processes::{Role, Usage};
use crate::rows::Rows;
use crate::session::Session;
use crate::system::{System, Which, Wish};
use crate::work::{PROMPTS, Work};

mod echo;
mod memory;
mod prompt;
mod reconnect;
mod slow;
mod throughput;

/// A client's read buffer, in bytes: the library's default.
pub const BUFFER: usize = 128 * 1024;

/// Longest that a session may take from its first packet to its prompt, and a command to its end.
const LIMIT: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Metric {
    /// Keystrokes, and back.
    Echo,
    /// Output.
    Throughput,
    /// Idle sessions.
    Mem,
    /// Idle sessions with simulated bridges.
    Crowd,
    /// From the first packet to the first prompt.
    Prompt,
    /// A client that stops reading.
    Slow,
    /// Output that is printed while a client is away.
    Reconnect,
}

impl Metric {
    /// In the order in which they are measured.
    pub const ALL: [Self; 7] = [
        Self::Echo,
        Self::Throughput,
        Self::Prompt,
        Self::Slow,
        Self::Reconnect,
        Self::Mem,
        Self::Crowd,
    ];

    /// As it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Throughput => "throughput",
            Self::Mem => "mem",
            Self::Crowd => "crowd",
            Self::Prompt => "prompt",
            Self::Slow => "slow",
            Self::Reconnect => "reconnect",
        }
    }

    /// What it is measured of.
    pub fn systems(self) -> &'static [Which] {
        match self {
            Self::Echo | Self::Throughput => &[Which::Pty, Which::Floor, Which::Shellgate],
            Self::Mem => &[Which::Floor, Which::Shellgate],
            Self::Crowd => &[Which::Crowd],
            Self::Prompt => &[Which::Bwrap, Which::Floor, Which::Shellgate],
            Self::Slow | Self::Reconnect => &[Which::Shellgate],
        }
    }

    /// Whether one round is enough: what it counts hardly varies.
    pub fn once(self) -> bool {
        matches!(self, Self::Mem | Self::Crowd | Self::Reconnect)
    }

    /// Measures.
    pub async fn run(self, run: &Run<'_>, rows: &mut Rows) -> Result<()> {
        match self {
            Self::Echo => echo::run(run, rows).await,
            Self::Throughput => throughput::run(run, rows).await,
            Self::Mem => memory::run(run, "mem", &run.work.memory, rows).await,
            Self::Crowd => memory::run(run, "crowd", &run.work.crowd, rows).await,
            Self::Prompt => prompt::run(run, rows).await,
            Self::Slow => slow::run(run, rows).await,
            Self::Reconnect => reconnect::run(run, rows).await,
        }
    }
}

/// One system under one metric.
pub struct Run<'a> {
    /// How much.
    pub work: &'a Work,
    /// Of what.
    pub system: &'a System,
}

impl Run<'_> {
    fn usage(&self, with_memory: bool) -> Usage {
        // On this thread: nothing else is measured while the system is looked at.
        tokio::task::block_in_place(|| self.system.usage(with_memory))
    }

    /// Opens sessions `from..to`, each up to its first prompt, and keeps all of them polled until
    /// the last one is there.
    async fn open_many(&self, from: usize, to: usize, read_buffer: usize) -> Result<Vec<Session>> {
        let opened = CancellationToken::new();
        let mut waiting = JoinSet::new();
        let mut opening = stream::iter(from..to)
            .map(|number| async move {
                let wish = Wish { number, read_buffer, login: false };
                self.open(wish).await.with_context(|| format!("session {number}"))
            })
            .buffer_unordered(self.work.at_once);
        while let Some(session) = opening.next().await {
            let mut session = session?;
            let opened = opened.clone();
            waiting.spawn(async move { session.idle(&opened).await.map(|()| session) });
        }
        opened.cancel();
        let mut sessions = Vec::with_capacity(to - from);
        while let Some(session) = waiting.join_next().await {
            sessions.push(session??);
        }
        sessions.sort_by_key(|session| session.number);
        Ok(sessions)
    }

    async fn open(&self, wish: Wish) -> Result<Session> {
        let mut session = timeout(LIMIT, self.system.open(wish)).await.context("not open")??;
        session.expect(&PROMPTS, LIMIT).await.context("no prompt")?;
        Ok(session)
    }
}

/// Rows of processor seconds spent between two looks, per `per` units of work.
fn cpu_rows(rows: &mut Rows, label: &str, usage: (&Usage, &Usage), per: f64, unit: &'static str) {
    let (before, after) = usage;
    for role in Role::ALL {
        if after.has(role) {
            let value = after.cpu_since(before, role) / per;
            rows.put(format!("{label}.{}", role.name()), value, unit);
        }
    }
    rows.put(format!("{label}.total"), after.all_cpu_since(before) / per, unit);
}
