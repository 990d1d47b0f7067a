//! The system call filters: what no developer's shell needs and attackers do is refused, all else
//! works. Knows no files and no limits.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// System calls that are refused whatever their arguments. `ptrace` and `process_vm_readv` are not
/// among them: debuggers need them, and the kernel asks for permission, which a protected bridge, and
/// with Landlock whoever is outside, does not give.
const REFUSED: &[libc::c_long] = &[
    // Mounts, and roots other than the task's own.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    // `open_tree_attr`, newer than the C library's table.
    467,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    // Files by number instead of by name: past every mount and every Landlock rule.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Rich kernel interfaces with a long record of escapes.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Keyrings are not namespaced.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Other processes' descriptors, which no shell needs.
    libc::SYS_pidfd_getfd,
    // The machine itself.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
];

/// System calls that only this processor family has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_uselib, libc::SYS__sysctl, libc::SYS_modify_ldt];
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[libc::c_long] = &[];

/// Each bit of `unshare` and `clone` that asks for a namespace.
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// `CLONE_NEWTIME`. In `clone` this bit belongs to the exit signal, so it counts in `unshare` only.
const NEW_TIME: libc::c_int = 0x80;

/// Terminal controls that type into, or paste onto, a terminal in somebody else's name.
const REFUSED_IOCTLS: &[u64] = &[0x5412 /* TIOCSTI */, 0x541C /* TIOCLINUX */];

/// Kinds of socket that work. The others ignore network namespaces (vsock), see every frame
/// (packet) or reach rarely used kernel code.
const ALLOWED_SOCKETS: &[libc::c_int] =
    &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The one netlink protocol that `getaddrinfo` and `ip` need.
const NETLINK_ROUTE: u64 = 0;

/// The bridge, where it is what it should be. It runs under the uid of what it starts, so that the
/// kernel would let that limit its processor time to one second, and slow it down.
const BRIDGE: u64 = 1;

/// Changes how the thread with a number is scheduled.
const SCHEDULING: &[libc::c_long] = &[
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
];

/// Change the priority of a process, a group, or all of a user's, each with the numbers by which it
/// names these three.
const PRIORITIES: &[(libc::c_long, [u64; 3])] =
    &[(libc::SYS_setpriority, [0, 1, 2]), (libc::SYS_ioprio_set, [1, 2, 3])];

/// `personality` with this argument only asks.
const PERSONALITY_ASK: u64 = 0xffff_ffff;

/// The bit in `personality` that switches address randomization off, as debuggers do.
const ADDR_NO_RANDOMIZE: u64 = 0x004_0000;

/// The bit that marks an x32 system call, whose numbers no rule above would see.
#[cfg(target_arch = "x86_64")]
const X32_BIT: u32 = 0x4000_0000;

#[cfg(target_arch = "x86_64")]
const ARCH: (TargetArch, u32) = (TargetArch::x86_64, 0xC000_003E);
#[cfg(target_arch = "aarch64")]
const ARCH: (TargetArch, u32) = (TargetArch::aarch64, 0xC000_00B7);

/// The filters, ready to be installed.
pub(super) struct Filters {
    programs: Vec<BpfProgram>,
}

impl Filters {
    pub(super) fn prepare() -> Self {
        if !kernel_has_seccomp() {
            return Self { programs: Vec::new() };
        }
        // The rules are constants, so that they assemble is a matter of the tests.
        let refusals = refusals().unwrap_or_default();
        Self { programs: vec![frame(), refusals] }
    }

    /// Whether there is something to install, and a kernel that takes it.
    pub(super) fn take_effect(&self) -> bool {
        !self.programs.is_empty() && self.programs.iter().all(|program| !program.is_empty())
    }

    /// Async-signal-safe. `no_new_privs` is set already.
    #[allow(unsafe_code)]
    pub(super) fn install(&self) -> io::Result<()> {
        for program in &self.programs {
            let Ok(len) = u16::try_from(program.len()) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
            // SAFETY: the kernel copies `len` instructions from a vector that `self` keeps alive;
            // both structs are the kernel's `sock_filter`.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    0,
                    &raw const program,
                )
            };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

/// What holds before any rule: another processor mode's system calls end the process, and `clone3`
/// does not exist, so that the C library falls back to `clone`, whose flags a filter can see.
fn frame() -> BpfProgram {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    #[cfg(target_arch = "x86_64")]
    const AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, ARCHITECTURE),
        step(EQUAL, 1, 0, ARCH.1),
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, 0, 0, NUMBER),
        #[cfg(target_arch = "x86_64")]
        step(AT_LEAST, 0, 1, X32_BIT),
        #[cfg(target_arch = "x86_64")]
        step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(EQUAL, 0, 1, libc::SYS_clone3 as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

fn refusals() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in REFUSED.iter().chain(REFUSED_HERE) {
        rules.insert(*call, Vec::new());
    }
    let namespaces = || NAMESPACES.iter().map(|bit| has_bits(0, *bit as u64));
    rules.insert(libc::SYS_clone, namespaces().collect::<Result<_, _>>()?);
    rules.insert(
        libc::SYS_unshare,
        namespaces().chain([has_bits(0, NEW_TIME as u64)]).collect::<Result<_, _>>()?,
    );
    rules.insert(
        libc::SYS_ioctl,
        REFUSED_IOCTLS.iter().map(|request| is(1, *request)).collect::<Result<_, _>>()?,
    );
    rules.insert(
        libc::SYS_socket,
        vec![
            SeccompRule::new(
                ALLOWED_SOCKETS
                    .iter()
                    .map(|family| is_not(0, *family as u64))
                    .collect::<Result<_, _>>()?,
            )?,
            SeccompRule::new(vec![
                condition(0, SeccompCmpOp::Eq, libc::AF_NETLINK as u64)?,
                is_not(2, NETLINK_ROUTE)?,
            ])?,
        ],
    );
    rules.insert(
        libc::SYS_personality,
        vec![SeccompRule::new(vec![
            is_not(0, 0)?,
            is_not(0, ADDR_NO_RANDOMIZE)?,
            is_not(0, PERSONALITY_ASK)?,
        ])?],
    );
    // A process sets its own limits by the number 0. Any other may be one of the bridge's threads.
    let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![is_not(0, 0)?, sets])?]);
    for call in SCHEDULING {
        rules.insert(*call, vec![is(0, BRIDGE)?]);
    }
    for (call, [process, group, user]) in PRIORITIES {
        let of_bridge = |which| {
            let which = condition(0, SeccompCmpOp::Eq, which)?;
            SeccompRule::new(vec![which, condition(1, SeccompCmpOp::Eq, BRIDGE)?])
        };
        rules.insert(*call, vec![of_bridge(*process)?, of_bridge(*group)?, is(0, *user)?]);
    }
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        ARCH.0,
    )?
    .try_into()
}

/// A condition on the low 32 bits, which is all that the kernel reads of these arguments: with the
/// upper ones compared as well, a set bit 32 would slip through.
fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn is(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, value)?])
}

fn is_not(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    condition(argument, SeccompCmpOp::Ne, value)
}

fn has_bits(argument: u8, bits: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition(argument, SeccompCmpOp::MaskedEq(bits), bits)?])
}

#[allow(unsafe_code)]
fn kernel_has_seccomp() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the kernel reads one integer that lives through the call.
    unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0
    }
}
