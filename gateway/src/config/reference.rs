//! The reference of all keys and the example file, made from the sections themselves. Knows no value
//! that is in force.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::auth::IssuerKeys;
use super::cloud::{Aws, Ecs, Efs};
use super::key::KeyKeys;
use super::reader::{Context, Described};
use super::sections::{
    AuthTimes, Development, Limits, Listen, Log, Peers, Sandbox, Secrets, Server, TaskLimits,
    Tasks, Volumes,
};
use super::store::Store;
use super::template::Template;

/// A section as it stands in the reference.
struct Section {
    /// Its header in TOML.
    header: &'static str,
    doc: &'static [&'static str],
    keys: Vec<Described>,
}

/// Keys that hold only where several gateways can share what they have.
const SHARED: [&str; 2] = ["listen.peer", "peers.address"];

/// What an example says where a key has no default.
const EXAMPLES: [(&str, &str); 34] = [
    ("aws.region", "\"eu-central-1\""),
    ("aws.ecs_endpoint", "\"https://ecs.eu-central-1.amazonaws.com\""),
    ("aws.efs_endpoint", "\"https://elasticfilesystem.eu-central-1.amazonaws.com\""),
    ("aws.ssm_endpoint", "\"https://ssm.eu-central-1.amazonaws.com\""),
    ("ecs.image", "\"123456789012.dkr.ecr.eu-central-1.amazonaws.com/shellgate-task@sha256:…\""),
    ("ecs.subnets", "[\"subnet-0123456789abcdef0\"]"),
    ("ecs.security_groups", "[\"sg-0123456789abcdef0\"]"),
    ("ecs.execution_role", "\"arn:aws:iam::123456789012:role/shellgate-execution\""),
    ("ecs.task_role", "\"arn:aws:iam::123456789012:role/shellgate-task\""),
    ("efs.file_systems", "[\"fs-0123456789abcdef0\"]"),
    ("listen.task", "\"10.0.0.7:7802\""),
    ("listen.peer", "\"0.0.0.0:7803\""),
    ("peers.address", "\"10.0.0.7:7803\""),
    ("store.host", "\"shellgate.cluster-c0123456789a.eu-central-1.rds.amazonaws.com\""),
    ("store.password", "\"file:/etc/shellgate/database.password\""),
    ("store.ca", "\"file:/etc/shellgate/rds.pem\""),
    ("tasks.dial", "\"wss://gateway.internal:7802\""),
    ("tasks.authorities", "[\"file:/etc/shellgate/authority.pem\"]"),
    ("tasks.enrolment_key", "\"file:/etc/shellgate/enrolment.key\""),
    ("tasks.authority_key", "\"file:/etc/shellgate/authority.key\""),
    ("volumes.skeleton", "\"/etc/shellgate/skeleton\""),
    ("auth.issuers.issuer", "\"https://id.example.com\""),
    ("auth.issuers.audience", "[\"shellgate\"]"),
    ("auth.issuers.algorithms", "[\"RS256\", \"ES256\"]"),
    ("auth.issuers.jwks_url", "\"https://id.example.com/.well-known/jwks.json\""),
    ("auth.issuers.keys.kid", "\"key-1\""),
    ("auth.issuers.keys.alg", "\"HS256\""),
    ("auth.issuers.keys.pem", "\"-----BEGIN PUBLIC KEY-----…\""),
    ("auth.issuers.keys.pem_file", "\"/etc/shellgate/issuer.pem\""),
    ("auth.issuers.keys.secret_file", "\"/etc/shellgate/issuer.secret\""),
    ("auth.issuers.keys.jwk", "{ kty = \"OKP\", crv = \"Ed25519\", x = \"…\" }"),
    ("templates.default.cwd", "\"work\""),
    ("templates.default.lifetime_limit", "\"24h\""),
    ("templates.default.motd", "\"Only what is in your home is kept.\""),
];

fn sections() -> Vec<Section> {
    let context = Context::new(PathBuf::from("./.shellgate"), PathBuf::from("/usr/local/bin"));
    macro_rules! sections {
        ($($header:literal $kind:ident,)+) => {
            vec![$(Section {
                header: $header,
                doc: $kind::DOC,
                keys: $kind::describe(&context),
            },)+]
        };
    }
    sections! {
        "[server]" Server,
        "[log]" Log,
        "[listen]" Listen,
        "[peers]" Peers,
        "[auth]" AuthTimes,
        "[[auth.issuers]]" IssuerKeys,
        "[[auth.issuers.keys]]" KeyKeys,
        "[auth.development]" Development,
        "[store]" Store,
        "[tasks]" Tasks,
        "[sandbox]" Sandbox,
        "[sandbox.limits]" TaskLimits,
        "[volumes]" Volumes,
        "[secrets]" Secrets,
        "[aws]" Aws,
        "[ecs]" Ecs,
        "[efs]" Efs,
        "[limits]" Limits,
        "[templates.default]" Template,
        "[templates.default.limits]" TaskLimits,
    }
}

