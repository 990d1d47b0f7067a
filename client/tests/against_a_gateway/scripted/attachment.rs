//! The scripted gateway's end of one attachment, and the bridge behind it.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use shellgate_protocol::client_leg::{
    Attach, EndReason, ExitStatus, GapReason, InputStart, Limits, Notice, OutputStart, Phase,
    Resume,
};
use shellgate_protocol::credit::Credit;
use shellgate_protocol::{
    CloseCode, Frame, FromClient, InputStream, Kind, Launch, Offset, ToClient,
};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{Play, Shared};

/// One client's connection.
pub struct Attachment {
    pub shared: Arc<Shared>,
    pub socket: WebSocketStream<TcpStream>,
    pub play: Option<Play>,
    pub frames: usize,
    pub credit: Option<Credit>,
    pub stream: Option<InputStream>,
    pub exit_at: Option<u64>,
    pub launch: u32,
}

/// The connection is over.
pub struct Over;

impl<E: std::error::Error> From<E> for Over {
    fn from(_: E) -> Self {
        Self
    }
}

impl Attachment {
    pub async fn run(&mut self) -> Result<(), Over> {
        loop {
            let shared = self.shared.clone();
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.state.lock().unwrap().launch != self.launch {
                return self.closes(CloseCode::LinkLost.number(), "").await;
            }
            self.sends_output().await?;
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(message)) => self.hears(message).await?,
                    Some(Err(_)) | None => return Err(Over),
                },
                () = &mut changed => {}
            }
        }
    }

    async fn says(&mut self, message: &ToClient) -> Result<(), Over> {
        let text = serde_json::to_string(message).unwrap();
        Ok(self.socket.send(Message::Text(text.into())).await?)
    }

    async fn sends(&mut self, kind: Kind, offset: u64, payload: Vec<u8>) -> Result<(), Over> {
        let offset = Offset::new(offset).unwrap();
        let frame = Frame { kind, offset, payload: payload.into() };
        self.socket.send(Message::Binary(frame.to_bytes())).await?;
        self.counts().await
    }

    async fn closes(&mut self, code: u16, reason: &'static str) -> Result<(), Over> {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.close(Some(frame)).await?;
        while let Some(Ok(_)) = self.socket.next().await {}
        Err(Over)
    }

    /// One more frame has passed: is it time for the script's turn?
    async fn counts(&mut self) -> Result<(), Over> {
        self.frames += 1;
        match self.play {
            Some(Play::Cut(after)) if self.frames > after => Err(Over),
            Some(Play::CloseAfter(after, code)) if self.frames > after => {
                self.closes(code, "").await
            }
            Some(Play::Goaway(after)) if self.frames > after => {
                self.play = None;
                self.says(&ToClient::Goaway { retry_ms: 20 }).await
            }
            _ => Ok(()),
        }
    }

    fn fault(&self, fault: String) {
        self.shared.state.lock().unwrap().faults.push(fault);
    }

    async fn hears(&mut self, message: Message) -> Result<(), Over> {
        match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(FromClient::Attach(attach)) => self.attaches(attach).await,
                Ok(control) => self.controls(control).await,
                Err(error) => {
                    self.fault(format!("{text}: {error}"));
                    Err(Over)
                }
            },
            Message::Binary(bytes) => match Frame::from_client(bytes) {
                Ok(frame) => self.takes(frame).await,
                Err(error) => {
                    self.fault(error.to_string());
                    Err(Over)
                }
            },
            Message::Close(frame) => {
                let code = frame.map_or(0, |frame| frame.code.into());
                self.shared.state.lock().unwrap().goodbyes.push(code);
                self.shared.changed.notify_waiters();
                Ok(())
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
        }
    }

    async fn controls(&mut self, control: FromClient) -> Result<(), Over> {
        self.shared.state.lock().unwrap().controls.push(control.clone());
        self.shared.changed.notify_waiters();
        let notice = match control {
            FromClient::Signal { id, .. } => Notice::Signalled { id },
            FromClient::Extend { id } => Notice::Extended { id, seconds: 60 },
            FromClient::Reauth { .. } => {
                self.play = None;
                return Ok(());
            }
            FromClient::Resize(size) => {
                self.shared.state.lock().unwrap().size = size;
                self.shared.changed.notify_waiters();
                return Ok(());
            }
            FromClient::Attach(_) | FromClient::Visible { .. } | FromClient::Ping { .. } => {
                return Ok(());
            }
        };
        self.says(&ToClient::Notice { notice }).await
    }

    async fn attaches(&mut self, attach: Attach) -> Result<(), Over> {
        let (started, from, launch, applied, id, mode, gap) = {
            let mut state = self.shared.state.lock().unwrap();
            state.attaches.push(attach.clone());
            state.size = attach.size;
            let same = attach.launch.is_none_or(|launch| launch == Launch(state.launch));
            let asked = match attach.output {
                Some(asked) if same => asked.get(),
                Some(_) => 0,
                None => state.printed.len() as u64,
            };
            if asked > state.printed.len() as u64 {
                state.faults.push(format!("it claims to know {asked}"));
            }
            let from = if asked < state.kept_from { state.printed.len() as u64 } else { asked };
            let applied = *state.streams.entry(attach.input_stream).or_default();
            let gap = (asked < from).then_some((asked, from));
            (same, from, state.launch, applied, state.id, state.mode, gap)
        };
        self.shared.changed.notify_waiters();
        match self.play {
            Some(Play::CloseAtOnce(code, reason)) => return self.closes(code, reason).await,
            Some(Play::Babbles) => self.socket.send(Message::Text("{\"type\":".into())).await?,
            _ => {}
        }
        let (phase, position) = (Phase::Task, None);
        self.says(&ToClient::Starting { phase, position, elapsed_ms: 5, expected_ms: 300 }).await?;
        let keyframe = attach.output.is_none() || gap.is_some();
        let resume = if keyframe { Resume::Keyframe } else { Resume::Exact };
        let offset = |at| Offset::new(at).unwrap();
        self.says(&ToClient::Attached {
            session: id,
            launch: Launch(launch),
            mode,
            role: attach.role,
            output: OutputStart { from: offset(from), resume },
            input: InputStart { applied: offset(applied) },
            size: attach.size,
            limits: Limits::with_window(attach.window),
            can: vec![],
        })
        .await?;
        if !started {
            let notice = Notice::NewLaunch { launch: Launch(launch) };
            self.says(&ToClient::Notice { notice }).await?;
        }
        if let Some((from, to)) = gap {
            let why = GapReason::Lost;
            self.says(&ToClient::Gap { from: offset(from), to: offset(to), why }).await?;
        }
        if keyframe {
            self.sends(Kind::Keyframe, from, b"\x18\x1bc\x1b[H\x1b[2J<keyframe>".to_vec()).await?;
        }
        self.stream = Some(attach.input_stream);
        self.credit = Some(Credit::new(offset(from), attach.window.into()));
        match self.play {
            Some(Play::AppliesTooMuch) => self.sends(Kind::Applied, applied + 1, vec![]).await?,
            Some(Play::Floods) => {
                let frames = u64::from(attach.window / 32768) + 1;
                self.shared.state.lock().unwrap().printed.resize(frames as usize * 32768, 0);
                for n in 0..frames {
                    self.sends(Kind::Data, from + n * 32768, vec![0; 32768]).await?;
                }
                while let Some(Ok(_)) = self.socket.next().await {}
                return Err(Over);
            }
            Some(Play::WantsReauth) => {
                self.says(&ToClient::Notice { notice: Notice::TokenExpires { seconds: 9 } })
                    .await?;
            }
            _ => {}
        }
        self.says(&ToClient::Live).await
    }

    async fn takes(&mut self, frame: Frame) -> Result<(), Over> {
        if frame.kind == Kind::Ack {
            let credit = self.credit.as_mut().ok_or(Over)?;
            if let Err(violation) = credit.acknowledge(frame.offset) {
                self.fault(violation.to_string());
                return Err(Over);
            }
            if self.exit_at.is_some_and(|at| frame.offset.get() >= at) {
                self.shared.state.lock().unwrap().exit_acknowledged = true;
                self.shared.changed.notify_waiters();
                return self.closes(CloseCode::Ended.number(), "").await;
            }
            return Ok(());
        }
        let Some(stream) = self.stream else {
            self.fault("input before `attached`".into());
            return Err(Over);
        };
        {
            let mut state = self.shared.state.lock().unwrap();
            if state.is_stopped {
                return Ok(());
            }
            let applied = state.streams[&stream];
            if frame.offset.get() != applied {
                let fault = format!("input at {} where {applied} was next", frame.offset);
                state.faults.push(fault);
                return Err(Over);
            }
            state.streams.insert(stream, frame.end().get());
            state.program.extend_from_slice(&frame.payload);
            if state.echoes {
                let echo = frame.payload.to_vec();
                state.printed.extend(echo);
            }
            if let Some(code) = state.exits_with
                && (state.program.ends_with(b"exit\r") || state.program.ends_with(b"exit\n\x04"))
            {
                let reason = EndReason::Exited;
                state.exit =
                    Some(ExitStatus { code: Some(code), signal: None, reason, detail: None });
            }
        }
        self.shared.changed.notify_waiters();
        // The frame was applied; whether the client ever hears of it is the script's business.
        self.counts().await?;
        self.sends(Kind::Applied, frame.end().get(), vec![]).await
    }

    async fn sends_output(&mut self) -> Result<(), Over> {
        if matches!(self.play, Some(Play::WantsReauth)) {
            return Ok(());
        }
        while let Some(credit) = &mut self.credit {
            let from = credit.sent().get();
            let (payload, exit, kind) = {
                let state = self.shared.state.lock().unwrap();
                let replay = (state.replays_up_to as u64).saturating_sub(from);
                let most = if replay > 0 { replay } else { 20_000 };
                let kind = if replay > 0 { Kind::Replay } else { Kind::Data };
                let len = (state.printed.len() as u64 - from).min(credit.room()).min(most);
                let payload = state.printed[from as usize..(from + len) as usize].to_vec();
                let is_all = from + len == state.printed.len() as u64;
                (payload, state.exit.clone().filter(|_| is_all), kind)
            };
            if payload.is_empty() {
                if let (Some(status), None) = (exit, self.exit_at) {
                    self.exit_at = Some(from);
                    let at = Offset::new(from).unwrap();
                    self.says(&ToClient::Exit { at, status }).await?;
                }
                return Ok(());
            }
            credit.send(Offset::new(from).unwrap(), payload.len() as u64).unwrap();
            self.shared.state.lock().unwrap().sent = from + payload.len() as u64;
            self.shared.changed.notify_waiters();
            match self.play {
                Some(Play::Hole(after)) if self.frames >= after && payload.len() > 10 => {
                    self.sends(Kind::Data, from + 10, payload[10..].to_vec()).await?;
                }
                _ => self.sends(kind, from, payload).await?,
            }
        }
        Ok(())
    }
}
