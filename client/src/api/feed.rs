//! The events of one session, as they come. Knows no call but the one that has opened it.

use std::time::Duration;

use reqwest::Response;
use shellgate_protocol::limits::SILENCE_SECONDS;

use super::{CallError, unreachable};
use crate::endpoint::Endpoint;
use crate::sse::{Parser, ServerSent};

/// The events of one session.
#[derive(Debug)]
pub struct Feed {
    pub(super) endpoint: Endpoint,
    pub(super) answer: Response,
    pub(super) parser: Parser,
    pub(super) ready: std::vec::IntoIter<ServerSent>,
}

impl Feed {
    /// The next event; `None` where the gateway has no more.
    ///
    /// # Errors
    /// [`CallError`] where the connection breaks or is silent for too long.
    pub async fn next(&mut self) -> Result<Option<ServerSent>, CallError> {
        loop {
            if let Some(event) = self.ready.next() {
                return Ok(Some(event));
            }
            let silence = Duration::from_secs(SILENCE_SECONDS);
            let Ok(chunk) = tokio::time::timeout(silence, self.answer.chunk()).await else {
                let why = format!("silent for {SILENCE_SECONDS} s");
                return Err(CallError::Unreachable { endpoint: self.endpoint.to_string(), why });
            };
            let Some(chunk) = chunk.map_err(|error| unreachable(&self.endpoint, &error))? else {
                return Ok(None);
            };
            let events = self.parser.take(&chunk);
            self.ready =
                events.map_err(|error| CallError::NotAGateway(error.to_string()))?.into_iter();
        }
    }
}
