//! What ECS is asked for a start.

use serde_json::{Value, json};
use shellgate_infra::compute::{Capacity, EnrolmentToken, Limits, TaskName};

use crate::place::{Place, TOKEN, not_started, spec, started};

/// The hash in a family's name, which its own test holds still.
fn without_hash(mut request: Value, field: &str) -> Value {
    let family = request[field].as_str().unwrap().to_owned();
    let (prefix, hash) = family.split_at(family.len() - 32);
    assert!(hash.bytes().all(|b| b.is_ascii_hexdigit()), "{family}");
    request[field] = json!(format!("{prefix}…"));
    request
}

#[tokio::test]
async fn a_definition_gives_a_task_its_user_and_takes_from_it_all_that_it_does_not_need() {
    let place = Place::new().await;
    started(&place.ecs(), &spec("one")).await;
    let [request] = &place.asked("ecs:RegisterTaskDefinition")[..] else { panic!("one") };
    let expected = json!({
        "family": "shellgate-…",
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "runtimePlatform": { "cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX" },
        "cpu": "512",
        "memory": "1024",
        "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
        "taskRoleArn": "arn:aws:iam::123456789012:role/task",
        "containerDefinitions": [{
            "cpu": 0,
            "name": "bridge",
            "image": "registry.example/bridge:1",
            "essential": true,
            "memory": 1024,
            "user": "10007:10007",
            "readonlyRootFilesystem": true,
            "environment": [
                { "name": "SHELLGATE_CA", "value": "-----BEGIN CERTIFICATE-----" },
                { "name": "SHELLGATE_DIAL", "value": "wss://gateway.internal:7443" },
            ],
            "linuxParameters": {
                "capabilities": { "drop": ["ALL"] },
                "tmpfs": [
                    {
                        "containerPath": "/tmp",
                        "size": 64,
                        "mountOptions": ["rw", "nosuid", "nodev", "exec", "mode=1777"],
                    },
                    {
                        "containerPath": "/run/secrets",
                        "size": 4,
                        "mountOptions": [
                            "rw", "nosuid", "nodev", "noexec", "mode=0700", "uid=10007", "gid=10007",
                        ],
                    },
                ],
            },
            "mountPoints": [
                { "sourceVolume": "home", "containerPath": "/home/agent", "readOnly": false },
            ],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": "/shellgate/tasks",
                    "awslogs-region": "us-east-1",
                    "awslogs-stream-prefix": "shellgate",
                    "max-buffer-size": "4m",
                    "mode": "non-blocking",
                },
            },
            "stopTimeout": 110,
        }],
        "volumes": [{
            "name": "home",
            "efsVolumeConfiguration": {
                "fileSystemId": "fs-0123",
                "transitEncryption": "ENABLED",
                "authorizationConfig": { "accessPointId": "fsap-0123", "iam": "ENABLED" },
            },
        }],
        "tags": [
            { "key": "shellgate:deployment", "value": "shellgate" },
            { "key": "shellgate:template", "value": "default" },
            { "key": "shellgate:user", "value": "ada" },
        ],
    });
    assert_eq!(without_hash(request.clone(), "family"), expected);
}

#[tokio::test]
async fn a_start_is_one_call_that_says_what_is_this_launchs_own() {
    let place = Place::new().await;
    started(&place.ecs(), &spec("one-1")).await;
    let [request] = &place.asked("ecs:RunTask")[..] else { panic!("one") };
    let expected = json!({
        "cluster": place.cluster,
        "taskDefinition": "shellgate-…",
        "count": 1,
        "clientToken": "one-1",
        "startedBy": "one-1",
        "capacityProviderStrategy": [
            { "capacityProvider": "FARGATE", "base": 0, "weight": 1 },
        ],
        "networkConfiguration": { "awsvpcConfiguration": {
            "subnets": ["subnet-a", "subnet-b"],
            "securityGroups": ["sg-tasks"],
            "assignPublicIp": "DISABLED",
        }},
        "overrides": { "containerOverrides": [{ "name": "bridge", "environment": [
            { "name": "SHELLGATE_LAUNCH", "value": "1" },
            { "name": "SHELLGATE_SESSION", "value": "ses_one-1" },
            { "name": "SHELLGATE_TOKEN", "value": TOKEN },
        ]}]},
        "enableExecuteCommand": false,
        "propagateTags": "TASK_DEFINITION",
        "tags": [{ "key": "shellgate:session", "value": "ses_one-1" }],
    });
    assert_eq!(without_hash(request.clone(), "taskDefinition"), expected);
}

#[tokio::test]
async fn the_enrolment_token_is_in_the_overrides_and_nowhere_else() {
    let place = Place::new().await;
    started(&place.ecs(), &spec("one")).await;
    let mut request = place.asked("ecs:RunTask").remove(0);
    request.as_object_mut().unwrap().remove("overrides");
    assert!(!request.to_string().contains(TOKEN));
    assert!(!place.asked("ecs:RegisterTaskDefinition")[0].to_string().contains(TOKEN));
}

#[tokio::test]
async fn a_repeat_is_the_same_request_to_the_byte_whoever_makes_it() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let first = started(&ecs, &spec("one")).await;
    assert_eq!(started(&ecs, &spec("one")).await, first);
    assert_eq!(started(&place.ecs(), &spec("one")).await, first);
    let requests = place.asked("ecs:RunTask");
    assert_eq!(requests.len(), 3);
    let texts: Vec<_> = requests.iter().map(ToString::to_string).collect();
    assert!(texts.iter().all(|text| *text == texts[0]));
    assert_eq!(place.cloud.tasks().await.len(), 1);
}

#[tokio::test]
async fn a_task_runs_on_the_capacity_that_its_launch_asks_for() {
    let place = Place::new().await;
    let mut spot = spec("one");
    spot.capacity = Capacity::Spot;
    started(&place.ecs(), &spot).await;
    let strategy = json!([{ "capacityProvider": "FARGATE_SPOT", "base": 0, "weight": 1 }]);
    assert_eq!(place.asked("ecs:RunTask")[0]["capacityProviderStrategy"], strategy);
    assert!(place.cloud.faults().calls("ecs:RunTask").len() == 1, "no other is tried instead");
}

#[tokio::test]
async fn what_ecs_would_not_take_is_not_sent() {
    let place = Place::new().await;
    let ecs = place.ecs();
    let mut too_large = spec("one");
    too_large.limits = Limits { memory: 1 << 40, ..too_large.limits };
    let mut long_token = spec("two");
    long_token.token = EnrolmentToken("x".repeat(8192));
    let mut two_lines = spec("three");
    two_lines.session = "ses\n".to_owned();
    for spec in [too_large, long_token, two_lines] {
        let error = not_started(&ecs, &spec).await;
        assert!(!error.is_retryable(), "{error}");
    }
    assert!(place.cloud.faults().calls("ecs:RunTask").is_empty());
    // The longest name is one that ECS takes.
    let mut long = spec("one");
    long.name = TaskName::new("x".repeat(64)).unwrap();
    started(&ecs, &long).await;
}
