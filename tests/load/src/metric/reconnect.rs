//! A client goes away and comes back: is the output of the meantime there, each byte once? Every
//! printed line carries its number, and the client checks every offset.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::{BUFFER, LIMIT, Run};
use crate::rows::Rows;
use crate::session::Session;
use crate::system::{Left, Wish};
use crate::work::{LINE, LINES_FILE};

/// Longest that a client waits for what was printed while it was away.
const CATCH_UP: Duration = Duration::from_secs(20);

/// Between the command and what it prints, so that the client is away by then.
const DELAY: &str = "sleep 0.7";

/// Between the command and the client's leaving.
const LEAVE: Duration = Duration::from_millis(200);

/// How often every line came: by its number.
#[derive(Debug, Default, PartialEq)]
struct Seen(HashMap<u32, u32>);

impl Seen {
    /// Counts the whole lines in terminal output.
    fn count(&mut self, out: &[u8]) {
        for at in memchr::memmem::find_iter(out, b"L0") {
            let whole = out.get(at + LINE - 1).is_some_and(|byte| matches!(byte, b'\r' | b'\n'));
            let digits = out.get(at + 1..at + 11).and_then(|d| std::str::from_utf8(d).ok());
            if whole && let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
                *self.0.entry(number).or_default() += 1;
            }
        }
    }

    fn missing(&self, of: usize) -> usize {
        of - self.0.len().min(of)
    }

    fn twice(&self) -> usize {
        self.0.values().filter(|times| **times > 1).count()
    }
}

/// Reads until the end of the lines, or enough of them.
async fn collect(session: &mut Session, out: &mut Vec<u8>, until: Instant, enough: usize) -> bool {
    while out.len() < enough {
        let from = out.len().saturating_sub(16);
        match timeout_at(until, session.rx.recv(out)).await {
            Ok(Ok(true)) if memchr::memmem::find(&out[from..], b"LINESDONE").is_some() => {
                return true;
            }
            Ok(Ok(true)) => {}
            Ok(_) | Err(_) => return false,
        }
    }
    false
}

/// Hangs up without a word, as a connection that breaks does.
fn leave(session: Session) -> Result<Left> {
    let conversation = session.conversation().context("this system keeps nothing")?;
    Ok(Left { number: session.number, id: session.id, conversation })
}

/// What coming back showed.
struct Back {
    lost: u64,
    repeated: u64,
    same_shell: bool,
    seconds: f64,
}

async fn come_back(run: &Run<'_>, left: &Left, out: &mut Vec<u8>) -> Result<Back> {
    let start = Instant::now();
    let mut session = run.system.attach(left).await?;
    collect(&mut session, out, start + CATCH_UP, usize::MAX).await;
    let seconds = start.elapsed().as_secs_f64();
    let talk = session.conversation().context("this system keeps nothing")?;
    // Only the shell that was left knows X.
    session.tx.send(b"\nprintf 'AL%s\\n' IVE$((41+X))\n").await?;
    let same_shell = session.expect(&["ALIVE42"], LIMIT).await.is_ok();
    let since = &left.conversation;
    let (lost, repeated) = (talk.lost - since.lost, talk.repeated - since.repeated);
    Ok(Back { lost, repeated, same_shell, seconds })
}

async fn open(run: &Run<'_>, number: usize) -> Result<Session> {
    let mut session = run.open(Wish { number, read_buffer: BUFFER, login: false }).await?;
    session.run("stty -echo; X=1", LIMIT).await?;
    Ok(session)
}

fn percent(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// Measures reconnects.
pub async fn run(run: &Run<'_>, rows: &mut Rows) -> Result<()> {
    let (mut repeated, mut twice, mut same_shell) = (0, 0, true);
    for (number, &kib) in run.work.away.iter().enumerate() {
        let lines = kib * 1024 / LINE;
        let mut session = open(run, number).await?;
        let bytes = lines * LINE;
        let command = format!("{DELAY}; head -c {bytes} {LINES_FILE}; printf 'LINES%s\\n' DONE\n");
        session.tx.send(command.as_bytes()).await?;
        sleep(LEAVE).await;
        let left = leave(session)?;
        sleep(Duration::from_secs_f64(run.work.away_s)).await;
        let mut out = Vec::new();
        let back = come_back(run, &left, &mut out).await?;
        let mut seen = Seen::default();
        seen.count(&out);
        rows.put(format!("reconnect.lost@{kib}KiB"), percent(seen.missing(lines), lines), "%");
        rows.put(format!("reconnect.lost_bytes@{kib}KiB"), back.lost as f64, "bytes");
        rows.put(format!("reconnect.caught_up@{kib}KiB"), back.seconds, "s");
        repeated += back.repeated;
        twice += seen.twice();
        same_shell &= back.same_shell;
    }
    rows.put("reconnect.repeated", (repeated + twice as u64) as f64, "bytes and lines");
    rows.put("reconnect.same_shell", f64::from(u8::from(same_shell)), "bool");
    cut_off(run, rows).await
}

/// Cut off in the middle: a quarter of 1 MiB has arrived.
async fn cut_off(run: &Run<'_>, rows: &mut Rows) -> Result<()> {
    let lines = (1 << 20) / LINE;
    let mut session = open(run, run.work.away.len()).await?;
    // Line by line, so that much of it is printed after the cut.
    let command = format!(
        "head -n {lines} {LINES_FILE} | while read -r l; do echo \"$l\"; done; \
         printf 'LINES%s\\n' DONE\n"
    );
    session.tx.send(command.as_bytes()).await?;
    let mut out = Vec::new();
    if collect(&mut session, &mut out, Instant::now() + CATCH_UP, 256 << 10).await {
        bail!("everything came before the cut");
    }
    let left = leave(session)?;
    sleep(Duration::from_secs(1)).await;
    let back = come_back(run, &left, &mut out).await?;
    // Both parts as one text: a line that the cut went through is whole again, or it is lost.
    let mut seen = Seen::default();
    seen.count(&out);
    rows.put("reconnect.midcut_lost", percent(seen.missing(lines), lines), "%");
    let repeated = back.repeated + seen.twice() as u64;
    rows.put("reconnect.midcut_repeated", repeated as f64, "bytes and lines");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::line;

    #[test]
    fn only_whole_lines_are_counted_and_each_as_often_as_it_came() {
        let text = |number| line(number).replace('\n', "\r\n");
        let out = format!("noise{}{}{}{}", text(3), text(4), text(3), &text(5)[..30]);
        let mut seen = Seen::default();
        seen.count(out.as_bytes());
        assert_eq!(seen, Seen(HashMap::from([(3, 2), (4, 1)])));
        assert_eq!((seen.missing(4), seen.twice()), (2, 1));
    }
}
