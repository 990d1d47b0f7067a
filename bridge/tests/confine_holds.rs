//! What a confined program can and cannot do, asked of the kernel: each probe forks, confines itself
//! and tries. As root most refusals are the filter's alone, so that is where they say the most.

#![expect(clippy::unwrap_used, reason = "a probe that cannot be made fails its test")]

use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::Arc;

use shellgate_bridge::confine::{Confinement, protect_self, raise_oom_score};

/// Somebody who owns nothing.
const NOBODY: u32 = 65534;

/// A directory outside /tmp, which is writable for everybody.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // A checkout may lie in /tmp itself.
        let place = if target.starts_with("/tmp") { Path::new("/var/tmp") } else { target };
        Self(tempfile::tempdir_in(place).unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn confinement(writable: &[&Path]) -> Arc<Confinement> {
    let writable: Vec<PathBuf> = writable.iter().map(|path| path.to_path_buf()).collect();
    Arc::new(Confinement::prepare(&writable))
}

fn confined(confinement: &Arc<Confinement>, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    let confinement = Arc::clone(confinement);
    before_exec(&mut command, move || confinement.apply_in_child());
    command
}

#[allow(unsafe_code)]
fn before_exec(command: &mut Command, run: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: all that the tests run there are system calls on values prepared before.
    unsafe { command.pre_exec(run) };
}

/// Runs a program confined, writing nowhere of its own.
fn run(program: &str, arguments: &[&str]) -> Output {
    confined(&confinement(&[]), program, arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

/// Makes one system call in a confined process.
fn attempt(number: i64, arguments: [u64; 4]) -> Result<ExitStatus, i32> {
    let confinement = confinement(&[]);
    let mut command = Command::new("true");
    before_exec(&mut command, move || {
        confinement
            .apply_in_child()
            .map_err(|_| io::Error::from_raw_os_error(libc::ENOTRECOVERABLE))?;
        system_call(number, arguments)
    });
    command.status().map_err(|error| error.raw_os_error().unwrap())
}

#[allow(unsafe_code)]
fn system_call(number: i64, [a, b, c, d]: [u64; 4]) -> io::Result<()> {
    // SAFETY: the pointers among the arguments are null, which the kernel checks.
    let result = unsafe { libc::syscall(number, a, b, c, d, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0).unwrap()
}

fn landlock_or_skip(confinement: &Confinement) -> bool {
    let has = confinement.report().landlock_abi.is_some();
    if !has {
        println!("skipped: this kernel has no Landlock");
    }
    has
}

#[test]
fn the_report_says_what_the_kernel_says() {
    let confinement = confinement(&[Path::new("/no/such/path")]);
    let status = said(&confined(&confinement, "cat", &["/proc/self/status"]).output().unwrap());
    let line = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Seccomp:"), "2");
    assert_eq!(line("SigIgn:"), "0000000000000000");
    assert_eq!(line("SigBlk:"), "0000000000000000");
    let report = confinement.report();
    assert!(report.seccomp && report.no_new_privs);
    assert_eq!(report.absent_paths, usize::from(report.landlock_abi.is_some()));
    assert!(report.to_string().starts_with("seccomp on; "), "{report}");
    println!("{report}");
}

#[test]
fn signals_ignored_by_the_parent_work_again() {
    let confinement = confinement(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", "kill -INT $$; echo survived"]);
    before_exec(&mut command, move || {
        ignore_interrupt();
        confinement.apply_in_child()
    });
    let output = command.output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGINT), "{output:?}");
}

#[allow(unsafe_code)]
fn ignore_interrupt() {
    // SAFETY: the disposition is one of the two constants.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

#[test]
fn a_developers_tools_work() {
    let home = Place::new();
    let confinement = confinement(&[home.path()]);
    let has = |program: &str| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    let script = |program: &str, arguments: &[&str]| {
        let mut command = confined(&confinement, program, arguments);
        command.current_dir(home.path()).env("HOME", home.path());
        said(&command.output().unwrap())
    };
    assert_eq!(script("bash", &["-c", "echo $((6 * 7)) | cat; (sleep 0 & wait)"]), "42");
    assert_eq!(
        script(
            "sh",
            &[
                "-c",
                "getent hosts localhost >/dev/null; echo done >/dev/null; echo x 2>/dev/stderr"
            ]
        ),
        "x"
    );
    let mut tried = 0;
    for (program, arguments, says) in [
        (
            "python3",
            &[
                "-c",
                "import threading, subprocess, multiprocessing as m\nt = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\nsubprocess.run(['echo', 'process'])\nprint(m.get_context('fork').Pool(2).map(abs, [-1, 2]))",
            ][..],
            "[1, 2]",
        ),
        ("git", &["-c", "init.defaultBranch=main", "init"], "Initialized"),
        (
            "node",
            &["-e", "new (require('worker_threads').Worker)('console.log(41 + 1)', {eval: true})"],
            "42",
        ),
        ("perl", &["-e", "fork // die; wait; print 'forked'"], "forked"),
        ("gcc", &["-x", "c", "-o", "program", "/dev/null", "-shared"], ""),
        ("strace", &["-o", "/dev/null", "-f", "echo", "traced"], "traced"),
    ] {
        if has(program) {
            let all = script(program, arguments);
            assert!(all.contains(says), "{program}: {all}");
            tried += 1;
        } else {
            println!("skipped: no {program} here");
        }
    }
    assert!(tried > 0 || !has("python3"));
}

#[test]
fn dangerous_system_calls_are_refused() {
    let refused = [
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_fsopen,
        libc::SYS_fsmount,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_mount_setattr,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
        libc::SYS_pidfd_getfd,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_sethostname,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_adjtimex,
        libc::SYS_kexec_file_load,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_syslog,
    ];
    for number in refused {
        assert_eq!(attempt(number, [0; 4]).unwrap_err(), libc::EPERM, "system call {number}");
    }
}

#[test]
fn nobody_limits_the_bridge_or_slows_it_down() {
    // Where no limit can be read, the kernel would say so first.
    let limits = 8;
    for number in [1, 2, u64::from(std::process::id()), 1 | 1 << 32] {
        let cpu = u64::from(libc::RLIMIT_CPU);
        let set = attempt(libc::SYS_prlimit64, [number, cpu, limits, 0]);
        assert_eq!(set.unwrap_err(), libc::EPERM, "{number}");
    }
    assert!(attempt(libc::SYS_prlimit64, [0; 4]).unwrap().success());
    for call in [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
    ] {
        assert_eq!(attempt(call, [1, 0, 0, 0]).unwrap_err(), libc::EPERM, "system call {call}");
        assert_ne!(attempt(call, [0; 4]).unwrap_err(), libc::EPERM, "system call {call}");
    }
    for (call, first) in [(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)] {
        for (which, who) in [(first, 1), (first + 1, 1), (first + 2, 1), (first + 2, 0)] {
            assert_eq!(attempt(call, [which, who, 0, 0]).unwrap_err(), libc::EPERM, "{which}");
        }
        assert!(attempt(call, [first, 0, 0, 0]).unwrap().success(), "system call {call}");
    }
}

#[test]
fn no_namespace_can_be_made() {
    for flag in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ] {
        let flag = flag as u64;
        assert_eq!(attempt(libc::SYS_unshare, [flag, 0, 0, 0]).unwrap_err(), libc::EPERM);
        // Together with others, and with a bit set that the kernel does not read.
        let all = flag | libc::CLONE_FS as u64 | 1 << 32;
        assert_eq!(attempt(libc::SYS_unshare, [all, 0, 0, 0]).unwrap_err(), libc::EPERM);
        let child = flag | libc::SIGCHLD as u64;
        assert_eq!(attempt(libc::SYS_clone, [child, 0, 0, 0]).unwrap_err(), libc::EPERM);
    }
    assert_eq!(attempt(libc::SYS_clone3, [0; 4]).unwrap_err(), libc::ENOSYS);
    assert!(attempt(libc::SYS_unshare, [libc::CLONE_FS as u64, 0, 0, 0]).unwrap().success());
    assert!(!run("unshare", &["-U", "true"]).status.success());
}

#[test]
fn nobody_types_into_a_terminal_in_anothers_name() {
    for request in [0x5412, 0x541C, 0x1_0000_5412, 0xffff_ffff_0000_5412] {
        assert_eq!(attempt(libc::SYS_ioctl, [0, request, 0, 0]).unwrap_err(), libc::EPERM);
    }
    // An ordinary request is the kernel's to judge.
    assert_ne!(attempt(libc::SYS_ioctl, [u64::MAX, 0x5413, 0, 0]).unwrap_err(), libc::EPERM);
}

#[test]
fn only_ordinary_sockets_open() {
    let socket = |family: i32, kind: i32, protocol: i32| {
        attempt(libc::SYS_socket, [family as u64, kind as u64, protocol as u64, 0])
    };
    for family in [libc::AF_VSOCK, libc::AF_PACKET, libc::AF_ALG, libc::AF_BLUETOOTH, libc::AF_KEY]
    {
        assert_eq!(socket(family, libc::SOCK_STREAM, 0).unwrap_err(), libc::EPERM, "{family}");
    }
    assert_eq!(
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT).unwrap_err(),
        libc::EPERM
    );
    for family in [libc::AF_UNIX, libc::AF_INET] {
        assert!(socket(family, libc::SOCK_STREAM, 0).unwrap().success(), "{family}");
    }
    assert!(socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).unwrap().success());
}

#[test]
fn a_personality_may_be_asked_for_and_not_taken() {
    assert!(attempt(libc::SYS_personality, [0xffff_ffff, 0, 0, 0]).unwrap().success());
    assert_eq!(attempt(libc::SYS_personality, [0x0020_0000, 0, 0, 0]).unwrap_err(), libc::EPERM);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_system_call_of_another_processor_mode_is_the_end() {
    let x32_getpid = 0x4000_0000 | libc::SYS_getpid;
    let status = attempt(x32_getpid, [0; 4]).unwrap();
    assert_eq!(status.signal(), Some(libc::SIGSYS), "{status:?}");
}

#[test]
fn writing_needs_a_place_of_ones_own() {
    let (own, others) = (Place::new(), Place::new());
    let confinement = confinement(&[own.path()]);
    if !landlock_or_skip(&confinement) {
        return;
    }
    fs::write(others.path().join("readable"), "read me").unwrap();
    let sh = |script: &str| {
        let mut command = confined(&confinement, "sh", &["-c", script]);
        command.env("OWN", own.path()).env("OTHERS", others.path()).output().unwrap()
    };
    assert_eq!(said(&sh("cat $OTHERS/readable")), "read me");
    for refused in [
        "echo x > $OTHERS/new",
        "echo x >> $OTHERS/readable",
        "rm $OTHERS/readable",
        "mkdir $OTHERS/directory",
        "ln -s / $OTHERS/link",
        "mv $OTHERS/readable $OWN/",
        "truncate -s 0 $OTHERS/readable",
        "ln $OTHERS/readable $OWN/hard",
    ] {
        assert!(!sh(refused).status.success(), "{refused}");
    }
    assert_eq!(fs::read_dir(others.path()).unwrap().count(), 1);
    said(&sh(
        "cd $OWN && mkdir -p a b && echo x > a/f && mv a/f b/f && ln b/f a/f && ln -s f a/l && mkfifo p && chmod 700 b/f && truncate -s 0 b/f && rm -r a b p",
    ));
    said(&sh(
        "t=$(mktemp /tmp/confine.XXXXXX) && echo x > $t && rm $t && echo x > /dev/null && echo 600 > /proc/self/oom_score_adj",
    ));
}

#[test]
fn the_confined_cannot_signal_those_outside() {
    let confinement = confinement(&[]);
    if confinement.report().landlock_abi.is_none_or(|abi| abi < 6) {
        println!("skipped: this kernel's Landlock does not know signals");
        return;
    }
    let outside = std::process::id().to_string();
    let output =
        confined(&confinement, "sh", &["-c", &format!("kill -0 {outside}")]).output().unwrap();
    assert!(!output.status.success());
    said(&confined(&confinement, "sh", &["-c", "sleep 60 & kill $!"]).output().unwrap());
}

#[test]
fn a_program_has_the_limits_that_there_are_and_the_report_says_which() {
    // As a compute provider sets it, where nothing else bounds memory. Far beyond what a test needs.
    let data = 1 << 40;
    limit_data(data);
    let confinement = confinement(&[]);
    let limits = "ulimit -Sn; ulimit -Hu; ulimit -Hd";
    let before = said(&Command::new("bash").args(["-c", limits]).output().unwrap());
    let script = format!("{limits}; ulimit -Hn; ulimit -Hc; cat /proc/self/oom_score_adj");
    let seen = said(&confined(&confinement, "bash", &["-c", &script]).output().unwrap());
    let seen: Vec<_> = seen.lines().collect();
    assert_eq!(
        seen[..3].join(
            "
"
        ),
        before
    );
    assert_eq!(seen[4..], ["0", "500"]);
    let report = confinement.report();
    assert!(report.open_files <= 65_536, "{report}");
    assert_eq!(seen[3], report.open_files.to_string());
    assert_eq!(report.processes.map_or("unlimited".to_owned(), |n| n.to_string()), seen[1]);
    assert_eq!((report.data, seen[2].parse()), (Some(data), Ok(data / 1024)));
    assert!(report.to_string().ends_with("; memory: 1099511627776 bytes of data per process"));
}

#[allow(unsafe_code)]
fn limit_data(most: u64) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the kernel reads one limit, which is there.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) }, 0);
}

