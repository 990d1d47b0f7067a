//! What the gateway says about itself: log lines on standard error. Knows not what they say.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Log, LogFormat};

/// Why there are no log lines.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error("log.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else listens already.
    #[error("log lines go somewhere else already: {0}")]
    Taken(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// Begins to write log lines. Once in a process.
pub fn start(log: &Log) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&log.filter)?;
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match is_json(log.format, terminal) {
        true => lines.json().flatten_event(true).with_current_span(false).boxed(),
        false => lines.with_ansi(terminal).boxed(),
    };
    // Filters of the whole, not of the one layer: with those a question whether something would be
    // written, as the database's driver asks, silences what comes next.
    let all = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_written));
    all.with(lines).try_init().map_err(|error| TelemetryError::Taken(error.into()))
}

/// Whether a line may be written, whatever the filter says: at `TRACE` AWS's SDK writes whole requests,
/// with the secrets in them.
fn may_be_written(about: &Metadata<'_>) -> bool {
    !(about.target().starts_with("aws_") && *about.level() == Level::TRACE)
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Plain => false,
        LogFormat::Json => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_at_a_terminal_read_plain_lines_unless_told_otherwise() {
        assert!(!is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Auto, false));
        assert!(is_json(LogFormat::Json, true));
        assert!(!is_json(LogFormat::Plain, false));
    }

    #[test]
    fn what_the_sdk_of_aws_writes_of_its_requests_is_never_written() {
        let written = || {
            let sdk = tracing::enabled!(target: "aws_smithy_runtime::client", Level::TRACE);
            (sdk, tracing::enabled!(target: "shellgate_gateway", Level::TRACE))
        };
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
        let filter = EnvFilter::new("trace");
        let all = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_written));
        let subscriber = all.with(lines);
        assert_eq!(tracing::subscriber::with_default(subscriber, written), (false, true));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_said_and_starts_nothing() {
        let log = Log { format: LogFormat::Plain, filter: "gateway=loud".into() };
        assert!(matches!(start(&log), Err(TelemetryError::Filter(_))));
    }
}
