//! The rules of the layout, over `cargo metadata` and the files that git knows: who may depend on
//! whom, and what no file may have. Knows no behaviour.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Our crates and, for each, those of our crates that it may depend on.
const ARROWS: [(&str, &[&str]); 8] = [
    ("shellgate-protocol", &[]),
    ("shellgate-infra", &[]),
    ("shellgate-bridge", &["shellgate-protocol"]),
    ("shellgate-client", &["shellgate-protocol"]),
    ("shellgate-gateway", &["shellgate-protocol", "shellgate-infra"]),
    ("shellgate-conformance", &["shellgate-infra"]),
    ("shellgate-cloud", &["shellgate-infra"]),
    ("shellgate-database", &[]),
];

/// What drives the real programs, and ships with none of them.
const MAY_KNOW_ALL: [&str; 5] = [
    "shellgate-tests",
    "shellgate-load",
    "shellgate-cloud",
    "shellgate-database",
    "shellgate-conformance",
];

/// What runs futures, threads or sockets: the wire's types need none of it.
const RUNTIMES: [&str; 9] = [
    "async-std",
    "axum",
    "futures-executor",
    "hyper",
    "mio",
    "reqwest",
    "smol",
    "socket2",
    "tokio",
];

/// Longest file, in lines: beyond, a noun in it wants a file of its own.
const LONGEST_FILE: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").into()
}

fn output_of(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The packages that a build of the workspace for this system uses.
struct Packages {
    /// Names by cargo's ids.
    names: HashMap<String, String>,
    /// Ids of the packages that a package needs to be built and run, its tests left out.
    needs: HashMap<String, Vec<String>>,
    members: BTreeMap<String, String>,
}

impl Packages {
    fn read() -> Self {
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let text = output_of(Command::new(env!("CARGO")).args([
            "metadata",
            "--locked",
            "--format-version=1",
            "--filter-platform",
            &platform,
        ]));
        let metadata: Value = serde_json::from_str(&text).expect("cargo writes JSON");
        let list = |value: &Value| value.as_array().cloned().expect("an array");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let names: HashMap<_, _> = list(&metadata["packages"])
            .iter()
            .map(|p| (text(&p["id"]), text(&p["name"])))
            .collect();
        let needs = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let needs = list(&node["deps"])
                    .iter()
                    .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
                    .map(|dep| text(&dep["pkg"]))
                    .collect();
                (text(&node["id"]), needs)
            })
            .collect();
        let members = list(&metadata["workspace_members"])
            .iter()
            .map(|id| (names[&text(id)].clone(), text(id)))
            .collect();
        Self { names, needs, members }
    }

    /// The names of what a member declares as its own dependencies.
    fn direct(&self, member: &str) -> BTreeSet<&str> {
        self.needs[&self.members[member]].iter().map(|id| self.names[id].as_str()).collect()
    }

    /// The names of all that a member brings with it.
    fn all(&self, member: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut next = vec![&self.members[member]];
        while let Some(id) = next.pop() {
            for needed in &self.needs[id] {
                if seen.insert(needed) {
                    next.push(needed);
                }
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

/// The files that are in git, or would be: path from the root, and text. Binary ones are left out.
fn files() -> Vec<(String, String)> {
    let names = output_of(Command::new("git").args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]));
    let read =
        |name: &str| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?));
    let files: Vec<_> = names.split_terminator('\0').filter_map(read).collect();
    assert!(files.iter().any(|(name, _)| name == "Cargo.toml"), "git lists the workspace");
    files
}

