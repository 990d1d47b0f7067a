//! A client that stops reading while its session prints without end: does the server's memory grow,
//! what does it cost, and do the others notice?

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::echo::{Echo, Typing, prepare, type_keys};
use super::{BUFFER, LIMIT, Run};
use crate::processes::{Role, Usage};
use crate::rows::Rows;
use crate::session::Session;

/// Keys a second, of each session that types.
const RATE: f64 = 10.0;

/// Seconds of typing that do not count.
const WARM_S: f64 = 0.5;

/// Between two looks at private memory. One at all memory walks the page tables of every process,
/// for so long that the typists would feel it: that is done before and after.
const LOOK: Duration = Duration::from_secs(1);

/// For the terminal, which drops typed input with a Ctrl-C.
const AFTER_CTRL_C: Duration = Duration::from_millis(50);

/// Seconds that a session may take to answer.
const PATIENCE_S: u64 = 10;

/// Measures one stall.
pub async fn run(run: &Run<'_>, rows: &mut Rows) -> Result<()> {
    let work = run.work;
    let mut others = run.open_many(0, work.others + 1, BUFFER).await?;
    let mut victim = others.remove(0);
    prepare(&mut others).await?;
    victim.run("stty -echo; L=$(printf '%0118d' 0)", LIMIT).await?;

    let typing = Typing { rate: RATE, warm_s: WARM_S, count_s: work.calm_s };
    let (before, start) = (run.usage(false), Instant::now());
    let (echo, others) = type_keys(others, typing).await?;
    let calm = run.usage(false).all_cpu_since(&before) / start.elapsed().as_secs_f64();
    echo.put(rows, "slow.others_idle");

    victim.tx.send(b"yes $L\n").await?;
    let until = Instant::now() + Duration::from_secs_f64(work.calm_s + 1.0);
    let mut reading = JoinSet::new();
    reading.spawn(read_until(victim, until));
    let (echo, others) = type_keys(others, typing).await?;
    echo.put(rows, "slow.others_reading");
    let mut victim = reading.join_next().await.context("nobody read")???;

    // From here on nobody reads the victim's socket.
    let typing = Typing { count_s: work.stall_s, ..typing };
    stall(run, rows, others, typing, calm).await?;
    let (answered, backlog) = come_back(&mut victim).await?;
    rows.put("slow.answer_after_stall", answered.unwrap_or(f64::INFINITY), "s");
    rows.put("slow.backlog_read", backlog as f64 / f64::from(1 << 20), "MiB");
    Ok(())
}

async fn read_until(mut victim: Session, until: Instant) -> Result<Session> {
    let mut out = Vec::new();
    while let Ok(more) = timeout_at(until, victim.rx.recv(&mut out)).await {
        more?;
        out.clear();
    }
    Ok(victim)
}

/// The others type, and the system is watched. `calm` is what their typing alone costs, in cores.
async fn stall(
    run: &Run<'_>,
    rows: &mut Rows,
    others: Vec<Session>,
    typing: Typing,
    calm: f64,
) -> Result<()> {
    let watched = run.system.watched();
    let (before, private, sockets_before) =
        (run.usage(true), watched.private_memory(), socket_memory());
    let start = Instant::now();
    let mut typists: JoinSet<Result<(Echo, Vec<Session>)>> = JoinSet::new();
    typists.spawn(type_keys(others, typing));
    let (mut peaks, mut sockets) = ([0.0f64; Role::ALL.len()], sockets_before);
    let mut compare = |now: &Usage, before: &Usage| {
        for (role, peak) in Role::ALL.iter().zip(&mut peaks) {
            *peak = peak.max(now.memory(*role) - before.memory(*role));
        }
    };
    let typed = loop {
        if let Ok(typed) = timeout(LOOK, typists.join_next()).await {
            break typed.context("nobody typed")???;
        }
        let now = tokio::task::block_in_place(|| watched.private_memory());
        compare(&now, &private);
        sockets = sockets.max(socket_memory());
    };
    let (after, seconds) = (run.usage(true), start.elapsed().as_secs_f64());
    compare(&after, &before);
    let cores = after.all_cpu_since(&before) / seconds;
    typed.0.put(rows, "slow.others_stalled");
    let mib = f64::from(1 << 20);
    for (role, peak) in Role::ALL.iter().zip(peaks).filter(|(role, _)| before.has(**role)) {
        rows.put(format!("slow.growth.{}", role.name()), peak / mib, "MiB");
    }
    rows.put("slow.growth.total", peaks.iter().sum::<f64>() / mib, "MiB");
    rows.put("slow.growth.sockets", (sockets - sockets_before) / mib, "MiB");
    rows.put("slow.cpu.typing", calm, "cores");
    rows.put("slow.cpu.total", (cores - calm).max(0.0), "cores");
    Ok(())
}

/// Reads again: Ctrl-C, and how long until the shell answers. As a person would, it presses again
/// where nothing comes.
async fn come_back(victim: &mut Session) -> Result<(Option<f64>, usize)> {
    let start = Instant::now();
    let (mut out, mut backlog) = (Vec::new(), 0);
    for second in 1..=PATIENCE_S {
        victim.tx.send(b"\x03").await?;
        sleep(AFTER_CTRL_C).await;
        victim.tx.send(b"\nprintf 'BA%s\\n' CKAGAIN\n").await?;
        let next = start + Duration::from_secs(second);
        while let Ok(more) = timeout_at(next, victim.rx.recv(&mut out)).await {
            if memchr::memmem::find(&out, b"BACKAGAIN").is_some() {
                return Ok((Some(start.elapsed().as_secs_f64()), backlog));
            }
            if !more? {
                return Ok((None, backlog));
            }
            let read = out.len().saturating_sub(16);
            backlog += read;
            out.drain(..read);
        }
    }
    Ok((None, backlog))
}

/// Bytes that the kernel holds for TCP, all of the machine's sockets together: what a stalled client
/// leaves in them is in no process's memory.
fn socket_memory() -> f64 {
    let pages = std::fs::read_to_string("/proc/net/sockstat").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("TCP:"))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    });
    pages.map_or(f64::NAN, |pages| pages * 4096.0)
}
