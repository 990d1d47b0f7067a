//! The `Authorization` header. Knows nothing of what its token says.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::refused::AuthError;

/// The bearer token of a request (RFC 6750, section 2.1); `None` without an `Authorization` header.
///
/// # Errors
/// More than one header, another scheme, or a token with other characters than RFC 6750 allows.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Two parties on the way may each look at another one of two.
    if values.next().is_some() {
        return Err(AuthError::Header("stands twice"));
    }
    let text = value.to_str().map_err(|_| AuthError::Header("is not ASCII"))?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Header("has no credential"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Header("is of another scheme than Bearer"));
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() || !token.bytes().all(is_token_byte) {
        return Err(AuthError::Header("has something else than one token"));
    }
    Ok(Some(token))
}

/// `b64token` of RFC 6750 without its padding, which no JSON Web Token has.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, http::HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn one_bearer_header_gives_its_token_whatever_the_scheme_s_case() {
        assert_eq!(bearer(&headers(&[])), Ok(None));
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(bearer(&headers(&[value.as_bytes()])), Ok(Some("a.b.c")), "{value}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let odd: [&[&[u8]]; 11] = [
            &[b"Bearer a.b.c", b"Bearer a.b.c"],
            &[b"Bearer a.b.c", b"Basic eDp5"],
            &[b"Bearer a.b.c, Bearer d.e.f"],
            &[b"Bearer a.b.c d.e.f"],
            &[b"Bearer\ta.b.c"],
            &[b"Bearer "],
            &[b"Bearer"],
            &[b""],
            &[b"Basic eDp5"],
            &[b"Bearer a.b.\xe9"],
            &[b"Bearer \"a.b.c\""],
        ];
        for values in odd {
            assert!(matches!(bearer(&headers(values)), Err(AuthError::Header(_))), "{values:?}");
        }
    }
}
