//! The configuration as an operator meets it: a file, variables, and a list of everything that is
//! wrong with them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use shellgate_gateway::config::{
    Algorithm, Config, Faults, KeySource, LogFormat, Origin, SecretUse, development_origins,
    verdict,
};
use shellgate_protocol::client_leg::Mode;

const FILE: &str = "/etc/shellgate/gateway.toml";
const BIN: &str = "/opt/shellgate";

/// A file that is good, to which others add.
const GOOD: &str = r#"
[[auth.issuers]]
issuer = "https://id.example.com"
audience = "shellgate"
jwks_url = "https://id.example.com/keys"
"#;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| (format!("SHELLGATE_GATEWAY__{name}"), (*value).into()))
        .collect()
}

fn read(text: &str, pairs: &[(&str, &str)]) -> Result<Config, Faults> {
    Config::read(Some((Path::new(FILE), text)), &variables(pairs), Path::new(BIN))
}

fn good(more: &str) -> Config {
    read(&format!("{GOOD}{more}"), &[]).unwrap()
}

/// The faults of a file that is good but for these lines.
fn faults(more: &str) -> Vec<String> {
    let faults = read(&format!("{GOOD}{more}"), &[]).unwrap_err();
    faults.all().iter().map(|fault| format!("{}: {}", fault.key, fault.wrong)).collect()
}

#[test]
fn nothing_but_an_issuer_is_needed() {
    let config = good("");
    assert_eq!(config.listen.client.to_string(), "127.0.0.1:7800");
    assert_eq!(config.listen.admin.to_string(), "127.0.0.1:7801");
    assert_eq!(config.limits.sessions_per_user, 5);
    assert_eq!(config.auth.times.grace.get(), Duration::from_secs(60));
    assert_eq!(config.default_template().command, ["bash", "-l"]);
    assert_eq!(config.default_template().mode, Mode::Terminal);
    assert_eq!(config.default_template().longest_life(), Duration::from_secs(86_400));
    assert_eq!(config.sandbox.bridge, Path::new(BIN).join("shellgate-bridge"));
    assert!(config.server.state_dir.is_absolute());
    assert_eq!(config.store.path, config.server.state_dir.join("shellgate.db"));
    assert_eq!(config.log.format, LogFormat::Auto);
    assert!(!config.auth.development.enabled);
    let issuer = &config.auth.issuers[0];
    assert_eq!(issuer.audience, ["shellgate"]);
    assert!(!issuer.algorithms.contains(&Algorithm::Hs256));
    assert!(matches!(&issuer.keys, KeySource::Jwks { url, .. } if url.path() == "/keys"));
}

#[test]
fn a_developers_gateway_is_local_and_needs_no_file() {
    let config = Config::development(Path::new("/tmp/state"), Path::new(BIN));
    assert!(config.auth.development.enabled);
    assert!(config.listen.client.ip().is_loopback() && config.listen.admin.ip().is_loopback());
    assert_eq!(config.volumes.root, Path::new("/tmp/state/volumes"));
    // The same, said by variables.
    let said = Config::read(
        None,
        &variables(&[("AUTH__DEVELOPMENT__ENABLED", "true"), ("SERVER__STATE_DIR", "/tmp/state")]),
        Path::new(BIN),
    );
    assert_eq!(said.as_ref(), Ok(&config));
    assert_eq!(verdict(&said), "ok");
}

#[test]
fn relative_paths_count_from_the_file_that_names_them() {
    let config = good("[server]\nstate_dir = \"state\"\n[store]\npath = \"/var/db/gate.db\"\n");
    assert_eq!(config.server.state_dir, Path::new("/etc/shellgate/state"));
    assert_eq!(config.volumes.root, Path::new("/etc/shellgate/state/volumes"));
    assert_eq!(config.store.path, Path::new("/var/db/gate.db"));
    let config = read(GOOD, &[("SERVER__STATE_DIR", "state")]).unwrap();
    assert_eq!(config.server.state_dir, std::env::current_dir().unwrap().join("state"));
}

