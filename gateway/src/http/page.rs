//! The terminal page, as the gateway carries it. Knows no sessions.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::core::Core;

/// The built page's files: name and bytes.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What a page may load and do: its own files, and this gateway. No inline style is allowed:
/// xterm.js 6 alone would break that, and the page's `constructed_styles.ts` turns its `<style>`
/// elements and style attributes into constructed sheets and CSSOM, which no such policy covers.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// What stands in place of the page where it was not built.
const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
    <title>Shellgate</title>\n<p>This gateway was built without its terminal page. \
    Build the page with <code>npm ci &amp;&amp; npm run build</code> in <code>web/</code>, then \
    build the gateway again; or type <code>make run</code>, which does both.</p></html>\n";

/// The routes.
pub fn routes() -> Router<Arc<Core>> {
    Router::new().route("/", get(index)).route("/{file}", get(file))
}

async fn index() -> Response {
    match find("index.html") {
        Some(bytes) => page(bytes),
        None => page(NOT_BUILT.as_bytes()),
    }
}

fn page(bytes: &'static [u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, bytes).into_response()
}

async fn file(Path(name): Path<String>) -> Response {
    let Some(bytes) = find(&name).filter(|_| name != "index.html") else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };
    // Names with a hash in them change with their contents.
    let lasting = name.split('.').count() > 2;
    let cache = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], bytes).into_response()
}

fn find(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
}
