//! A gateway that does what a test says, at the other end of a real bridge's link.

use std::process::{Child, Command, ExitStatus as ProcessStatus, Stdio};
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use shellgate_protocol::client_leg::{Attach, EndReason, ExitStatus, Mode, Notice, Resume, Role};
use shellgate_protocol::enrolment::{Bytes32, transcript};
use shellgate_protocol::link_leg::{Program, Secret};
use shellgate_protocol::{
    ChannelNumber, ClientId, Dial, Frame, FromBridge, InputStream, Kind, Launch, LinkFrame, Offset,
    SessionId, TerminalSize, ToBridge,
};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::door::{Authority, Dialled, Door, End};

/// Nothing in these tests takes longer on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const BRIDGE: &str = env!("CARGO_BIN_EXE_shellgate-bridge");

pub const LAUNCH: Launch = Launch(3);

pub fn at(offset: usize) -> Offset {
    Offset::new(offset as u64).expect("a test's offsets are small")
}

/// A program on a terminal: a shell script.
pub fn script(text: &str) -> Program {
    Program {
        command: vec!["bash".into(), "--norc".into(), "-c".into(), text.into()],
        mode: Mode::Terminal,
        env: vec![("LANG".into(), "C".into())],
        cwd: None,
        size: TerminalSize::DEFAULT,
        motd: None,
    }
}

pub struct Gateway {
    home: TempDir,
    pub session: SessionId,
    door: Door,
    bridge: Child,
    program: Program,
    pub secrets: Vec<Secret>,
    pub overlap_ms: u64,
    pub orphan_seconds: u64,
}

/// What a bridge said before it was welcomed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    pub token: Option<String>,
    pub key: Bytes32,
    pub dial: Dial,
}

impl Gateway {
    /// Listens, and starts a bridge that dials here.
    pub fn start(program: Program) -> Self {
        Self::start_with(program, Command::new(BRIDGE))
    }

    /// The same, with a bridge that dials over a network.
    pub fn start_over_a_network(program: Program) -> Self {
        let authority = Authority::default();
        let (door, dial) = Door::port(authority.tls("127.0.0.1"));
        let mut bridge = Command::new(BRIDGE);
        bridge.env_clear().env("SHELLGATE_DIAL", dial).env("SHELLGATE_CA", authority.pem());
        Self::start_at(tempfile::tempdir().unwrap(), door, program, bridge)
    }

    /// The same, with the bridge as pid 1 of a pid namespace of its own.
    pub fn start_as_pid_1(program: Program) -> Self {
        let mut bwrap = Command::new("bwrap");
        bwrap.args(["--unshare-user", "--unshare-pid", "--as-pid-1", "--die-with-parent"]);
        bwrap.args(["--dev-bind", "/", "/", "--proc", "/proc", "--", BRIDGE]);
        Self::start_with(program, bwrap)
    }

    fn start_with(program: Program, mut bridge: Command) -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("dial.sock");
        let door = Door::socket(&socket);
        bridge.env_clear().env("SHELLGATE_DIAL", format!("unix:{}", socket.display()));
        Self::start_at(home, door, program, bridge)
    }

    fn start_at(home: TempDir, door: Door, program: Program, mut bridge: Command) -> Self {
        let session = SessionId::generate();
        let bridge = bridge
            .env("PATH", "/usr/bin:/bin")
            .env("SHELLGATE_SESSION", session.to_string())
            .env("SHELLGATE_LAUNCH", LAUNCH.to_string())
            .env("SHELLGATE_TOKEN", "burn-after-reading")
            .env("SHELLGATE_HOME", home.path())
            .env("SHELLGATE_SECRETS_DIR", home.path().join("secrets"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            home,
            session,
            door,
            bridge,
            program,
            secrets: vec![],
            overlap_ms: 0,
            orphan_seconds: 60,
        }
    }

    /// Waits for the next dial, and lets it prove itself; `greet` is still to come.
    pub async fn is_dialled(&self) -> (Link, Introduction) {
        timeout(PATIENCE, self.dialled()).await.expect("the bridge dials")
    }

    async fn dialled(&self) -> (Link, Introduction) {
        let Dialled { stream, binding } = self.door.opens().await.unwrap();
        let mut token = None;
        let path = format!("/internal/task/{}", self.session);
        // The signature is the WebSocket library's.
        #[allow(clippy::result_large_err)]
        let check = |request: &Request, mut answer: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.uri().path(), path);
            let header = |name| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(header("sec-websocket-protocol").as_deref(), Some("shellgate.link.v1"));
            token = header("x-internal-token");
            let protocol = request.headers()["sec-websocket-protocol"].clone();
            answer.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(answer)
        };
        let socket = accept_hdr_async(stream, check).await.unwrap();
        let mut link = Link { socket };
        let FromBridge::Hello { key, nonce, launch, dial, .. } = link.control().await else {
            panic!("no hello")
        };
        assert_eq!(launch, LAUNCH);
        let ours = Bytes32([9; 32]);
        link.says(&ToBridge::Challenge { nonce: ours }).await;
        let FromBridge::Proof { signature } = link.control().await else { panic!("no proof") };
        let text = transcript(&nonce, &ours, self.session, launch, dial, binding.as_ref());
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(&text, &signature.0)
            .expect("a proof that holds");
        (link, Introduction { token, key, dial })
    }

    /// The next link, welcomed.
    pub async fn linked(&self) -> Link {
        let (mut link, _) = self.is_dialled().await;
        self.greet(&mut link).await;
        link
    }

    pub async fn greet(&self, link: &mut Link) {
        let program = self.program.clone();
        let secrets = self.secrets.clone();
        let orphan_seconds = self.orphan_seconds;
        let welcome = ToBridge::Welcome {
            program,
            secrets: Some(secrets),
            overlap_ms: self.overlap_ms,
            orphan_seconds,
            can: vec![],
        };
        link.says(&welcome).await;
    }

    /// Refuses the next dial with this HTTP status.
    pub async fn refuses(&self, status: &str) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let refused = async {
            let mut stream = self.door.opens().await.unwrap().stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        timeout(PATIENCE, refused).await.expect("the bridge dials");
    }

    /// Nobody can be dialled here any more.
    pub fn goes_away(&self) {
        std::fs::remove_file(self.home.path().join("dial.sock")).unwrap();
    }

    /// Waits for the bridge's own end.
    pub async fn sees_the_bridge_leave(&mut self) -> ProcessStatus {
        let left = async {
            loop {
                if let Some(status) = self.bridge.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, left).await.expect("the bridge leaves")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The bridge's end hangs up its terminal, and so ends what runs on it.
        let _ = self.bridge.kill();
        let _ = self.bridge.wait();
    }
}

