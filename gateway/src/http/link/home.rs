//! Where a session's task calls from, over a network: found out once, since a task keeps its
//! address. Knows no provider.

use std::net::IpAddr;

use shellgate_infra::compute::ComputeError;
use tokio::sync::OnceCell;
use tokio::time::error::Elapsed;

/// A task's address, once it is known.
#[derive(Debug, Default)]
pub(super) struct Home(OnceCell<IpAddr>);

/// Why a caller is not known to be the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotHome {
    /// Where the task is nobody can tell now.
    Unknown(String),
    /// The task is there.
    Elsewhere(IpAddr),
}

impl Home {
    /// Whether a caller is known to call from there, without asking anybody.
    pub fn is(&self, caller: IpAddr) -> bool {
        self.0.get() == Some(&caller.to_canonical())
    }

    /// Whether a caller calls from there; `asked` finds out where that is, and is not awaited where
    /// it is known.
    pub async fn holds(
        &self,
        caller: IpAddr,
        asked: impl Future<Output = Result<Result<Option<IpAddr>, ComputeError>, Elapsed>>,
    ) -> Result<(), NotHome> {
        let found = async {
            match asked.await {
                Ok(Ok(Some(address))) => Ok(address.to_canonical()),
                Ok(Ok(None)) => Err(NotHome::Unknown("it has no address yet".into())),
                Ok(Err(error)) => Err(NotHome::Unknown(error.to_string())),
                Err(late) => Err(NotHome::Unknown(late.to_string())),
            }
        };
        let home = *self.0.get_or_try_init(|| found).await?;
        if home == caller.to_canonical() { Ok(()) } else { Err(NotHome::Elsewhere(home)) }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn a_task_is_at_home_at_its_own_address_and_nowhere_else() {
        let home = Home::default();
        let [task, other] = ["10.0.0.7", "10.0.0.8"].map(|text| text.parse::<IpAddr>().unwrap());
        let unknown = home.holds(task, ready(Ok(Ok(None)))).await;
        assert!(matches!(unknown, Err(NotHome::Unknown(_))) && !home.is(task));
        let failed = ComputeError::Failed("throttled".into());
        let unknown = home.holds(task, ready(Ok(Err(failed)))).await;
        assert!(matches!(unknown, Err(NotHome::Unknown(why)) if why.contains("throttled")));
        let elsewhere = home.holds(other, ready(Ok(Ok(Some(task))))).await;
        assert_eq!(elsewhere, Err(NotHome::Elsewhere(task)));
        // It is known now, and nobody is asked again.
        assert!(home.is(task) && !home.is(other));
        assert_eq!(home.holds(task, std::future::pending()).await, Ok(()));
        let clothed = "::ffff:10.0.0.7".parse().unwrap();
        assert_eq!(home.holds(clothed, std::future::pending()).await, Ok(()));
    }
}
