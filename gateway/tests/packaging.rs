//! The configuration that `make install` puts into place: what its reader has to fill in, and that
//! what it suggests holds.

use std::collections::BTreeMap;
use std::path::Path;

use shellgate_gateway::config::{Config, Faults};

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