pub struct Link {
    socket: WebSocketStream<Box<dyn End>>,
}

/// One message of the bridge.
#[derive(Debug)]
pub enum Heard {
    Control(FromBridge),
    Frame(ChannelNumber, Frame),
}

impl Link {
    pub async fn says(&mut self, message: &ToBridge) {
        let text = serde_json::to_string(message).unwrap();
        timeout(PATIENCE, self.socket.send(Message::text(text))).await.unwrap().unwrap();
    }

    /// Waits for the screen that a channel is shown; tells whether it was said to be incomplete.
    pub async fn shows_a_partial_screen(&mut self, watching: ChannelNumber) -> bool {
        let mut partial = false;
        loop {
            match self.hears().await {
                Heard::Control(FromBridge::Notice { channel, notice: Notice::PartialKeyframe }) => {
                    partial |= channel == watching;
                }
                Heard::Frame(channel, frame) if channel == watching => {
                    assert_eq!(frame.kind, Kind::Keyframe);
                    return partial;
                }
                _ => {}
            }
        }
    }

    pub async fn hears(&mut self) -> Heard {
        let message =
            timeout(PATIENCE, self.socket.next()).await.expect("the bridge says something");
        match message.expect("the link stands").expect("the link stands") {
            Message::Text(text) => Heard::Control(serde_json::from_str(&text).unwrap()),
            Message::Binary(bytes) => {
                let LinkFrame { channel, inner } = LinkFrame::parse(bytes).unwrap();
                Heard::Frame(channel, Frame::to_client(inner).unwrap())
            }
            other => panic!("not a message of the link leg: {other:?}"),
        }
    }

    /// The next control message that is neither log nor stats.
    pub async fn control(&mut self) -> FromBridge {
        loop {
            match self.hears().await {
                Heard::Control(FromBridge::Log { .. } | FromBridge::Stats(_))
                | Heard::Frame(..) => {}
                Heard::Control(control) => return control,
            }
        }
    }

    pub async fn frame(&mut self, channel: ChannelNumber, frame: Frame) {
        let message = LinkFrame { channel, inner: frame.to_bytes() }.to_bytes();
        timeout(PATIENCE, self.socket.send(Message::Binary(message))).await.unwrap().unwrap();
    }

    /// Opens a channel, and waits until the bridge says where it goes on.
    pub async fn opens(&mut self, number: u32, client: &Client) -> Opened {
        let channel = ChannelNumber(number);
        self.says(&ToBridge::Open { channel, attach: client.attach() }).await;
        loop {
            match self.control().await {
                FromBridge::Attached { channel: theirs, output, input, .. }
                    if theirs == channel =>
                {
                    return Opened {
                        channel,
                        from: output.from,
                        resume: output.resume,
                        applied: input.applied,
                    };
                }
                FromBridge::Refused { why, .. } => panic!("refused: {why:?}"),
                _ => {}
            }
        }
    }

    pub async fn closes(&mut self, channel: ChannelNumber, drop_input: bool) -> Offset {
        self.says(&ToBridge::Close { channel, drop_input }).await;
        loop {
            if let FromBridge::Closed { channel: theirs, applied } = self.control().await
                && theirs == channel
            {
                return applied;
            }
        }
    }

