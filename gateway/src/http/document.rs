//! The API as a whole: its routes, and the OpenAPI document that is made of them and served with
//! them. Knows of each route what it says of itself.
//!
//! The development issuer's routes (`/dev/…`) are not of the API, and not in the document.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, RefOr, Required};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{attach, removals, sessions};
use crate::core::Core;
use crate::refusal::Problem;

pub mod refusals;
pub mod schemas;

/// What is said of the whole API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Shellgate",
        description = "Sessions of an AI shell, for users and operators.\n\nEvery refusal is a \
            problem document (RFC 9457), whose `code` is for machines; take one that you do not \
            know by its status. A path that is not here is a 404 (`not_found`), another method of \
            one that is here a 405 (`MethodNotAllowed` among the responses below). What is said \
            on the WebSocket of `attach` stands in `docs/protocol.md`."
    ),
    components(schemas(Problem)),
    modifiers(&Common),
    security(("bearer" = []))
)]
struct Document;

/// What several routes have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        components.responses.extend(refusals::all());
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("A JSON Web Token of an issuer that the gateway believes."))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let ticket = ApiKeyValue::with_description(
            header::SEC_WEBSOCKET_PROTOCOL.as_str(),
            "For browsers: `shellgate.v1, ticket.<ticket>`, with a ticket for this session.",
        );
        components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Header(ticket)));
    }
}

/// The API's routes, and their document.
pub fn api() -> (Router<Arc<Core>>, utoipa::openapi::OpenApi) {
    let (routes, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(sessions::routes())
        .merge(attach::routes())
        .merge(removals::routes())
        .routes(routes!(openapi))
        .split_for_parts();
    let of_sessions =
        document.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/v1/sessions"));
    for (_, path) in of_sessions {
        // All that is in one of them may be left out, and so may the body itself.
        let body = path.post.as_mut().and_then(|operation| operation.request_body.as_mut());
        if let Some(RefOr::T(body)) = body {
            body.required = Some(Required::False);
        }
    }
    (routes, document)
}

/// Get this document.
#[utoipa::path(
    get, path = "/v1/openapi.json",
    security(()),
    responses(
        (status = 200, description = "An OpenAPI 3.1 document.", content_type = "application/json", body = Object),
        refusals::Always,
    )
)]
async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| api().1.to_pretty_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::to_value(api().1).unwrap()
    }

    /// Each operation: its path, its method, itself.
    fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().iter();
                methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
            })
            .collect()
    }

    fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(to) => document.pointer(&to[1..]).unwrap_or_else(|| panic!("{to} leads nowhere")),
            None => value,
        }
    }

    fn every_reference<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| every_reference(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| every_reference(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_of_the_api_is_there() {
        let document = document();
        let mut there: Vec<_> = operations(&document)
            .into_iter()
            .map(|(path, method, _)| format!("{method} {path}"))
            .collect();
        there.sort_unstable();
        assert_eq!(
            there,
            [
                "delete /v1/sessions/{id}",
                "get /v1/openapi.json",
                "get /v1/removals/{id}",
                "get /v1/sessions",
                "get /v1/sessions/{id}",
                "get /v1/sessions/{id}/attach",
                "get /v1/sessions/{id}/events",
                "post /v1/removals",
                "post /v1/sessions",
                "post /v1/sessions/{id}/tickets",
            ]
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut references = Vec::new();
        every_reference(&document, &mut references);
        assert!(references.len() > 20, "{references:?}");
        for to in references {
            assert!(document.pointer(&to[1..]).is_some(), "{to} leads nowhere");
        }
    }

    #[test]
    fn every_response_is_described_and_every_refusal_is_a_problem() {
        let document = document();
        for (path, method, operation) in operations(&document) {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "408", "500", "503"] {
                assert!(responses.contains_key(status), "{method} {path}: {status}");
            }
            for (status, response) in responses {
                let response = resolved(&document, response);
                let described = response["description"].as_str().is_some_and(|d| !d.is_empty());
                assert!(described, "{method} {path}: {status}");
                let problem = response["content"].get(crate::refusal::PROBLEM).is_some();
                assert_eq!(problem, status.as_str() >= "400", "{method} {path}: {status}");
            }
        }
    }

    #[test]
    fn the_parameters_of_a_path_are_those_of_its_template() {
        let document = document();
        for (path, method, operation) in operations(&document) {
            let mut declared = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                match parameter["in"].as_str() {
                    Some("path") => {
                        assert_eq!(parameter["required"], true, "{method} {path}: {name}");
                        declared.push(name);
                    }
                    Some("query") => assert_ne!(parameter["required"], true, "{path}: {name}"),
                    other => panic!("{method} {path}: {name} is in {other:?}"),
                }
            }
            let segments = path.split('/');
            let in_template: Vec<_> = segments
                .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(declared, in_template, "{method} {path}");
        }
    }

    #[test]
    fn everybody_but_the_reader_of_the_document_says_who_they_are() {
        let document = document();
        let schemes = &document["components"]["securitySchemes"];
        for (path, method, operation) in operations(&document) {
            let security = operation.get("security").unwrap_or(&document["security"]);
            let names: Vec<_> = security
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|one| one.as_object().unwrap().keys())
                .collect();
            assert_eq!(names.is_empty(), path == "/v1/openapi.json", "{method} {path}");
            assert!(names.iter().all(|name| schemes.get(name).is_some()), "{method} {path}");
            let refused = operation["responses"].get("401").is_some();
            assert_eq!(refused, !names.is_empty(), "{method} {path}");
        }
    }

    #[test]
    fn no_body_about_sessions_has_to_be_sent() {
        let document = document();
        let bodies = operations(&document)
            .into_iter()
            .filter_map(|(path, _, operation)| Some((path, operation.get("requestBody")?)));
        let required: Vec<_> = bodies.map(|(path, body)| (path, &body["required"])).collect();
        let (no, yes) = (&Value::Bool(false), &Value::Bool(true));
        let expected =
            [("/v1/removals", yes), ("/v1/sessions", no), ("/v1/sessions/{id}/tickets", no)];
        assert_eq!(required, expected);
    }
}