#[test]
fn a_variable_lies_over_the_file_and_keeps_the_rest_of_its_section() {
    let text = format!("{GOOD}[listen]\nclient = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:2\"\n");
    let set = [
        ("LISTEN__CLIENT", "0.0.0.0:80"),
        ("LISTEN__ORIGINS", r#"["https://a.example", "https://b.example:8443"]"#),
        ("LISTEN__PROXIES", "10.0.0.0/8"),
        ("LISTEN__MAX_CONNECTIONS", "77"),
        ("LOG__FILTER", "warn"),
        ("SERVER__DRAIN", "1m30s"),
        ("AUTH__DEVELOPMENT__USER", "7"),
        ("TEMPLATES__AGENT__COMMAND", r#"["agent", "--stdio"]"#),
        ("TEMPLATES__AGENT__ENV__Mixed_Case", "1"),
        ("TEMPLATES__AGENT__ENV", r#"{ Other = "x" }"#),
    ];
    let config = read(&text, &set).unwrap();
    assert_eq!(config.listen.client.to_string(), "0.0.0.0:80");
    assert_eq!(config.listen.admin.to_string(), "127.0.0.1:2");
    assert_eq!(config.listen.origins[1].as_str(), "https://b.example:8443");
    assert!(config.listen.proxies[0].contains("10.1.2.3".parse().unwrap()));
    assert_eq!(config.listen.max_connections, 77);
    assert_eq!(config.server.drain.get(), Duration::from_secs(90));
    assert_eq!(config.auth.development.user, "7", "a text that looks like a number stays a text");
    let agent = &config.templates["agent"];
    assert_eq!(agent.command, ["agent", "--stdio"]);
    assert_eq!(agent.env.0["Mixed_Case"], "1");
    assert_eq!(agent.env.0["Other"], "x");
}

#[test]
fn a_variable_of_several_lines_is_a_text_whatever_its_lines_look_like() {
    let text = "\"Hello.\"\nidle = \"1h\"";
    let config = read(GOOD, &[("TEMPLATES__DEFAULT__MOTD", text)]).unwrap();
    assert_eq!(config.default_template().motd.as_deref(), Some(text));
    assert_eq!(config.default_template().idle.to_string(), "30m");
}

#[test]
fn a_fault_quotes_no_more_of_a_value_than_a_line_holds() {
    let text = format!("{GOOD}[server]\ndrain = \"{}\"", "é".repeat(100_000));
    let said = verdict(&read(&text, &[]));
    assert!(said.contains("server.drain: \"éé"), "{said}");
    assert!(said.chars().count() < 500, "{said}");
}

#[test]
fn all_faults_come_at_once_each_with_its_place() {
    let text = format!(
        "{GOOD}[listen]\ncleint = \"127.0.0.1:1\"\nadmin = \"localhost\"\n[limits]\nsessions = 0\n\
         start_deadline = 60\nwindow = \"8MiB\"\n[listne]\nclient = 1\n[templates.Big]\n"
    );
    let set = [("SERVER__DRAIN", "soon"), ("LIMITS__SESIONS", "3"), ("", "x")];
    let faults = read(&text, &set).unwrap_err();
    let said: Vec<_> = faults.all().iter().map(|fault| fault.to_string()).collect();
    let expected = [
        "environment variable SHELLGATE_GATEWAY__: its name is no key",
        "environment variable SHELLGATE_GATEWAY__SERVER__DRAIN: server.drain: \"soon\" is not a duration",
        "gateway.toml:7: listen.cleint: there is no such key; did you mean \"listen.client\"?",
        "gateway.toml:8: listen.admin: ",
        "gateway.toml:10: limits.sessions: 0 is out of range (allowed: 1 to 1000000)",
        "gateway.toml:11: limits.start_deadline: it is a plain number (allowed: a duration with its unit",
        "gateway.toml:12: limits.window: \"8MiB\" is out of range (allowed: \"64KiB\" to \"4MiB\")",
        "LIMITS__SESIONS: limits.sesions: there is no such key; did you mean \"limits.sessions\"?",
        "gateway.toml:13: listne: there is no such key; did you mean \"listen\"?",
        "gateway.toml:15: templates.Big: that is no template's name",
    ];
    for expected in expected {
        assert!(said.iter().any(|fault| fault.contains(expected)), "{expected}\nnot in\n{faults}");
    }
    assert_eq!(said.len(), expected.len(), "{faults}");
    assert_eq!(verdict(&Err(faults)).lines().count(), expected.len());
    assert_eq!(Faults::EXIT_CODE, 64);
}

#[test]
fn a_broken_file_is_named_with_its_line_and_its_other_faults() {
    let faults = read("[server]\ndrain = = \"1s\"\n[listen]\nadmin = \"x\"\n", &[]).unwrap_err();
    let first = &faults.all()[0];
    assert_eq!(first.origin, Origin::Line { file: FILE.into(), line: 2 });
    assert!(first.wrong.starts_with("not TOML: "), "{first}");
    assert!(faults.all().iter().any(|fault| fault.key == "listen.admin"), "{faults}");
    let torn = read("[[auth.issuers]]\nissuer = \"i\njwks_url = \"https://i\"\n", &[]).unwrap_err();
    assert!(torn.all().iter().all(|fault| !fault.wrong.contains("is missing")), "{torn}");
    let twice = read("[server]\ndrain = \"1s\"\ndrain = \"2s\"\n", &[]).unwrap_err();
    assert!(twice.all()[0].wrong.contains("duplicate"), "{twice}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_beside_those_of_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.toml");
    let set: BTreeMap<OsString, OsString> =
        [("SHELLGATE_GATEWAY__SERVER__DRAIN".into(), "soon".into())].into();
    let faults = Config::load(Some(&missing), &set, Path::new(BIN)).unwrap_err();
    assert_eq!(faults.all().len(), 2, "{faults}");
    assert_eq!(faults.all()[0].origin, Origin::File(missing));
    assert!(Config::load(Some(directory.path()), &set, Path::new(BIN)).is_err());
    let binary = directory.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert!(Config::load(Some(&binary), &BTreeMap::new(), Path::new(BIN)).is_err());
    let fine = directory.path().join("fine.toml");
    std::fs::write(&fine, GOOD).unwrap();
    assert!(Config::load(Some(&fine), &BTreeMap::new(), Path::new(BIN)).is_ok());
}

#[test]
fn a_variable_that_is_meant_for_the_gateway_is_not_passed_over() {
    use std::os::unix::ffi::OsStringExt;
    let not_text = || OsString::from_vec(b"/srv/\xff".to_vec());
    let others = [("SHELLGATE_URL", "http://h"), ("SHELLGATE_TOKEN", "t"), ("SHELLGATE", "x")];
    let fine: BTreeMap<OsString, OsString> = others
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .chain([("LESSOPEN".into(), not_text()), (not_text(), "x".into())])
        .chain([("SHELLGATE_GATEWAY__AUTH__DEVELOPMENT__ENABLED".into(), "true".into())])
        // What Kubernetes sets beside a service of this name.
        .chain([("SHELLGATE_GATEWAY_PORT_7800_TCP".into(), "tcp://10.0.0.1:7800".into())])
        .collect();
    assert!(Config::load(None, &fine, Path::new(BIN)).is_ok());
    let said = |name: &str, value: OsString| {
        let mut set = fine.clone();
        set.insert(name.into(), value);
        Config::load(None, &set, Path::new(BIN)).unwrap_err().to_string()
    };
    assert_eq!(
        said("SHELLGATE_GATEWAY__SERVER__STATE_DIR", not_text()),
        "environment variable SHELLGATE_GATEWAY__SERVER__STATE_DIR: its value is not UTF-8 \
         (allowed: text in UTF-8)"
    );
    for (name, meant) in [
        ("SHELLGATE_GATEWAY_LISTEN_CLIENT", "SHELLGATE_GATEWAY__LISTEN__CLIENT"),
        ("SHELLGATE_GATEWAY_SERVER__STATE_DIR", "SHELLGATE_GATEWAY__SERVER__STATE_DIR"),
    ] {
        let said = said(name, "127.0.0.1:1".into());
        assert_eq!(
            said,
            format!(
                "environment variable {name}: its name has one underscore where two belong \
                 (allowed: {meant})"
            )
        );
    }
}

#[test]
fn what_does_not_go_together_is_said_with_the_key_that_was_written() {
    let one = |more: &str, expected: &str| {
        let faults = faults(more);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(expected), "{faults:?}");
    };
    one("[listen]\nadmin = \"127.0.0.1:7800\"", "listen.admin: 127.0.0.1:7800 is taken");
    one("[listen]\nadmin = \"0.0.0.0:7800\"", "is taken by listen.client");
    one("[limits]\nsessions = 3", "limits.sessions_per_user: 5 is above");
    one("[listen]\nmax_connections = 10", "listen.unauthenticated_per_address: 32 is above");
    one("[sandbox.limits]\nmemory = \"128MiB\"", "sandbox.limits.tmp: 256MiB is above");
    one("[volumes]\nroot = \"/\"", "volumes.root: the state directory lies in it");
    one("[volumes]\nroot = \"/v\"\nskeleton = \"/v/s\"", "volumes.skeleton: ");
    one("[log]\nfilter = \"x=loud\"", "log.filter: ");
    one(
        "[auth.development]\nenabled = true\n[listen]\nclient = \"0.0.0.0:7800\"",
        "listen.client: ",
    );
    one("[auth.development]\nenabled = true\n[listen]\nproxies = \"10.0.0.1\"", "listen.proxies: ");
    one("[auth.development]\nuser = \" \"", "auth.development: the user has no name");
    one(
        "[templates.x]\nidle = \"13h\"",
        "templates.x.idle: idle (13h) is not below lifetime (12h)",
    );
    one("[templates.x]\nlifetime = \"5m\"", "templates.x.lifetime: idle (30m) is not below");
    one("[templates.x]\nlifetime_limit = \"5m\"", "templates.x.lifetime_limit: it is below");
    one("[templates.x]\ncommand = []", "templates.x.command: it names no program");
    one("[templates.x.limits]\nmemory = \"64MiB\"", "templates.x.limits: tmp (256MiB) is above");
    let nobody = Config::read(None, &BTreeMap::new(), Path::new(BIN)).unwrap_err();
    assert_eq!(nobody.all()[0].key, "auth.issuers");
    // Port 0 is another port each time.
    good("[listen]\nclient = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"");
}

#[test]
fn no_rule_is_held_against_a_key_that_is_wrong_by_itself() {
    assert_eq!(faults("[listen]\nclient = \"127.0.0.1:7801\"\nadmin = \"nowhere\"").len(), 1);
}

#[test]
fn a_template_says_what_runs_with_what() {
    let config = good(
        r#"
        [sandbox.limits]
        memory = "1GiB"
        [templates.agent]
        command = ["agent"]
        mode = "lines"
        env = { LANG = "C.UTF-8" }
        cwd = "work"
        secrets = ["plain", { name = "api-key", env = "API_KEY" }]
        motd = "Hello."
        [templates.agent.limits]
        cpu = "0.5cores"
        "#,
    );
    let agent = &config.templates["agent"];
    assert_eq!(agent.mode, Mode::Lines);
    assert_eq!(
        agent.secrets,
        [
            SecretUse { name: "plain".into(), env: None },
            SecretUse { name: "api-key".into(), env: Some("API_KEY".into()) },
        ]
    );
    let limits = shellgate_infra::compute::Limits::from(&agent.limits);
    assert_eq!((limits.cpu_millis, limits.memory), (500, 1 << 30), "the rest is the sandbox's");
    assert!(config.templates.contains_key("default"));
}

#[test]
fn a_template_with_names_that_cannot_be_is_refused() {
    for wrong in [
        "env = { TERM = \"x\" }",
        "env = { SHELLGATE_SESSION = \"x\" }",
        "env = { \"A=B\" = \"x\" }",
        "env = { A = 1 }",
        "env = { A = \"a\\u0000b\" }",
        "secrets = [\".hidden\"]",
        "secrets = [\"key.previous\"]",
        "secrets = [\"a/b\"]",
        "secrets = [{ name = \"a\", env = \"1A\" }]",
        "secrets = [{ name = \"a\", ENV = \"A\" }]",
        "secrets = [{ env = \"A\" }]",
        "secrets = [\"a\", \"a\"]",
        "secrets = [{ name = \"a\", env = \"A\" }, { name = \"b\", env = \"A\" }]",
        "env = { A = \"x\" }\nsecrets = [{ name = \"a\", env = \"A\" }]",
        "mode = \"graphic\"",
        "command = [\"\"]",
        "motd = \"\\u001b[2J\"",
    ] {
        let faults = faults(&format!("[templates.x]\n{wrong}\n"));
        assert_eq!(faults.len(), 1, "{wrong}: {faults:?}");
        assert!(faults[0].starts_with("templates.x."), "{faults:?}");
    }
    let names = (0..65).map(|n| format!("\"s{n}\"")).collect::<Vec<_>>().join(", ");
    let many = faults(&format!("[templates.x]\nsecrets = [{names}]"));
    assert!(many.len() == 1 && many[0].ends_with("secrets: it asks for 65"), "{many:?}");
    let large = faults(&format!("[templates.x]\nmotd = \"{}\"", "x".repeat(70_000)));
    assert_eq!(large.len(), 1, "{large:?}");
}

#[test]
fn an_issuer_that_cannot_be_trusted_or_asked_is_refused() {
    for (wrong, why) in [
        ("audience = \"a\"\njwks_url = \"https://i\"", "issuer: it is missing"),
        ("issuer = \"i\"\njwks_url = \"https://i\"", "audience: it is missing"),
        ("issuer = \"i\"\naudience = []\njwks_url = \"https://i\"", "audience"),
        ("issuer = \"i\"\naudience = \"a\"", "where its keys are is missing"),
        ("issuer = \"i\"\naudience = \"a\"\njwks_url = \"http://i\"", "anybody's"),
        (
            "issuer = \"i\"\naudience = \"a\"\njwks_url = \"https://u:p4ss@i\"",
            "a user or a password",
        ),
        (
            "issuer = \"i\"\naudience = \"a\"\njwks_url = \"https://i\"\nkeys = []",
            "jwks_url is there too",
        ),
        (
            "issuer = \"i\"\naudience = \"a\"\njwks_url = \"https://i\"\nalgorithms = \"HS256\"",
            "no algorithm of a public key",
        ),
        (
            "issuer = \"i\"\naudience = \"a\"\njwks_url = \"https://i\"\nmax_age = \"5m\"",
            "refresh (10m) is above max_age (5m)",
        ),
        (
            "issuer = \"i\"\naudience = \"a\"\nalgorithms = \"ES256\"\nkeys = [{ alg = \"RS256\", pem = \"x\" }]",
            "RS256 of auth.issuers[0].keys[0] is not among them",
        ),
    ] {
        let faults = read(&format!("[[auth.issuers]]\n{wrong}"), &[]).unwrap_err();
        assert!(faults.to_string().contains(why), "{wrong}: {faults}");
        assert!(!faults.to_string().contains("p4ss"));
        // The one fault is not followed by another that says there is no issuer at all.
        assert!(!faults.to_string().contains("nobody can sign in"), "{faults}");
    }
    let twice = read(&format!("{GOOD}{GOOD}"), &[]).unwrap_err();
    assert!(twice.to_string().contains("is there twice"), "{twice}");
    good(&GOOD.replace("id.example.com", "localhost:9").replace("https:", "http:"));
}

#[test]
fn what_is_shown_reads_as_the_same() {
    let config =
        good("[templates.agent]\ncommand = [\"a \\\"quoted\\\" \\\\ name\"]\nidle = \"1h1m1s\"\n");
    assert_eq!(read(&config.show(), &[]).as_ref(), Ok(&config));
}

#[test]
fn a_developers_page_may_call_from_where_the_gateway_listens() {
    let origins = |bound: &str| -> Vec<String> {
        let bound = bound.parse().unwrap();
        development_origins(bound).iter().map(|origin| origin.to_string()).collect()
    };
    assert_eq!(origins("127.0.0.1:7800"), ["http://localhost:7800", "http://127.0.0.1:7800"]);
    assert_eq!(origins("[::1]:80"), ["http://localhost", "http://[::1]"]);
}

proptest! {
    #[test]
    fn no_file_and_no_variable_panics(
        text in "(\\[{0,2}[a-z.]{0,8}\\]{0,2}\n|[a-z_]{1,8} = [\\PC]{0,12}\n|[\\PC]{0,20}\n){0,12}",
        name in "[A-Z_]{0,20}",
        value in "[\\PC\n]{0,20}",
    ) {
        let _ = read(&text, &[(&name, &value)]);
    }

    #[test]
    fn deep_nesting_is_refused_and_breaks_nothing(depth in 1usize..3000, open in "[\\[{]") {
        let value = if open == "[" { "[".repeat(depth) + &"]".repeat(depth) } else {
            "{a=".repeat(depth) + "1" + &"}".repeat(depth)
        };
        let text = format!("{GOOD}x = {value}\n");
        prop_assert!(read(&text, &[]).is_err());
        prop_assert!(read(GOOD, &[("LISTEN", value.as_str())]).is_err());
    }
}

#[test]
fn a_store_in_postgres_has_a_host_and_no_token_goes_in_the_clear() {
    let postgres = "[store]\nkind = \"postgres\"\n";
    let said = faults(postgres);
    assert!(matches!(said.as_slice(), [one] if one.starts_with("store.host: it is missing")));
    let postgres = format!("{postgres}host = \"db.example.com\"\n");
    let config = good(&postgres);
    assert!(config.store.tls && config.store.port == 5432 && config.store.password.is_none());
    let said = faults(&format!("{postgres}auth = \"iam\"\ntls = false\npassword = \"file:p\"\n"));
    let keys: Vec<_> = said.iter().filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(keys, ["store.tls", "store.password"], "{said:?}");
    let socket = "[store]\nkind = \"postgres\"\nhost = \"/run/postgresql\"\n";
    assert_eq!(faults(socket).len(), 1, "a socket has no TLS");
    good(&format!("{socket}tls = false\n"));
    assert_eq!(faults(&format!("{postgres}port = 65536\n")).len(), 1);
}
