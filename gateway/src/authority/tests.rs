//! Authorities as operators give them, and what a task's TLS makes of what they sign.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use rcgen::{BasicConstraints, DnValue};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::made::made;
use super::*;
use crate::config::{SecretRef, Tasks};
use crate::kept::Kept;

const HOST: &str = "gateway.internal";

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Clock(SystemTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.duration_since(SystemTime::UNIX_EPOCH).ok()?))
    }
}

/// What a task does, by its clock: whether it comes to trust a gateway under this name.
fn trusts(
    authorities: &str,
    name: &str,
    now: SystemTime,
    gateway: &Arc<ServerConfig>,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(authorities).unwrap() {
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Clock(now)))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    shake_hands(&Arc::new(config), name, gateway)
}

/// Whether two come to trust each other, as far as each of them wants to.
fn shake_hands(
    task: &Arc<ClientConfig>,
    name: &str,
    gateway: &Arc<ServerConfig>,
) -> Result<(), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut task = ClientConnection::new(task.clone(), name).unwrap();
    let mut gateway = ServerConnection::new(gateway.clone()).unwrap();
    while task.is_handshaking() || gateway.is_handshaking() {
        let mut sent = Vec::new();
        while task.wants_write() {
            task.write_tls(&mut sent).unwrap();
        }
        let mut sent = &sent[..];
        while !sent.is_empty() {
            gateway.read_tls(&mut sent as &mut dyn io::Read).unwrap();
            gateway.process_new_packets()?;
        }
        let mut answer = Vec::new();
        while gateway.wants_write() {
            gateway.write_tls(&mut answer).unwrap();
        }
        let mut answer = &answer[..];
        while !answer.is_empty() {
            task.read_tls(&mut answer as &mut dyn io::Read).unwrap();
            task.process_new_packets()?;
        }
    }
    Ok(())
}

fn speaks(leaf: &Leaf) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(leaf.certified.clone())));
    Arc::new(config)
}

/// An authority with a key of its own, as another tool may have made it.
fn foreign(key: &KeyPair, name: &str, from: SystemTime, to: SystemTime) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = DnValue::PrintableString(name.try_into().unwrap());
    params.distinguished_name.push(DnType::OrganizationName, name.clone());
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (from.into(), to.into());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    pem::of("CERTIFICATE", params.self_signed(key).unwrap().der())
}

fn private(key: &KeyPair) -> String {
    pem::of("PRIVATE KEY", key.serialized_der())
}

fn issuer_of(leaf: &Leaf) -> String {
    let (_, parsed) = X509Certificate::from_der(&leaf.certified.cert[0]).unwrap();
    parsed.issuer().to_string()
}

#[test]
fn a_task_trusts_its_gateway_by_name_and_by_a_clock_that_is_an_hour_off() {
    let now = SystemTime::now();
    let (certificate, key) = made(now).unwrap();
    let authority = Authority::read(&certificate, &key, now).unwrap();
    assert_eq!(authority.pem(), certificate, "nothing else goes to tasks");
    let leaf = authority.issue(HOST, now).unwrap();
    let gateway = speaks(&leaf);
    let slow = now - 59 * MINUTE;
    let fast_and_late = leaf.renew_at + 60 * MINUTE;
    for clock in [slow, now, fast_and_late] {
        assert_eq!(trusts(&certificate, HOST, clock, &gateway), Ok(()));
    }
    assert!(trusts(&certificate, HOST, now + LIFETIME + MINUTE, &gateway).is_err());
    assert!(trusts(&certificate, "other.internal", now, &gateway).is_err());
    let (other, _) = made(now).unwrap();
    assert!(trusts(&other, HOST, now, &gateway).is_err());
    for address in ["10.0.0.7", "2001:db8::7"] {
        let gateway = speaks(&authority.issue(address, now).unwrap());
        assert_eq!(trusts(&certificate, address, now, &gateway), Ok(()));
    }
}

