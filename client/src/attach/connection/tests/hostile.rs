//! The core against a gateway that says anything at all.

use proptest::prelude::*;
use shellgate_protocol::client_leg::{GapReason, Resume};
use shellgate_protocol::limits::WINDOW_MIN;
use shellgate_protocol::{Offset, ToClient};

use super::{at, attached, exit_status, options};
use crate::attach::connection::{Connection, Want};

proptest! {
    #[test]
    fn no_message_makes_it_panic_or_grow(
        seed in any::<u64>(),
        messages in proptest::collection::vec(hostile(), 1..200),
    ) {
        let mut client = Connection::new(options(), seed, 0);
        client.type_in(&[7; 3000]);
        let mut now = 0;
        for message in messages {
            now += 7;
            client.tick(now);
            match client.want() {
                Want::Dial { .. } => client.opened(now),
                Want::HangUp(_) => client.hung_up(now),
                Want::Rest => now += 30_000,
                Want::Nothing => break,
                Want::Talk => {}
            }
            while client.next_message(now).is_some() {}
            match message {
                Hostile::Text(text) => client.text(&text, now),
                Hostile::Binary(bytes) => client.binary(bytes.into(), now),
                Hostile::Asks => drop(client.next_event(now)),
            }
            prop_assert!(client.queued_bytes <= 4 * WINDOW_MIN as usize);
        }
    }
}

#[derive(Debug, Clone)]
enum Hostile {
    Text(String),
    Binary(Vec<u8>),
    Asks,
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let offset = prop_oneof![0u64..5000, Just(Offset::MAX.get()), any::<u64>()];
    let frame = (0u8..6, offset.clone(), 0usize..2000).prop_map(|(kind, offset, len)| {
        let mut message = vec![kind];
        message.extend(offset.to_be_bytes());
        message.resize(9 + len, b'x');
        Hostile::Binary(message)
    });
    let control = (0u8..8, 0u64..5000, 0u64..5000).prop_map(|(kind, a, b)| {
        let message = match kind {
            0..=2 => attached(1 + (a % 2) as u32, a, Resume::Exact, b % 4000),
            3 => attached(1, a, Resume::Ended, b),
            4 => ToClient::Gap { from: at(a), to: at(b), why: GapReason::Lost },
            5 => ToClient::Exit { at: at(a), status: exit_status() },
            6 => ToClient::Goaway { retry_ms: a * b },
            _ => ToClient::Size { cols: 9, rows: 9, at: at(a) },
        };
        Hostile::Text(serde_json::to_string(&message).unwrap())
    });
    prop_oneof![
        control,
        frame,
        Just(Hostile::Asks),
        any::<String>().prop_map(Hostile::Text),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Hostile::Binary),
    ]
}
