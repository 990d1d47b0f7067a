//! More starts at once than ECS takes.

use std::collections::HashSet;

use shellgate_infra::compute::ecs::Rate;

use crate::place::{Place, arn, soon, spec, started};

#[tokio::test]
async fn a_storm_of_starts_is_a_line_and_none_of_them_fails_or_starts_two_tasks() {
    let place = Place::new().await;
    let run = Rate { burst: 20, per_second: 100 };
    place.cloud.faults().bucket("ecs:RunTask", run.burst, f64::from(run.per_second));
    // The second gateway asks for more than there is, as one does that shares what there is.
    let eager = Rate { burst: 40, per_second: 200 };
    let gateways = [run, eager].map(|rate| place.ecs_with(|config| config.rates.run = rate));
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..200 {
        let ecs = gateways[number % 2].clone();
        starts.spawn(async move { started(&ecs, &spec(&format!("one-{number}"))).await });
    }
    let tasks = soon(starts.join_all()).await;
    let arns: HashSet<_> = tasks.iter().map(arn).collect();
    assert_eq!(arns.len(), 200);
    assert_eq!(place.cloud.tasks().await.len(), 200);
}
