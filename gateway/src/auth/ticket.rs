//! Tickets: a short-lived, single-use stand-in for a token, for browsers, which can't set headers
//! on a WebSocket. Knows no store: using one up is the store's one atomic update.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use serde::{Deserialize, Serialize};
use shellgate_protocol::client_leg::Role;
use shellgate_protocol::enrolment::{decode, encode};
use shellgate_protocol::id::SessionId;
use shellgate_protocol::{CLIENT_SUBPROTOCOL, TICKET_SUBPROTOCOL_PREFIX};

use super::identity::{Identity, Scopes, UserId};
use super::origin::Origin;
use super::refused::AuthError;

/// How long a ticket holds: the time from a page's request to its WebSocket.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Length of a ticket as text: 32 bytes in base64url.
const TICKET_TEXT: usize = 43;

/// Largest list of offered subprotocols, in bytes, all headers together.
const OFFER_MAX: usize = 512;

/// Most offered subprotocols.
const OFFERS_MAX: usize = 8;

/// A ticket as its holder has it. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket([u8; 32]);

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

impl Ticket {
    /// A new one.
    ///
    /// # Errors
    /// [`AuthError::NoRandomness`].
    pub fn mint() -> Result<Self, AuthError> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Its text, for its holder alone.
    #[must_use]
    pub fn text(&self) -> String {
        encode(&self.0)
    }

    /// The ticket with this text.
    ///
    /// # Errors
    /// [`AuthError::Ticket`].
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        let bytes = Some(text).filter(|text| text.len() == TICKET_TEXT).and_then(decode);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(AuthError::Ticket("is malformed"))
    }

    /// What the store keeps of it, and finds it by: whoever reads the store has no ticket.
    #[must_use]
    pub fn hash(&self) -> TicketHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        TicketHash(hash)
    }
}

/// The SHA-256 of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TicketHash(pub [u8; 32]);

/// What a ticket was made out for, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketGrant {
    /// The session that it opens.
    pub session: SessionId,
    /// As what.
    pub role: Role,
    /// For whom.
    pub user: UserId,
    /// What they may do.
    pub scopes: Scopes,
    /// When the ticket runs out.
    pub expires_at: SystemTime,
    /// When the token behind it runs out, and with it what the ticket opens.
    pub token_expires_at: SystemTime,
    /// The page that asked for it, or that it was asked for.
    pub origin: Option<Origin>,
}

impl TicketGrant {
    /// A grant for somebody whose token was verified just now. It holds [`LIFETIME`], and no
    /// longer than the token.
    #[must_use]
    pub fn new(
        holder: &Identity,
        session: SessionId,
        role: Role,
        origin: Option<Origin>,
        now: SystemTime,
    ) -> Self {
        Self {
            session,
            role,
            user: holder.user.clone(),
            scopes: holder.scopes,
            expires_at: (now + LIFETIME).min(holder.expires_at),
            token_expires_at: holder.expires_at,
            origin,
        }
    }

    /// Who holds the ticket, as if they had shown the token.
    #[must_use]
    pub fn holder(&self) -> Identity {
        Identity { user: self.user.clone(), scopes: self.scopes, expires_at: self.token_expires_at }
    }
}

/// What a request shows together with its ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The session that it asks for.
    pub session: SessionId,
    /// The page that it comes from.
    pub origin: Option<Origin>,
}

/// Holds a ticket that the store has just used up against the request that shows it.
///
/// # Errors
/// [`AuthError::TicketExpired`], or [`AuthError::Ticket`] for one made out for something else.
pub fn check(grant: &TicketGrant, presented: &Presented, now: SystemTime) -> Result<(), AuthError> {
    if now >= grant.expires_at || now >= grant.token_expires_at {
        return Err(AuthError::TicketExpired);
    }
    if presented.session != grant.session {
        return Err(AuthError::Ticket("is for another session"));
    }
    if presented.origin != grant.origin {
        return Err(AuthError::Ticket("is for another origin"));
    }
    Ok(())
}

