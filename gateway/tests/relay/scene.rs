//! A relay, the bridge whose link it has, and the clients that join it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::mpsc;
use futures_util::{SinkExt, StreamExt};
use shellgate_gateway::auth::UserId;
use shellgate_gateway::clock;
use shellgate_gateway::relay::{
    Activity, Arrival, Command, Dialect, Down, Joining, News, PLAIN_MESSAGE_MAX, Relay, Setting,
};
use shellgate_gateway::transport::Transport;
use shellgate_gateway::websocket::{self, Largest};
use shellgate_protocol::client_leg::{Attach, InputStart, Mode, OutputStart, Resume, Role};
use shellgate_protocol::frame::Frame;
use shellgate_protocol::{
    ChannelNumber, ClientId, CloseCode, FromBridge, FromClient, InputStream, Kind, Launch,
    LinkFrame, Offset, SessionId, TerminalSize, ToBridge, ToClient,
};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol;
use tokio_util::task::TaskTracker;

/// No wait of a test lasts longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn at(offset: u64) -> Offset {
    Offset::new(offset).expect("below 2^53")
}

/// How long a client may stay whose token has run out.
pub const GRACE: Duration = Duration::from_secs(10);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen"),
    }
}

type Near = WebSocketStream<UnixStream>;

async fn sockets(largest: Largest) -> (Near, websocket::Socket) {
    let (near, far) = UnixStream::pair().expect("a pair of sockets");
    let near = WebSocketStream::from_raw_socket(near, protocol::Role::Client, None).await;
    (near, websocket::serve(Transport::from(far), Vec::new(), largest).await)
}

/// A relay that runs.
pub struct Scene {
    pub commands: mpsc::Sender<Command>,
    pub news: mpsc::Receiver<News>,
    pub activity: Arc<Activity>,
    pub down: JoinHandle<Down>,
    pub tracker: TaskTracker,
}

impl Scene {
    pub async fn begins() -> (Self, Bridge) {
        let (near, far) = sockets(Largest { read: 256 * 1024, written: 256 * 1024 }).await;
        let (news_to, news) = mpsc::channel(64);
        let activity = Arc::new(Activity::default());
        let tracker = TaskTracker::new();
        let setting = Setting {
            session: SessionId::generate(),
            launch: Launch(1),
            mode: Mode::Terminal,
            activity: activity.clone(),
            news: news_to,
            tracker: tracker.clone(),
            grace: GRACE,
        };
        let (relay, commands) = Relay::new(setting, far);
        let down = tracker.spawn(relay.run());
        (Self { commands, news, activity, down, tracker }, Bridge(near))
    }

    pub async fn command(&self, command: Command) {
        assert!(self.commands.clone().send(command).await.is_ok(), "the relay has ended");
    }

    /// Somebody comes; the bridge has not answered yet.
    pub async fn joins(&self, visitor: Visitor) -> Client {
        let written = visitor.written.unwrap_or_else(|| visitor.dialect.largest_message());
        let (near, socket) = sockets(Largest { read: PLAIN_MESSAGE_MAX, written }).await;
        let (permit, returned) = oneshot::channel();
        let attach = Attach {
            role: visitor.role,
            client: visitor.client,
            takeover: visitor.takeover,
            launch: None,
            output: None,
            input_stream: InputStream::random(),
            size: TerminalSize::DEFAULT,
            window: visitor.window,
            can: visitor.can,
        };
        let arrival = Arrival {
            order: visitor.order,
            role: visitor.role,
            client: visitor.client,
            user: UserId::new("https://issuer.example", "ada").expect("a user"),
            socket,
            dialect: visitor.dialect,
            window: visitor.window,
            authentic_until: visitor.authentic_until,
            permit: Box::new(permit),
            hops: 0,
        };
        self.command(Command::Join(Box::new(Joining { attach, arrival }))).await;
        Client { socket: near, channel: ChannelNumber(0), permit: returned }
    }

    /// Somebody comes and is let in: output and input start at 0.
    pub async fn lets_in(&self, bridge: &mut Bridge, visitor: Visitor) -> Client {
        let framed = matches!(visitor.dialect, Dialect::V1);
        let mut client = self.joins(visitor).await;
        client.channel = bridge.is_told_to_open().await;
        bridge.attaches(client.channel).await;
        if framed {
            assert!(matches!(client.hears().await, ToClient::Attached { .. }));
        }
        client
    }

    /// The next news but those of clients that have come.
    pub async fn learns(&mut self) -> Option<News> {
        loop {
            match soon("news", self.news.next()).await {
                Some(News::Opened(_)) => {}
                news => return news,
            }
        }
    }

    /// How the relay ended.
    pub async fn ends(self) -> Down {
        soon("the relay's end", self.down).await.expect("no panic")
    }
}

/// Who comes.
pub struct Visitor {
    pub order: u64,
    pub role: Role,
    pub client: ClientId,
    pub takeover: bool,
    pub window: u32,
    pub dialect: Dialect,
    /// The largest message that its socket takes, where that is not its dialect's.
    pub written: Option<usize>,
    pub authentic_until: Instant,
    pub can: Vec<String>,
}

