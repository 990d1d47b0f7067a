//! `X-Forwarded-For`, one header a line, as it reaches a gateway behind proxies.
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use shellgate_gateway::config::Network;
use shellgate_gateway::http::forwarded_for;

const NAME: &str = "x-forwarded-for";

fuzz_target!(|lines: &[u8]| {
    let proxies: [Network; 2] = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a net"));
    let peer = IpAddr::from([10, 0, 0, 1]);
    let is_proxy = |address| proxies.iter().any(|network| network.contains(address));
    let values: Vec<_> = lines
        .split(|byte| *byte == b'\n')
        .take(16)
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect();
    let of = |values: &[HeaderValue]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, value.clone());
        }
        forwarded_for(&proxies, peer, &headers)
    };
    let whose = of(&values);

    // Several headers are one list (RFC 9110, section 5.3).
    let joined = values.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    assert_eq!(of(&[HeaderValue::from_bytes(&joined).expect("legal parts")]), whose);

    // What a client writes ahead of all that changes nothing about a client that is known.
    let forged = HeaderValue::from_static("192.0.2.66, 10.66.66.66");
    let mut longer = vec![forged];
    longer.extend(values.iter().cloned());
    if !is_proxy(whose) {
        assert_eq!(of(&longer), whose, "a forged head is believed");
    }

    // A proxy's own word comes last, and goes before everything else.
    let mut longer = values.clone();
    longer.push(HeaderValue::from_static("203.0.113.9:4711"));
    assert_eq!(of(&longer), IpAddr::from([203, 0, 113, 9]));
    let nearest = IpAddr::from([10, 3, 3, 3]);
    longer.pop();
    longer.push(HeaderValue::from_static("10.3.3.3"));
    let through = of(&longer);
    assert!(through == whose || (whose == peer && through == nearest), "{whose} became {through}");

    // An address is read as it is written, with a port too, and in brackets.
    let written = match whose {
        IpAddr::V4(_) => vec![format!("{whose}"), format!("{whose}:1")],
        IpAddr::V6(_) => vec![format!("{whose}"), format!("[{whose}]"), format!("[{whose}]:1")],
    };
    for text in written {
        let value = HeaderValue::from_str(&text).expect("an address");
        assert_eq!(of(&[value]), whose, "{text}");
    }
});
