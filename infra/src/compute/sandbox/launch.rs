//! One start of bwrap: hands over what it needs, forks, and learns which process is the first one
//! inside. Keeps no record and knows no task by name.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SeekFrom, memfd_create, seek};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, geteuid, prlimit};

use super::cgroup::Group;
use super::child::{Child, STAGED_BRIDGE, STAGED_DIAL, STAGED_HOME, Stage};
use super::command::{self, Shape};
use super::etc;
use super::process::Process;
use super::record::io_error;
use super::seccomp;
use super::view::View;
use crate::compute::{ComputeError, Limits};

/// How long bwrap may take to say which process is the first one inside.
const INFO_DEADLINE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// What bwrap says about itself is a few lines.
const INFO_MAX: usize = 4096;
/// How many copies of itself bwrap may have left behind; it makes three at most.
const COPIES_MAX: usize = 8;
/// How long each of them may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// How bwrap is called here.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) bwrap: String,
    /// Whether the kernel lets bwrap forbid further user namespaces.
    pub(super) disable_userns: bool,
    /// Where limits are set by the user's systemd: its `systemd-run`.
    pub(super) systemd_run: Option<String>,
    /// Whether something outside the sandbox limits its memory, and its processes. What is not
    /// limited there gets a limit per process, and per user inside.
    pub(super) memory_is_limited: bool,
    pub(super) pids_are_limited: bool,
}

impl Engine {
    /// How many processes the sandbox's own user may have, where nothing outside limits them.
    pub(super) fn process_limit(&self, limits: &Limits) -> Option<u32> {
        (!self.pids_are_limited).then_some(limits.pids)
    }
}

/// What to start.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) marker: &'a str,
    pub(super) home: &'a Path,
    /// As whom it runs on the host.
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) dial_directory: &'a Path,
    pub(super) bridge: &'a Path,
    pub(super) limits: Limits,
    pub(super) groups: &'a [Group],
    pub(super) program: &'a [&'a str],
    /// Seen inside besides what every sandbox has.
    pub(super) environment: Vec<(&'static str, String)>,
    /// Open inside; the variable says as which descriptor.
    pub(super) descriptors: Vec<(&'static str, OwnedFd)>,
    /// Its stdout and stderr.
    pub(super) output: File,
}

/// What was started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Launched {
    pub(super) outermost: Process,
    pub(super) first: Process,
}

/// Why nothing was started.
#[derive(Debug)]
pub(super) enum NotLaunched {
    /// It could not be tried.
    Error(ComputeError),
    /// bwrap ended before there was anything inside: its output says why.
    EngineEnded(String),
}

impl From<ComputeError> for NotLaunched {
    fn from(error: ComputeError) -> Self {
        Self::Error(error)
    }
}

