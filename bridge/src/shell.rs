//! The program: on a terminal, or on pipes. Knows no offset, no stream and no channel.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal as NixSignal, killpg};
use nix::sys::termios::{InputFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Pid, tcgetpgrp};
use shellgate_protocol::client_leg::{Mode, Signal};
use shellgate_protocol::link_leg::{Program, Secret};
use shellgate_protocol::{SessionId, TerminalSize};

use crate::confine::{self, Confinement};
use crate::descriptor::{Descriptor, Outlet};

/// The terminal that the bridge is to the program.
const TERM: &str = "xterm-256color";

/// The program, running.
#[derive(Debug)]
pub struct Shell {
    pid: Pid,
    io: Io,
}

#[derive(Debug)]
enum Io {
    Terminal(Descriptor),
    Lines { stdin: Option<Outlet>, stdout: Descriptor, stderr: Descriptor },
}

impl Shell {
    /// Starts `program`, confined, in a session of its own; its group's id is its pid. `home` is
    /// where it starts when it says nothing, or a directory that is not there; `defaults` are the
    /// variables that it has where it says nothing.
    ///
    /// # Errors
    /// The kernel's: most often that there is no such program.
    pub fn start(
        program: &Program,
        secrets: &[Secret],
        session: SessionId,
        home: &Path,
        defaults: &[(&str, String)],
        confinement: Confinement,
    ) -> io::Result<Self> {
        let (name, arguments) = program.command.split_first().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the program has no name")
        })?;
        let mut command = Command::new(name);
        let environment = environment(program, secrets, session, home, defaults);
        command.args(arguments).env_clear().envs(environment);
        let wanted = program.cwd.as_deref().map(Path::new).filter(|path| path.is_dir());
        if let Some(directory) = wanted.or(Some(home).filter(|home| home.is_dir())) {
            command.current_dir(directory);
        }
        match program.mode {
            Mode::Terminal => on_terminal(command, program.size, confinement),
            Mode::Lines => on_pipes(command, confinement),
        }
    }

    /// The program's pid, and the id of its process group and session.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Reads output; 0 bytes at its end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Terminal(master) => match ready!(master.poll_read(cx, into)) {
                // So says Linux when nobody has the terminal open any more.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => Poll::Ready(Ok(0)),
                read => Poll::Ready(read),
            },
            Io::Lines { stdout, .. } => stdout.poll_read(cx, into),
        }
    }

    /// Reads what a line-mode program writes to its stderr; 0 bytes at its end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll_stderr(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Terminal(_) => Poll::Ready(Ok(0)),
            Io::Lines { stderr, .. } => stderr.poll_read(cx, into),
        }
    }

    /// Writes input; tells how much of it the kernel took. What a program does not want any more,
    /// because it has closed its stdin, is taken and dropped.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Terminal(master) => match ready!(master.poll_write(cx, bytes)) {
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    Poll::Ready(Ok(bytes.len()))
                }
                written => Poll::Ready(written),
            },
            Io::Lines { stdin, .. } => {
                let Some(pipe) = stdin else { return Poll::Ready(Ok(bytes.len())) };
                match ready!(pipe.poll_write(cx, bytes)) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        *stdin = None;
                        Poll::Ready(Ok(bytes.len()))
                    }
                    written => Poll::Ready(written),
                }
            }
        }
    }

    /// Gives the terminal another size; the kernel tells its foreground processes.
    pub fn resize(&self, size: TerminalSize) {
        if let Io::Terminal(master) = &self.io {
            let size = winsize(size);
            // A terminal that nobody has open any more has no size, and needs none.
            let _ = set_size(master.as_fd().as_raw_fd(), &size);
        }
    }

    /// Sends a signal to who is in the terminal's foreground; without a terminal, to the program's
    /// group.
    pub fn signal(&self, signal: Signal) {
        let signal = match signal {
            Signal::Hup => NixSignal::SIGHUP,
            Signal::Int => NixSignal::SIGINT,
            Signal::Quit => NixSignal::SIGQUIT,
            Signal::Term => NixSignal::SIGTERM,
            Signal::Kill => NixSignal::SIGKILL,
            Signal::Usr1 => NixSignal::SIGUSR1,
            Signal::Usr2 => NixSignal::SIGUSR2,
            Signal::Tstp => NixSignal::SIGTSTP,
            Signal::Cont => NixSignal::SIGCONT,
        };
        // A group that has gone in the meantime needs no signal.
        let _ = killpg(self.foreground().unwrap_or(self.pid), signal);
    }

    /// Asks everything that the program runs to end.
    pub fn hang_up(&self) {
        let groups = [Some(self.pid), self.foreground().filter(|group| *group != self.pid)];
        for group in groups.into_iter().flatten() {
            for signal in [NixSignal::SIGHUP, NixSignal::SIGTERM, NixSignal::SIGCONT] {
                let _ = killpg(group, signal);
            }
        }
    }

    /// Whether a job other than the program itself is in the terminal's foreground.
    #[must_use]
    pub fn has_foreground_job(&self) -> bool {
        self.foreground().is_some_and(|group| group != self.pid)
    }

    fn foreground(&self) -> Option<Pid> {
        let Io::Terminal(master) = &self.io else { return None };
        // A group of 0 or less would mean the bridge's own, or everybody.
        tcgetpgrp(master).ok().filter(|group| group.as_raw() > 1)
    }
}

