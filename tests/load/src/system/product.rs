//! Shellgate as a system: the real gateway with limits raised, and real sandboxes with the real
//! bridge, or sandboxes around nothing with simulated bridges. Speaks the public API only.

use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use shellgate_protocol::client_leg::Phase;
use shellgate_protocol::{CLIENT_SUBPROTOCOL, ToClient};
use tokio::time::{Duration, Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::crowd::Crowd;
use super::{Left, Wish, free_port, plain};
use crate::conversation::Conversation;
use crate::http;
use crate::processes::{Family, Role};
use crate::session::{Session, Ws, connect};
use crate::work::Work;

/// How long a session may take to be attached.
const ATTACHED: Duration = Duration::from_secs(60);

/// How long a gateway may take to be ready, and how often it is asked.
const READY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// How long a token holds, in seconds: longer than any run.
const TOKEN_SECONDS: u64 = 6 * 3600;

/// Who issues them.
const ISSUER: &str = "https://load.invalid";

/// What stands in for the bridge where bridges are simulated: it does nothing, and stays.
const NOTHING: &str = "#!/bin/sh\nexec sleep infinity\n";

/// The programs that are measured.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The product's gateway.
    pub gateway: PathBuf,
    /// The product's bridge.
    pub bridge: PathBuf,
    /// The bare gateway and its bridge.
    pub floor: PathBuf,
}

/// Who is at the other end of the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bridges {
    /// The product's bridge, in its sandbox, with a shell.
    Real,
    /// The generator; the sandboxes are empty.
    Simulated,
}

/// A gateway that runs.
pub struct Product {
    address: SocketAddr,
    token: String,
    crowd: Option<Crowd>,
}

impl Product {
    /// Starts it.
    pub async fn start(
        family: &Family,
        place: &Path,
        work: &Work,
        programs: &Programs,
        bridges: Bridges,
    ) -> Result<Self> {
        let (address, admin) = (free_port()?, free_port()?);
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no random numbers"))?;
        // As text: a line end after a file's secret is not part of it.
        let secret = shellgate_protocol::enrolment::encode(&secret);
        write_private(&place.join("issuer.secret"), secret.as_bytes())?;
        // Sandboxes run as other users, who must be able to walk to it.
        let nothing = place.join("nothing");
        std::fs::write(&nothing, NOTHING)?;
        std::fs::set_permissions(&nothing, std::fs::Permissions::from_mode(0o755))?;
        let bridge = match bridges {
            Bridges::Real => &programs.bridge,
            Bridges::Simulated => &nothing,
        };
        let state = place.join("state");
        let config = place.join("gateway.toml");
        std::fs::write(&config, configuration(address, admin, bridge, work))?;
        let log = place.join("gateway.log");
        let mut command = Command::new(&programs.gateway);
        plain(&mut command, place);
        command.arg("--config").arg(&config).arg("serve");
        family.start(Role::Gateway, command, &log)?;
        family.listens(admin, &log).await?;
        // The port is open before everything is ready; until then it says what it waits for.
        let ready = async {
            while http::request(admin, "GET", "/readyz", "", "").await?.status != 200 {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        };
        timeout(READY, ready).await.with_context(|| format!("not ready within {READY:?}"))??;
        let crowd = match bridges {
            Bridges::Real => None,
            Bridges::Simulated => Some(Crowd::new(&state)?),
        };
        Ok(Self { address, token: token(secret.as_bytes())?, crowd })
    }

    /// Asks for a session and attaches to it; the session's `phases` tell what took how long.
    pub async fn open(&self, wish: Wish) -> Result<Session> {
        let began = Instant::now();
        let template = if wish.login { "default" } else { "load" };
        let body = json!({ "template": template }).to_string();
        let answer =
            http::request(self.address, "POST", "/v1/sessions", &self.token, &body).await?;
        if answer.status != 201 {
            bail!("POST /v1/sessions: {} {}", answer.status, answer.body);
        }
        let made: Value = serde_json::from_str(&answer.body)?;
        let id = made.get("id").and_then(Value::as_str).context("no id")?.to_owned();
        let mut clock = Clock { since: began, phase: "post", phases: Vec::new() };
        clock.enter("connect");
        let talk = Conversation::new();
        let attached = self.dial(wish.number, id, talk, wish.read_buffer, &mut clock);
        let mut session = timeout(ATTACHED, attached).await.context("not attached in time")??;
        clock.enter("");
        session.phases = clock.phases;
        Ok(session)
    }

    /// Comes back to a session.
    pub async fn attach(&self, left: &Left) -> Result<Session> {
        let mut clock = Clock { since: Instant::now(), phase: "connect", phases: Vec::new() };
        let (id, talk) = (left.id.clone(), left.conversation.clone());
        let attached = self.dial(left.number, id, talk, crate::metric::BUFFER, &mut clock);
        timeout(ATTACHED, attached).await.context("not attached in time")?
    }

    async fn dial(
        &self,
        number: usize,
        id: String,
        mut talk: Conversation,
        read_buffer: usize,
        clock: &mut Clock,
    ) -> Result<Session> {
        let bearer = format!("Bearer {}", self.token);
        let headers =
            [("authorization", bearer.as_str()), ("sec-websocket-protocol", CLIENT_SUBPROTOCOL)];
        let path = format!("/v1/sessions/{id}/attach");
        let mut ws: Ws = connect(self.address, &path, &headers, read_buffer).await?;
        ws.send(Message::text(talk.attach()?)).await?;
        let mut crowd = self.crowd.as_ref();
        loop {
            match ws.next().await.context("the gateway hung up")?? {
                Message::Text(text) => match talk.control(&text)? {
                    ToClient::Attached { .. } => break,
                    ToClient::Starting { phase, .. } => {
                        clock.enter(name_of(phase));
                        // No bridge dials before its sandbox runs.
                        if let Some(crowd) = crowd.take_if(|_| phase == Phase::Dialling) {
                            crowd.serve(&id)?;
                        }
                    }
                    _ => {}
                },
                Message::Close(frame) => bail!("session {id}: closed with {frame:?}"),
                _ => {}
            }
        }
        Ok(Session::over_ws(number, id, ws, Some(talk)))
    }
}

/// Splits the time that passes by what is going on.
struct Clock {
    since: Instant,
    phase: &'static str,
    phases: Vec<(&'static str, f64)>,
}

impl Clock {
    fn enter(&mut self, phase: &'static str) {
        if phase == self.phase {
            return;
        }
        let now = Instant::now();
        self.phases.push((self.phase, (now - self.since).as_secs_f64() * 1e3));
        (self.since, self.phase) = (now, phase);
    }
}

fn name_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "queued",
        Phase::Volume => "volume",
        Phase::Secrets => "secrets",
        Phase::Task => "task",
        Phase::Dialling => "dialling",
        Phase::Reconnecting => "reconnecting",
    }
}

