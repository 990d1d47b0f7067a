//! What `make install` puts into place: a configuration whose reader has to fill in one thing and
//! may follow each suggestion, and a service that is not started again where that is of no use.

use std::collections::BTreeMap;
use std::path::Path;

use shellgate_gateway::config::{Config, Faults};
use shellgate_gateway::gateway::StartError;
use shellgate_gateway::providers::ProviderError;
use shellgate_infra::compute::ComputeError;

const UNIT: &str = include_str!("../../packaging/shellgate-gateway.service");

const FILE: &str = include_str!("../../packaging/gateway.toml");

fn read(text: &str) -> Result<Config, Faults> {
    let file = Some((Path::new("/etc/shellgate/gateway.toml"), text));
    Config::read(file, &BTreeMap::new(), Path::new("/usr/local/bin"))
}

#[test]
fn as_installed_only_the_issuer_is_missing() {
    let faults = read(FILE).unwrap_err().to_string();
    assert!(faults.lines().count() == 1 && faults.contains("auth.issuers"), "{faults}");
}

#[test]
fn every_line_that_it_suggests_can_be_put_in_force() {
    let lines = FILE.lines().filter_map(|line| line.strip_prefix("# "));
    let text: Vec<_> = lines.filter(|line| line.starts_with('[') || line.contains(" = ")).collect();
    let config = read(&text.join("\n")).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.auth.issuers.len(), 1);
    assert!(text.len() > 8, "{text:#?}");
}

fn failed(error: ComputeError) -> StartError {
    StartError::Providers(ProviderError::Compute(error))
}

#[test]
fn what_a_second_try_does_not_mend_is_not_tried_again() {
    let of = |name: &str| UNIT.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert_eq!(of("Restart="), "always");
    let given_up: Vec<u8> =
        of("RestartPreventExitStatus=").split(' ').map(|code| code.parse().unwrap()).collect();
    let lasting = [
        Faults::EXIT_CODE,
        StartError::Config(Vec::new()).exit_code(),
        failed(ComputeError::Unavailable(String::new())).exit_code(),
    ];
    assert!(lasting.iter().all(|code| given_up.contains(code)), "{lasting:?} {given_up:?}");
    let passing = [
        failed(ComputeError::Failed(String::new())).exit_code(),
        StartError::Io(std::io::ErrorKind::StorageFull.into()).exit_code(),
    ];
    assert!(!passing.iter().any(|code| given_up.contains(code)), "{passing:?} {given_up:?}");
}