/// What a WebSocket's client offers as subprotocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// Nothing: the plain dialect.
    Plain,
    /// `shellgate.v1`, which alone is answered, perhaps with a ticket.
    Framed {
        /// The ticket.
        ticket: Option<Ticket>,
    },
}

/// Reads the `Sec-WebSocket-Protocol` headers of a request.
///
/// # Errors
/// [`AuthError::Subprotocols`] for a list that is too long, malformed, without `shellgate.v1`, or
/// with anything twice; [`AuthError::Ticket`] for a malformed ticket.
pub fn offered(headers: &HeaderMap) -> Result<Offer, AuthError> {
    let wrong = |what| Err(AuthError::Subprotocols(what));
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    if values.iter().map(|value| value.len()).sum::<usize>() > OFFER_MAX {
        return wrong("are too long a list");
    }
    let mut names: Vec<&str> = Vec::new();
    for value in &values {
        let Ok(text) = value.to_str() else { return wrong("are not ASCII") };
        for name in text.split(',').map(|name| name.trim_matches([' ', '\t'])) {
            if name.is_empty() || !name.bytes().all(is_name_byte) {
                return wrong("are malformed");
            }
            if names.contains(&name) {
                return wrong("have one twice");
            }
            names.push(name);
        }
    }
    if names.is_empty() {
        return if values.iter().next().is_none() {
            Ok(Offer::Plain)
        } else {
            wrong("are malformed")
        };
    }
    if names.len() > OFFERS_MAX {
        return wrong("are too long a list");
    }
    if !names.contains(&CLIENT_SUBPROTOCOL) {
        return wrong("have none that is spoken here");
    }
    let mut tickets = names.iter().filter_map(|name| name.strip_prefix(TICKET_SUBPROTOCOL_PREFIX));
    match (tickets.next(), tickets.next()) {
        (None, _) => Ok(Offer::Framed { ticket: None }),
        (Some(text), None) => Ok(Offer::Framed { ticket: Some(Ticket::parse(text)?) }),
        (Some(_), Some(_)) => wrong("have two tickets"),
    }
}

