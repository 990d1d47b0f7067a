//! The program in a tortured session. Knows only its arguments: a seed, and the seconds that it
//! may run at most.

use std::process::ExitCode;
use std::time::Duration;

use shellgate_tests::torture::machine;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [seed, seconds] = numbers[..] else {
        eprintln!("usage: shellgate-generator SEED SECONDS");
        return ExitCode::from(64);
    };
    match machine::run(seed, Duration::from_secs(seconds)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("shellgate-generator: {error}");
            ExitCode::FAILURE
        }
    }
}
