//! The refusals that routes share, as responses of the API's document: each is described once, and
//! a route names it. Knows no route; which refusal has which status is `crate::refusal`'s.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::header::Header;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::refusal::PROBLEM;

/// Responses by their status.
type Responses = BTreeMap<String, RefOr<Response>>;

/// Headers of a response: name, kind and meaning.
type Headers = &'static [(&'static str, Type, &'static str)];

const RETRY_AFTER: Headers = &[("Retry-After", Type::Integer, "Seconds to wait.")];

const UNAUTHENTICATED: Headers = &[
    ("WWW-Authenticate", Type::String, "`Bearer`."),
    ("Retry-After", Type::Integer, "Seconds to wait: with a token that is not valid yet."),
];

const ALLOW: Headers = &[("Allow", Type::String, "The methods that there are.")];

macro_rules! refusals {
    ($($name:ident = $status:literal, $headers:expr, $description:literal;)+) => {
        $(
            #[doc = $description]
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> Responses {
                    let shared = Ref::from_response_name(stringify!($name));
                    Responses::from([(stringify!($status).to_owned(), shared.into())])
                }
            }
        )+

        /// All of them, by their names in the document.
        pub fn all() -> Vec<(String, RefOr<Response>)> {
            vec![$((stringify!($name).to_owned(), problem($description, $headers).into()),)+]
        }
    };
}

refusals! {
    BadRequest = 400, &[], "The request is not as it must be.";
    Unauthenticated = 401, UNAUTHENTICATED, "The token or the ticket is missing, or is not accepted.";
    Forbidden = 403, &[], "The token's scopes, or the web page's origin, do not allow it.";
    NoSuchSession = 404, &[], "There is no such session, or it is somebody else's.";
    MethodNotAllowed = 405, ALLOW, "The path has no such method.";
    RequestTimeout = 408, &[], "It took too long to arrive or to be answered.";
    SessionStopping = 409, RETRY_AFTER, "The session of that name is being stopped, or the user is being removed.";
    NoSuchUser = 404, &[], "There is nothing of this user.";
    NoSuchRemoval = 404, &[], "Nobody has asked for such a removal.";
    TooLarge = 413, &[], "The body is too large.";
    NotJson = 415, &[], "The body is not said to be JSON.";
    UpgradeRequired = 426, &[], "It opens no WebSocket.";
    Quota = 429, RETRY_AFTER, "A limit of this user is reached.";
    Internal = 500, &[], "The gateway failed.";
    Unavailable = 503, RETRY_AFTER, "The gateway is full, is leaving, or lacks what it needs at the moment.";
    SessionBusy = 504, RETRY_AFTER, "The session did not hear it in time.";
}

fn problem(description: &str, headers: Headers) -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(description).content(PROBLEM, body);
    let header = |kind: &Type, meaning: &str| {
        let schema = ObjectBuilder::new().schema_type(SchemaType::new(kind.clone())).build();
        let mut header = Header::new(schema);
        header.description = Some(meaning.to_owned());
        header
    };
    headers
        .iter()
        .fold(response, |response, (name, kind, meaning)| {
            response.header(*name, header(kind, meaning))
        })
        .build()
}

fn together(groups: impl IntoIterator<Item = Responses>) -> Responses {
    groups.into_iter().flatten().collect()
}

/// What every path may answer.
pub struct Always;

impl IntoResponses for Always {
    fn responses() -> Responses {
        together([
            BadRequest::responses(),
            RequestTimeout::responses(),
            Internal::responses(),
            Unavailable::responses(),
        ])
    }
}

/// What every route for somebody may answer.
pub struct ToCaller;

impl IntoResponses for ToCaller {
    fn responses() -> Responses {
        together([Always::responses(), Unauthenticated::responses()])
    }
}

/// What every route of one session may answer.
pub struct OfSession;

impl IntoResponses for OfSession {
    fn responses() -> Responses {
        together([ToCaller::responses(), NoSuchSession::responses()])
    }
}

/// What every route that takes a body may answer beside that.
pub struct OfBody;

impl IntoResponses for OfBody {
    fn responses() -> Responses {
        together([TooLarge::responses(), NotJson::responses()])
    }
}
