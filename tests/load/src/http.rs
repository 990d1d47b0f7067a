//! Just enough HTTP/1.1 to make one request on this machine. Knows no API.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

/// Longest that a request may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Largest answer that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Makes a request on a connection of its own.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    bearer: &str,
    body: &str,
) -> Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let message = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: Bearer {bearer}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(message.as_bytes()).await?;
        let mut raw = Vec::new();
        stream.take(LARGEST).read_to_end(&mut raw).await?;
        parse(&raw)
    };
    timeout(LIMIT, exchange).await.with_context(|| format!("{method} {path} took too long"))?
}

/// The gateway gives every answer a `Content-Length`, so the rest of the connection is the body.
fn parse(raw: &[u8]) -> Result<Answer> {
    let end = memchr::memmem::find(raw, b"\r\n\r\n").context("no end of the headers")?;
    let head = String::from_utf8_lossy(&raw[..end]);
    let status = head
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("no status")?;
    Ok(Answer { status, body: String::from_utf8_lossy(&raw[end + 4..]).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (201, "ok"));
        assert!(parse(b"HTTP/1.1 201 Created\r\n").is_err());
    }
}
