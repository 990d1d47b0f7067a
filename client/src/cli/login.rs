//! `login`: gets a token and stores it. Knows how tokens are got, not where they are kept.

use std::io::{IsTerminal, Read};

use shellgate_client::token::web_token;
use shellgate_client::{Api, Endpoint, TokenSource};
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
        let token = web_token(&text).map_err(|bad| Failure::usage(bad.to_string()))?;
        // What is stored is what later commands can use.
        let asked = Api::new(settings.endpoint.clone(), TokenSource::fixed(token.clone()))?;
        asked.lets_in().await?;
        let path = settings.store(&token)?;
        aside(&format!("Stored in {}, for {}.\n", path.display(), settings.endpoint));
        return Ok(0);
    }
    let code = match login.code.or(login.address) {
        Some(code) => code,
        None if std::io::stdin().is_terminal() => {
            aside("The address or the one-time code that the gateway printed: ");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map_err(|e| Failure::new(e.to_string()))?;
            line
        }
        None => {
            return Err(Failure::usage("login needs what the gateway printed, or --token-stdin"));
        }
    };
    let code = code_in(code.trim(), &settings.endpoint)?;
    let signed_in = settings.api()?.sign_in(code).await?;
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

/// The code in what the gateway printed: the code itself, or the whole address.
fn code_in<'a>(printed: &'a str, endpoint: &Endpoint) -> Result<&'a str, Failure> {
    let Some((address, code)) = printed.split_once("#code=") else { return Ok(printed) };
    // A code is given to the gateway that printed it, and to no other.
    match address.parse::<Endpoint>() {
        Ok(of) if of != *endpoint => Err(Failure::usage(format!(
            "that code is for {of}, not for {endpoint}: --url or SHELLGATE_URL names the gateway"
        ))),
        Ok(_) => Ok(code),
        Err(bad) => Err(Failure::usage(bad.to_string())),
    }
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
