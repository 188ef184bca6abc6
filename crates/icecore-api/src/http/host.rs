//! The `Host` header: each request has one, and where no token guards, it must be a name of this
//! server. Otherwise a web page could read answers by a name of its own that it makes point here.

use std::net::IpAddr;

use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::Version;
use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::http::connection::Encrypted;
use crate::http::connection::is_of_api;
use crate::service::App;
use crate::words::error::ApiError;

/// Refuses a request without a proper `Host`, or with a foreign one.
pub(crate) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let guarded = is_of_api(parts.uri.path()) || parts.extensions.get::<Encrypted>().is_some();
    let named = host_of(&parts).and_then(|host| match host {
        // A foreign name on TLS fails at the certificate, and on the API at the token.
        Some(host) if !guarded && !is_own(&host, &app.config.server.names) => Err(foreign(&host)),
        _ => Ok(()),
    });
    match named {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => {
            let mut answer = error.into_response();
            // Its body has not been read.
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer
        }
    }
}

/// Returns the host that a request names, without its port; none in HTTP/1.0 without one.
fn host_of(parts: &Parts) -> Result<Option<String>, ApiError> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(ApiError::bad_request("the request has more than one Host header"));
    }
    let Some(first) = first else {
        return match parts.version {
            Version::HTTP_09 | Version::HTTP_10 => Ok(None),
            _ => Err(ApiError::bad_request("the request has no Host header")),
        };
    };
    let named = first.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
    let named = named.filter(|named| !named.as_str().contains('@'));
    let named =
        named.ok_or_else(|| ApiError::bad_request("the Host header is not a host with or without a port"))?;
    Ok(Some(absolute(&parts.uri).unwrap_or(&named).host().to_owned()))
}

/// Returns the host of a request for a whole URL, which counts more than the header.
fn absolute(uri: &Uri) -> Option<&Authority> {
    uri.authority()
}

/// Returns whether a host is this machine, an address, or one of the configured names. No other
/// name can be made to point to an address, for that is itself.
fn is_own(host: &str, names: &[String]) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if address.parse::<IpAddr>().is_ok() {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let configured = |name: &String| name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(&host);
    host == "localhost" || host.ends_with(".localhost") || names.iter().any(configured)
}

fn foreign(host: &str) -> ApiError {
    ApiError {
        status: StatusCode::MISDIRECTED_REQUEST.as_u16(),
        id: "misdirected_request",
        message: format!(
            "{host} is not a known name of this server: use its address, or add the name to `names` under [server] in its configuration"
        ),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(version: Version, uri: &str, hosts: &[&str]) -> Result<Option<String>, u16> {
        let mut request = axum::http::Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        host_of(&request.body(()).unwrap().into_parts().0).map_err(|error| error.status)
    }

    #[test]
    fn a_request_names_one_host() {
        let of = |hosts: &[&str]| host(Version::HTTP_11, "/", hosts);
        assert_eq!(of(&["a.example:80"]), Ok(Some("a.example".to_owned())));
        assert_eq!(of(&["[::1]:80"]), Ok(Some("[::1]".to_owned())));
        for bad in [&[][..], &["a", "a"], &["a/b"], &["u@a"], &["a b"], &[""]] {
            assert_eq!(of(bad), Err(400), "{bad:?}");
        }
        assert_eq!(host(Version::HTTP_10, "/", &[]), Ok(None));
        assert_eq!(host(Version::HTTP_10, "/", &["a", "b"]), Err(400));
        let whole = host(Version::HTTP_11, "http://evil.example/metrics", &["localhost"]);
        assert_eq!(whole, Ok(Some("evil.example".to_owned())));
    }

    #[test]
    fn addresses_and_known_names_are_own() {
        let names = ["Panel.example".to_owned()];
        for own in
            ["localhost", "LocalHost.", "a.localhost", "127.0.0.1", "192.0.2.7", "[::1]", "panel.EXAMPLE."]
        {
            assert!(is_own(own, &names), "{own}");
        }
        for foreign in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a.panel.example", ""]
        {
            assert!(!is_own(foreign, &names), "{foreign}");
        }
    }
}
