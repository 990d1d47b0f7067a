//! The task listener of this machine: one Unix socket a session, in a directory of its own, which
//! fixes the session whatever the path says. Knows who calls by what the kernel tells of them.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::peer::Peer;
use super::{Caller, Door, Turns, serve_call, session_of, status};
use crate::admission::DialPermit;
use crate::relay::Budget;
use crate::transport::Transport;

/// Calls a second of programs inside that are turned away without a pause, and ten times as many at
/// once; and the pause after each one beyond. It keeps a flood from costing the gateway a processor,
/// and is short enough for the bridge to find room among what waits.
const PROGRAMS_PER_SECOND: u32 = 500;
const PROGRAM_PAUSE: Duration = Duration::from_millis(1);

/// Opens a session's dial socket and serves it until the returned task is aborted.
pub(super) fn listen(door: Arc<Door>) -> io::Result<JoinHandle<()>> {
    let listener = bind(&door.core.dial_directory(door.id))?;
    let tracker = door.core.tracker.clone();
    Ok(tracker.spawn(async move {
        let mut programs = Budget::new(PROGRAMS_PER_SECOND, door.now_ms());
        loop {
            match listener.accept().await {
                // What runs inside may reach the socket as its bridge does, and has no business
                // here. Of one that is gone by now nobody can say whether it ran inside: it is no
                // bridge, and shall not take the bridge's turn.
                Ok((stream, _)) => match Peer::of(&stream) {
                    Peer::Bridge => greet(&door, &door.bridge, stream),
                    Peer::Neighbour => greet(&door, &door.others, stream),
                    Peer::Program if programs.take(door.now_ms()) => {}
                    Peer::Program => tokio::time::sleep(PROGRAM_PAUSE).await,
                },
                Err(error) => {
                    tracing::warn!(session = %door.id, %error, "a dial was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }))
}

/// The socket's path may be longer than an address holds (108 bytes), so it is bound by way of an
/// open directory. An older socket, of a gateway that is gone, is replaced.
fn bind(directory: &Path) -> io::Result<UnixListener> {
    // Inside the private state directory, so only who gets this very directory bound into their
    // sandbox can get here.
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let held = std::fs::File::open(directory)?;
    // As a service the gateway lets nobody into what it makes, but the sandbox's user has to get in.
    held.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    let path = format!("/proc/self/fd/{}/dial.sock", std::os::fd::AsRawFd::as_raw_fd(&held));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// The first call of a session without a link has the link's own descriptor, others have to find
/// one; `Err` where there is none.
fn descriptor(door: &Door, others: u32) -> Result<Option<DialPermit>, ()> {
    if others == 0 && door.view.borrow().relay.is_none() {
        return Ok(None);
    }
    door.core.admission.take_dial().map(Some).map_err(|_| ())
}

fn greet(door: &Arc<Door>, turns: &Turns, stream: UnixStream) {
    if !turns.spend(door.now_ms()) {
        return;
    }
    let taken = turns.place().and_then(|(place, others)| {
        let descriptor = descriptor(door, others).ok()?;
        Some((place, descriptor))
    });
    let Some((place, descriptor)) = taken else {
        tracing::debug!(session = %door.id, "there is no place for a dial");
        return;
    };
    let permit = descriptor.map(Arc::new);
    let caller = Arc::new(Caller {
        binding: None,
        address: None,
        _place: place,
        _permit: permit,
        _stranger: None,
    });
    let door = door.clone();
    door.core.tracker.clone().spawn(async move {
        if !knows(&door, &stream).await {
            return;
        }
        let serving = serve_call(Transport::from(stream), |request| {
            let (door, caller) = (door.clone(), caller.clone());
            async move {
                match session_of(request.uri().path()) {
                    Some(id) if id == door.id => door.answer(request, &caller).await,
                    Some(_) | None => status(StatusCode::NOT_FOUND),
                }
            }
        });
        serving.await;
    });
}

/// Whether it is the session's own user, or the gateway's, who calls: the kernel says so.
async fn knows(door: &Door, stream: &UnixStream) -> bool {
    let Ok(peer) = stream.peer_cred() else { return false };
    let own = nix::unistd::geteuid().as_raw();
    let known = peer.uid() == own
        || door.core.uid_of(&door.user_key).await.is_ok_and(|uid| uid == peer.uid());
    if !known {
        tracing::warn!(session = %door.id, uid = peer.uid(), "somebody else dialled");
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_users_sandbox_gets_to_the_socket_also_where_the_gateway_keeps_its_files_to_itself() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("dial");
        // As under the service's UMask=0077.
        std::fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
        let _listener = bind(&directory).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o755);
        assert_eq!(mode(&directory.join("dial.sock")), 0o666);
    }
}
