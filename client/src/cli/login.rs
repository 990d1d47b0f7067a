//! `login`: gets a token and stores it. Knows how tokens are got, not where they are kept.

use std::io::{IsTerminal, Read};

use shellgate_client::token::checked;
use shellgate_protocol::limits::TOKEN_MAX;

use super::Failure;
use super::arguments::Login;
use super::humane;
use super::print::aside;
use super::settings::Settings;

/// Signs in.
pub async fn login(settings: &Settings, login: Login) -> Result<u8, Failure> {
    if login.token_stdin {
        let text = read_stdin(TOKEN_MAX + 3)?;
        let token = checked(&text).map_err(|bad| Failure::usage(bad.to_string()))?;
        let path = settings.store(&token)?;
        aside(&format!("Stored in {}, for {}.\n", path.display(), settings.endpoint));
        return Ok(0);
    }
    let code = match login.code {
        Some(code) => code,
        None if std::io::stdin().is_terminal() => {
            aside("The one-time code that the gateway printed: ");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map_err(|e| Failure::new(e.to_string()))?;
            line
        }
        None => return Err(Failure::usage("login needs --code CODE or --token-stdin")),
    };
    let signed_in = settings.api()?.sign_in(code.trim()).await?;
    let path = settings.store(&signed_in.token)?;
    let holds = humane::duration(signed_in.expires_in);
    aside(&format!(
        "Signed in as {} at {} for {holds}; stored in {}.\n",
        shellgate_client::problem::plain(&signed_in.user),
        settings.endpoint,
        path.display()
    ));
    Ok(0)
}

fn read_stdin(most: usize) -> Result<String, Failure> {
    let mut text = String::new();
    let stdin = std::io::stdin().lock();
    stdin
        .take(most as u64)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
    Ok(text)
}