pub fn driver() -> Visitor {
    Visitor {
        order: 0,
        role: Role::Driver,
        client: ClientId::random(),
        takeover: false,
        window: 64 * 1024,
        dialect: Dialect::V1,
        written: None,
        authentic_until: clock::instant_of(i64::MAX),
        can: Vec::new(),
    }
}

pub fn observer() -> Visitor {
    Visitor { role: Role::Observer, ..driver() }
}

/// The bridge's end of the link.
pub struct Bridge(pub Near);

impl Bridge {
    pub async fn says(&mut self, message: &FromBridge) {
        let text = serde_json::to_string(message).expect("JSON");
        soon("the bridge's word", self.0.send(Message::text(text))).await.expect("sent");
    }

    pub async fn sends(&mut self, channel: ChannelNumber, kind: Kind, offset: u64, bytes: &[u8]) {
        self.tries_to_send(channel, kind, offset, bytes).await.expect("sent");
    }

    pub async fn tries_to_send(
        &mut self,
        channel: ChannelNumber,
        kind: Kind,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let frame = Frame { kind, offset: at(offset), payload: Bytes::copy_from_slice(bytes) };
        let message = LinkFrame { channel, inner: frame.to_bytes() }.to_bytes();
        soon("the bridge's frame", self.0.send(Message::Binary(message))).await
    }

    pub async fn attaches(&mut self, channel: ChannelNumber) {
        self.says(&FromBridge::Attached {
            channel,
            output: OutputStart { from: Offset::ZERO, resume: Resume::Exact },
            input: InputStart { applied: Offset::ZERO },
            size: TerminalSize::DEFAULT,
        })
        .await;
    }

    async fn next(&mut self) -> Message {
        loop {
            match soon("a message for the bridge", self.0.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return message,
                other => panic!("the link broke: {other:?}"),
            }
        }
    }

    pub async fn hears(&mut self) -> ToBridge {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).expect("control"),
            other => panic!("no control: {other:?}"),
        }
    }

    pub async fn is_told_to_open(&mut self) -> ChannelNumber {
        match self.hears().await {
            ToBridge::Open { channel, .. } => channel,
            other => panic!("no open: {other:?}"),
        }
    }

    pub async fn is_told_to_close(&mut self) -> (ChannelNumber, bool) {
        match self.hears().await {
            ToBridge::Close { channel, drop_input } => (channel, drop_input),
            other => panic!("no close: {other:?}"),
        }
    }

    pub async fn gets(&mut self) -> (ChannelNumber, Frame) {
        match self.next().await {
            Message::Binary(bytes) => {
                let frame = LinkFrame::parse(bytes).expect("a frame");
                (frame.channel, Frame::from_client(frame.inner).expect("a client's frame"))
            }
            other => panic!("no frame: {other:?}"),
        }
    }
}

/// A client's end of its socket.
pub struct Client {
    pub socket: Near,
    pub channel: ChannelNumber,
    /// Resolves once what the client held is given back.
    pub permit: oneshot::Receiver<()>,
}

impl Client {
    pub async fn says(&mut self, message: &FromClient) {
        let text = serde_json::to_string(message).expect("JSON");
        self.sends(Message::text(text)).await;
    }

    pub async fn sends(&mut self, message: Message) {
        soon("the client's message", self.socket.send(message)).await.expect("sent");
    }

    pub async fn types(&mut self, offset: u64, bytes: &[u8]) {
        let payload = Bytes::copy_from_slice(bytes);
        let frame = Frame { kind: Kind::Data, offset: at(offset), payload };
        self.sends(Message::Binary(frame.to_bytes())).await;
    }

    pub async fn acknowledges(&mut self, offset: u64) {
        let frame = Frame { kind: Kind::Ack, offset: at(offset), payload: Bytes::new() };
        self.sends(Message::Binary(frame.to_bytes())).await;
    }

    pub async fn next(&mut self) -> Message {
        loop {
            match soon("a message for the client", self.socket.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return message,
                other => panic!("the client's connection broke: {other:?}"),
            }
        }
    }

    pub async fn hears(&mut self) -> ToClient {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).expect("control"),
            other => panic!("no control: {other:?}"),
        }
    }

    pub async fn sees(&mut self) -> Frame {
        match self.next().await {
            Message::Binary(bytes) => Frame::to_client(bytes).expect("a frame"),
            other => panic!("no frame: {other:?}"),
        }
    }

    /// Reads until the connection closes; with which code?
    pub async fn is_closed_with(&mut self) -> CloseCode {
        loop {
            match self.next().await {
                Message::Close(Some(frame)) => {
                    return CloseCode::from_u16(frame.code.into()).expect("one of ours");
                }
                Message::Close(None) => panic!("closed without a code"),
                _ => {}
            }
        }
    }
}
