//! A keeper's dealings with its session's bridge: who is let in, the relay over its link, and what
//! that reports.

use std::time::{Duration, SystemTime};

use futures_channel::mpsc;
use futures_util::{SinkExt, StreamExt};
use shellgate_infra::secrets::SecretError;
use shellgate_protocol::CloseCode;
use shellgate_protocol::client_leg::{EndReason, Phase};
use shellgate_protocol::enrolment::Bytes32;
use shellgate_protocol::limits::CONTROL_LARGE_MAX;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Keeper, LAST_WORDS, Line, NEWS, Turned};
use crate::auth::AuthError;
use crate::core::Core;
use crate::http::caller::{Wish, may};
use crate::refusal::Refusal;
use crate::relay::{Command, Down, Ended, News, Relay, Renewal, Setting};
use crate::session::{Effect, Event, Exit, LastScreen, LinkId, Record, State};
use crate::websocket::Socket;
use crate::welcome::{Welcome, WelcomeError, welcome};

/// How long a keeper waits for what a bridge is to be told, and hears nobody else. The bridge calls
/// again.
const WELCOME: Duration = Duration::from_secs(10);

/// How long a relay may take to hear that its link was replaced. It waits for nobody.
const RELAY_END: Duration = Duration::from_secs(1);

impl Keeper {
    /// Whether a bridge that has proved to hold `key` may in: the token is burnt and the key is
    /// pinned in one write.
    pub(super) async fn admit(
        &mut self,
        link: LinkId,
        key: Bytes32,
        token: bool,
    ) -> Result<String, Turned> {
        let active =
            matches!(self.record.life.state, State::Starting | State::Live | State::Severed);
        if !active {
            return Err(Turned::Stale);
        }
        match self.record.pinned_key {
            None if !token => return Err(Turned::NoToken),
            Some(pinned) if pinned != key => {
                // Only who has the token gets to the point of being somebody else. One of the two
                // is not the task that was started, and nobody can tell which.
                if token {
                    let detail = format!("{link:?} with another key");
                    self.note(None, "enrolment.compromised", detail).await;
                    self.record_mut().detail.evidence =
                        Some("its enrolment token was used again, with another key".into());
                    self.step(Event::Stop(EndReason::Compromised)).await;
                    if self.is_taken {
                        // Whoever keeps it hears of it when this one calls again.
                        return Err(Turned::Later);
                    }
                }
                return Err(Turned::AnotherKey);
            }
            None | Some(_) => {}
        }
        if link.launch != self.record.life.link.launch || link <= self.record.life.link {
            return Err(Turned::Stale);
        }
        let welcome = timeout(WELCOME, welcome(&self.core, &self.record)).await;
        let (welcome, read) = match welcome {
            Ok(Ok(Welcome { message, read })) => {
                (serde_json::to_string(&message).unwrap_or_default(), read)
            }
            Ok(Err(WelcomeError::Secrets(error @ SecretError::TooLarge(_)))) => {
                return Err(self.too_large(error.to_string()).await);
            }
            Ok(Err(error)) => {
                tracing::error!(session = %self.record.id, %error, "no welcome");
                return Err(Turned::Later);
            }
            Err(_) => {
                tracing::error!(session = %self.record.id, "no welcome: its secrets are slow to come");
                return Err(Turned::Later);
            }
        };
        if welcome.len() > CONTROL_LARGE_MAX {
            let evidence = "its program and secrets are larger than one message to its task may be";
            return Err(self.too_large(evidence.into()).await);
        }
        match self.core.store.enrol(self.record.id, link, &key).await {
            Ok(true) => {}
            Ok(false) => {
                self.look_whose_it_is().await;
                // It calls again, and then comes to whom it should.
                return Err(if self.is_taken { Turned::Later } else { Turned::Stale });
            }
            Err(error) => {
                tracing::error!(session = %self.record.id, %error, "an enrolment was not stored");
                return Err(Turned::Later);
            }
        }
        if self.record.pinned_key.is_none() {
            self.core.timings.learn(Phase::Dialling, self.dialling_since.elapsed());
            self.note(None, "enrolment.pinned", format!("{link:?}")).await;
        }
        self.record_mut().pinned_key = Some(key);
        self.told_secrets(read.unwrap_or_default()).await;
        Ok(welcome)
    }

    /// What a bridge would have to be told is more than it takes: another try would not change that.
    async fn too_large(&mut self, evidence: String) -> Turned {
        tracing::error!(session = %self.record.id, evidence, "no welcome");
        let detail = &mut self.record_mut().detail;
        detail.evidence.get_or_insert(evidence);
        let told = "its secrets are too large together; the gateway's operator can see which";
        detail.told.get_or_insert(told.into());
        self.step(Event::Stop(EndReason::StartFailed)).await;
        Turned::Stale
    }

