//! Memory per idle session: how much more the server's processes have, shells left out, with so many
//! clients attached and at their prompts.

use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use super::Run;
use crate::processes::Role;
use crate::rows::Rows;

/// An idle client's read buffer, in bytes.
const SMALL: usize = 2 * 1024;

/// Descriptors that a gateway needs for one session with one client.
const DESCRIPTORS_EACH: u64 = 4;

/// Descriptors that a gateway needs besides.
const DESCRIPTORS_BESIDES: u64 = 200;

/// How many sessions a gateway that is started from here may hold.
fn room() -> Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(hard.saturating_sub(DESCRIPTORS_BESIDES) / DESCRIPTORS_EACH)?)
}

/// Measures memory at every level.
pub async fn run(run: &Run<'_>, name: &str, levels: &[usize], rows: &mut Rows) -> Result<()> {
    let settle = Duration::from_secs_f64(run.work.settle_s);
    sleep(settle).await;
    let base = run.usage(true);
    for role in Role::ALL.into_iter().filter(|role| base.has(*role)) {
        let mib = base.memory(role) / f64::from(1 << 20);
        rows.put(format!("{name}.base.{}", role.name()), mib, "MiB");
    }
    let stop = CancellationToken::new();
    let mut idle = JoinSet::new();
    let mut opened = 0;
    let room = room()?;
    for &level in levels {
        let count = level.min(room / 100 * 100);
        if count < level {
            rows.say(&format!(
                "# {name}@{count} instead of {level}: descriptors for {room} sessions only"
            ));
        }
        if count <= opened {
            continue;
        }
        for mut session in run.open_many(opened, count, SMALL).await? {
            let stop = stop.clone();
            idle.spawn(async move { session.idle(&stop).await });
        }
        opened = count;
        sleep(settle).await;
        let now = run.usage(true);
        for role in Role::ALL.into_iter().filter(|role| now.has(*role)) {
            let each = (now.memory(role) - base.memory(role)) / 1024.0 / count as f64;
            rows.put(format!("{name}@{count}.{}", role.name()), each, "KiB/session");
        }
        let each = (now.all_memory() - base.all_memory()) / 1024.0 / count as f64;
        rows.put(format!("{name}@{count}.total"), each, "KiB/session");
    }
    stop.cancel();
    while let Some(ended) = idle.join_next().await {
        ended??;
    }
    Ok(())
}
