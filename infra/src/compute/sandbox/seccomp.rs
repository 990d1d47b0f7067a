//! The system calls that nothing in a sandbox may make, as two kernel filters. Knows no bwrap.
//!
//! A deny-list: a shell runs compilers, debuggers and interpreters nobody has listed. What is
//! denied is what gives a program a namespace, a mount, a key, another machine's socket, or the
//! kernel's rarely walked paths. The other layers do not rely on it.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use crate::compute::ComputeError;

/// Refused whatever their arguments are.
const REFUSED: &[i64] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Namespaces of others.
    libc::SYS_setns,
    // The kernel itself, its log and its clock.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // Keys do not belong to a namespace.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Wide and often broken.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_lookup_dcookie,
    libc::SYS_vhangup,
    libc::SYS_kcmp,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_ON_THIS_PROCESSOR: &[i64] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_uselib, libc::SYS_ustat, libc::SYS_sysfs];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_ON_THIS_PROCESSOR: &[i64] = &[];

/// Every flag of `clone` and `unshare` that asks for a namespace.
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// `unshare` alone takes this one: in `clone` the bit belongs to the exit signal.
const CLONE_NEWTIME: u64 = 0x80;

/// The only families a socket may have. Others, such as AF_VSOCK, ignore network namespaces.
const FAMILIES: &[libc::c_int] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Requests that put keystrokes into a terminal, as if somebody had typed them.
const TYPING: &[u64] = &[libc::TIOCSTI, libc::TIOCLINUX];

/// The bridge, which runs under the uid of what it starts: the kernel would let that limit its
/// processor time, and slow it down.
const BRIDGE: u64 = 1;

/// Changes how the thread with a number is scheduled.
const SCHEDULING: &[i64] = &[
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
];

/// Change the priority of a process, a group, or all of a user's, each with the numbers by which it
/// names these three.
const PRIORITIES: &[(i64, [u64; 3])] =
    &[(libc::SYS_setpriority, [0, 1, 2]), (libc::SYS_ioprio_set, [1, 2, 3])];

/// Both filters, each as the bytes that bwrap reads from a descriptor.
///
/// # Errors
/// [`ComputeError::Unavailable`] on a processor that the filters are not written for.
pub(super) fn filters() -> Result<[Vec<u8>; 2], ComputeError> {
    let main = deny_list().map_err(|error| {
        ComputeError::Unavailable(format!("no system call filter for this machine: {error}"))
    })?;
    Ok([bytes(&main), bytes(&newer_calls())])
}

fn deny_list() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for &call in REFUSED.iter().chain(REFUSED_ON_THIS_PROCESSOR) {
        rules.insert(call, Vec::new());
    }
    let has_bit = |bit: u64| SeccompRule::new(vec![flag(bit)?]);
    let namespaces =
        NAMESPACES.iter().map(|&bit| has_bit(bit as u64)).collect::<Result<Vec<_>, _>>()?;
    let mut unshared = namespaces.clone();
    unshared.push(has_bit(CLONE_NEWTIME)?);
    rules.insert(libc::SYS_clone, namespaces);
    rules.insert(libc::SYS_unshare, unshared);
    let foreign = FAMILIES
        .iter()
        .map(|&family| condition(0, SeccompCmpOp::Ne, family as u64))
        .collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(foreign.clone())?]);
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(foreign)?]);
    let typing = TYPING
        .iter()
        .map(|&request| SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, request)?]))
        .collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_ioctl, typing);
    // A process sets its own limits by the number 0. Any other may be one of the bridge's threads.
    let others = condition(0, SeccompCmpOp::Ne, 0)?;
    let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![others, sets])?]);
    for &call in SCHEDULING {
        let of_bridge = condition(0, SeccompCmpOp::Eq, BRIDGE)?;
        rules.insert(call, vec![SeccompRule::new(vec![of_bridge])?]);
    }
    for &(call, [process, group, user]) in PRIORITIES {
        let which = |which| condition(0, SeccompCmpOp::Eq, which);
        let bridge = condition(1, SeccompCmpOp::Eq, BRIDGE)?;
        let of_bridge = |of| SeccompRule::new(vec![which(of)?, bridge.clone()]);
        let of_user = SeccompRule::new(vec![which(user)?])?;
        rules.insert(call, vec![of_bridge(process)?, of_bridge(group)?, of_user]);
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        refuse,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()
}

fn flag(bit: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    condition(0, SeccompCmpOp::MaskedEq(bit), bit)
}

/// Of the lower half of an argument: the kernel ignores the upper one of these, and a comparison
/// that looked at it could be evaded by setting a bit there.
fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// Says that `clone3` does not exist, so that libc falls back to `clone`, whose flags a filter can
/// see; the same for all numbers of the x32 interface, which would pass by the list above.
fn newer_calls() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, at offset 0 of seccomp_data
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const X32: u32 = 0x4000_0000;
    let no_such_call = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    vec![
        sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_EQUAL, jt: 2, jf: 0, k: libc::SYS_clone3 as u32 },
        sock_filter { code: JUMP_AT_LEAST, jt: 1, jf: 0, k: X32 },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: no_such_call },
    ]
}

/// As `struct sock_filter` lies in memory.
fn bytes(program: &[sock_filter]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for step in program {
        bytes.extend_from_slice(&step.code.to_ne_bytes());
        bytes.extend_from_slice(&[step.jt, step.jf]);
        bytes.extend_from_slice(&step.k.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_are_whole_programs_that_the_kernel_would_take() {
        let [main, newer] = filters().unwrap();
        for program in [&main, &newer] {
            assert_eq!(program.len() % 8, 0);
            assert!((1..=4096).contains(&(program.len() / 8)));
        }
    }
}
