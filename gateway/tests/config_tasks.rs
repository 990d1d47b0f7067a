//! What an operator says of tasks that dial over a network, and what does not go together there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use shellgate_gateway::config::{Config, Faults, SecretRef, TaskCompute};

const ISSUER: &str =
    "[[auth.issuers]]\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"https://i\"\n";

/// All that the tasks' port needs.
const TASKS: &str = "[tasks]\ndial = \"wss://gateway.internal:7802\"\nauthority_key = \"ssm:/sg/key\"\n\
                     authorities = [\"file:authority.pem\", \"ssm:/sg/authority\"]\n";

/// And what tasks on ECS need besides.
const ECS: &str = "compute = \"ecs\"\n[volumes]\nkind = \"efs\"\n\
                   [efs]\nfile_systems = [\"fs-0123456789abcdef0\"]\n\
                   [ecs]\nimage = \"i\"\nsubnets = [\"s\"]\nsecurity_groups = [\"g\"]\n\
                   execution_role = \"e\"\ntask_role = \"t\"\n";

fn read(text: &str) -> Result<Config, Faults> {
    let text = format!("{ISSUER}{text}");
    let file = Some((Path::new("/etc/shellgate/gateway.toml"), text.as_str()));
    Config::read(file, &BTreeMap::new(), Path::new("/opt/shellgate"))
}

fn faults(text: &str) -> Vec<String> {
    let faults = read(text).unwrap_err();
    faults.all().iter().map(|fault| format!("{}: {}", fault.key, fault.wrong)).collect()
}

#[test]
fn nothing_of_it_is_needed_on_one_machine() {
    let config = read("").unwrap();
    assert_eq!((config.listen.task, config.tasks.compute), (None, TaskCompute::Sandbox));
    assert!(config.tasks.dial.is_none() && config.tasks.check_address);
    assert!(!config.show().contains("dial"));
}

#[test]
fn with_a_port_for_tasks_they_are_told_where_it_is_and_whom_to_trust() {
    let port = "[listen]\ntask = \"10.0.0.7:7802\"\n";
    let config = read(&format!("{port}{TASKS}{ECS}")).unwrap();
    assert_eq!(config.tasks.compute, TaskCompute::Ecs);
    assert_eq!(config.tasks.dial.as_ref().unwrap().host(), "gateway.internal");
    assert_eq!(
        config.tasks.authorities,
        [
            SecretRef::File("/etc/shellgate/authority.pem".into()),
            SecretRef::Parameter("/sg/authority".into())
        ],
        "a relative path counts from the file"
    );
    assert_eq!(config.tasks.authority_key, Some(SecretRef::Parameter("/sg/key".into())));
    let shown = config.show();
    assert!(shown.contains("authority_key = \"ssm:/sg/key\""), "{shown}");
    // And each of them is missed.
    let missed = faults(port);
    assert_eq!(missed.len(), 3, "{missed:?}");
    for key in ["tasks.dial: ", "tasks.authorities: ", "tasks.authority_key: "] {
        assert!(missed.iter().any(|fault| fault.starts_with(key)), "{key}: {missed:?}");
    }
    let nowhere = faults("[tasks]\ncompute = \"ecs\"\n");
    let missed = ["listen.task: ", "volumes.kind: ", "ecs.image: ", "ecs.subnets: "];
    for key in missed {
        assert!(nowhere.iter().any(|fault| fault.starts_with(key)), "{key}: {nowhere:?}");
    }
    // What is wrong by itself is said once.
    let wrong = faults("[tasks]\ncompute = \"ecs\"\n[listen]\ntask = \"nowhere\"\n");
    let of_it = wrong.iter().filter(|fault| fault.starts_with("listen.task: "));
    assert_eq!(of_it.count(), 1, "{wrong:?}");
}

#[test]
fn no_two_listeners_are_in_one_place_and_a_developers_are_all_local() {
    let one = |listen: &str, expected: &str| {
        let faults = faults(&format!("[listen]\n{listen}\n{TASKS}"));
        assert!(faults.len() == 1 && faults[0].starts_with(expected), "{faults:?}");
    };
    one("task = \"127.0.0.1:7800\"", "listen.task: 127.0.0.1:7800 is taken by listen.client");
    one("task = \"0.0.0.0:7801\"", "listen.task: 0.0.0.0:7801 is taken by listen.admin");
    let development = "[auth.development]\nenabled = true\n";
    let open = format!("{development}[listen]\ntask = \"10.0.0.7:7802\"\n{TASKS}");
    let open = faults(&open);
    assert!(open.len() == 1 && open[0].contains("10.0.0.7:7802 is not local"), "{open:?}");
    read(&format!("{development}[listen]\ntask = \"127.0.0.1:7802\"\n{TASKS}")).unwrap();
}

#[test]
fn what_is_kept_elsewhere_is_named_and_never_stands_there_itself() {
    for (wrong, why) in [
        ("authority_key = \"-----BEGIN PRIVATE KEY-----hunter2\"", "neither \\\"file:\\\" nor"),
        ("authority_key = \"file:\"", "names no file"),
        ("authority_key = \"ssm:\"", "is no parameter's name"),
        ("authority_key = \"ssm:/a b\"", "is no parameter's name"),
        ("authorities = [\"ssm:/a\", \"/b\"]", "neither \\\"file:\\\" nor"),
        ("authorities = [7]", "it is a whole number"),
        ("dial = \"https://gateway.internal\"", "is not wss://host:port"),
        ("compute = \"docker\"", "is none of them"),
    ] {
        let faults = read(&format!("[tasks]\n{wrong}\n")).unwrap_err().to_string();
        assert!(format!("{faults:?}").contains(why), "{wrong}: {faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
    }
}

#[test]
fn several_gateways_share_a_database_an_ecs_and_a_key() {
    let ports = "[listen]\ntask = \"10.0.0.7:7802\"\npeer = \"0.0.0.0:7803\"\n";
    let store = "[store]\nkind = \"postgres\"\nhost = \"db\"\n";
    let key = "enrolment_key = \"ssm:/sg/enrolment\"\n";
    let config = read(&format!("{ports}{TASKS}{key}{ECS}{store}")).unwrap();
    assert_eq!(config.listen.peer, Some("0.0.0.0:7803".parse().unwrap()));
    assert!(config.show().contains("peer = \"0.0.0.0:7803\""));
    let one = |text: &str, expected: &str| {
        let wrong = faults(text);
        assert!(wrong.len() == 1 && wrong[0].starts_with(expected), "{text}: {wrong:?}");
    };
    one(&format!("{ports}{TASKS}{ECS}{store}"), "tasks.enrolment_key: it is missing");
    one(&format!("{ports}{TASKS}{key}{ECS}"), "listen.peer: it is set, and store.kind");
    one(&format!("{ports}{TASKS}{key}{store}"), "listen.peer: it is set, and tasks run on this");
    let taken = ports.replace("7803", "7802");
    one(
        &format!("{taken}{TASKS}{key}{ECS}{store}"),
        "listen.peer: 0.0.0.0:7802 is taken by listen.t",
    );
    for (address, is_one) in
        [("10.0.0.7:7803", true), ("7803", false), (":7803", false), ("a:0", false)]
    {
        let peers = format!("{ports}{TASKS}{key}{ECS}{store}[peers]\naddress = \"{address}\"\n");
        match is_one {
            true => assert!(read(&peers).is_ok(), "{address}"),
            false => one(&peers, "peers.address: "),
        }
    }
    let alone = "[peers]\naddress = \"10.0.0.7:7803\"\n";
    one(alone, "peers.address: it is set, and listen.peer is not");
}
