//! The gateway's command line: reads the configuration, starts the gateway, waits for a signal.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Parser, Subcommand};
use shellgate_gateway::auth::UserId;
use shellgate_gateway::authority;
use shellgate_gateway::config::{Config, Faults, VARIABLE_PREFIX, verdict};
use shellgate_gateway::gateway::{Gateway, Sessions, StartError};
use shellgate_gateway::telemetry;
use tokio::signal::unix::{SignalKind, signal};

/// Shellgate's gateway: gives each user of an AI shell an isolated session.
///
/// Without a command it serves, as its configuration says: one TOML file, over which variables
/// named SHELLGATE_GATEWAY__SECTION__KEY are laid. SIGTERM stops the gateway and leaves its
/// sessions running for the next one; SIGINT (Ctrl-C) stops the sessions too.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration's TOML file.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, as the configuration says.
    Serve,
    /// Serve on this machine for development: everything in one directory, and an issuer that
    /// signs you in by the URL that it prints. Not for other people.
    Dev {
        /// Where everything is kept, whatever file and variables say. Where nobody says anything it
        /// is .shellgate.
        #[arg(long, value_name = "DIRECTORY")]
        state: Option<String>,
    },
    /// Check the configuration, say everything that is wrong with it, and leave.
    CheckConfig,
    /// Show the configuration that is in force, without its secrets.
    ShowConfig,
    /// Make a private authority, by which tasks that dial over a network know their gateway.
    ///
    /// Writes a certificate and its private key (PEM, mode 0600) to two new files, and leaves. Once
    /// for all gateways that share tasks: keep the key where they and nobody else can read it, such
    /// as a SecureString of SSM Parameter Store, then remove the files. A gateway never makes one.
    ///
    /// The gateway is told of them by tasks.authorities and tasks.authority_key ("file:PATH" or
    /// "ssm:NAME"). It signs a certificate of its own for each day; each task gets the authority's
    /// certificate, and trusts no other.
    ///
    /// To replace one within its ten years: add the new certificate behind the old one, in the same
    /// place. Once every task has been started since, put the new key in the old one's place. Then
    /// take the old certificate away. No gateway is restarted: each reads them again every few
    /// minutes.
    MakeAuthority {
        /// The file for the certificate. Nothing that is there is replaced.
        certificate: PathBuf,
        /// The file for the private key. Nothing that is there is replaced.
        key: PathBuf,
    },
    /// Show the key under which a user's things are kept, and leave.
    ///
    /// It is the name of their directory, and stands in the paths of their parameters in SSM Parameter
    /// Store (PREFIX/users/KEY/NAME), of their home on EFS, and in [users.KEY] of a secrets file.
    UserKey {
        /// The issuer of the user's tokens: their `iss`, to the letter.
        #[arg(long, value_name = "ISS")]
        issuer: String,
        /// What the issuer calls the user: the tokens' `sub`.
        #[arg(long, value_name = "SUB")]
        subject: String,
    },
}

/// How long what is done with files may take to come to its end.
const LAST_FILES: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::MakeAuthority { certificate, key }) = &arguments.command {
        return match authority::make(certificate, key, SystemTime::now()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("shellgate-gateway: no authority: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if let Some(Command::UserKey { issuer, subject }) = &arguments.command {
        let Some(user) = UserId::new(issuer, subject) else {
            eprintln!("shellgate-gateway: no token can name such a user");
            return ExitCode::from(Faults::EXIT_CODE);
        };
        println!("{}", user.key());
        return ExitCode::SUCCESS;
    }
    let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    if let Some(Command::Dev { state }) = &arguments.command {
        develop(state.as_deref(), &mut environment);
    }
    let executable_dir = std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(PathBuf::from))
        .unwrap_or_default();
    let loaded = Config::load(arguments.config.as_deref(), &environment, &executable_dir);
    let config = match (&arguments.command, loaded) {
        (Some(Command::CheckConfig), loaded) => {
            println!("{}", verdict(&loaded));
            return if loaded.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(Faults::EXIT_CODE)
            };
        }
        (_, Err(faults)) => {
            eprintln!("shellgate-gateway: the configuration does not hold:\n{faults}");
            return ExitCode::from(Faults::EXIT_CODE);
        }
        (Some(Command::ShowConfig), Ok(config)) => {
            print!("{}", config.show());
            return ExitCode::SUCCESS;
        }
        (_, Ok(config)) => config,
    };
    if let Err(error) = telemetry::start(&config.log) {
        eprintln!("shellgate-gateway: {error}");
        return ExitCode::from(Faults::EXIT_CODE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shellgate-gateway: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(serve(config));
    // A directory that is being deleted is left as it is.
    runtime.shutdown_timeout(LAST_FILES);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            aside(&format!("shellgate-gateway: {error}"));
            let start = error.downcast_ref::<StartError>();
            start.map_or(ExitCode::FAILURE, |error| ExitCode::from(error.exit_code()))
        }
    }
}