    pub async fn stops(&mut self) {
        self.says(&ToBridge::Stop { reason: EndReason::Stopped, grace_ms: 200 }).await;
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Opened {
    pub channel: ChannelNumber,
    pub from: Offset,
    pub resume: Resume,
    pub applied: Offset,
}

/// What a client knows from one link to the next.
#[derive(Debug)]
pub struct Client {
    pub role: Role,
    pub stream: InputStream,
    pub window: u32,
    /// All output so far, from the offset at which this client began.
    pub output: Vec<u8>,
    pub begins: Offset,
    pub launch: Option<Launch>,
    /// Whether it acknowledges what it gets.
    pub acknowledges: bool,
    pub exit: Option<ExitStatus>,
    /// Whether it comes without an offset.
    pub wants_the_screen: bool,
    pub lets_keyframes_pass: bool,
    pub applied: Offset,
    /// Bytes that came as kind 1.
    pub replayed: usize,
    pub told: Vec<FromBridge>,
}

impl Client {
    pub fn driver() -> Self {
        Self {
            role: Role::Driver,
            stream: InputStream::random(),
            window: 256 * 1024,
            output: Vec::new(),
            begins: Offset::ZERO,
            launch: Some(LAUNCH),
            acknowledges: true,
            exit: None,
            wants_the_screen: false,
            lets_keyframes_pass: false,
            applied: Offset::ZERO,
            replayed: 0,
            told: Vec::new(),
        }
    }

    pub fn observer() -> Self {
        Self { role: Role::Observer, ..Self::driver() }
    }

    pub fn knows_up_to(&self) -> Offset {
        self.begins.plus(self.output.len() as u64)
    }

    pub fn attach(&self) -> Attach {
        Attach {
            role: self.role,
            client: ClientId::from_bits(1),
            takeover: false,
            launch: self.launch,
            output: (!self.wants_the_screen).then(|| self.knows_up_to()),
            input_stream: self.stream,
            size: TerminalSize::DEFAULT,
            window: self.window,
            can: vec![],
        }
    }

    /// Types, from this offset of its stream on.
    pub async fn types(&self, link: &mut Link, opened: Opened, from: usize, bytes: &[u8]) {
        for (n, piece) in bytes.chunks(16 * 1024).enumerate() {
            let offset = at(from + n * 16 * 1024);
            let payload = Bytes::copy_from_slice(piece);
            link.frame(opened.channel, Frame { kind: Kind::Data, offset, payload }).await;
        }
    }

    /// Takes the next message that is for it.
    pub async fn takes(&mut self, link: &mut Link, opened: Opened) {
        match link.hears().await {
            Heard::Frame(channel, frame) if channel == opened.channel => {
                self.takes_frame(link, opened, frame).await;
            }
            Heard::Control(FromBridge::Exit { channel: Some(channel), at, status })
                if channel == opened.channel =>
            {
                assert_eq!(at, self.knows_up_to(), "the exit stands at the end of the output");
                self.exit = Some(status);
            }
            Heard::Control(FromBridge::Refused { channel, why }) if channel == opened.channel => {
                panic!("refused: {why:?}")
            }
            Heard::Control(control) => self.told.push(control),
            Heard::Frame(..) => {}
        }
    }

    async fn takes_frame(&mut self, link: &mut Link, opened: Opened, frame: Frame) {
        match frame.kind {
            Kind::Data | Kind::Replay => {
                assert_eq!(frame.offset, self.knows_up_to(), "no byte lost, none repeated");
                self.output.extend_from_slice(&frame.payload);
                if frame.kind == Kind::Replay {
                    self.replayed += frame.payload.len();
                }
                if self.acknowledges {
                    self.acknowledge(link, opened).await;
                }
            }
            Kind::Applied => {
                assert!(frame.offset >= self.applied, "applied only grows");
                self.applied = frame.offset;
            }
            Kind::Keyframe if self.lets_keyframes_pass => {}
            Kind::Keyframe | Kind::Ack => panic!("not expected: {frame:?}"),
        }
    }

    pub async fn acknowledge(&mut self, link: &mut Link, opened: Opened) {
        let offset = self.knows_up_to();
        let ack = Frame { kind: Kind::Ack, offset, payload: Bytes::new() };
        link.frame(opened.channel, ack).await;
    }

    /// Takes messages until this text is in its output; tells where in it.
    pub async fn sees(&mut self, link: &mut Link, opened: Opened, text: &str) -> usize {
        loop {
            let found = self.output.windows(text.len()).position(|piece| piece == text.as_bytes());
            if let Some(found) = found {
                return found;
            }
            self.takes(link, opened).await;
        }
    }

    /// Takes messages until its output ends so.
    pub async fn sees_at_the_end(&mut self, link: &mut Link, opened: Opened, text: &str) {
        while !self.output.ends_with(text.as_bytes()) {
            self.takes(link, opened).await;
        }
    }

    /// Takes messages until it has so many bytes.
    pub async fn has(&mut self, link: &mut Link, opened: Opened, bytes: usize) {
        while self.output.len() < bytes {
            self.takes(link, opened).await;
        }
    }
}
