//! Tokens that must be refused, each for its own reason, although their signatures hold (but where
//! the signature is the point). A token that fails for another reason than the expected one would
//! hide that its check is missing.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use shellgate_gateway::auth::verifier::{LEEWAY_DEFAULT, StaticKey};
use shellgate_gateway::auth::{Algorithm, AuthError, KeySource, Verifier, VerifierConfig};

use super::signer::{AUDIENCE, ISSUER, NOW, Signer, claims, issuer, now, part, pem, verifier};

async fn refuses(signer: &Signer, verifier: &Verifier, what: &str, token: &str, code: &str) {
    let answer = verifier.verify(token, now()).await;
    let given = answer.as_ref().err().map(AuthError::code);
    assert_eq!(given, Some(code), "{what} ({}): {answer:?}", signer.algorithm);
}

/// Good claims but for one member, which is changed or (with `None`) absent.
fn with(name: &str, value: Option<Value>) -> Value {
    let mut claims = claims();
    match value {
        Some(value) => claims[name] = value,
        None => {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

#[tokio::test]
async fn headers_that_must_not_be_there_are_refused_although_signed() {
    let signer = Signer::new(Algorithm::Es256);
    let verifier = signer.verifier();
    let own = signer.jwk("mine");
    for (name, value) in [
        ("jwk", own),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(true)),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("typ", json!("secevent+jwt")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("JWE")),
        ("typ", json!("")),
        ("typ", json!(null)),
        ("typ", json!(["JWT"])),
        ("kid", json!(7)),
        ("kid", json!("")),
        ("kid", json!("k".repeat(257))),
        ("kid", json!(null)),
        ("alg", json!(null)),
        ("alg", json!(["ES256"])),
    ] {
        let mut header = signer.header();
        header[name] = value.clone();
        let token = signer.sign(&header.to_string(), &claims().to_string());
        refuses(&signer, &verifier, &format!("{name} = {value}"), &token, "token_header").await;
    }
    let token = signer.sign(r#"{"typ":"JWT"}"#, &claims().to_string());
    refuses(&signer, &verifier, "no alg", &token, "token_header").await;
}

#[tokio::test]
async fn algorithms_that_are_not_the_key_s_are_refused() {
    let signer = Signer::new(Algorithm::Es256);
    let verifier = signer.verifier();
    for name in [
        "none", "None", "NONE", "nOnE", "", "es256", "ES256 ", "ES512", "HS384", "RS512", "HS256",
        "RS256", "PS256", "EdDSA", "ES384", "Ed25519", "dir", "RSA-OAEP",
    ] {
        let header = json!({"alg": name}).to_string();
        let token = signer.sign(&header, &claims().to_string());
        refuses(&signer, &verifier, name, &token, "token_algorithm").await;
    }
    let unsigned = format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims().to_string()));
    refuses(&signer, &verifier, "none, unsigned", &unsigned, "token_malformed").await;
}

#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let signer = Signer::new(algorithm);
        // The attacker signs with what everybody may know, in each form that a library might keep.
        let jwk = signer.jwk("k");
        let raw = jwk.get("n").or(jwk.get("x")).unwrap().as_str().unwrap().to_owned();
        for secret in [signer.public.clone(), signer.public.trim().to_owned(), raw] {
            let forged = forge_hs256(&secret);
            // Even where both algorithms are allowed for the issuer.
            let both = vec![algorithm, Algorithm::Hs256];
            let keys = KeySource::Static(vec![
                signer.static_key(None),
                Signer::new(Algorithm::Hs256).static_key(Some("hmac")),
            ]);
            let verifier = verifier(both, keys);
            let code = verifier.verify(&forged, now()).await.unwrap_err().code();
            assert!(["token_signature", "token_key"].contains(&code), "{algorithm}: {code}");
            let code = signer.verifier().verify(&forged, now()).await.unwrap_err().code();
            assert_eq!(code, "token_algorithm");
        }
    }
}

fn forge_hs256(secret: &str) -> String {
    let message = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(&claims().to_string()));
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let library = jsonwebtoken::Algorithm::HS256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, library).unwrap();
    format!("{message}.{signature}")
}