/// Starts bwrap and returns when its first process inside is known.
pub(super) fn launch(engine: &Engine, order: Order<'_>) -> Result<Launched, NotLaunched> {
    let view = View::open(&order)?;
    let [main, newer] = seccomp::filters()?;
    let seccomp = [content(&main)?, content(&newer)?];
    let files = etc::FILES
        .iter()
        .map(|(path, text)| Ok((*path, content(text.as_bytes())?)))
        .collect::<Result<Vec<_>, ComputeError>>()?;
    let (info, info_writer) = info_pipe().map_err(io_error("make a pipe".to_owned()))?;

    let mut environment = environment();
    environment.extend(order.environment);
    for (name, descriptor) in &order.descriptors {
        environment.push((name, descriptor.as_raw_fd().to_string()));
    }
    let arguments = content(&command::hidden(&Shape {
        home: view.source(&view.home, STAGED_HOME),
        dial_directory: view.source(&view.dial_directory, STAGED_DIAL),
        bridge: view.source(&view.bridge, STAGED_BRIDGE),
        files: files.iter().map(|(path, fd)| (*path, fd.as_raw_fd())).collect(),
        seccomp: [seccomp[0].as_raw_fd(), seccomp[1].as_raw_fd()],
        info: info_writer.as_raw_fd(),
        tmp: order.limits.tmp,
        environment: &environment,
        disable_userns: engine.disable_userns,
    }))?;
    let line = command::visible(order.marker, arguments.as_raw_fd(), order.program);

    let mut inherited: Vec<RawFd> = files.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
    inherited.extend(seccomp.iter().chain([&arguments, &info_writer]).map(AsRawFd::as_raw_fd));
    inherited.extend(order.descriptors.iter().map(|(_, fd)| fd.as_raw_fd()));
    let staged = [&view.home, &view.dial_directory, &view.bridge].map(AsRawFd::as_raw_fd);
    if !view.is_staged {
        inherited.extend(staged);
    }
    let entrances = order
        .groups
        .iter()
        .map(Group::entrance)
        .collect::<io::Result<Vec<File>>>()
        .map_err(io_error("open a control group".to_owned()))?;
    let child = Child {
        entrances: entrances.iter().map(AsRawFd::as_raw_fd).collect(),
        inherited,
        data: (!engine.memory_is_limited).then_some(order.limits.memory),
        stage: view.is_staged.then_some(Stage { trees: staged, uid: order.uid, gid: order.gid }),
    };

    let mut command = match &engine.systemd_run {
        Some(systemd_run) => {
            let unit = format!("shellgate-{}.scope", order.marker);
            let mut command = Command::new(systemd_run);
            command.args(command::in_a_scope(&unit, &order.limits, &engine.bwrap, &line));
            command
        }
        None => {
            let mut command = Command::new(&engine.bwrap);
            command.args(&line);
            command
        }
    };
    command.env_clear().current_dir("/").stdin(Stdio::null());
    if engine.systemd_run.is_some() {
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", geteuid().as_raw()));
    }
    let errors = order.output.try_clone().map_err(io_error("share the log".to_owned()))?;
    command.stdout(order.output).stderr(errors);
    // SAFETY: `Child::prepare` makes system calls only, on memory that was made before the fork:
    // it takes no lock and allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || child.prepare());
    }
    // What the child could not do before exec is told here too.
    let mut process = command.spawn().map_err(io_error(format!("start {}", engine.bwrap)))?;
    drop(info_writer);
    let pid = process.id().cast_signed();
    let outermost = Process::of(pid);
    let first = read_first(info.as_fd());
    match (outermost, first.and_then(Process::of)) {
        (Some(outermost), Some(first)) => {
            if let Some(most) = engine.process_limit(&order.limits)
                && let Err(error) = limit_processes(first, most)
            {
                end(&mut process, order.marker, &[first])?;
                return Err(error.into());
            }
            Ok(Launched { outermost, first })
        }
        (outermost, first) => {
            let mut inner: Vec<Process> = first.into_iter().collect();
            inner.extend(outermost.iter().flat_map(Process::children));
            let ended = end(&mut process, order.marker, &inner)?;
            Err(NotLaunched::EngineEnded(ended.to_string()))
        }
    }
}

/// Ends bwrap, then what it has started: in this order nothing can be added meanwhile. These are
/// known; others are found by the marker, for as long as they are copies of bwrap.
fn end(
    bwrap: &mut std::process::Child,
    marker: &str,
    inner: &[Process],
) -> Result<ExitStatus, ComputeError> {
    // A refusal means that it has ended already.
    let _ = bwrap.kill();
    let ended = bwrap.wait().map_err(io_error("wait for bwrap".to_owned()))?;
    for process in inner {
        let _ = process.signal(Signal::KILL);
    }
    let mark = command::mark(marker);
    for _ in 0..COPIES_MAX {
        let Some(copy) = Process::with_argument(&mark) else { break };
        let _ = copy.signal(Signal::KILL);
        copy.ended_within(ENDING);
    }
    Ok(ended)
}

