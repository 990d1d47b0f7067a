//! Output: sessions print a file; how fast does it come through, and what processor time does the
//! server's side spend on a GiB.

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::{BUFFER, LIMIT, Run, cpu_rows};
use crate::processes::own_cpu_s;
use crate::rows::Rows;
use crate::session::Session;
use crate::work::{PRINT_BYTES, PRINT_FILE};

/// A pause for what the last step left to do.
const PAUSE: Duration = Duration::from_millis(300);

struct Printed {
    bytes: u64,
    messages: u64,
    seconds: f64,
    finished: bool,
}

async fn print(session: &mut Session, command: &str, longest: Duration) -> Result<Printed> {
    let start = Instant::now();
    session.tx.send(command.as_bytes()).await?;
    let mut out = Vec::with_capacity(1 << 20);
    let (mut bytes, mut messages, mut finished) = (0, 0, false);
    let mut end: Vec<u8> = Vec::new();
    while let Ok(more) = timeout_at(start + longest, session.rx.recv(&mut out)).await {
        if !more? {
            break;
        }
        bytes += out.len() as u64;
        messages += u64::from(!out.is_empty());
        // The file has no capital letters; the marker may be cut in two.
        if !end.is_empty() || memchr::memchr(b'P', &out).is_some() {
            end.extend_from_slice(&out);
            if memchr::memmem::find(&end, b"PRINTED").is_some() {
                finished = true;
                break;
            }
            let keep = end.len().saturating_sub(16);
            end.drain(..keep);
        }
        out.clear();
    }
    Ok(Printed { bytes, messages, seconds: start.elapsed().as_secs_f64(), finished })
}

/// Measures output at every level.
pub async fn run(run: &Run<'_>, rows: &mut Rows) -> Result<()> {
    let work = run.work;
    for &count in &work.throughput {
        let times = (work.prints / count).max(1);
        let mut sessions = run.open_many(0, count, BUFFER).await?;
        for session in &mut sessions {
            session.run("stty -echo; bind 'set enable-bracketed-paste off'", LIMIT).await?;
        }
        sleep(PAUSE).await;
        let files = [PRINT_FILE].repeat(times).join(" ");
        let command = format!("cat {files}; printf 'PRIN%s\\n' TED\n");
        let longest = Duration::from_secs_f64(work.throughput_s);
        let (before, own, start) = (run.usage(false), own_cpu_s(), Instant::now());
        let mut printing = JoinSet::new();
        for mut session in sessions {
            let command = command.clone();
            printing.spawn(async move {
                let printed = print(&mut session, &command, longest).await;
                (session, printed)
            });
        }
        let (mut all, mut kept) = (Vec::new(), Vec::new());
        while let Some(done) = printing.join_next().await {
            let (session, printed) = done?;
            kept.push(session);
            all.push(printed.context("printing")?);
        }
        let wall = start.elapsed().as_secs_f64();
        let (after, own) = (run.usage(false), own_cpu_s() - own);
        drop(kept);

        let label = format!("throughput@{count}");
        let bytes: u64 = all.iter().map(|printed| printed.bytes).sum();
        let messages: u64 = all.iter().map(|printed| printed.messages).sum();
        let longest = all.iter().map(|printed| printed.seconds).fold(0.0, f64::max).min(wall);
        let gib = bytes as f64 / (1u64 << 30) as f64;
        rows.put(format!("{label}.rate"), bytes as f64 / 1e6 / longest, "MB/s");
        cpu_rows(rows, &format!("{label}.cpu"), (&before, &after), gib, "s/GiB");
        let message = bytes as f64 / messages.max(1) as f64;
        rows.put(format!("{label}.message"), message, "bytes");
        rows.put(format!("{label}.generator_cpu"), own / gib, "s/GiB");
        let unfinished = all.iter().filter(|printed| !printed.finished).count();
        rows.put(format!("{label}.unfinished"), unfinished as f64, "sessions");
        if unfinished == 0 {
            // The terminal puts a carriage return before every line end.
            let whole = (PRINT_BYTES / 120 * 121 * times * count) as f64;
            let lost = (100.0 * (1.0 - bytes as f64 / whole)).max(0.0);
            rows.put(format!("{label}.lost"), lost, "%");
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
