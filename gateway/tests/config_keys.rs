//! Keys of issuers as an operator writes them: which are taken, and what is said of the others.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shellgate_gateway::config::{Algorithm, Config, Faults, KeyMaterial, KeySource, verdict};

const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiVQ6XMnPFniRcUKE7MnFl1zo7SEn\n\
    +ppPUqqpZbY5KPbUZTcsY8RFtmaUfhXXgC+kjIvYHYvETwb43LY0TOqlow==\n\
    -----END PUBLIC KEY-----\n";

const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAnHaruFmdae5wgTfUGQvgDu0tNarVNNNsSNNal2/o3xs=\n\
    -----END PUBLIC KEY-----\n";

/// Made with `openssl genrsa 1024`.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCqxrko2aNJhy0yINC8z6Kb8cie\n\
    xUVmxWfe2lN5lddeJtf0VE7a1p0MQE3K24PQ27REEdD5FtcTsRgf8iWrKWgETT0R\n\
    zuFGkcwf7Vd+Y7ChmFYpDmRCVhAIYj/TJjGhYAvPrFouRsAAroHlzuJI9xqUbx2z\n\
    JC/rVg/h4VQs7HbHPQIDAQAB\n\
    -----END PUBLIC KEY-----\n";

/// Of no key that was ever used: what it is called is enough.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

/// A JWK's members: the public key of RFC 8037, appendix A.
const JWK: &str =
    "kty = \"OKP\", crv = \"Ed25519\", x = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"";

fn read(text: &str) -> Result<Config, Faults> {
    let file = Some((Path::new("/etc/shellgate/gateway.toml"), text));
    Config::read(file, &BTreeMap::new(), Path::new("/opt/shellgate"))
}

struct Keys {
    _directory: tempfile::TempDir,
    secret: PathBuf,
}

fn keys(secret: &[u8], mode: u32) -> Keys {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    Keys { _directory: directory, secret: path }
}

fn with_keys(keys: &str) -> Result<Config, Faults> {
    read(&format!("[[auth.issuers]]\nissuer = \"i\"\naudience = [\"a\", \"b\"]\nkeys = [{keys}]"))
}

#[test]
fn keys_are_read_where_they_are_named() {
    let keys = keys(b"0123456789abcdef0123456789abcdef\n", 0o600);
    let config = with_keys(&format!(
        "{{ kid = \"one\", alg = \"HS256\", secret_file = {:?} }}, \
         {{ alg = \"EdDSA\", jwk = {{ {JWK}, kid = \"two\", n = 1, ops = [\"verify\"] }} }}, \
         {{ alg = \"ES256\", pem = {P256:?} }}",
        keys.secret
    ))
    .unwrap();
    let issuer = &config.auth.issuers[0];
    assert_eq!(issuer.algorithms, [Algorithm::Hs256, Algorithm::EdDsa, Algorithm::Es256]);
    let KeySource::Static(keys) = &issuer.keys else { panic!("{:?}", issuer.keys) };
    assert_eq!(keys[0].kid.as_deref(), Some("one"));
    assert_eq!(
        keys[0].material,
        KeyMaterial::Secret(b"0123456789abcdef0123456789abcdef".to_vec()),
        "the line end is not part of it"
    );
    let KeyMaterial::Jwk(jwk) = &keys[1].material else { panic!("{:?}", keys[1]) };
    assert_eq!((&jwk["n"], &jwk["ops"]), (&1.into(), &serde_json::json!(["verify"])));
    assert_eq!(keys[1].kid.as_deref(), Some("two"));
    assert_eq!(keys[2].material, KeyMaterial::Pem(P256.into()));
    assert_eq!(keys[2].place, "auth.issuers[0].keys[2]");
}

#[test]
fn keys_that_cannot_be_good_are_refused() {
    let open = keys(&[b'x'; 32], 0o644);
    let short = keys(&[b'x'; 31], 0o600);
    let fine = keys(&[b'x'; 32], 0o600);
    let large = keys(&vec![b'x'; 70_000], 0o600);
    let secret = |keys: &Keys| format!("{{ alg = \"HS256\", secret_file = {:?} }}", keys.secret);
    for (wrong, why) in [
        (secret(&open), "is open to others (mode 0644)"),
        (secret(&short), "has 31 bytes only"),
        (secret(&large), "is larger than any key"),
        ("{ alg = \"HS256\", secret_file = \"/nowhere\" }".into(), "/nowhere"),
        ("{ alg = \"HS256\", secret_file = \"/dev\" }".into(), "is no file"),
        (format!("{{ alg = \"RS256\", secret_file = {:?} }}", fine.secret), "for HS256 only"),
        ("{ alg = \"HS256\", pem = \"x\" }".into(), "needs a shared secret"),
        ("{ alg = \"none\", pem = \"x\" }".into(), "\"none\" is none of them"),
        ("{ pem = \"x\" }".into(), "alg: it is missing"),
        ("{ alg = \"RS256\" }".into(), "the key itself is missing"),
        ("{ alg = \"RS256\", pem = \"x\", pem_file = \"y\" }".into(), "it is several keys"),
        ("{ alg = \"RS256\", jwk = \"x\" }".into(), "it is a text"),
        ("{ alg = \"RS256\", pem = \"x\", kidd = \"y\" }".into(), "did you mean"),
        (
            "{ kid = \"a\", alg = \"RS256\", pem = \"x\" }, { kid = \"a\", alg = \"RS256\", pem = \"y\" }"
                .into(),
            "names two of them",
        ),
        (
            format!("{{ alg = \"ES256\", pem = {P256:?} }}, {{ alg = \"ES256\", pem = {P256:?} }}"),
            "two of them are for ES256, and have no kid",
        ),
        (
            format!("{{ kid = \"a\", alg = \"EdDSA\", jwk = {{ {JWK}, kid = \"b\" }} }}"),
            "keys[0].kid: it is \"a\", and the jwk's own is \"b\"",
        ),
        (format!("{{ alg = \"HS256\", jwk = {{ {JWK} }} }}"), "needs a shared secret"),
        (String::new(), "there is none that can be used"),
        ("7".into(), "auth.issuers[0].keys[0]: it is a whole number"),
    ] {
        let faults = with_keys(&wrong).unwrap_err();
        assert!(faults.to_string().contains(why), "{wrong}: {faults}");
    }
}