fn sources() -> Vec<(String, String)> {
    let is_source = |name: &str| name.ends_with(".rs") || name.ends_with(".ts");
    files().into_iter().filter(|(name, _)| is_source(name)).collect()
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn our_crates_depend_on_each_other_only_along_the_arrows() {
    let packages = Packages::read();
    for (member, allowed) in ARROWS {
        let ours: BTreeSet<_> =
            packages.all(member).into_iter().filter(|n| n.starts_with("shellgate-")).collect();
        let allowed = allowed.iter().copied().collect();
        assert!(ours.is_subset(&allowed), "{member} knows {ours:?}, and may know {allowed:?}");
    }
    let members: BTreeSet<_> = packages.members.keys().map(String::as_str).collect();
    let known: BTreeSet<_> = ARROWS.iter().map(|(n, _)| *n).chain(MAY_KNOW_ALL).collect();
    assert!(members.is_subset(&known), "each crate has its arrows: {members:?}");
}

#[test]
fn the_wire_needs_no_runtime() {
    let packages = Packages::read();
    let all = packages.all("shellgate-protocol");
    assert!(all.contains("serde"), "the graph is there");
    for runtime in RUNTIMES {
        assert!(!all.contains(runtime), "shellgate-protocol brings {runtime}");
    }
}

#[test]
fn only_infra_knows_a_cloud() {
    let packages = Packages::read();
    let is_cloud = |name: &str| name.starts_with("aws-sdk-") || name == "aws-config";
    for member in packages.members.keys().filter(|name| *name != "shellgate-infra") {
        let clouds: Vec<_> = packages.direct(member).into_iter().filter(|n| is_cloud(n)).collect();
        assert!(clouds.is_empty(), "{member} depends on {clouds:?}");
    }
    let bridge = packages.all("shellgate-bridge");
    assert!(!bridge.iter().any(|name| is_cloud(name)), "the bridge brings a cloud");
    for server in ["axum", "sqlx", "jsonwebtoken", "reqwest"] {
        assert!(!bridge.contains(server), "the bridge is small: {server} is the gateway's");
    }
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    let mut faults = Vec::new();
    for (name, text) in files() {
        if name.ends_with("/Cargo.toml") && name != "fuzz/Cargo.toml" {
            let manifest: toml::Table = text.parse().expect("a manifest is TOML");
            let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace"));
            if inherits.and_then(toml::Value::as_bool) != Some(true) {
                faults.push(format!("{name}: no `[lints] workspace = true`"));
            }
        }
    }
    for (name, text) in sources().iter().filter(|(name, _)| !name.starts_with("tests/")) {
        for lint in ["unsafe_code", "missing_docs", "disallowed_methods", "warnings", "clippy::all"]
        {
            let for_all =
                |line: &&str| line.trim_start().starts_with("#![allow(") && line.contains(lint);
            if text.lines().find(for_all).is_some() {
                faults.push(format!("{name}: allows {lint} for the whole module"));
            }
        }
    }
    none(&faults);
}

#[test]
fn every_unsafe_has_its_reason() {
    // Spelled apart, so that this file does not find itself.
    let word = concat!("un", "safe");
    let opens = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        ["{", "impl", "extern"].iter().any(|next| code.contains(&format!("{word} {next}")))
    };
    let mut faults = Vec::new();
    for (name, text) in sources() {
        let lines: Vec<_> = text.lines().collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| opens(line)) {
            // A reason may be long, or stand before the statement that the block is a part of.
            if !lines[at.saturating_sub(12)..=at].iter().any(|line| line.contains("SAFETY:")) {
                faults.push(format!("{name}:{}: no `// SAFETY:`", at + 1));
            }
        }
    }
    none(&faults);
}

#[test]
fn every_module_says_what_it_is() {
    let is_module = |name: &str| name.ends_with(".rs") && name.contains("/src/");
    let silent = |(name, text): (String, String)| {
        (is_module(&name) && !text.starts_with("//!"))
            .then(|| format!("{name}: line 1 says nothing"))
    };
    none(&sources().into_iter().filter_map(silent).collect::<Vec<_>>());
}

#[test]
fn no_file_has_many_nouns() {
    let long = |(name, text): (String, String)| {
        let lines = text.lines().count();
        (lines > LONGEST_FILE).then(|| format!("{name}: {lines} lines"))
    };
    none(&sources().into_iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn no_module_is_a_drawer() {
    let drawers = ["utils", "util", "common", "helpers", "types", "manager", "service", "mod"];
    let is_drawer = |name: &str| {
        let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
        stem.is_some_and(|stem| drawers.contains(&stem))
    };
    none(&sources().into_iter().map(|(name, _)| name).filter(|n| is_drawer(n)).collect::<Vec<_>>());
}

#[test]
fn no_file_has_a_path_of_the_machine_it_was_written_on() {
    // Spelled apart, so that this file does not find itself.
    let paths = [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/")];
    let mut faults = Vec::new();
    for (name, text) in files() {
        for (at, line) in text.lines().enumerate() {
            if paths.iter().any(|path| line.contains(path)) {
                faults.push(format!("{name}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    none(&faults);
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let files = files();
    let is_file = |name: &str| [".rs", ".ts", ".sh", ".sql"].iter().any(|end| name.ends_with(end));
    let is_plain =
        |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    let mut faults = Vec::new();
    for (document, text) in files.iter().filter(|(name, _)| name.ends_with(".md")) {
        for name in text.split('`').filter(|name| is_file(name) && is_plain(name)) {
            // A document that follows something through one folder names the rest of the path.
            let rest = format!("/{name}");
            if !files.iter().any(|(file, _)| file == name || file.ends_with(&rest)) {
                faults.push(format!("{document}: there is no {name}"));
            }
        }
    }
    none(&faults);
}
