//! What is known of one path of parameters, and when to ask for it again. Knows no AWS and no clock:
//! the time is an argument.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Values;
use crate::aws::AwsError;
use crate::secrets::SecretError;

/// For how long after its age what was read last is good while AWS can't be asked.
const STALE: Duration = Duration::from_secs(3600);
/// For how long a failure is the answer, so that those who waited do not each fail anew.
const FAILED: Duration = Duration::from_secs(1);
/// For how long AWS is not asked again, while there is something good to be had without.
const SPARED: Duration = Duration::from_secs(15);

/// What is known of one path.
#[derive(Default)]
pub(super) struct Kept {
    newest: Option<(Instant, Arc<Values>)>,
    failed: Option<(Instant, Fault)>,
}

/// Why a path could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Aws(AwsError),
    Invalid(String),
}

/// What to do for one who asks.
pub(super) enum Next {
    Use(Arc<Values>),
    Fail(Fault),
    /// AWS; where there is something good to be had without, not for long.
    Ask {
        spare: bool,
    },
}

impl Kept {
    pub(super) fn next(&self, now: Instant, max_age: Duration) -> Next {
        if let Some((at, values)) = &self.newest
            && now.duration_since(*at) < max_age
        {
            return Next::Use(Arc::clone(values));
        }
        let spare = self.newest.as_ref().is_some_and(|(at, _)| is_good(*at, now, max_age));
        let Some((at, fault)) = &self.failed else { return Next::Ask { spare } };
        let since = now.duration_since(*at);
        match self.stale(now, max_age, fault) {
            Some(values) if since < SPARED => Next::Use(values),
            None if since < FAILED => Next::Fail(fault.clone()),
            _ => Next::Ask { spare },
        }
    }

    /// Takes an answer, and says what to tell those who asked.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        max_age: Duration,
        answer: Result<Values, Fault>,
    ) -> Result<Arc<Values>, Fault> {
        match answer {
            Ok(values) => {
                let values = Arc::new(values);
                *self = Self { newest: Some((now, Arc::clone(&values))), failed: None };
                Ok(values)
            }
            Err(fault) => {
                self.failed = Some((now, fault.clone()));
                self.stale(now, max_age, &fault).ok_or(fault)
            }
        }
    }

    /// What was read last, where it is good in spite of this fault: what somebody took away is not.
    fn stale(&self, now: Instant, max_age: Duration, fault: &Fault) -> Option<Arc<Values>> {
        let passing = match fault {
            Fault::Aws(error) => error.is_retryable(),
            Fault::Invalid(_) => false,
        };
        let (at, values) = self.newest.as_ref()?;
        (passing && is_good(*at, now, max_age)).then(|| Arc::clone(values))
    }
}

/// Whether what was read then is still good where there is nothing better.
fn is_good(at: Instant, now: Instant, max_age: Duration) -> bool {
    now.duration_since(at) < max_age.saturating_add(STALE)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(error) => error.fmt(f),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

impl From<AwsError> for Fault {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

impl From<Fault> for SecretError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Aws(error) => Self::Aws(error),
            Fault::Invalid(what) => Self::Invalid(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::AwsErrorKind;
    use crate::secrets::SecretValue;

    const AGE: Duration = Duration::from_secs(60);

    fn values(version: &str) -> Values {
        let name = "TOKEN".to_owned();
        let value = SecretValue { name: name.clone(), version: version.to_owned(), value: vec![] };
        Values::from([(name, value)])
    }

    fn fault(kind: AwsErrorKind) -> Fault {
        Fault::Aws(AwsError { kind, ..AwsError::late("ssm:GetParametersByPath", String::new()) })
    }

    /// What one who asks is told: a version, `ask`, or `fail`.
    fn told(kept: &Kept, now: Instant) -> String {
        match kept.next(now, AGE) {
            Next::Use(values) => values["TOKEN"].version.clone(),
            Next::Fail(_) => "fail".to_owned(),
            Next::Ask { spare: true } => "ask, soon".to_owned(),
            Next::Ask { spare: false } => "ask".to_owned(),
        }
    }

    #[test]
    fn what_was_read_is_good_for_its_age_and_then_asked_for() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        assert_eq!(told(&kept, start), "ask");
        kept.settle(start, AGE, Ok(values("1"))).unwrap();
        assert_eq!(told(&kept, start + AGE - Duration::from_millis(1)), "1");
        assert_eq!(told(&kept, start + AGE), "ask, soon");
        assert_eq!(told(&kept, start + AGE + STALE), "ask");
        kept.settle(start + AGE, AGE, Ok(values("2"))).unwrap();
        assert_eq!(told(&kept, start + AGE), "2");
    }

    #[test]
    fn while_aws_cannot_be_asked_what_was_read_is_good_for_longer_but_not_for_ever() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        kept.settle(start, AGE, Ok(values("1"))).unwrap();
        for kind in [AwsErrorKind::Throttled, AwsErrorKind::Unreachable] {
            let now = start + AGE + STALE - SPARED;
            let answer = kept.settle(now, AGE, Err(fault(kind))).unwrap();
            assert_eq!(answer["TOKEN"].version, "1");
            assert_eq!(told(&kept, now + SPARED - Duration::from_millis(1)), "1");
            assert_eq!(told(&kept, now + SPARED), "ask");
            let earlier = now - SPARED;
            kept.settle(earlier, AGE, Err(fault(kind))).unwrap();
            assert_eq!(told(&kept, earlier + SPARED), "ask, soon");
            assert_eq!(kept.settle(start + AGE + STALE, AGE, Err(fault(kind))), Err(fault(kind)));
            assert_eq!(told(&kept, start + AGE + STALE), "fail");
        }
    }

    #[test]
    fn what_was_taken_away_is_not_kept() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        kept.settle(start, AGE, Ok(values("1"))).unwrap();
        let now = start + AGE;
        for kind in [AwsErrorKind::Denied, AwsErrorKind::Refused] {
            assert_eq!(kept.settle(now, AGE, Err(fault(kind))), Err(fault(kind)));
            assert_eq!(told(&kept, now), "fail");
        }
    }

    #[test]
    fn a_failure_is_the_answer_for_a_moment() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        let invalid = Fault::Invalid("too many".to_owned());
        assert_eq!(kept.settle(start, AGE, Err(invalid.clone())), Err(invalid));
        assert_eq!(told(&kept, start + FAILED - Duration::from_millis(1)), "fail");
        assert_eq!(told(&kept, start + FAILED), "ask");
    }
}