    pub(super) async fn linked(&mut self, link: LinkId, socket: Socket) {
        if self.step(Event::LinkUp(link)).await != Effect::Relay(link) {
            // Dropping it closes it; the bridge will hear why when it calls again.
            return;
        }
        if let Some(old) = self.relay.take() {
            self.replace(old).await;
        }
        let (news_to, news) = mpsc::channel(NEWS);
        let setting = Setting {
            session: self.record.id,
            launch: link.launch,
            mode: self.record.detail.mode,
            activity: self.activity.clone(),
            news: news_to,
            tracker: self.core.tracker.clone(),
            grace: self.core.config.auth.times.grace.get(),
        };
        let (relay, commands) = Relay::new(setting, socket);
        let task = self.core.tracker.spawn(relay.run());
        self.view.send_modify(|view| {
            view.relay = Some(commands.clone());
            view.waiting = None;
        });
        self.relay = Some(Line { link, commands, news, task });
    }

    /// Ends the relay of a link that a newer one replaces. Its own end is not news: the newer has won.
    pub(super) async fn replace(&mut self, mut old: Line) {
        let reason = "the task has a newer link".to_owned();
        let _ = old.commands.try_send(Command::Finish(CloseCode::LinkLost, reason));
        // Both show who is there in the same place: the old one first.
        let abort = old.task.abort_handle();
        if timeout(RELAY_END, old.task).await.is_err() {
            abort.abort();
        }
    }

    pub(super) async fn link_down(&mut self, down: &Down) {
        let Some(mut line) = self.relay.take() else { return };
        self.hear_rest(&mut line).await;
        tracing::info!(session = %self.record.id, link = ?line.link, why = ?down, "link down");
        self.view.send_modify(|view| view.relay = None);
        self.step(Event::LinkDown(line.link)).await;
    }

    /// Hears what a relay that has ended said before.
    pub(super) async fn hear_rest(&mut self, line: &mut Line) {
        while let Ok(news) = line.news.try_recv() {
            self.hear(news).await;
        }
    }

    /// Hears what the bridge of a task that is gone said at last: its link ends by itself once it
    /// has been read.
    pub(super) async fn hear_out(&mut self) {
        let until = Instant::now() + LAST_WORDS;
        while let Some(line) = &mut self.relay {
            match timeout_at(until, line.news.next()).await {
                Ok(Some(news)) => self.hear(news).await,
                Ok(None) => self.relay_ends().await,
                Err(_) => return,
            }
        }
    }

    /// The relay has nothing more to report: its task is about to say how it ended.
    pub(super) async fn relay_ends(&mut self) {
        let Some(line) = &mut self.relay else { return };
        let down = (&mut line.task).await;
        let down = down.unwrap_or_else(|error| Down::LinkLost(error.to_string()));
        self.link_down(&down).await;
    }

    pub(super) async fn hear(&mut self, news: News) {
        match news {
            News::Exited { at, status } => {
                if self.record.detail.exit.is_none() {
                    self.record_mut().detail.exit = Some(Exit { at, status });
                    self.save().await;
                }
            }
            News::Ended(ended) => self.program_ended(*ended).await,
            News::Opened(channel) => self.opened(channel).await,
            News::Extend(channel, id) => self.extend(channel, id).await,
            News::Reauth(renewal) => self.reauth(renewal),
        }
    }

    pub(super) async fn program_ended(&mut self, ended: Ended) {
        if self.record.detail.last_screen.is_some() {
            return;
        }
        let Ended { at, acknowledged, screen, size, status } = ended;
        let reason = status.reason;
        self.record_mut().detail.exit = Some(Exit { at, status });
        self.record_mut().detail.last_screen = Some(LastScreen { acknowledged, size });
        if let Err(error) = self.core.store.save_screen(self.record.id, &screen).await {
            tracing::error!(session = %self.record.id, %error, "a last screen was not stored");
        }
        self.step(Event::ProgramEnded(reason)).await;
    }

    /// Verifies a client's newer token beside the keeper: an issuer may be slow to answer.
    pub(super) fn reauth(&self, renewal: Renewal) {
        let Some(line) = &self.relay else { return };
        let (core, mut commands) = (self.core.clone(), line.commands.clone());
        let record = self.record.clone();
        self.core.tracker.spawn(async move {
            let until = renewed_until(&core, &record, &renewal).await;
            if let Err(error) = &until {
                tracing::info!(session = %record.id, %error, "a newer token was refused");
            }
            let until = until.ok();
            let _ = commands.send(Command::Reauthenticated(renewal.channel, until)).await;
        });
    }
}

/// Until when a newer token keeps its client's connection, the grace included: it must be the same
/// user's, and still allow what the client does.
async fn renewed_until(
    core: &Core,
    record: &Record,
    renewal: &Renewal,
) -> Result<Instant, Refusal> {
    let newer = core.verifier.verify(&renewal.token.0, SystemTime::now()).await?;
    if newer.user != renewal.user {
        return Err(AuthError::AnotherUser.into());
    }
    may(&newer, record, Wish::Attach(renewal.role))?;
    Ok(core.grace_after(newer.expires_at))
}