/// A pipe that has this text in it and nobody who could write more.
pub(super) fn filled_pipe(text: &[u8]) -> io::Result<OwnedFd> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Not blocking: a text beyond the pipe's room is an error, not a wait without a reader.
    if File::from(writer).write(text)? < text.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = rustix::fs::fcntl_getfl(&reader)?;
    rustix::fs::fcntl_setfl(&reader, flags - OFlags::NONBLOCK)?;
    Ok(reader)
}

/// A file on disk that has no name and cannot be given one.
pub(super) fn unnamed_file(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {}
        opened => return Ok(opened?),
    }
    // A filesystem without unnamed files: it loses its name before anybody gets it.
    let path = directory.join(format!(".spill-{}", super::random_hex()?));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn environment() -> Vec<(&'static str, String)> {
    [
        ("HOME", etc::HOME),
        ("PATH", etc::PATH),
        ("LANG", "C.UTF-8"),
        ("SHELLGATE_DIAL", "unix:/run/gw/dial.sock"),
        ("SHELLGATE_HOME", etc::HOME),
        ("SHELLGATE_SECRETS_DIR", command::SECRETS_DIRECTORY),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Where nothing outside the sandbox limits its processes: a limit that the kernel counts inside
/// the sandbox's own user namespace. Set from outside, inherited by all of it, raised by none.
pub(super) fn limit_processes(first: Process, most: u32) -> Result<(), ComputeError> {
    let Some(pid) = Pid::from_raw(first.pid) else { return Ok(()) };
    let most = Some(u64::from(most));
    match prlimit(Some(pid), Resource::Nproc, Rlimit { current: most, maximum: most }) {
        // One that is gone needs no limit; its end is seen by whoever waits for it.
        Err(error) if first.lives() => Err(failed("limit the processes of a sandbox", error)),
        _ => Ok(()),
    }
}

/// A pipe whose writer is a reader too: bwrap can say what it has to say, and go on, also when the
/// gateway dies at that moment.
fn info_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let both = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok((reader, both))
}

/// What bwrap says on its info descriptor: `{"child-pid": 4711, …}`.
fn read_first(info: BorrowedFd<'_>) -> Option<i32> {
    let mut said = Vec::new();
    let mut chunk = [0; 512];
    while said.len() < INFO_MAX {
        let mut ready = [PollFd::new(&info, PollFlags::IN)];
        match poll(&mut ready, Some(&INFO_DEADLINE)) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(1..) => {}
            _ => return None,
        }
        let read = rustix::io::read(info, &mut chunk).ok().filter(|&read| read > 0)?;
        said.extend_from_slice(&chunk[..read]);
        if said.contains(&b'}') {
            let said: serde_json::Value = serde_json::from_slice(&said).ok()?;
            return said.get("child-pid")?.as_i64()?.try_into().ok();
        }
    }
    None
}

/// A file in memory with these contents, to be read from its beginning.
fn content(bytes: &[u8]) -> Result<OwnedFd, ComputeError> {
    let made = || -> io::Result<OwnedFd> {
        let file = memfd_create(c"shellgate", MemfdFlags::CLOEXEC)?;
        let mut file = File::from(file);
        file.write_all(bytes)?;
        seek(&file, SeekFrom::Start(0))?;
        Ok(file.into())
    };
    made().map_err(io_error("make a file in memory".to_owned()))
}

fn failed(what: &str, error: rustix::io::Errno) -> ComputeError {
    io_error(what.to_owned())(error.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_filled_pipe_gives_its_text_once_and_ends() {
        let mut pipe = File::from(filled_pipe(b"secret").unwrap());
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        assert_eq!(text, "secret");
        assert!(filled_pipe(&[0; 1 << 20]).is_err());
    }

    #[test]
    fn an_unnamed_file_leaves_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = File::from(unnamed_file(directory.path()).unwrap());
        file.write_all(b"spilt").unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