/// Whether `shellgate.v1` is among what a request offers, however malformed the rest is: only then
/// may it be answered (RFC 6455, section 4.2.2).
#[must_use]
pub fn offers_frames(headers: &HeaderMap) -> bool {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut names = values.filter_map(|value| value.to_str().ok()).flat_map(|t| t.split(','));
    names.any(|name| name.trim_matches([' ', '\t']) == CLIENT_SUBPROTOCOL)
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn ada(token_expires_at: SystemTime) -> Identity {
        Identity {
            user: UserId::new("https://issuer.example", "ada").unwrap(),
            scopes: Scopes { observe: true, ..Scopes::OWN },
            expires_at: token_expires_at,
        }
    }

    fn page() -> Option<Origin> {
        Origin::parse("https://shell.example")
    }

    #[test]
    fn a_ticket_opens_what_it_was_made_out_for_for_thirty_seconds() {
        let session = SessionId::generate();
        let grant = TicketGrant::new(&ada(at(600)), session, Role::Driver, page(), at(0));
        let good = Presented { session, origin: page() };
        assert_eq!(check(&grant, &good, at(0)), Ok(()));
        assert_eq!(check(&grant, &good, at(29)), Ok(()));
        assert_eq!(check(&grant, &good, at(30)), Err(AuthError::TicketExpired));
        let other_page = Origin::parse("https://other.example");
        for wrong in [
            Presented { session: SessionId::generate(), ..good.clone() },
            Presented { origin: other_page, ..good.clone() },
            Presented { origin: None, ..good.clone() },
        ] {
            let answer = check(&grant, &wrong, at(0));
            assert!(matches!(answer, Err(AuthError::Ticket(_))), "{wrong:?}");
        }
        assert_eq!(grant.holder(), ada(at(600)));
        let stored = serde_json::to_string(&grant).unwrap();
        assert_eq!(serde_json::from_str::<TicketGrant>(&stored).unwrap(), grant);
    }

    #[test]
    fn a_ticket_does_not_outlive_its_token() {
        let session = SessionId::generate();
        let grant = TicketGrant::new(&ada(at(10)), session, Role::Observer, page(), at(0));
        let shown = Presented { session, origin: page() };
        assert_eq!(check(&grant, &shown, at(9)), Ok(()));
        assert_eq!(check(&grant, &shown, at(10)), Err(AuthError::TicketExpired));
    }

    #[test]
    fn tickets_differ_and_do_not_show() {
        let (one, two) = (Ticket::mint().unwrap(), Ticket::mint().unwrap());
        assert_ne!(one, two);
        assert_ne!(one.hash(), two.hash());
        assert_eq!(Ticket::parse(&one.text()).unwrap(), one);
        assert_eq!(format!("{one:?}"), "Ticket(…)");
    }

    fn offer(values: &[&str]) -> Result<Offer, AuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SEC_WEBSOCKET_PROTOCOL, value.parse().unwrap());
        }
        offered(&headers)
    }

    #[test]
    fn only_who_offers_frames_is_answered_with_them() {
        let offers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SEC_WEBSOCKET_PROTOCOL, value.parse().unwrap());
            }
            offers_frames(&headers)
        };
        assert!(offers(&["shellgate.v1"]) && offers(&["mqtt,\tshellgate.v1 , ticket.!"]));
        assert!(offers(&["mqtt", "shellgate.v1, shellgate.v1"]));
        for other in [&[][..], &[""], &["shellgate.v9"], &["xshellgate.v1"], &["shellgate.v1;q=1"]]
        {
            assert!(!offers(other), "{other:?}");
        }
    }

    #[test]
    fn an_offer_is_plain_or_framed_or_framed_with_a_ticket() {
        let ticket = Ticket::mint().unwrap();
        let named = format!("ticket.{}", ticket.text());
        assert_eq!(offer(&[]), Ok(Offer::Plain));
        assert_eq!(offer(&["shellgate.v1"]), Ok(Offer::Framed { ticket: None }));
        let with_ticket = Ok(Offer::Framed { ticket: Some(ticket) });
        assert_eq!(offer(&[&format!("shellgate.v1, {named}")]), with_ticket);
        assert_eq!(offer(&[&format!("{named},shellgate.v1,shellgate.v2")]), with_ticket);
        assert_eq!(offer(&["shellgate.v1", &named]), with_ticket);
    }

    #[test]
    fn other_lists_are_refused() {
        let named = || format!("ticket.{}", Ticket::mint().unwrap().text());
        let many = (0..8).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
        let lists = [
            String::new(),
            "shellgate.v2".to_owned(),
            "SHELLGATE.V1".to_owned(),
            named(),
            "shellgate.v1,".to_owned(),
            "shellgate.v1,,x".to_owned(),
            "shellgate.v1, shellgate.v1".to_owned(),
            "shellgate.v1 x".to_owned(),
            format!("shellgate.v1, {}, {}", named(), named()),
            format!("shellgate.v1, {many}"),
            format!("shellgate.v1, {}", "x".repeat(500)),
        ];
        for list in lists {
            assert!(matches!(offer(&[&list]), Err(AuthError::Subprotocols(_))), "{list:?}");
        }
        for ticket in ["", "AAAA", &"A".repeat(44), &format!("{}B", "A".repeat(42)), "ticket."] {
            let list = format!("shellgate.v1, ticket.{ticket}");
            assert!(matches!(offer(&[&list]), Err(AuthError::Ticket(_))), "{list:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(list in "\\PC{0,100}") {
            if let Ok(value) = http::HeaderValue::from_str(&list) {
                let mut headers = HeaderMap::new();
                headers.append(SEC_WEBSOCKET_PROTOCOL, value);
                let _ = offered(&headers);
            }
        }
    }
}
