//! The headers by which a client says who it is: one a line, the subprotocols, bearer and origin.
#![no_main]

use http::header::{AUTHORIZATION, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use shellgate_gateway::auth::bearer::bearer;
use shellgate_gateway::auth::origin::Origin;
use shellgate_gateway::auth::ticket::{Offer, Ticket, offered};

fuzz_target!(|lines: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(16) {
        let Some((which, value)) = line.split_first() else { continue };
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        let name = match which {
            b'p' => SEC_WEBSOCKET_PROTOCOL,
            b'a' => AUTHORIZATION,
            _ => ORIGIN,
        };
        headers.append(name, value);
    }
    if let Ok(Offer::Framed { ticket: Some(ticket) }) = offered(&headers) {
        // One spelling: what is hashed and looked up is what came.
        assert_eq!(Ticket::parse(&ticket.text()).expect("its own text").text(), ticket.text());
    }
    if let Ok(Some(token)) = bearer(&headers) {
        assert_eq!(headers.get_all(AUTHORIZATION).iter().count(), 1, "two headers were let in");
        assert!(!token.is_empty());
    }
    if let Some(Ok(text)) = headers.get(ORIGIN).map(HeaderValue::to_str)
        && let Some(origin) = Origin::parse(text)
    {
        assert_eq!(
            Origin::parse(origin.as_str()).as_ref().map(Origin::as_str),
            Some(origin.as_str())
        );
    }
});
