//! A Postgres of a test's own: a server with an empty database, on a free port of loopback, which the
//! test stops and starts again as it likes. It ends with the test. Knows no driver and no table.
//!
//! Postgres refuses to be run by root: for root it runs as a uid that is nobody's. `initdb` takes a
//! second, so its result is kept beside the test programs, and copied.

use std::path::{Path, PathBuf};

mod process;
mod programs;
mod template;

use process::Process;
use programs::Programs;

/// The name of the database, and of the user who owns it.
pub const NAME: &str = "shellgate";

/// The user's password.
pub const PASSWORD: &str = "not a secret: of a test";

/// The user who may do everything, such as to end somebody's connection.
pub const SUPERUSER: &str = "postgres";

/// The server.
#[derive(Debug)]
pub struct Database {
    programs: Programs,
    place: tempfile::TempDir,
    port: u16,
    process: Option<Process>,
}

impl Database {
    /// A server that answers, with an empty database.
    ///
    /// # Panics
    /// Where there is no Postgres on this machine, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        let programs = Programs::find();
        let place = tempfile::Builder::new().prefix("shellgate-postgres-").tempdir();
        let place = place.expect("a place");
        template::copy_to(&programs, place.path());
        let mut database = Self { programs, place, port: 0, process: None };
        let mut refused = String::new();
        // Somebody else may be given a port before Postgres has it.
        for _ in 0..5 {
            database.port = process::free_port();
            match database.try_to_start() {
                Ok(()) => return database,
                Err(said) => refused = said,
            }
        }
        panic!("Postgres does not start:\n{refused}");
    }

    /// Where it is: a host that its certificate is for.
    #[must_use]
    pub fn host(&self) -> &'static str {
        "localhost"
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority (PEM) that its certificate is signed by.
    #[must_use]
    pub fn authority(&self) -> String {
        std::fs::read_to_string(self.place.path().join("data").join(template::AUTHORITY))
            .expect("it was made")
    }

    /// Stops it at once, as a crash would: what was committed is there afterwards.
    pub fn stops(&mut self) {
        self.process = None;
    }

    /// Starts it again, on the port that it had.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn starts_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        if let Err(said) = self.try_to_start() {
            panic!("Postgres does not start again:\n{said}");
        }
    }

    /// What it said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.place.path().join("log")
    }

    fn try_to_start(&mut self) -> Result<(), String> {
        let place: &Path = self.place.path();
        let started = Process::start(&self.programs, place, self.port, &self.log_file());
        self.process = Some(started.map_err(|why| format!("{why}\n{}", self.log()))?);
        Ok(())
    }
}
