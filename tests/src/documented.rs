//! The API's document, held against what a gateway answers: a status, a header or a member that it
//! does not declare fails the test. Knows no session.

use std::sync::LazyLock;

use reqwest::Response;
use reqwest::header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::Value;

/// The document, as every gateway of this build serves it.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::to_value(shellgate_gateway::http::document::api().1).expect("a document")
});

/// The document.
#[must_use]
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The statuses that the document declares for a request, in order.
#[must_use]
pub fn statuses(method: &str, path: &str) -> Vec<u16> {
    let responses =
        operation(method, path).and_then(|operation| operation["responses"].as_object());
    let statuses = responses.into_iter().flat_map(|responses| responses.keys());
    statuses.filter_map(|status| status.parse().ok()).collect()
}

/// Holds a status against the document.
///
/// # Panics
/// Where it is not declared for this request.
pub fn declares(method: &str, path: &str, status: u16) {
    declared(method, path, status);
}

/// Holds an answer against the document: its status, its kind, its headers, and its body where
/// that is JSON. Gives the status and the body.
///
/// # Panics
/// Where one of them is not declared for this request.
pub async fn holds(method: &str, path: &str, answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let what = format!("{method} {path}: {status}");
    let response = declared(method, path, status);
    for name in [LOCATION, RETRY_AFTER, WWW_AUTHENTICATE, ALLOW] {
        let names = response["headers"].as_object().into_iter().flat_map(|headers| headers.keys());
        let is_declared =
            names.into_iter().any(|declared| declared.eq_ignore_ascii_case(name.as_str()));
        assert!(is_declared || !answer.headers().contains_key(&name), "{what}: {name}");
    }
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().to_owned();
    let content = &response["content"][&kind];
    assert!(content.is_object(), "{what}: {kind:?} is not declared");
    if !kind.ends_with("json") {
        return (status, Value::Null);
    }
    let body = answer.json().await.expect("JSON");
    fits(&content["schema"], &body).unwrap_or_else(|why| panic!("{what}: {why} in {body}"));
    (status, body)
}

fn declared(method: &str, path: &str, status: u16) -> &'static Value {
    match (operation(method, path), status) {
        (Some(operation), _) => {
            let response = operation["responses"].get(status.to_string());
            resolved(
                response.unwrap_or_else(|| panic!("{method} {path}: {status} is not declared")),
            )
        }
        // Of a path that has no such method.
        (None, 405) => &DOCUMENT["components"]["responses"]["MethodNotAllowed"],
        (None, _) => panic!("{method} {path} is not declared"),
    }
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next()?;
    let paths = DOCUMENT["paths"].as_object()?;
    let fits = |template: &str| {
        let (mut parts, mut named) = (path.split('/'), template.split('/'));
        loop {
            match (parts.next(), named.next()) {
                (None, None) => return true,
                (Some(part), Some(name)) if part == name || name.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let item = paths.iter().find_map(|(template, item)| fits(template).then_some(item))?;
    item.get(method.to_ascii_lowercase())
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(to) => DOCUMENT.pointer(&to[1..]).unwrap_or_else(|| panic!("{to} leads nowhere")),
        None => value,
    }
}

/// Whether a value is as a schema says, as far as the document's own schemas go.
fn fits(schema: &'static Value, value: &Value) -> Result<(), String> {
    let schema = resolved(schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().any(|choice| fits(choice, value).is_ok());
        return if fitting { Ok(()) } else { Err(format!("{value} is none of {choices:?}")) };
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|allowed| allowed == kind),
        allowed => allowed == kind,
    };
    if !allowed {
        return Err(format!("{value} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return Err(format!("{value} is not among {}", schema["enum"]));
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if required.as_str().is_some_and(|name| value.get(name).is_none()) {
            return Err(format!("{required} is missing"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(&schema["items"], item)?;
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => fits(schema, member).map_err(|why| format!("{name}: {why}"))?,
            // An object of which nothing is said may have anything in it.
            None if schema.get("properties").is_none() => {}
            None => return Err(format!("{name:?} is not declared")),
        }
    }
    Ok(())
}