/// Every key with its sections: `listen.client`.
pub(super) fn keys() -> Vec<String> {
    let sections = sections().into_iter();
    let keys = sections.flat_map(|section| {
        let name = section.header.trim_matches(['[', ']']);
        section.keys.into_iter().map(move |key| format!("{name}.{}", key.key))
    });
    keys.collect()
}

fn doc_of(section: &Section) -> String {
    section.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn example_of(section: &Section, key: &Described) -> String {
    let full = format!("{}.{}", section.header.trim_matches(['[', ']']), key.key);
    let found = EXAMPLES.iter().find(|(name, _)| *name == full);
    found.map_or_else(|| key.default.clone(), |(_, example)| (*example).to_owned())
}

/// The reference of all keys, as Markdown: `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    for section in sections() {
        let _ = write!(out, "\n## `{}`\n\n{}\n\n", section.header, doc_of(&section));
        out.push_str("| key | default | allowed | what it is |\n|---|---|---|---|\n");
        for key in &section.keys {
            let default = match key.default.as_str() {
                "" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            let (doc, allowed) = (key.doc.replace('|', "\\|"), key.allowed.replace('|', "\\|"));
            let _ = writeln!(out, "| `{}` | {default} | {allowed} | {doc} |", key.key);
        }
    }
    out
}

/// A file with every key in it, commented out: `docs/gateway.example.toml`. Lines that begin with
/// `#|` are the other ways to say the same.
#[must_use]
pub fn example() -> String {
    let mut out = String::from(
        "# Every key of Shellgate's gateway with its default, or with an example where it has none.\n\
         # What each one means and allows: configuration.md. Lines with `#|` are other ways to say\n\
         # what the lines before them say, or hold only where tasks are on ECS and the store is in Postgres.\n",
    );
    for section in sections() {
        let other = section.header == "[[auth.issuers.keys]]";
        let mark = if other { "#|" } else { "#" };
        let _ = write!(out, "\n## {}\n{mark} {}\n", doc_of(&section), section.header);
        for key in &section.keys {
            let full = format!("{}.{}", section.header.trim_matches(['[', ']']), key.key);
            let mark = if SHARED.contains(&full.as_str()) { "#|" } else { mark };
            let _ = writeln!(out, "{mark} {} = {}", key.key, example_of(&section, key));
        }
    }
    out.push_str(AGENT);
    out
}

const INTRODUCTION: &str = "\
# Configuration

This page is made from the gateway's own code; a test compares the two.

The gateway reads one TOML file (`--config PATH`; none is fine) and lays the environment over it:
`SHELLGATE_GATEWAY__SECTION__KEY`, two underscores between the parts. `SHELLGATE_GATEWAY__LISTEN__CLIENT=0.0.0.0:80`
is `client` of `[listen]`. A variable's value is read as TOML where it is TOML, else as a text; a list or a list of tables
is given as a whole (`[\"https://a.example\", \"https://b.example\"]`). Names of sections and keys are lower-case in
the file and upper-case in variables; under `env` of a template names keep their case.

Everything is checked before anything starts, across keys too. Every fault is printed on a line of its own, with the
file and line or the variable that it comes from, the key, what is wrong and what is allowed; the exit code is 64. Keys of
issuers are loaded as part of it: one that is weak, private or of another kind than its `alg` is a fault too. A key that does
not exist is a fault, and so is a setting's variable that is not UTF-8 or has one underscore for two.
`shellgate-gateway check-config` checks and does nothing else.

Durations and sizes have units: `90s`, `10m`, `1h30m` (`ms`, `s`, `m`, `h`, `d`); `64KiB`, `1MiB` (`B` to `TiB`). A relative
path in the file counts from the file's directory, in a variable from the directory that the gateway runs in.
";

const AGENT: &str = "
## A template of one's own: an agent that speaks JSON lines, with a secret.
# [templates.agent]
# command = [\"my-agent\", \"--stdio\"]
# mode = \"lines\"
# secrets = [{ name = \"api-key\", env = \"API_KEY\" }]
";
