//! The Landlock fence: all that is there may be read and run, writing needs a place of its own. Knows
//! no system calls and no limits, and is absent where the kernel has no Landlock.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

/// The newest version whose rights are asked for. An older kernel gives those that it knows.
const NEWEST: ABI = ABI::V6;

/// `LANDLOCK_CREATE_RULESET_VERSION` of the kernel's interface: asks for its version only.
const ASK_VERSION: libc::c_uint = 1;

/// Everything for which a rule is needed, prepared in the parent.
pub(super) struct Fence {
    ruleset: Option<OwnedFd>,
    abi: Option<u32>,
    absent_paths: usize,
}

impl Fence {
    pub(super) fn prepare(writable: &[PathBuf]) -> Self {
        let mut absent_paths = 0;
        let ruleset = build(writable, &mut absent_paths).ok().flatten();
        let abi = ruleset.as_ref().and_then(|_| kernel_abi()).map(|abi| abi.min(NEWEST as u32));
        Self { ruleset, abi, absent_paths }
    }

    /// The version of Landlock whose rights are used; `None` where nothing is fenced.
    pub(super) fn abi(&self) -> Option<u32> {
        self.abi
    }

    /// Paths asked to be writable that are not there.
    pub(super) fn absent_paths(&self) -> usize {
        self.absent_paths
    }

    /// Async-signal-safe. `no_new_privs` is set already.
    #[allow(unsafe_code)]
    pub(super) fn restrict_self(&self) -> io::Result<()> {
        let Some(ruleset) = &self.ruleset else { return Ok(()) };
        // SAFETY: the system call takes a descriptor, which `self` keeps open, and no flags.
        let result =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn build(writable: &[PathBuf], absent: &mut usize) -> Result<Option<OwnedFd>, RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    // Terminals and null devices are opened, written and asked, never made.
    let devices = make_bitflags!(AccessFs::{
        Execute | ReadFile | ReadDir | WriteFile | Truncate | IoctlDev
        | MakeReg | MakeDir | MakeSock | MakeFifo | MakeSym | RemoveFile | RemoveDir | Refer
    });
    // A process's own entries cannot be named before it is there. The kernel keeps everybody
    // else's, and the machine's settings, from those who do not own them.
    let processes = AccessFs::from_read(NEWEST) | AccessFs::WriteFile | AccessFs::Truncate;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        // Whoever is inside can signal, and reach over abstract sockets, only who is inside.
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let mut allow = |path: &std::path::Path, access: BitFlags<AccessFs>| {
        let Ok(place) = PathFd::new(path) else { return Ok::<bool, RulesetError>(false) };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
        (&mut ruleset).add_rule(PathBeneath::new(place, access))?;
        Ok(true)
    };
    allow("/".as_ref(), AccessFs::from_read(NEWEST))?;
    allow("/dev".as_ref(), devices)?;
    allow("/proc".as_ref(), processes)?;
    allow("/tmp".as_ref(), all)?;
    for path in writable {
        if !allow(path, all)? {
            *absent += 1;
        }
    }
    Ok(ruleset.into())
}

#[allow(unsafe_code)]
fn kernel_abi() -> Option<u32> {
    // SAFETY: with this flag the kernel reads no attributes and opens nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            ASK_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}
