//! An issuer's keys as its server gives them out: a JSON Web Key Set, and each key in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shellgate_gateway::auth::jwt::KEY_ID_MAX;
use shellgate_gateway::auth::key::{Algorithm, Key};
use shellgate_gateway::auth::key_set::{KEYS_MAX, KeySet, Miss};

fuzz_target!(|json: &[u8]| {
    if let Ok(text) = std::str::from_utf8(json)
        && let Ok(key) = Key::from_jwk_text(text)
    {
        is_public(&key);
    }
    let Ok((set, left_out)) = KeySet::parse(json) else { return };
    // A set that was read has each member once, so that any reader finds the same in it.
    let document: Value = serde_json::from_slice(json).expect("a set is JSON");
    let entries = document["keys"].as_array().expect("a set has keys");
    assert_eq!(set.keys().len() + left_out.len(), entries.len(), "a key is kept or named");
    assert!((1..=KEYS_MAX).contains(&set.keys().len()));
    assert!(left_out.iter().all(|(name, _)| name.chars().count() <= KEY_ID_MAX));

    let taken = entries.iter().filter(|entry| Key::from_jwk_text(&entry.to_string()).is_ok());
    let mut ids = Vec::new();
    for (key, entry) in set.keys().iter().zip(taken) {
        assert_eq!(key.id(), entry["kid"].as_str(), "in their order, under their own names");
        assert!(entry.get("d").is_none() && entry.get("k").is_none(), "a secret was kept");
        is_public(key);
        ids.extend(key.id());
    }
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "two keys of one name");
    for key in set.keys() {
        for algorithm in Algorithm::ALL {
            let found = set.find(key.id(), algorithm);
            match key.id() {
                // The key of that name or none: a token does not choose between others.
                Some(id) => match found {
                    Ok(found) => assert_eq!(found.id(), Some(id)),
                    Err(miss) => assert_eq!(miss, Miss::Algorithm),
                },
                None => {
                    let fitting = set.keys().iter().filter(|k| k.algorithms().contains(&algorithm));
                    assert_eq!(found.is_ok(), fitting.count() == 1);
                }
            }
            assert!(found.is_err() || found.is_ok_and(|k| k.algorithms().contains(&algorithm)));
        }
    }
});

/// A key that came over the network verifies, and lets nobody sign who has read it.
fn is_public(key: &Key) {
    assert!(!key.algorithms().is_empty());
    for algorithm in Algorithm::ALL {
        let its = key.algorithms().contains(&algorithm);
        assert!(!(its && algorithm.is_symmetric()), "a public key that signs");
        assert_eq!(key.clone().only(algorithm).is_ok(), its);
        assert!(!key.verifies(algorithm, "message", "AAAA"), "four letters are no signature");
    }
}