fn environment(
    program: &Program,
    secrets: &[Secret],
    session: SessionId,
    home: &Path,
    defaults: &[(&str, String)],
) -> BTreeMap<String, std::ffi::OsString> {
    let mut all: BTreeMap<String, std::ffi::OsString> =
        BTreeMap::from([("HOME".to_owned(), home.into())]);
    all.extend(defaults.iter().map(|(name, value)| ((*name).to_owned(), value.into())));
    all.extend(program.env.iter().map(|(name, value)| (name.clone(), value.into())));
    for secret in secrets {
        if let (Some(name), Ok(value)) = (&secret.env, std::str::from_utf8(&secret.value.0)) {
            all.insert(name.clone(), value.into());
        }
    }
    if program.mode == Mode::Terminal {
        all.insert("TERM".to_owned(), TERM.into());
    }
    all.insert("SHELLGATE_SESSION".to_owned(), session.to_string().into());
    // What cannot stand in an environment would keep the program from starting at all.
    all.retain(|name, value| {
        let value = value.as_encoded_bytes();
        !name.is_empty() && !name.contains(['=', '\0']) && !value.contains(&0)
    });
    all
}

fn on_terminal(
    mut command: Command,
    size: TerminalSize,
    confinement: Confinement,
) -> io::Result<Shell> {
    let OpenptyResult { master, slave } = openpty(Some(&winsize(size)), None)?;
    for descriptor in [&master, &slave] {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // So that the kernel's own line editing deletes whole characters.
    let mut modes = tcgetattr(&slave)?;
    modes.input_flags |= InputFlags::IUTF8;
    tcsetattr(&slave, SetArg::TCSANOW, &modes)?;
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let pid = spawn(command, true, confinement)?;
    Ok(Shell { pid, io: Io::Terminal(Descriptor::new(master)?) })
}

fn on_pipes(mut command: Command, confinement: Confinement) -> io::Result<Shell> {
    let (theirs_in, stdin) = io::pipe()?;
    let (stdout, theirs_out) = io::pipe()?;
    let (stderr, theirs_err) = io::pipe()?;
    command.stdin(theirs_in).stdout(theirs_out).stderr(Stdio::from(theirs_err));
    let pid = spawn(command, false, confinement)?;
    let io = Io::Lines {
        stdin: Some(Outlet::new(stdin.into())?),
        stdout: Descriptor::new(stdout.into())?,
        stderr: Descriptor::new(stderr.into())?,
    };
    Ok(Shell { pid, io })
}

/// Starts it in a session of its own, with its stdin for a controlling terminal if it has one.
#[allow(unsafe_code)]
fn spawn(mut command: Command, terminal: bool, confinement: Confinement) -> io::Result<Pid> {
    let prepare = move || {
        nix::unistd::setsid()?;
        if terminal {
            // SAFETY: a plain ioctl on descriptor 0, which is the terminal by now.
            Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
        }
        close_others_on_exec()?;
        confinement.apply_in_child()
    };
    // SAFETY: between fork and exec the closure makes system calls only: it allocates nothing, takes
    // no lock and touches nothing that another thread may have left half done.
    unsafe { command.pre_exec(prepare) };
    // The child is reaped with all others, by its pid.
    let child = command.spawn()?;
    // Where the kernel does not let it, as outside of a /proc of one's own, memory's end may hit the
    // bridge first: no reason to have no program.
    let _ = confine::raise_oom_score(child.id());
    Ok(Pid::from_raw(child.id() as i32))
}

/// Lets exec close everything but the three standard descriptors. They stay open until then, because
/// one of them tells the parent whether exec worked.
#[allow(unsafe_code)]
fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: close_range takes integers only, and with this flag closes nothing now.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn winsize(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows(), ws_col: size.cols(), ws_xpixel: 0, ws_ypixel: 0 }
}

#[allow(unsafe_code)]
fn set_size(descriptor: i32, size: &Winsize) -> io::Result<()> {
    // SAFETY: TIOCSWINSZ reads one winsize, which outlives the call.
    let done = unsafe { libc::ioctl(descriptor, libc::TIOCSWINSZ, std::ptr::from_ref(size)) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use shellgate_protocol::enrolment::Opaque;

    use super::*;

    #[test]
    fn a_program_sees_what_the_template_and_its_secrets_say_and_nothing_of_the_bridge() {
        let program = Program {
            command: vec!["x".into()],
            mode: Mode::Terminal,
            env: vec![("PATH".into(), "/opt".into()), ("BAD=NAME".into(), "x".into())],
            cwd: None,
            size: TerminalSize::DEFAULT,
            motd: None,
        };
        let secret = Secret {
            name: "key".into(),
            value: Opaque(b"s3cret".to_vec()),
            env: Some("API_KEY".into()),
        };
        let session = SessionId::generate();
        let defaults = [("PATH", "/bin".to_owned()), ("LANG", "C.UTF-8".to_owned())];
        let all = environment(&program, &[secret], session, Path::new("/home/x"), &defaults);
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["API_KEY", "HOME", "LANG", "PATH", "SHELLGATE_SESSION", "TERM"]);
        assert_eq!(
            (all["PATH"].as_os_str(), all["API_KEY"].as_os_str()),
            ("/opt".as_ref(), "s3cret".as_ref())
        );
    }
}
