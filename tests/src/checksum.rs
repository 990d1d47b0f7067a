//! A text's checksum, as a shell can tell it too.

/// What `cksum` says of a text on its standard input (POSIX.1-2024, cksum).
#[must_use]
pub fn checksum(text: &str) -> String {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 }
        })
    };
    let length = text.len().to_le_bytes();
    let used = length.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let crc = text.bytes().chain(length[..used].iter().copied()).fold(0, step);
    format!("{} {}", !crc, text.len())
}
