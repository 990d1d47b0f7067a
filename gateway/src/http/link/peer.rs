//! Who is at the other end of a session's dial socket, as the kernel tells it. Knows nothing of what
//! that process says.

use tokio::net::UnixStream;

/// Who dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// The first process of a sandbox: its bridge.
    Bridge,
    /// Another process inside a sandbox: what the bridge runs, or was talked into running.
    Program,
    /// A process beside the gateway, in no sandbox; or one of which the kernel says nothing.
    Neighbour,
}

impl Peer {
    /// The process that connected this stream.
    pub(super) fn of(stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let status = pid.and_then(|pid| std::fs::read(format!("/proc/{pid}/status")).ok());
        status.map_or(Self::Neighbour, |status| Self::from_status(&status))
    }

    /// By the process ids that it has in each namespace from the gateway's own inwards (`NSpid`,
    /// proc_pid_status(5)): nobody inside can make a namespace of their own to be first in.
    fn from_status(status: &[u8]) -> Self {
        let ids = status.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"));
        let ids = ids.unwrap_or_default().split(u8::is_ascii_whitespace);
        let inner = ids.filter(|id| !id.is_empty()).skip(1);
        match inner.last() {
            None => Self::Neighbour,
            Some(b"1") => Self::Bridge,
            Some(_) => Self::Program,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandboxs_first_process_is_its_bridge_and_no_other_is() {
        let of =
            |line: &str| Peer::from_status(format!("Name:\tNSpid:\n{line}\nPid:\t1\n").as_bytes());
        assert_eq!(of("NSpid:\t4711\t1"), Peer::Bridge);
        assert_eq!(of("NSpid:\t4711\t12\t1"), Peer::Bridge);
        assert_eq!(of("NSpid:\t4711\t2"), Peer::Program);
        assert_eq!(of("NSpid:\t4711\t1\t7"), Peer::Program);
        assert_eq!(of("NSpid:\t1"), Peer::Neighbour);
        assert_eq!(of("Uid:\t0"), Peer::Neighbour);
    }

    #[tokio::test]
    async fn who_connects_from_beside_the_gateway_is_its_neighbour() {
        let (_theirs, ours) = UnixStream::pair().unwrap();
        assert_eq!(Peer::of(&ours), Peer::Neighbour);
    }
}