#[tokio::test]
async fn a_key_that_names_its_algorithm_serves_no_other() {
    let signer = Signer::new(Algorithm::Ps256);
    let rs256 = Signer::new(Algorithm::Rs256);
    let header = json!({"alg": "RS256", "kid": "k"}).to_string();
    let token = rs256.sign(&header, &claims().to_string());
    let both = vec![Algorithm::Rs256, Algorithm::Ps256];
    let itself = StaticKey::Jwk(signer.jwk("k").to_string());
    let by_configuration =
        StaticKey::Only(Algorithm::Ps256, Box::new(signer.static_key(Some("k"))));
    for key in [itself, by_configuration] {
        let verifier = verifier(both.clone(), KeySource::Static(vec![key]));
        refuses(&rs256, &verifier, "RS256 by a PS256 key", &token, "token_algorithm").await;
    }
    // Without such a word the same key serves both, so it was the word that refused.
    let key = KeySource::Static(vec![signer.static_key(Some("k"))]);
    assert!(verifier(both, key).verify(&token, now()).await.is_ok());
}

#[tokio::test]
async fn claims_of_a_wrong_type_or_range_are_refused_although_signed() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = signer.verifier();
    for (name, value) in [
        ("exp", None),
        ("exp", Some(json!((NOW + 600).to_string()))),
        ("exp", Some(json!(null))),
        ("exp", Some(json!([NOW + 600]))),
        ("exp", Some(json!(true))),
        ("exp", Some(json!(-1))),
        ("exp", Some(json!(1e300))),
        ("exp", Some(json!(u64::MAX))),
        // Milliseconds taken for seconds.
        ("exp", Some(json!((NOW + 600) * 1000))),
        ("nbf", Some(json!((NOW - 60).to_string()))),
        ("nbf", Some(json!(null))),
        ("nbf", Some(json!(-60))),
        ("iat", Some(json!("now"))),
        ("iat", Some(json!(-1))),
        ("iat", Some(json!(253_402_300_800_u64))),
        ("iss", None),
        ("iss", Some(json!(""))),
        ("iss", Some(json!([ISSUER]))),
        ("iss", Some(json!(null))),
        ("aud", None),
        ("aud", Some(json!([]))),
        ("aud", Some(json!([AUDIENCE, 7]))),
        ("aud", Some(json!({"shellgate": true}))),
        ("aud", Some(json!(null))),
        ("aud", Some(json!(vec![AUDIENCE; 65]))),
        ("sub", None),
        ("sub", Some(json!(""))),
        ("sub", Some(json!(7))),
        ("sub", Some(json!(["ada"]))),
        ("sub", Some(json!("x".repeat(256)))),
        ("sub", Some(json!("ada\n"))),
        ("sub", Some(json!("ada\u{0}"))),
        ("sub", Some(json!("ada\u{9b}1m"))),
        ("scope", Some(json!(["sessions:admin"]))),
        ("scope", Some(json!(null))),
        ("scope", Some(json!({"sessions:admin": true}))),
        ("scp", Some(json!([["sessions:admin"]]))),
        ("scp", Some(json!(7))),
        ("jti", Some(json!(7))),
        ("jti", Some(json!("a\nb"))),
    ] {
        let what = format!("{name} = {value:?}");
        let token = signer.token(&with(name, value));
        refuses(&signer, &verifier, &what, &token, "token_claims").await;
    }
    // Numbers that no JSON value holds have to be written by hand.
    for exp in ["1e999", "-1e999", "NaN", "Infinity", "0x7fffffff", "01800000600", "+1800000600"] {
        let claims = format!(r#"{{"iss":"{ISSUER}","sub":"ada","aud":"{AUDIENCE}","exp":{exp}}}"#);
        let token = signer.sign(&signer.header().to_string(), &claims);
        refuses(&signer, &verifier, exp, &token, "token_malformed").await;
    }
}

