//! The page and the example file about the configuration say what the code says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shellgate_gateway::config::{Config, Listen, reference};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

const REMEDY: &str =
    "made anew by: cargo test -p shellgate-gateway --test config_reference -- --ignored";

#[test]
fn the_page_is_what_the_code_says() {
    let page = std::fs::read_to_string(docs().join("configuration.md")).unwrap_or_default();
    assert!(page == reference::reference(), "docs/configuration.md is {REMEDY}");
}

#[test]
fn the_example_is_what_the_code_says() {
    let page = std::fs::read_to_string(docs().join("gateway.example.toml")).unwrap_or_default();
    assert!(page == reference::example(), "docs/gateway.example.toml is {REMEDY}");
}

#[test]
#[ignore = "writes docs/configuration.md and docs/gateway.example.toml"]
fn the_page_and_the_example_are_written() {
    std::fs::write(docs().join("configuration.md"), reference::reference()).unwrap();
    std::fs::write(docs().join("gateway.example.toml"), reference::example()).unwrap();
}

fn read(text: &str) -> Config {
    let file = Some((Path::new("/etc/gateway.toml"), text));
    Config::read(file, &BTreeMap::new(), Path::new("/usr/local/bin"))
        .unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn every_line_of_the_example_can_be_put_in_force() {
    // Headings and the first lines are comments; `# key = value` and `# [section]` are lines.
    let example = reference::example();
    let text: Vec<_> = example
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .collect();
    let config = read(&text.join("\n"));
    let said = |key: &str| text.iter().filter(|line| line.starts_with(key)).count();
    assert!(text.len() > 60 && said("state_dir") == 1 && said("[templates") == 3, "{text:#?}");
    assert!(config.templates.contains_key("agent"));
    // What it says are the defaults: only what has none, or counts from a file, differs.
    let defaults = read("auth.development.enabled = true");
    assert_eq!(config.limits, defaults.limits);
    let without_tasks = Listen { task: None, ..config.listen.clone() };
    assert_eq!(without_tasks, defaults.listen);
    assert_eq!(config.sandbox, defaults.sandbox);
    assert_eq!(config.log, defaults.log);
    assert_eq!(config.auth.times, defaults.auth.times);
}

#[test]
fn the_template_in_the_readme_can_be_put_in_force() {
    let readme = std::fs::read_to_string(docs().join("../README.md")).unwrap();
    let (_, rest) = readme.split_once("```toml\n").expect("an example in TOML");
    let (example, _) = rest.split_once("```").expect("its end");
    let config = read(&format!("auth.development.enabled = true\n{example}"));
    assert!(config.templates.contains_key("reviewer"));
}
