//! What the gateway says about itself: log lines on standard error. Knows not what they say.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if is_json(log.format, terminal) {
        lines.json().flatten_event(true).with_current_span(false).try_init()?;
    } else {
        lines.with_ansi(terminal).try_init()?;
    }
    Ok(())
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
    fn a_filter_that_cannot_be_read_is_said_and_starts_nothing() {
        let log = Log { format: LogFormat::Plain, filter: "gateway=loud".into() };
        assert!(matches!(start(&log), Err(TelemetryError::Filter(_))));
    }
}