#[tokio::test]
async fn tokens_out_of_time_or_for_others_are_refused() {
    let signer = Signer::new(Algorithm::Hs256);
    let verifier = signer.verifier();
    for (name, value, code) in [
        ("exp", json!(NOW - 5), "token_expired"),
        ("exp", json!(NOW - 10), "token_expired"),
        ("exp", json!(NOW - 60), "token_times"),
        ("exp", json!(0), "token_times"),
        ("nbf", json!(NOW + 6), "token_not_yet_valid"),
        ("nbf", json!(NOW + 599), "token_not_yet_valid"),
        ("nbf", json!(NOW + 600), "token_times"),
        ("iat", json!(NOW + 6), "token_not_yet_valid"),
        ("iat", json!(NOW + 600), "token_times"),
        ("aud", json!("other"), "token_audience"),
        ("aud", json!(["other", "Shellgate", "shellgate "]), "token_audience"),
        ("aud", json!(""), "token_audience"),
        ("iss", json!("https://issuer.example/"), "token_issuer"),
        ("iss", json!("https://evil.example"), "token_issuer"),
    ] {
        let what = format!("{name} = {value}");
        let token = signer.token(&with(name, Some(value)));
        refuses(&signer, &verifier, &what, &token, code).await;
    }
}

#[tokio::test]
async fn a_token_that_lives_longer_than_allowed_is_refused() {
    let signer = Signer::new(Algorithm::EdDsa);
    let keys = KeySource::Static(vec![signer.static_key(None)]);
    let verifier = Verifier::new(VerifierConfig {
        issuers: vec![issuer(ISSUER, vec![Algorithm::EdDsa], keys)],
        leeway: LEEWAY_DEFAULT,
        max_lifetime: std::time::Duration::from_secs(3600),
    })
    .unwrap();
    assert!(verifier.verify(&signer.token(&claims()), now()).await.is_ok());
    let long = signer.token(&with("exp", Some(json!(NOW - 60 + 3601))));
    refuses(&signer, &verifier, "an hour and a second", &long, "token_times").await;
    let mut undated = with("iat", None);
    undated["exp"] = json!(NOW + 3601);
    refuses(&signer, &verifier, "undated", &signer.token(&undated), "token_times").await;
}

#[tokio::test]
async fn members_that_stand_twice_are_refused_although_signed() {
    let signer = Signer::new(Algorithm::Rs256);
    let verifier = signer.verifier();
    let (header, claims) = (signer.header().to_string(), claims().to_string());
    let double = |json: &str, member: &str| format!("{},{member}}}", &json[..json.len() - 1]);
    for member in [r#""alg":"RS256""#, r#""alg":"none""#, r#""a\u006cg":"none""#, r#""typ":"JWT""#]
    {
        let token = signer.sign(&double(&header, member), &claims);
        refuses(&signer, &verifier, member, &token, "token_malformed").await;
    }
    for member in [
        r#""sub":"root""#,
        r#""sub":"ada""#,
        r#""su\u0062":"root""#,
        r#""exp":9999999999"#,
        r#""aud":"shellgate""#,
        r#""x":{"a":1,"a":2}"#,
    ] {
        let token = signer.sign(&header, &double(&claims, member));
        refuses(&signer, &verifier, member, &token, "token_malformed").await;
    }
}

#[tokio::test]
async fn texts_that_are_no_token_are_refused() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = signer.verifier();
    let good = signer.token(&claims());
    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let header_json = signer.header().to_string();
    // Sixteen bytes leave four bits over in the last character, and ask for padding.
    let sixteen = "{\"alg\":\"EdDSA\"} ";
    let twisted = {
        let good = part(sixteen);
        let (rest, last) = good.split_at(good.len() - 1);
        format!("{rest}{}", char::from(last.as_bytes()[0] + 1))
    };
    let cases = [
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("two parts", format!("{header}.{body}")),
        ("four parts", format!("{good}.AAAA")),
        ("five parts, as an encrypted token has", format!("{good}.AAAA.AAAA")),
        ("an empty header", format!(".{body}.{signature}")),
        ("empty claims", format!("{header}..{signature}")),
        ("an empty signature", format!("{header}.{body}.")),
        ("a leading space", format!(" {good}")),
        ("a trailing line end", format!("{good}\n")),
        ("a padded part", signer.sign_parts(&URL_SAFE.encode(sixteen), body)),
        ("a padded signature", format!("{good}==")),
        (
            "the other base64 alphabet",
            signer.sign_parts(&STANDARD.encode(r#"{"alg":"EdDSA","kid":"???>>>~~~"}"#), body),
        ),
        ("spare bits in a part", signer.sign_parts(&twisted, body)),
        ("a header that is no JSON", signer.sign("alg=EdDSA", &claims().to_string())),
        ("a header that is a list", signer.sign(r#"["EdDSA"]"#, &claims().to_string())),
        ("claims that are a string", signer.sign(&header_json, r#""ada""#)),
        ("claims that are null", signer.sign(&header_json, "null")),
        (
            "claims with something after them",
            signer.sign(&header_json, &format!("{}{{}}", claims())),
        ),
        (
            "claims with a byte order mark",
            signer.sign(&header_json, &format!("\u{feff}{}", claims())),
        ),
        (
            "claims that are not UTF-8",
            signer.sign_parts(header, &URL_SAFE.encode(b"{\"sub\":\"\xff\"}").replace('=', "")),
        ),
        (
            "claims nested too deeply",
            signer.sign(&header_json, &format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500))),
        ),
        ("the JSON serialization", json!({"payload": body, "signature": signature}).to_string()),
    ];
    for (what, token) in cases {
        refuses(&signer, &verifier, what, &token, "token_malformed").await;
    }
}

#[tokio::test]
async fn a_token_over_its_size_limit_is_not_read() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = signer.verifier();
    let token = |filling: usize| signer.token(&with("filling", Some(json!("x".repeat(filling)))));
    let most = (0..8192).rev().find(|filling| token(*filling).len() <= 8192).unwrap();
    assert!(verifier.verify(&token(most), now()).await.is_ok());
    refuses(&signer, &verifier, "over 8 KiB", &token(most + 1), "token_too_long").await;
}

#[tokio::test]
async fn signatures_that_do_not_hold_are_refused() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        let verifier = signer.verifier();
        let good = signer.token(&claims());
        let (message, signature) = good.rsplit_once('.').unwrap();
        let zeros = "A".repeat(signature.len() - signature.len() % 4);
        let mut flipped = signature.to_owned().into_bytes();
        flipped[3] = if flipped[3] == b'A' { b'B' } else { b'A' };
        let root = signer.token(&with("sub", Some(json!("root"))));
        let stolen = format!("{}.{signature}", root.rsplit_once('.').unwrap().0);
        for (what, token) in [
            ("one bit", format!("{message}.{}", String::from_utf8(flipped).unwrap())),
            ("zeros", format!("{message}.{zeros}")),
            ("cut short", format!("{message}.{}", &signature[..signature.len() / 8 * 4])),
            ("another token's", stolen),
        ] {
            refuses(&signer, &verifier, what, &token, "token_signature").await;
        }
        if !matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256) {
            let other = Signer::new(algorithm).token(&claims());
            refuses(&signer, &verifier, "another key's", &other, "token_signature").await;
        }
    }
}

