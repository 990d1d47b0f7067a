//! `shellgate`: the command line of Shellgate's users and operators.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
