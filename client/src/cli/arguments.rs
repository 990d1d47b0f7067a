//! What `shellgate` can be told on its command line. Knows no environment and does nothing.

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use shellgate_client::Endpoint;

/// Shells of your own on a Shellgate gateway. A shell lives on when you hang up: come back to it
/// with `attach`, and not a byte is lost.
#[derive(Debug, Parser)]
#[command(name = "shellgate", version, after_long_help = EXAMPLES, subcommand_required = true)]
pub struct Arguments {
    /// The gateway's address [default: $SHELLGATE_URL, else http://127.0.0.1:7800]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  shellgate login --code CODE          sign in at a gateway started with `make run`
  shellgate new work                   start a shell named `work` and attach to it
  shellgate attach work                come back to it later, or from elsewhere
  shellgate attach work --observe      watch without typing
  shellgate ls                         what runs
  shellgate stop work                  end it

While attached, at the start of a line:
  ~.   detach: the shell lives on          ~?   all escapes

Environment:
  SHELLGATE_URL     the gateway's address
  SHELLGATE_TOKEN   a JSON Web Token; without it, what `shellgate login` has stored is used
  SSL_CERT_FILE     certificate authorities to believe instead of this machine's

Exit status:
  `new` and `attach` exit as the remote program does (128 + n when signal n ended it), with 0 when
  you detach, and with 255 when there is no session, or it is lost before the program has ended.
  64 means that the command line is wrong; every other command exits with 1 when it fails.";

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    OfGateway(OfGateway),
    /// Print a completion script for your shell
    #[command(
        after_help = "Example:\n  shellgate completions bash > ~/.local/share/bash-completion/completions/shellgate"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// What is done with a gateway.
#[derive(Debug, Subcommand)]
pub enum OfGateway {
    /// Attach to a session
    ///
    /// Input that is not a terminal is typed into the session; at its end ^D is typed, and the
    /// command goes on printing until the program ends. In a session of lines nothing is typed
    /// at the end.
    #[command(
        after_help = "Examples:\n  shellgate attach work\n  shellgate attach work --takeover\n  \
        printf 'uname -a\\nexit\\n' | shellgate attach build --create"
    )]
    Attach(Attach),
    /// Start a session and attach to it
    ///
    /// With the name of a session that runs already, that one is attached to.
    #[command(
        after_help = "Examples:\n  shellgate new\n  shellgate new work --template python\n  \
        shellgate new nightly --detach -o json"
    )]
    New(New),
    /// List sessions
    #[command(after_help = "Examples:\n  shellgate ls\n  shellgate ls --ended\n  \
        shellgate ls --all -o json        (operators)")]
    Ls(Ls),
    /// Show one session
    Show(Show),
    /// Stop sessions: their programs are ended, your files stay
    ///
    /// One that cannot be stopped is named, the others are stopped all the same, and the command
    /// exits with 1.
    #[command(after_help = "Examples:\n  shellgate stop work\n  shellgate stop a b c --yes")]
    Stop(Stop),
    /// Get a ticket with which a browser attaches once, within 30 seconds
    ///
    /// It works for pages of one origin only. A page offers it with the subprotocols `shellgate.v1`
    /// and `ticket.` followed by the ticket.
    #[command(after_help = "Examples:\n  shellgate ticket work\n  \
        shellgate ticket work --observe --origin https://wall.example.org")]
    Ticket(Ticket),
    /// Sign in, and store the token for later commands
    #[command(
        after_help = "Examples:\n  shellgate login http://127.0.0.1:7800/#code=-x5BqTnW0R8cVYdKZ2eJ_g   (the gateway prints it)\n  \
        get-my-token | shellgate login --token-stdin"
    )]
    Login(Login),
    /// Do something with a user, for operators
    User {
        #[command(subcommand)]
        command: User,
    },
}

/// What is done with a user.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Remove a user: end their sessions, delete their files and what is stored of them
    ///
    /// It goes on when you leave, and when the gateway restarts; say it again to see how far it is, or
    /// to have one that failed tried again. Meanwhile the user gets no session. Their secrets are not
    /// the gateway's to delete, and whether they may sign in is for their issuer to say.
    #[command(after_help = "Example:\n  \
        shellgate user remove --issuer https://login.example.org --user ada")]
    Remove(RemoveUser),
}