#[tokio::test]
async fn a_forged_token_does_not_learn_what_else_is_wrong_with_it() {
    let signer = Signer::new(Algorithm::Es256);
    let forged = Signer::new(Algorithm::Es256).token(&with("exp", Some(json!(NOW - 30))));
    refuses(&signer, &signer.verifier(), "forged and expired", &forged, "token_signature").await;
}

#[test]
fn faults_of_a_configuration_are_named_all_at_once() {
    let rsa = Signer::new(Algorithm::Rs256);
    let hmac = Signer::new(Algorithm::Hs256);
    let mut oct = json!({"kty": "oct", "k": "AAAA"});
    let keys = vec![
        StaticKey::Secret { id: None, secret: vec![7; 31] },
        StaticKey::Secret { id: None, secret: rsa.public.clone().into_bytes() },
        StaticKey::Pem { id: None, pem: Signer::weak_rsa_pem().to_owned() },
        StaticKey::Pem { id: None, pem: "PUBLIC KEY".to_owned() },
        StaticKey::Pem { id: None, pem: pem("PRIVATE KEY", b"x") },
        StaticKey::Pem { id: None, pem: pem("CERTIFICATE", b"x") },
        StaticKey::Pem { id: None, pem: rsa.public.repeat(2) },
        StaticKey::Jwk(oct.to_string()),
        StaticKey::Jwk({
            oct["kty"] = json!("RSA");
            oct.to_string()
        }),
        hmac.static_key(Some("")),
        StaticKey::Only(Algorithm::Es256, Box::new(rsa.static_key(None))),
        // Loads, and serves no algorithm of this issuer.
        Signer::new(Algorithm::EdDsa).static_key(None),
    ];
    let count = keys.len();
    let both = vec![Algorithm::Hs256, Algorithm::Rs256];
    let jwks = |url: &str| KeySource::Jwks { url: url.to_owned(), policy: Default::default() };
    let config = VerifierConfig {
        issuers: vec![
            issuer(ISSUER, both.clone(), KeySource::Static(keys)),
            issuer("https://b", vec![Algorithm::Rs256], jwks("http://keys.example/")),
            issuer("https://b", both.clone(), jwks("https://keys.example/")),
            issuer("", vec![], KeySource::Static(vec![])),
            issuer(
                "https://d",
                both,
                KeySource::Static(vec![hmac.static_key(Some("k")), rsa.static_key(Some("k"))]),
            ),
        ],
        leeway: std::time::Duration::from_secs(301),
        max_lifetime: std::time::Duration::from_secs(31 * 86_400),
    };
    let faults = Verifier::new(config).unwrap_err();
    // The leeway, the keys, http, the same issuer twice, HS256 with a URL, an empty name, no
    // algorithm, no key, two keys of the same name.
    assert_eq!(faults.len(), 1 + count + 1 + 1 + 1 + 3 + 1, "{faults:#?}");
    let text = faults.join("\n");
    assert!(!text.contains("BEGIN") && !text.contains(&hmac.public), "a key shows: {text}");
}

