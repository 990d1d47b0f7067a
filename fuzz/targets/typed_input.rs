//! Input as clients send it: in pieces, with repeats and holes, on several streams. Whatever they
//! do, the program gets each stream's bytes in order, each once.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shellgate_bridge::input::Input;
use shellgate_protocol::{InputStream, Offset};

/// The byte that an honest client of this stream has at this offset.
fn typed(stream: u8, at: u64) -> u8 {
    (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8).wrapping_add(stream)
}

fuzz_target!(|script: &[u8]| {
    let mut input = Input::default();
    let mut applied = [0u64; 4];
    let mut attached = [0u32; 4];
    for step in script.chunks_exact(4) {
        let &[what, whose, where_, how_much] = step else { unreachable!() };
        let which = whose % 4;
        let stream = InputStream::from_bits(u128::from(which) + 1);
        let mine = usize::from(which);
        match what % 6 {
            0 => {
                if let Ok(at) = input.attach(stream) {
                    assert_eq!(at.get(), applied[mine]);
                    attached[mine] += 1;
                }
            }
            1 if attached[mine] > 0 => {
                input.detach(stream);
                attached[mine] -= 1;
            }
            2 | 3 => {
                // From a little before what is applied to a little beyond what can be queued.
                let at = (applied[mine] + u64::from(where_) * 8).saturating_sub(64);
                let len = u64::from(how_much) * 64;
                let bytes: Vec<u8> = (at..at + len).map(|at| typed(which, at)).collect();
                // A refusal is an answer, too.
                let _ = input.receive(stream, Offset::new(at).expect("small"), Bytes::from(bytes));
            }
            4 => {
                assert_eq!(input.drop_queued(stream).get(), applied[mine]);
            }
            _ => {
                let Some(front) = input.front() else { continue };
                let front = front[..front.len().min(usize::from(how_much) * 4)].to_vec();
                let Some((id, at)) = input.take(front.len()) else { continue };
                let whose = (0..4u8)
                    .find(|n| InputStream::from_bits(u128::from(*n) + 1) == id)
                    .expect("one of ours");
                let from = applied[usize::from(whose)];
                for (n, byte) in front.iter().enumerate() {
                    assert_eq!(*byte, typed(whose, from + n as u64), "not the next byte");
                }
                assert_eq!(at.get(), from + front.len() as u64);
                applied[usize::from(whose)] = at.get();
            }
        }
    }
});