#[test]
fn of_two_certificates_of_one_key_the_newest_that_is_valid_signs() {
    let now = SystemTime::now();
    let (day, key) = (24 * 60 * MINUTE, KeyPair::generate().unwrap());
    let old = foreign(&key, "Old", now - 9 * day, now + day);
    let new = foreign(&key, "New", now - day, now + 9 * day);
    let later = foreign(&key, "Later", now + day, now + 9 * day);
    let private = private(&key);
    let signer = |certificates: [&str; 2], at| {
        let authority = Authority::read(&certificates.concat(), &private, at)?;
        let leaf = authority.issue(HOST, at)?;
        assert_eq!(trusts(&certificates.concat(), HOST, at, &speaks(&leaf)), Ok(()));
        Ok::<_, AuthorityError>(issuer_of(&leaf))
    };
    assert!(signer([&new, &old], now).unwrap().contains("New"));
    assert!(signer([&old, &new], now).unwrap().contains("New"));
    assert!(signer([&old, &later], now).unwrap().contains("Old"));
    assert!(signer([&old, &later], now + 2 * day).unwrap().contains("Later"));
    let over = signer([&old, &new], now + 10 * day).unwrap_err();
    assert!(matches!(over, AuthorityError::NotNow) && over.is_the_configurations());
}

#[test]
fn what_is_no_authority_is_refused_with_its_setting() {
    let now = SystemTime::now();
    let (certificate, key) = made(now).unwrap();
    let (other, other_key) = made(now).unwrap();
    let authority = Authority::read(&certificate, &key, now).unwrap();
    let leaf = authority.issue(HOST, now).unwrap();
    let leaf = pem::of("CERTIFICATE", &leaf.certified.cert[0]);
    let three = [certificate.as_str(), &other, &certificate].concat();
    let both = format!("{certificate}{key}");
    let two_keys = format!("{key}{other_key}");
    for (certificates, key, why) in [
        ("", key.as_str(), "authorities: there are 0 certificates"),
        (&three, &key, "authorities: there are 3 certificates"),
        (&certificate[..300], &key, "authorities: it is not PEM"),
        (&both, &key, "authorities: there is something else in it"),
        (&leaf, &key, "may not sign certificates"),
        (&certificate, "", "authority_key: it is not one private key"),
        (&certificate, &two_keys, "authority_key: it is not one private key"),
        (&certificate, &certificate, "authority_key: it is not one private key"),
        (&certificate, &other_key, "authority_key: it is the key of none"),
    ] {
        let Err(error) = Authority::read(certificates, key, now) else { panic!("{why}") };
        let said = error.to_string();
        assert!(said.contains(why) && error.is_the_configurations(), "{why}: {said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
    // With two, the key may be either's.
    for key in [&key, &other_key] {
        Authority::read(&format!("{certificate}{other}"), key, now).unwrap();
    }
}

/// Parameters that an operator changes.
#[derive(Clone, Default)]
struct Parameters(Arc<Mutex<HashMap<String, String>>>);

impl Parameters {
    fn put(&self, name: &str, value: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), value.into());
    }

    fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn kept(&self) -> Kept {
        let all = self.0.clone();
        Kept::with_parameters(move |name| {
            let found = all.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
            Box::pin(std::future::ready(found.ok_or_else(|| "there is no such parameter".into())))
        })
    }
}

fn tasks() -> Tasks {
    let text = format!(
        "auth.development.enabled = true\n[listen]\ntask = \"127.0.0.1:0\"\n[tasks]\n\
         dial = \"wss://{HOST}:7802\"\nauthorities = \"ssm:/authority\"\n\
         authority_key = \"ssm:/authority-key\"\n"
    );
    let file = Some((std::path::Path::new("/etc/gateway.toml"), text.as_str()));
    crate::config::Config::read(file, &Default::default(), std::path::Path::new("/usr/bin"))
        .unwrap_or_else(|faults| panic!("{faults}"))
        .tasks
}