/// What `dev` says, as the variables that would say it.
fn develop(state: Option<&str>, environment: &mut BTreeMap<OsString, OsString>) {
    let mut set = |key: &str, value: &str| {
        let name = format!("{VARIABLE_PREFIX}{key}");
        // However it is spelled: a flag that was given wins.
        environment.retain(|set, _| !set.eq_ignore_ascii_case(&name));
        environment.insert(name.into(), value.into());
    };
    set("AUTH__DEVELOPMENT__ENABLED", "true");
    if let Some(state) = state {
        set("SERVER__STATE_DIR", state);
    }
}

/// Prints. Whoever read it may be gone, as a pager or `tee` is at Ctrl-C; there is still work to do.
fn tell(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The same, on standard error.
fn aside(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    // Registered before anything is started: a signal that comes early is not lost.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let told_to_stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let gateway = match Gateway::start_unless(config, told_to_stop).await {
        Ok(gateway) => gateway,
        Err(StartError::ToldToStop) => {
            aside("Stopping; it did not serve yet.");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    match gateway.hello() {
        Some(hello) => tell(&format!("{}\n{hello}", gateway.preflight())),
        None => tracing::info!(found = gateway.preflight(), "preflight"),
    }
    let mut enters = match gateway.hello() {
        Some(_) if std::io::stdin().is_terminal() => Some(enters()),
        Some(_) | None => None,
    };
    let mut lost = None;
    let sessions = loop {
        tokio::select! {
            why = gateway.is_taken_for_dead() => {
                tracing::error!("leaving: {why}");
                lost = Some(why);
                break Sessions::Leave;
            }
            _ = interrupt.recv() => break Sessions::Stop,
            _ = terminate.recv() => break Sessions::Leave,
            Some(()) = async { enters.as_mut()?.recv().await } => {
                if let Some(link) = gateway.new_link() {
                    tell(&format!("A new link; the one before does not work any more:\n\n    {link}\n"));
                }
            }
        }
    };
    let left = gateway.sessions();
    match sessions {
        Sessions::Stop => aside(&format!("Stopping, and {left} session(s) with it.")),
        Sessions::Leave => {
            aside(&format!("Stopping; {left} session(s) stay for the next gateway."))
        }
    }
    tokio::select! {
        () = gateway.stop(sessions) => {}
        _ = interrupt.recv() => {
            aside("Leaving at once; what was not stopped is adopted or stopped next time.");
        }
    }
    // Not in good order: whoever watches over it starts it again.
    lost.map_or(Ok(()), |why| Err(why.into()))
}

/// Each time that Enter is pressed. By a thread of its own: a read of a terminal can't be given up,
/// and must not keep the process from ending.
fn enters() -> tokio::sync::mpsc::Receiver<()> {
    let (sender, enters) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || sender.blocking_send(()).is_err() {
                return;
            }
        }
    });
    enters
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The state directory of `dev` with these arguments, this file and these variables.
    fn state_dir(arguments: &[&str], file: &str, variables: &[(&str, &str)]) -> PathBuf {
        let all = ["shellgate-gateway", "dev"].iter().chain(arguments);
        let Some(Command::Dev { state }) = Arguments::parse_from(all).command else { panic!() };
        let mut environment =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        develop(state.as_deref(), &mut environment);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.toml");
        std::fs::write(&path, file).unwrap();
        let config = Config::load(Some(&path), &environment, Path::new("/usr/bin")).unwrap();
        assert!(config.auth.development.enabled);
        config.server.state_dir
    }

    #[test]
    fn a_state_directory_that_was_asked_for_wins_and_its_default_does_not() {
        let file = "[server]\nstate_dir = \"/from/file\"\n";
        let upper = ("SHELLGATE_GATEWAY__SERVER__STATE_DIR", "/from/variable");
        let lower = ("SHELLGATE_GATEWAY__server__state_dir", "/from/variable");
        let flag = ["--state", "/from/flag"];
        assert_eq!(state_dir(&flag, file, &[upper, lower]), Path::new("/from/flag"));
        assert_eq!(state_dir(&[], file, &[upper]), Path::new("/from/variable"));
        assert_eq!(state_dir(&[], file, &[]), Path::new("/from/file"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(state_dir(&[], "", &[]), here.join(".shellgate"));
        assert_eq!(state_dir(&["--state", "here"], "", &[]), here.join("here"));
    }
}
