//! A cable between clients and a gateway that can be cut, stalled and pulled out. Knows TCP, and
//! nothing of what passes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::wire::Wire;
use crate::world::lock;

/// A cable: listens on one side, dials the other for each connection. All its connections share
/// its fate. Dropping it pulls it out.
pub struct Cable {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    wire: Arc<Wire>,
    _pulled_out: DropGuard,
}

impl Cable {
    /// A cable that leads to an address.
    pub(crate) async fn to(target: SocketAddr, tracker: &TaskTracker) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let listener = Arc::new(listener);
        let accept = move || {
            let listener = listener.clone();
            async move { prompt(listener.accept().await?.0) }
        };
        let target = Arc::new(Mutex::new(target));
        let to = target.clone();
        let dial = move || {
            let target = *lock(&to);
            async move { prompt(TcpStream::connect(target).await?) }
        };
        let (wire, pulled_out) = Wire::plug_in(accept, dial, tracker);
        Self { address, target, wire, _pulled_out: pulled_out }
    }

    /// New connections lead to this address, as a balancer's may.
    pub fn leads_to(&self, target: SocketAddr) {
        *lock(&self.target) = target;
    }

    /// Where one plugs in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections. New ones pass.
    pub fn cut(&self) {
        self.wire.cut();
    }

    /// Breaks all connections with a reset, as a machine does that knows nothing of them any more.
    pub fn reset(&self) {
        self.wire.reset();
    }

    /// Breaks all connections once so many more bytes have come from the gateway.
    pub fn cut_after(&self, bytes: u64) {
        self.wire.down.cut_after(bytes);
    }

    /// Breaks all connections once so many more bytes have gone to the gateway.
    pub fn cut_after_sending(&self, bytes: u64) {
        self.wire.up.cut_after(bytes);
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

    /// How many connections it has carried.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.wire.carried()
    }

    /// Nothing passes any more in either direction, and neither end is told.
    pub fn stall(&self) {
        self.wire.stall();
    }

    /// Breaks all connections, and every new one at once.
    pub fn unplug(&self) {
        self.wire.unplug();
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.wire.heal();
    }

    /// Bytes that have gone to the gateway, and come from it, on all connections.
    #[must_use]
    pub fn passed(&self) -> (u64, u64) {
        (self.wire.up.passed(), self.wire.down.passed())
    }
}

/// A connection on which nothing waits for more to come.
fn prompt(stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}
