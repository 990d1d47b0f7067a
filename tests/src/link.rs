//! The link between a session's bridge and the gateway: cut where it is, or led through a cable.
//! Knows what the first messages on it are.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, Shutdown, shutdown, sockopt};
use rustix::process::{ForeignRawFd, PidfdGetfdFlags, pidfd_getfd};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::gateway::Gateway;
use crate::leftovers::Process;
use crate::wire::Wire;

/// The socket that bridges dial.
const SOCKET: &str = "dial.sock";

/// Where the gateway's own socket is while a cable has its name.
const MOVED_ASIDE: &str = "gateway.sock";

/// A bridge's link as it is.
pub struct Link {
    sockets: Vec<OwnedFd>,
}

impl Link {
    pub(crate) fn new(gateway: &Gateway, bridge: Process) -> Self {
        let folder = format!("/proc/{}/fd", gateway.pid());
        let numbers = std::fs::read_dir(folder)
            .expect("a gateway runs")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<ForeignRawFd>().ok());
        let sockets = numbers
            // One that is closed meanwhile is none.
            .filter_map(|number| {
                pidfd_getfd(gateway.process(), number, PidfdGetfdFlags::empty()).ok()
            })
            .filter(|socket| sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX))
            .filter(|socket| {
                let peer = sockopt::socket_peercred(socket);
                peer.is_ok_and(|peer| peer.pid.as_raw_nonzero().get() == bridge.pid)
            })
            .collect();
        Self { sockets }
    }

    /// Cuts it, for both ends. Says whether there was one.
    pub fn cut(&self) -> bool {
        for socket in &self.sockets {
            // It may have been cut already.
            let _ = shutdown(socket, Shutdown::Both);
        }
        !self.sockets.is_empty()
    }
}

/// A cable between a session's bridge and the gateway. Dropping it pulls it out, and gives the
/// gateway its socket back.
pub struct LinkCable {
    directory: PathBuf,
    /// Of the socket that has the gateway's name.
    inode: u64,
    wire: Arc<Wire>,
    _pulled_out: DropGuard,
}

impl LinkCable {
    pub(crate) async fn plug_in(directory: &Path, tracker: &TaskTracker) -> Self {
        let (path, aside) = (directory.join(SOCKET), directory.join(MOVED_ASIDE));
        // The gateway binds the socket a moment after the session is there. Whoever moves it
        // aside sees that at once, or not at all: the bridge may have dialled.
        crate::within("the gateway has a dial socket", async {
            while std::fs::rename(&path, &aside).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let held = std::fs::File::open(directory).expect("the folder is there");
        let bound = format!("/proc/self/fd/{}/{SOCKET}", held.as_raw_fd());
        let listener = UnixListener::bind(&bound).expect("the socket's name is free");
        std::fs::set_permissions(&bound, std::fs::Permissions::from_mode(0o666)).expect("opened");
        let inode = std::fs::metadata(&bound).expect("it was bound").ino();
        let listener = Arc::new(listener);
        let accept = move || {
            let listener = listener.clone();
            async move { Ok(listener.accept().await?.0) }
        };
        let dial = move || {
            let aside = aside.clone();
            async move { connect(&aside).await }
        };
        let (wire, pulled_out) = Wire::plug_in(accept, dial, tracker);
        Self { directory: directory.into(), inode, wire, _pulled_out: pulled_out }
    }

    /// Breaks the link. The bridge's next dial passes.
    pub fn cut(&self) {
        self.wire.cut();
    }

    /// Breaks the link once so many more bytes have come from the bridge.
    pub fn cut_after(&self, bytes: u64) {
        self.wire.up.cut_after(bytes);
    }

    /// Loses the next message from the gateway that has these words in it, and the link with it.
    pub fn loses(&self, words: &'static str) {
        self.wire.down.lose(words);
    }

    /// Waits until it has been cut more often than `before`.
    pub async fn is_cut(&self, before: u64) {
        self.wire.is_cut(before).await;
    }

    /// How often it was cut.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.wire.cuts()
    }

    /// How many dials it has carried.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.wire.carried()
    }
}

impl Drop for LinkCable {
    fn drop(&mut self) {
        let (path, aside) = (self.directory.join(SOCKET), self.directory.join(MOVED_ASIDE));
        // A gateway that was started meanwhile has put a socket of its own there.
        let done = match path.metadata() {
            Ok(about) if about.ino() == self.inode => std::fs::rename(&aside, &path),
            _ => std::fs::remove_file(&aside),
        };
        // The session may have ended, and its directory with it.
        let _ = done;
    }
}

/// Connects to a socket whose path may be longer than an address holds.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let folder = std::fs::File::open(path.parent().expect("a socket lies in a folder"))?;
    let name = path.file_name().expect("a socket has a name").to_string_lossy();
    UnixStream::connect(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())).await
}
