//! Keystroke echo: how long until a key comes back, with many sessions typing at once. The echo is
//! the terminal driver's own (`cat >/dev/null` runs), so the path is timed and not a program.
//!
//! The load is open: keys go out on schedule whether or not earlier ones have come back, so a stall
//! shows in every key that it delays.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use super::{BUFFER, LIMIT, Run, cpu_rows};
use crate::rows::{Rows, percentile};
use crate::session::{Rx, Session, Tx};

/// How long a terminal must say nothing to count as quiet.
const QUIET: Duration = Duration::from_millis(300);

/// Sessions that are set up at the same time.
const TOGETHER: usize = 64;

/// Keys between two line ends: a terminal's line holds 4,095 bytes.
const LINE_OF_KEYS: u64 = 64;

/// How long the last keys may take to come back.
const LAST: Duration = Duration::from_secs(3);

/// Sessions that type, and how.
#[derive(Debug, Clone, Copy)]
pub struct Typing {
    /// Keys a second, of each.
    pub rate: f64,
    /// Seconds that do not count.
    pub warm_s: f64,
    /// Seconds that do.
    pub count_s: f64,
}

/// What typing showed.
#[derive(Default)]
pub struct Echo {
    /// Round trips in milliseconds, sorted.
    pub ms: Vec<f64>,
    /// Keys that counted.
    pub sent: usize,
    missing: usize,
    wrong: usize,
    /// How late the generator itself was, in milliseconds, sorted.
    pub late_ms: Vec<f64>,
}

impl Echo {
    /// Puts its rows.
    pub fn put(&self, rows: &mut Rows, label: &str) {
        for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("p999", 99.9)] {
            rows.put(format!("{label}.{name}"), percentile(&self.ms, percent), "ms");
        }
        rows.put(format!("{label}.missing"), self.missing as f64, "keys");
        rows.put(format!("{label}.wrong"), self.wrong as f64, "keys");
    }
}

/// Puts sessions into the state in which typed keys are echoed and eaten.
pub async fn prepare(sessions: &mut [Session]) -> Result<()> {
    for group in sessions.chunks_mut(TOGETHER) {
        futures_util::future::try_join_all(group.iter_mut().map(prepare_one)).await?;
    }
    Ok(())
}

async fn prepare_one(session: &mut Session) -> Result<()> {
    session.run("stty echo icanon", LIMIT).await?;
    session.tx.send(b"exec cat >/dev/null\n").await?;
    let mut sink = Vec::new();
    // Over once the line editor's own output has ended.
    while let Ok(more) = timeout_at(Instant::now() + QUIET, session.rx.recv(&mut sink)).await {
        if !more? {
            bail!("the session ended while it was set up");
        }
    }
    Ok(())
}

/// Types into all sessions.
pub async fn type_keys(sessions: Vec<Session>, typing: Typing) -> Result<(Echo, Vec<Session>)> {
    let count = sessions.len();
    let start = Instant::now() + Duration::from_millis(50);
    let mut typists = JoinSet::new();
    for (index, session) in sessions.into_iter().enumerate() {
        let phase = Duration::from_secs_f64(index as f64 / count as f64 / typing.rate);
        typists.spawn(type_one(session, start + phase, typing));
    }
    let mut all = Echo::default();
    let mut back = Vec::with_capacity(count);
    while let Some(typed) = typists.join_next().await {
        let (echo, session) = typed??;
        all.ms.extend(echo.ms);
        all.late_ms.extend(echo.late_ms);
        all.sent += echo.sent;
        all.missing += echo.missing;
        all.wrong += echo.wrong;
        back.push(session);
    }
    all.ms.sort_by(f64::total_cmp);
    all.late_ms.sort_by(f64::total_cmp);
    back.sort_by_key(|session| session.number);
    Ok((all, back))
}

struct Sent {
    at: Instant,
    key: u8,
    counts: bool,
}

type Waiting = Arc<Mutex<VecDeque<Sent>>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, VecDeque<Sent>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a session's typing begins, counts and ends.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    counted: Instant,
    end: Instant,
    rate: f64,
}