#[test]
fn a_jwk_is_held_to_its_own_words() {
    use shellgate_gateway::auth::key::{Key, KeyFault};
    let jwk = Signer::new(Algorithm::Es256).jwk("k");
    let load = |change: &dyn Fn(&mut Value)| {
        let mut jwk = jwk.clone();
        change(&mut jwk);
        Key::from_jwk_text(&jwk.to_string()).map(|key| key.id().map(str::to_owned))
    };
    assert_eq!(load(&|_| {}), Ok(Some("k".to_owned())));
    assert!(load(&|jwk| jwk["key_ops"] = json!(["verify", "sign"])).is_ok());
    type Change<'a> = &'a dyn Fn(&mut Value);
    let faults: [(Change<'_>, KeyFault); 11] = [
        (&|jwk| jwk["use"] = json!("enc"), KeyFault::Purpose),
        (&|jwk| jwk["key_ops"] = json!(["sign"]), KeyFault::Purpose),
        (&|jwk| jwk["key_ops"] = json!([]), KeyFault::Purpose),
        (&|jwk| jwk["alg"] = json!("ES384"), KeyFault::Algorithm),
        (&|jwk| jwk["alg"] = json!("HS256"), KeyFault::Algorithm),
        (&|jwk| jwk["alg"] = json!("ECDH-ES"), KeyFault::Algorithm),
        (&|jwk| jwk["d"] = json!("AAAA"), KeyFault::NotPublic),
        (&|jwk| jwk["kty"] = json!("oct"), KeyFault::NotPublic),
        (&|jwk| jwk["crv"] = json!("secp256k1"), KeyFault::Unsupported("its crv")),
        (&|jwk| jwk["kty"] = json!("AKP"), KeyFault::Unsupported("its kty")),
        // Off its curve.
        (&|jwk| jwk["x"] = jwk["y"].clone(), KeyFault::Unreadable("not a key of its type")),
    ];
    for (number, (change, fault)) in faults.into_iter().enumerate() {
        assert_eq!(load(change), Err(fault), "case {number}");
    }
    let twice = format!("{},\"kid\":\"other\"}}", jwk.to_string().trim_end_matches('}'));
    assert!(Key::from_jwk_text(&twice).is_err());

    let rsa = Signer::new(Algorithm::Rs256).jwk("r");
    for (name, value, fault) in [
        ("n", json!("-".repeat(168)), Err(KeyFault::Size)),
        ("n", json!("-".repeat(1400)), Err(KeyFault::Size)),
        ("n", json!("A".repeat(342)), Err(KeyFault::Size)),
        ("e", json!("Ag"), Err(KeyFault::Unreadable("not a key of its type"))),
        ("e", json!("AQ"), Err(KeyFault::Unreadable("not a key of its type"))),
        ("e", json!("AQAB"), Ok(())),
    ] {
        let mut rsa = rsa.clone();
        rsa[name] = value.clone();
        assert_eq!(Key::from_jwk_text(&rsa.to_string()).map(|_| ()), fault, "{name} = {value}");
    }
}
