//! The bridge's process: arguments, protection, configuration, run time. Everything else is in the
//! library.

use std::process::ExitCode;

use shellgate_bridge::{bridge, config::Config, confine, emptying};

const HELP: &str = "\
The small program inside a Shellgate task. A gateway's compute provider starts it; it is of no use
on its own. It takes no arguments but --version, --help and `empty DIRECTORY`, which deletes all that is
in a removed user's home and does nothing else, and these settings from its environment:

  SHELLGATE_DIAL         where the gateway is: unix:/run/gw/dial.sock, or wss://host:port
  SHELLGATE_CA           with wss: the certificates (PEM), one of which must have signed the
                         gateway's; no others are trusted
  SHELLGATE_SESSION      whose task this is: ses_…
  SHELLGATE_LAUNCH       the how-many-th task of that session
  SHELLGATE_TOKEN_FD     a descriptor from which to read the enrolment token
  SHELLGATE_TOKEN        or the token itself
  SHELLGATE_SPILL_FD     an unlinked file for output that memory cannot hold (optional)
  SHELLGATE_HOME         where programs start (/home/agent)
  SHELLGATE_SECRETS_DIR  a private directory in memory for secrets (/run/secrets)
  PATH, LANG             what programs have where their template says nothing (…, C.UTF-8)

Exit codes: 0 the session is over, 64 wrong arguments or settings, 69 no gateway, 70 cannot run.
";

/// Wrong arguments or settings (sysexits.h).
const USAGE: u8 = 64;

/// The machine does not let it run (sysexits.h).
const SOFTWARE: u8 = 70;

fn main() -> ExitCode {
    if let Err(error) = confine::protect_self() {
        return failed(&error, SOFTWARE);
    }
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--version" | "-V") => {
            println!("shellgate-bridge {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some("--help" | "-h") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some("empty") => return empty(),
        Some(other) => return failed(&format!("unknown argument {other:?}; try --help"), USAGE),
    }
    let config = match Config::from_environment() {
        Ok(config) => config,
        Err(error) => return failed(&error, USAGE),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, SOFTWARE),
    };
    match runtime.block_on(bridge::run(config)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error, SOFTWARE),
    }
}

/// Empties the directory that the next argument names.
fn empty() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(2) else {
        return failed(&"empty: which directory?", USAGE);
    };
    match emptying::empty(directory.as_ref()) {
        Ok(deleted) => {
            eprintln!("shellgate-bridge: {deleted} entries were deleted");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error, SOFTWARE),
    }
}

fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("shellgate-bridge: {error}");
    ExitCode::from(code)
}