async fn type_one(session: Session, start: Instant, typing: Typing) -> Result<(Echo, Session)> {
    let Session { number, id, tx, mut rx, phases } = session;
    let counted = start + Duration::from_secs_f64(typing.warm_s);
    let end = counted + Duration::from_secs_f64(typing.count_s);
    let schedule = Schedule { start, counted, end, rate: typing.rate };
    let waiting = Waiting::default();
    let mut writer = JoinSet::new();
    writer.spawn(write_keys(tx, waiting.clone(), schedule));
    let mut echo = Echo::default();
    read_keys(&mut rx, &waiting, schedule.end, &mut echo).await?;
    let Some(written) = writer.join_next().await else { bail!("nobody typed") };
    let (tx, late_ms) = written??;
    echo.missing = lock(&waiting).iter().filter(|sent| sent.counts).count();
    echo.sent = late_ms.len();
    echo.late_ms = late_ms;
    Ok((echo, Session { number, id, tx, rx, phases }))
}

async fn write_keys(mut tx: Tx, waiting: Waiting, schedule: Schedule) -> Result<(Tx, Vec<f64>)> {
    let mut late_ms = Vec::new();
    for count in 0u64.. {
        let due = schedule.start + Duration::from_secs_f64(count as f64 / schedule.rate);
        if due >= schedule.end {
            break;
        }
        sleep_until(due).await;
        let key = b'a' + (count % 26) as u8;
        let counts = due >= schedule.counted;
        let at = Instant::now();
        if counts {
            late_ms.push((at - due).as_secs_f64() * 1e3);
        }
        lock(&waiting).push_back(Sent { at, key, counts });
        let ends_line = count % LINE_OF_KEYS == LINE_OF_KEYS - 1;
        let keys: &[u8] = if ends_line { &[b'\n', key] } else { &[key] };
        tx.send(keys).await?;
    }
    Ok((tx, late_ms))
}

async fn read_keys(rx: &mut Rx, waiting: &Waiting, end: Instant, echo: &mut Echo) -> Result<()> {
    let mut out = Vec::new();
    loop {
        out.clear();
        // Wakes at the end of the round too, to see whether anything is left.
        let typing = Instant::now() < end;
        if !typing && lock(waiting).is_empty() {
            return Ok(());
        }
        match timeout_at(if typing { end } else { end + LAST }, rx.recv(&mut out)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => bail!("a session ended while it was typed into"),
            Ok(Err(error)) => return Err(error),
            Err(_) if Instant::now() >= end + LAST => return Ok(()),
            Err(_) => continue,
        }
        let now = Instant::now();
        let mut waiting = lock(waiting);
        for byte in out.iter().filter(|byte| byte.is_ascii_lowercase()) {
            match waiting.pop_front() {
                Some(sent) if sent.key != *byte => echo.wrong += 1,
                Some(sent) if sent.counts => echo.ms.push((now - sent.at).as_secs_f64() * 1e3),
                Some(_) => {}
                None => echo.wrong += 1,
            }
        }
    }
}

/// Measures echo at every level.
pub async fn run(run: &Run<'_>, rows: &mut Rows) -> Result<()> {
    let work = run.work;
    let mut sessions: Vec<Session> = Vec::new();
    for &(count, rate) in &work.echo {
        if count > sessions.len() {
            let mut more = run.open_many(sessions.len(), count, BUFFER).await?;
            prepare(&mut more).await?;
            sessions.extend(more);
        }
        sessions.truncate(count);
        let typing = Typing { rate, warm_s: work.echo_warm_s, count_s: work.echo_s };
        let before = run.usage(false);
        let (echo, back) = type_keys(sessions, typing).await?;
        let after = run.usage(false);
        sessions = back;
        let label = format!("echo@{count}");
        echo.put(rows, &label);
        rows.put(format!("{label}.late_p99"), percentile(&echo.late_ms, 99.0), "ms");
        // Keys that did not count cost as much as those that did.
        let keys = echo.sent as f64 * (1.0 + work.echo_warm_s / work.echo_s);
        cpu_rows(rows, &format!("{label}.cpu"), (&before, &after), keys / 1e6, "us/key");
    }
    Ok(())
}