#[test]
fn what_was_started_is_killed_for_memory_before_the_bridge() {
    let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
    raise_oom_score(sleep.id()).unwrap();
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", sleep.id())).unwrap();
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    assert_eq!(score.trim(), "500");
}

/// A process that has protected itself and waits until it is dropped.
struct Protected(libc::pid_t);

impl Protected {
    /// Forks; the child does as told, says that it has, and waits to be killed.
    #[allow(unsafe_code)]
    fn new(protect: bool) -> Self {
        let (mut ready, done) = io::pipe().unwrap();
        // SAFETY: the child makes system calls only, and never returns from here.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: plain system calls on integers, and one byte that is there.
            unsafe {
                if libc::getuid() == 0
                    && (libc::setresgid(NOBODY, NOBODY, NOBODY) != 0
                        || libc::setresuid(NOBODY, NOBODY, NOBODY) != 0)
                {
                    libc::_exit(1);
                }
                // A change of uid protects as well: back to what an ordinary program has.
                libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
                if protect && protect_self().is_err() {
                    libc::_exit(1);
                }
                libc::write(std::os::fd::AsRawFd::as_raw_fd(&done), b"r".as_ptr().cast(), 1);
                loop {
                    libc::pause();
                }
            }
        }
        assert!(pid > 0);
        drop(done);
        io::Read::read_exact(&mut ready, &mut [0]).unwrap();
        Self(pid)
    }

    /// Whether somebody of the same uid can read what only its owner should.
    fn shows(&self, file: &str) -> bool {
        let mut cat = Command::new("cat");
        cat.arg(format!("/proc/{}/{file}", self.0));
        if is_root() {
            cat.uid(NOBODY).gid(NOBODY);
        }
        cat.output().unwrap().status.success()
    }
}

impl Drop for Protected {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the process is this test's own child, not reaped before.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

#[test]
fn a_protected_process_keeps_its_environment_to_itself() {
    let (open, protected) = (Protected::new(false), Protected::new(true));
    for file in ["environ", "maps", "auxv"] {
        assert!(open.shows(file), "{file} of an ordinary process can be read");
        assert!(!protected.shows(file), "{file}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", protected.0)).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}