/// Defaults but for what a load of one user from one address needs.
fn configuration(client: SocketAddr, admin: SocketAddr, bridge: &Path, work: &Work) -> String {
    let bridge = toml_text(bridge);
    let skeleton = toml_text(&work.files());
    format!(
        "[server]\nstate_dir = \"state\"\ndrain = \"60s\"\n\
         [log]\nformat = \"plain\"\nfilter = \"warn\"\n\
         [listen]\nclient = \"{client}\"\nadmin = \"{admin}\"\nmax_connections = 20000\n\
         unauthenticated_per_address = 1000\n\
         [[auth.issuers]]\nissuer = \"{ISSUER}\"\naudience = [\"shellgate\"]\n\
         [[auth.issuers.keys]]\nalg = \"HS256\"\nsecret_file = \"issuer.secret\"\n\
         [sandbox]\nbridge = {bridge}\n\
         [store]\npath = \"state/shellgate.db\"\n\
         [volumes]\nroot = \"state/volumes\"\nskeleton = {skeleton}\n\
         [secrets]\nfile = \"state/secrets.toml\"\n\
         [limits]\nsessions_per_user = 6000\nsessions = 6000\n\
         starts_per_minute_per_user = 100000\nstart_queue = 6000\nstart_deadline = \"10m\"\n\
         stop_grace = \"0s\"\n\
         [templates.default]\nlifetime = \"1d\"\n\
         [templates.load]\ncommand = [\"bash\", \"--norc\"]\nidle = \"12h\"\nlifetime = \"1d\"\n"
    )
}

/// A path as TOML writes texts: with JSON's escapes, which are a part of TOML's.
fn toml_text(path: &Path) -> String {
    json!(path.to_string_lossy()).to_string()
}

fn token(secret: &[u8]) -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "iss": ISSUER, "aud": "shellgate", "sub": "load", "iat": now, "exp": now + TOKEN_SECONDS,
    });
    let key = EncodingKey::from_secret(secret);
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}
