//! The configuration file, and the environment laid over it (lines that begin with `$`).
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use shellgate_gateway::config::{Config, VARIABLE_PREFIX};

fuzz_target!(|text: &str| {
    let (variables, lines): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with('$'));
    let environment: BTreeMap<_, _> = variables
        .iter()
        .filter_map(|line| line[1..].split_once('='))
        .map(|(name, value)| (format!("{VARIABLE_PREFIX}{name}"), value.to_owned()))
        .collect();
    let file = lines.join("\n");
    let read =
        Config::read(Some((Path::new("gateway.toml"), &file)), &environment, Path::new("/bin"));
    match read {
        Ok(config) => assert!(!config.show().is_empty()),
        Err(faults) => {
            assert!(!faults.all().is_empty(), "refused without a reason");
            assert!(!faults.to_string().is_empty());
        }
    }
});
