//! The command line, in the order in which a command passes: its arguments and settings, then what
//! it does. Knows the library, and nothing of the wire.

mod arguments;
mod settings;

mod login;
mod resolve;
mod sessions;
mod stop;
mod user;

mod humane;
mod print;
mod table;

mod escape;
mod queries;
mod screen;
mod shell;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use arguments::{Arguments, Command, OfGateway, User};
use settings::Settings;

/// The command was used wrongly (sysexits.h: `EX_USAGE`).
const USAGE: u8 = 64;

/// What a command came to that did not do what was asked.
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// It did not work.
    fn new(message: impl Into<String>) -> Self {
        Self { status: 1, message: message.into() }
    }

    /// It was asked wrongly.
    fn usage(message: impl Into<String>) -> Self {
        Self { status: USAGE, message: message.into() }
    }
}

impl From<shellgate_client::api::CallError> for Failure {
    fn from(error: shellgate_client::api::CallError) -> Self {
        Self::new(settings::advice(&error))
    }
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done about a terminal that does not take the words.
            let _ = error.print();
            let asked_for =
                matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked_for { 0 } else { USAGE });
        }
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            print::aside(&format!("shellgate: cannot start: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let status = match runtime.block_on(dispatch(arguments)) {
        Ok(status) => status,
        Err(failure) => {
            print::aside(&format!("shellgate: {}\n", failure.message));
            failure.status
        }
    };
    // A thread that waits for the keyboard would keep the process.
    runtime.shutdown_background();
    ExitCode::from(status)
}

async fn dispatch(arguments: Arguments) -> Result<u8, Failure> {
    let command = match arguments.command {
        // A script is the same for every gateway.
        Command::Completions { shell } => return print::print(&arguments::completions(shell)),
        Command::OfGateway(command) => command,
    };
    let settings = Settings::read(arguments.url)?;
    match command {
        OfGateway::Attach(attach) => shell::attach(&settings, attach).await,
        OfGateway::New(new) if new.detach => shell::start(&settings, new).await,
        OfGateway::New(new) => shell::new(&settings, new).await,
        OfGateway::Ls(ls) => sessions::ls(&settings, ls).await,
        OfGateway::Show(show) => sessions::show(&settings, show).await,
        OfGateway::Stop(stop) => stop::stop(&settings, stop).await,
        OfGateway::Ticket(ticket) => sessions::ticket(&settings, ticket).await,
        OfGateway::User { command: User::Remove(user) } => user::remove(&settings, user).await,
        OfGateway::Login(login) => login::login(&settings, login).await,
    }
}
