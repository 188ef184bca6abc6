//! Trailing slashes: some clients end paths with one, and the cloud accepts both.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::Next;
use axum::response::Response;

/// Removes a trailing slash from the path.
pub(crate) async fn take_off(mut request: Request, next: Next) -> Response {
    if let Some(uri) = without(request.uri()) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

fn without(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let shorter = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(shorter.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slash_at_the_end_is_of_no_account() {
        let shorter = |path: &str| without(&path.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(shorter("/v2/images/?page=2").as_deref(), Some("/v2/images?page=2"));
        assert_eq!(shorter("/v2/images/").as_deref(), Some("/v2/images"));
        for same in ["/", "/v2/images", "/v2/images?x=/"] {
            assert_eq!(shorter(same), None, "{same}");
        }
    }
}
