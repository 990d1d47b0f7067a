//! The terminal page, as the gateway carries it. Knows no sessions.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::core::Core;

/// The built page's files: name and bytes.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// How a file's copy with gzip is called after it.
const PACKED: &str = ".gz";

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
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, find("index.html").unwrap_or(NOT_BUILT.as_bytes())).into_response()
}

async fn file(Path(name): Path<String>, asked: HeaderMap) -> Response {
    let is_asset = name != "index.html" && !name.ends_with(PACKED);
    let Some(bytes) = find(&name).filter(|_| is_asset) else {
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
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cache),
        (header::VARY, "accept-encoding"),
    ];
    match find(&format!("{name}{PACKED}")).filter(|_| takes_gzip(&asked)) {
        Some(packed) => (headers, [(header::CONTENT_ENCODING, "gzip")], packed).into_response(),
        None => (headers, bytes).into_response(),
    }
}

/// Whether whoever asks can unpack gzip (RFC 9110, section 12.5.3). A weight of 0 is a no; one that
/// cannot be read is, too.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let said =
        asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = said.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight: f32| weight > 0.0)
    })
}

fn find(name: &str) -> Option<&'static [u8]> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_unpack_gzip_says_so() {
        let takes = |said: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, said.parse().unwrap())]))
        };
        for yes in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.8"] {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip;q=0.000", "gzip;q=x", "xgzip", "*"] {
            assert!(!takes(no), "{no}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn each_file_is_what_its_packed_copy_was_made_of_and_the_copy_has_no_address() {
        for (name, bytes) in FILES.iter().filter(|(name, _)| !name.ends_with(PACKED)) {
            let Some(packed) = find(&format!("{name}{PACKED}")) else { continue };
            assert!(packed.len() < bytes.len() && packed.starts_with(&[0x1f, 0x8b]), "{name}");
            let copy = file(Path(format!("{name}{PACKED}")), HeaderMap::new()).await;
            assert_eq!(copy.status(), StatusCode::NOT_FOUND);
        }
    }
}