#[tokio::test]
async fn an_authority_is_replaced_by_another_while_tasks_of_both_times_call() {
    let now = SystemTime::now();
    let ((old, old_key), (new, new_key)) = (made(now).unwrap(), made(now).unwrap());
    let both = format!("{old}{new}");
    let parameters = Parameters::default();
    parameters.put("/authority", &old);
    parameters.put("/authority-key", &old_key);
    let authorities = Authorities::load(&tasks(), parameters.kept()).await.unwrap();
    let gateway = authorities.tls().unwrap();
    let trusted = |by: &str| trusts(by, HOST, now, &gateway).is_ok();
    assert!(trusted(&old) && !trusted(&new));
    assert_eq!(authorities.pem(), old);
    // New tasks get both; the old one signs as before.
    parameters.put("/authority", &both);
    authorities.look(now).await;
    assert_eq!(authorities.pem(), both);
    assert!(trusted(&old) && trusted(&both) && !trusted(&new));
    // The new one signs, and whoever was started with both does not notice.
    parameters.put("/authority-key", &new_key);
    authorities.look(now).await;
    assert!(!trusted(&old) && trusted(&both) && trusted(&new));
    parameters.put("/authority", &new);
    authorities.look(now).await;
    assert_eq!(authorities.pem(), new);
    assert!(trusted(&both) && trusted(&new));
}

#[tokio::test]
async fn gateways_know_each_other_while_one_authority_replaces_another() {
    let now = SystemTime::now();
    let ((old, old_key), (new, new_key)) = (made(now).unwrap(), made(now).unwrap());
    let both = format!("{old}{new}");
    let gateway = async |certificates: &str, key: &str| {
        let parameters = Parameters::default();
        parameters.put("/authority", certificates);
        parameters.put("/authority-key", key);
        Authorities::load(&tasks(), parameters.kept()).await.unwrap()
    };
    // In the order of the steps; two that follow each other run side by side.
    let steps = [
        gateway(&old, &old_key).await,
        gateway(&both, &old_key).await,
        gateway(&both, &new_key).await,
        gateway(&new, &new_key).await,
    ];
    let know = |caller: &Authorities, called: &Authorities| {
        let (client, server) = (caller.peer_client().unwrap(), called.peer_server().unwrap());
        shake_hands(&client, PEER, &server).is_ok()
    };
    for pair in steps.windows(2) {
        assert!(know(&pair[0], &pair[1]) && know(&pair[1], &pair[0]));
    }
    assert!(!know(&steps[0], &steps[3]) && !know(&steps[3], &steps[0]));
    // A task has the certificates, and nothing to show; nor is it the tasks' listener that is called.
    let (stranger, stranger_key) = made(now).unwrap();
    let stranger = gateway(&stranger, &stranger_key).await;
    assert!(!know(&stranger, &steps[1]) && !know(&steps[1], &stranger));
    assert!(trusts(&both, PEER, now, &steps[1].peer_server().unwrap()).is_err());
    assert_eq!(trusts(&both, HOST, now, &steps[1].tls().unwrap()), Ok(()));
}

#[tokio::test]
async fn what_cannot_be_read_for_a_while_changes_nothing_and_does_not_run_out() {
    let now = SystemTime::now();
    let (certificate, key) = made(now).unwrap();
    let parameters = Parameters::default();
    parameters.put("/authority", &certificate);
    let Err(error) = Authorities::load(&tasks(), parameters.kept()).await else { panic!() };
    assert!(!error.is_the_configurations(), "{error}");
    parameters.put("/authority-key", &key);
    let authorities = Authorities::load(&tasks(), parameters.kept()).await.unwrap();
    let gateway = authorities.tls().unwrap();
    parameters.remove("/authority-key");
    authorities.look(now).await;
    parameters.put("/authority-key", &made(now).unwrap().1);
    authorities.look(now).await;
    assert_eq!(trusts(&certificate, HOST, now, &gateway), Ok(()));
    let late = now + LIFETIME - MINUTE;
    authorities.look(late).await;
    assert_eq!(trusts(&certificate, HOST, late + 60 * MINUTE, &gateway), Ok(()));
}

#[tokio::test]
async fn nobody_who_is_not_told_of_parameters_is_asked_for_one() {
    let Err(error) = Authorities::load(&tasks(), Kept::in_files()).await else { panic!() };
    assert!(error.to_string().contains("ssm:/authority: this gateway reads no parameters"));
    let of_nowhere =
        Tasks { authorities: vec![SecretRef::File("/nowhere/authority.pem".into())], ..tasks() };
    let Err(error) = Authorities::load(&of_nowhere, Kept::in_files()).await else { panic!() };
    assert!(error.to_string().contains("/nowhere/authority.pem") && error.is_the_configurations());
}
