//! Admission under every order of takes and drops, and at its edges.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;

const LIMITS: AdmissionLimits = AdmissionLimits {
    sessions_per_user: 2,
    sessions: 4,
    starts_per_minute_per_user: 3,
    attachments_per_session: 2,
    unauthenticated_per_address: 2,
    connections: 6,
    descriptors: 20,
};

/// A held permit: what it is and whose.
#[derive(Debug)]
enum Permit {
    Connection(#[allow(dead_code)] ConnectionPermit),
    Socket(u8, #[allow(dead_code)] SocketPermit),
    Session(u8, #[allow(dead_code)] SessionPermit),
    Attachment(u8, #[allow(dead_code)] AttachmentPermit),
}

#[derive(Debug, Clone)]
enum Step {
    Connection,
    Socket(u8),
    Session(u8),
    Adopt(u8),
    Attachment(u8),
    Drop(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Connection),
        (0u8..3).prop_map(Step::Socket),
        (0u8..3).prop_map(Step::Session),
        (0u8..3).prop_map(Step::Adopt),
        (0u8..3).prop_map(Step::Attachment),
        any::<prop::sample::Index>().prop_map(Step::Drop),
        any::<prop::sample::Index>().prop_map(Step::Drop),
    ]
}

fn user(n: u8) -> String {
    format!("user {n}")
}

fn address(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

/// What a list of permits amounts to.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    connections: u32,
    sockets: HashMap<u8, u32>,
    sessions: HashMap<u8, u32>,
    attachments: HashMap<u8, u32>,
}

impl Counted {
    fn of(permits: &[Permit]) -> Self {
        let mut counted = Self::default();
        for permit in permits {
            match permit {
                Permit::Connection(_) => counted.connections += 1,
                Permit::Socket(n, _) => *counted.sockets.entry(*n).or_default() += 1,
                Permit::Session(n, _) => *counted.sessions.entry(*n).or_default() += 1,
                Permit::Attachment(n, _) => *counted.attachments.entry(*n).or_default() += 1,
            }
        }
        counted
    }

    fn sessions(&self) -> u32 {
        self.sessions.values().sum()
    }

    fn descriptors(&self) -> u32 {
        self.connections + self.sessions() * DESCRIPTORS_PER_SESSION
    }
}

fn at(of: &HashMap<u8, u32>, key: u8) -> u32 {
    of.get(&key).copied().unwrap_or(0)
}

proptest! {
    #[test]
    fn after_any_takes_and_drops_the_counts_are_exact_and_a_no_is_never_wrong(
        steps in proptest::collection::vec(step(), 1..200)
    ) {
        let admission = Admission::new(LIMITS);
        let sessions: Vec<_> = (0..3).map(|_| SessionId::generate()).collect();
        let mut held = Vec::new();
        for step in steps {
            let before = Counted::of(&held);
            let room = |places: u32| before.descriptors() + places <= LIMITS.descriptors;
            match step {
                Step::Connection => {
                    let yes = before.connections < LIMITS.connections && room(1);
                    let answer = admission.take_connection();
                    prop_assert_eq!(answer.is_ok(), yes);
                    held.extend(answer.ok().map(Permit::Connection));
                }
                Step::Socket(n) => {
                    let yes = at(&before.sockets, n) < LIMITS.unauthenticated_per_address;
                    let answer = admission.take_socket(address(n));
                    prop_assert_eq!(answer.is_ok(), yes);
                    held.extend(answer.ok().map(|permit| Permit::Socket(n, permit)));
                }
                Step::Session(n) => {
                    let own = at(&before.sessions, n) < LIMITS.sessions_per_user;
                    let all = before.sessions() < LIMITS.sessions && room(DESCRIPTORS_PER_SESSION);
                    match admission.take_session(&user(n)) {
                        Ok(permit) => {
                            prop_assert!(own && all);
                            held.push(Permit::Session(n, permit));
                        }
                        Err(denied) => {
                            let owed =
                                if own { Reason::GatewayFull } else { Reason::TooManySessions };
                            prop_assert_eq!(denied.reason, owed);
                            prop_assert!(!(own && all));
                        }
                    }
                }
                Step::Adopt(n) => {
                    held.push(Permit::Session(n, admission.adopt_session(&user(n))));
                }
                Step::Attachment(n) => {
                    let yes = at(&before.attachments, n) < LIMITS.attachments_per_session;
                    let answer = admission.take_attachment(sessions[usize::from(n)]);
                    prop_assert_eq!(answer.is_ok(), yes);
                    held.extend(answer.ok().map(|permit| Permit::Attachment(n, permit)));
                }
                Step::Drop(index) if !held.is_empty() => {
                    held.swap_remove(index.index(held.len()));
                }
                Step::Drop(_) => {}
            }
            let now = Counted::of(&held);
            prop_assert_eq!(admission.taken(), Taken {
                connections: now.connections,
                sessions: now.sessions(),
                descriptors: now.descriptors(),
                users: now.sessions.len(),
                attached_sessions: now.attachments.len(),
                addresses: now.sockets.len(),
                starters: 0,
            });
        }
        drop(held);
        prop_assert_eq!(admission.taken(), Taken::default());
    }
}

#[test]
fn of_many_who_come_at_once_as_many_get_in_as_there_are_places() {
    let limits = AdmissionLimits { descriptors: 1_000, ..LIMITS };
    let admission = Admission::new(limits);
    for _ in 0..50 {
        let gate = std::sync::Barrier::new(8);
        let permits: Vec<_> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8)
                .map(|n| {
                    let (admission, gate) = (&admission, &gate);
                    scope.spawn(move || {
                        gate.wait();
                        (admission.take_session(&user(n % 3)), admission.take_connection())
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        let count = |yes: usize, limit: u32| assert_eq!(yes, limit as usize);
        count(permits.iter().filter(|(session, _)| session.is_ok()).count(), limits.sessions);
        count(permits.iter().filter(|(_, other)| other.is_ok()).count(), limits.connections);
        drop(permits);
        assert_eq!(admission.taken(), Taken::default());
    }
}

#[test]
fn operators_come_in_however_full_it_is_and_are_not_without_number_either() {
    let admission = Admission::new(AdmissionLimits { connections: 0, descriptors: 0, ..LIMITS });
    assert!(admission.take_connection().is_err());
    let held: Vec<_> = (0..OPERATOR_CONNECTIONS)
        .map(|_| admission.take_operator_connection().expect("a place"))
        .collect();
    assert!(admission.take_operator_connection().is_err());
    drop(held);
    assert_eq!(admission.taken(), Taken::default());
}

#[test]
fn a_call_beyond_a_sessions_link_takes_a_place_that_others_may_have() {
    let limits = AdmissionLimits { descriptors: DESCRIPTORS_PER_SESSION + 1, ..LIMITS };
    let admission = Admission::new(limits);
    let _session = admission.take_session("ada").expect("a session");
    let dial = admission.take_dial().expect("a place");
    assert_eq!(admission.take_dial().unwrap_err().reason, Reason::GatewayFull);
    assert!(admission.take_connection().is_err());
    drop(dial);
    assert!(admission.take_connection().is_ok());
}

#[test]
fn a_user_follows_so_many_streams_and_no_more() {
    let admission = Admission::new(LIMITS);
    let held: Vec<_> = (0..100).filter_map(|_| admission.take_stream("ada").ok()).collect();
    assert_eq!(held.len(), STREAMS_PER_USER as usize);
    assert!(admission.take_stream("bob").is_ok());
    drop(held);
    assert!(admission.take_stream("ada").is_ok());
}

#[test]
fn a_slash_64_counts_as_one_address_and_leaves_nothing_behind() {
    let admission = Admission::new(LIMITS);
    let from = |low: u64| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low)));
    let held: Vec<_> = (0..1000).filter_map(|low| admission.take_socket(from(low)).ok()).collect();
    assert_eq!((held.len(), admission.taken().addresses), (2, 1));
    let denied = admission.take_socket(from(7)).unwrap_err();
    assert_eq!((denied.code, denied.scope), ("too_many_sockets", Scope::Gateway));
    drop(held);
    assert_eq!(admission.taken(), Taken::default());
}

#[test]
fn a_permit_goes_wherever_its_holder_goes() {
    fn is_free<T: Send + Sync + 'static>() {}
    is_free::<SessionPermit>();
    is_free::<StartPermit>();
    is_free::<AttachmentPermit>();
    is_free::<ConnectionPermit>();
    is_free::<SocketPermit>();
    is_free::<Ticket>();
    is_free::<Admission>();
}

#[test]
fn descriptors_that_the_process_has_not_got_are_not_given_out() {
    let config = Config::development("state".as_ref(), "bin".as_ref());
    assert_eq!(AdmissionLimits::new(&config, 1024).descriptors, 1024 - 128);
    assert_eq!(AdmissionLimits::new(&config, 5).descriptors, 0);
    assert_eq!(AdmissionLimits::new(&config, u64::MAX).descriptors, u32::MAX);
    let admission = Admission::new(AdmissionLimits::new(&config, 5));
    assert_eq!(admission.take_connection().unwrap_err().reason, Reason::GatewayFull);
    assert_eq!(admission.take_session("ada").unwrap_err().code, "gateway_full");
    assert_eq!(admission.taken(), Taken::default());
}