#[derive(Debug, Args)]
pub struct RemoveUser {
    /// Who vouches for the user, as `shellgate ls --all -o json` has it
    #[arg(long)]
    pub issuer: String,
    /// The user, by the issuer's name for them
    #[arg(long, alias = "subject")]
    pub user: String,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
    /// Don't wait until it is done
    #[arg(long)]
    pub no_wait: bool,
    /// How to print what came of it
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Attach {
    /// The session's name or id
    #[arg(value_name = "NAME|ID")]
    pub session: String,
    /// Watch without typing
    #[arg(long, conflicts_with_all = ["takeover", "create"])]
    pub observe: bool,
    /// Take the session over from whoever drives it
    #[arg(long)]
    pub takeover: bool,
    /// Make a session of this name if there is none
    #[arg(long)]
    pub create: bool,
    /// Begin with all output that is kept instead of the present screen; sessions by lines always do
    #[arg(long)]
    pub from_start: bool,
    #[command(flatten)]
    pub escape: Escape,
}

#[derive(Debug, Args)]
pub struct Escape {
    /// The character that begins an escape at the start of a line, or `none`
    #[arg(long, value_name = "CHAR", default_value = "~", value_parser = escape)]
    pub escape: EscapeKey,
}

/// The key that begins an escape, if any does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EscapeKey(pub Option<u8>);

fn escape(text: &str) -> Result<EscapeKey, String> {
    match text.as_bytes() {
        b"none" => Ok(EscapeKey(None)),
        [key] if key.is_ascii_graphic() => Ok(EscapeKey(Some(*key))),
        _ => Err("one visible ASCII character, or `none`".to_owned()),
    }
}

fn origin(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|_| "that is no origin, such as https://wall.example.org".to_owned())
}

#[derive(Debug, Args)]
pub struct New {
    /// Its name; the gateway needs none
    pub name: Option<String>,
    /// What to make it from
    #[arg(long)]
    pub template: Option<String>,
    /// Leave it running and come back
    #[arg(long)]
    pub detach: bool,
    /// How to print it (with --detach)
    #[arg(short, long, value_enum, default_value_t, requires = "detach")]
    pub output: Output,
    #[command(flatten)]
    pub escape: Escape,
}

#[derive(Debug, Args)]
pub struct Ls {
    /// Everybody's sessions, for operators
    #[arg(long)]
    pub all: bool,
    /// Also those that have ended
    #[arg(long)]
    pub ended: bool,
    /// How to print them
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The session's name or id
    #[arg(value_name = "NAME|ID")]
    pub session: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Stop {
    /// The sessions' names or ids
    #[arg(value_name = "NAME|ID", required = true)]
    pub sessions: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
    /// How to print what was done
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Ticket {
    /// The session's name or id
    #[arg(value_name = "NAME|ID")]
    pub session: String,
    /// A ticket to watch with, not to type
    #[arg(long)]
    pub observe: bool,
    /// The origin of the page that will use it, as browsers name it; one that the gateway lets in
    /// [default: that of the gateway's own address]
    #[arg(long, value_name = "URL", value_parser = origin)]
    pub origin: Option<Endpoint>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Login {
    /// The address that a gateway with a development issuer prints, with its one-time code
    #[arg(value_name = "ADDRESS")]
    pub address: Option<String>,
    /// The same, or the code alone
    // Codes are random, and one in 64 begins with a hyphen.
    #[arg(long, allow_hyphen_values = true)]
    pub code: Option<String>,
    /// Read a token from standard input
    #[arg(long)]
    pub token_stdin: bool,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// A completion script.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "shellgate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_escape_is_one_visible_character_or_none() {
        assert_eq!(escape("none"), Ok(EscapeKey(None)));
        assert_eq!(escape("%"), Ok(EscapeKey(Some(b'%'))));
        assert!(escape("").is_err() && escape("ab").is_err() && escape(" ").is_err());
    }
}