#[test]
fn every_key_that_is_unfit_is_named_beside_all_other_faults() {
    let secret = keys(P256.as_bytes(), 0o600);
    let text = format!(
        "[listen]\nclient = \"nowhere\"\n[[auth.issuers]]\nissuer = \"i\"\naudience = \"a\"\nkeys = [\n\
         {{ kid = \"1\", alg = \"RS256\", pem = {RSA_1024:?} }},\n\
         {{ kid = \"2\", alg = \"EdDSA\", pem = {PRIVATE:?} }},\n\
         {{ kid = \"3\", alg = \"ES256\", pem = {ED25519:?} }},\n\
         {{ kid = \"4\", alg = \"HS256\", secret_file = {:?} }},\n\
         {{ kid = \"5\", alg = \"EdDSA\", jwk = {{ kty = \"OKP\", crv = \"Ed25519\", x = \"AAAA\" }} }},\n\
         {{ kid = \"6\", alg = \"EdDSA\", jwk = {{ {JWK} }} }},\n]\n",
        secret.secret
    );
    let loaded = read(&text);
    let verdict = verdict(&loaded);
    let lines: Vec<_> = verdict.lines().map(|line| line.split_once(": ").unwrap()).collect();
    let said: Vec<_> = lines.iter().map(|(_, what)| *what).collect();
    let expected = [
        "auth.issuers[0].keys[0].pem: the key has a size outside what is safe",
        "auth.issuers[0].keys[1].pem: the key is not public (allowed: a public key for EdDSA in PEM)",
        "auth.issuers[0].keys[2].pem: the key is of another kind than ES256 needs",
        "auth.issuers[0].keys[3].secret_file: the key is of a kind that is not supported: a PEM text",
        "auth.issuers[0].keys[4].jwk: the key can't be read",
    ];
    for wanted in expected {
        assert!(said.iter().any(|what| what.starts_with(wanted)), "{wanted}: {verdict}");
    }
    assert!(said.iter().any(|what| what.starts_with("listen.client: ")), "{verdict}");
    assert_eq!(said.len(), expected.len() + 1, "{verdict}");
    assert!(lines[1].0.starts_with("/etc/shellgate/gateway.toml:"), "{verdict}");
    assert!(!verdict.contains("MIGf") && !verdict.contains("AAAA"), "{verdict}");
}

#[test]
fn no_secret_shows_in_what_is_printed() {
    let keys = keys(b"hunter2hunter2hunter2hunter2hunter2", 0o600);
    let text = format!(
        "[[auth.issuers]]\nissuer = \"i\"\naudience = \"a\"\n\
         keys = [{{ alg = \"HS256\", secret_file = {:?} }}, {{ alg = \"EdDSA\", jwk = {{ {JWK}, k2 = \"hunter2\" }} }}]\n\
         [templates.default]\nenv = {{ PASSWORD = \"hunter2\" }}\n",
        keys.secret
    );
    let config = read(&text).unwrap();
    for shown in [format!("{config:?}"), format!("{config:#?}"), config.show()] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("PASSWORD"), "{shown}");
    }
    // Nor in what is said of a file that is not TOML, or has its secrets in the wrong place.
    for wrong in [
        "[templates.default]\nenv = { PASSWORD = \"hunter2 }",
        "[templates.default.env]\nPASSWORD = [\"hunter2\"]",
        "[auth]\ndevelopment = \"hunter2\"",
        "[[auth.issuers]]\nkeys = [\"hunter2\"]",
        "[[auth.issuers]]\nkeys = [{ pem = [\"hunter2\"] }]",
        "[[auth.issuers]]\nkeys = [{ jwk = \"hunter2\" }]",
    ] {
        let faults = read(wrong).unwrap_err();
        assert!(!format!("{faults}{faults:?}").contains("hunter2"), "{faults}");
    }
}
