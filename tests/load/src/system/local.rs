//! No server at all: terminals of the generator's own. What this shows is the kernel's and the
//! generator's share of every other figure.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use shellgate_load::pty;

use super::{SHELL, Wish, plain};
use crate::session::Session;

/// Shells on terminals.
pub struct Local {
    home: PathBuf,
    children: Children,
}

/// Children that end with their owner.
#[derive(Default)]
pub struct Children(Mutex<Vec<Child>>);

impl Children {
    /// Takes one in.
    pub fn add(&self, child: Child) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(child);
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // One that has ended already is only waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Local {
    /// Shells that start in `home`.
    pub fn new(home: PathBuf) -> Self {
        Self { home, children: Children::default() }
    }

    /// A shell.
    pub fn open(&self, wish: Wish) -> Result<Session> {
        let mut command = Command::new(SHELL[0]);
        command.args(&SHELL[1..]);
        plain(&mut command, &self.home);
        let (master, child) = pty::spawn(command)?;
        self.children.add(child);
        Ok(Session::over_pty(wish.number, wish.number.to_string(), master))
    }
}
