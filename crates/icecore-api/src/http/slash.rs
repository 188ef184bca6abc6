//! Trailing slashes: some clients end paths with one, and the cloud accepts both.
//!
//! A client that asks for a single thing with an empty id sends the same path as one that lists all
//! with a slash at the end. Clients that list so also ask for a page.

use axum::extract::Request;
use axum::http::Method;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::Next;
use axum::response::Response;

/// A mark that a path ended with a slash and had no query: behind a list, that is an empty id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EmptyId;

/// Removes a trailing slash from the path.
pub(crate) async fn take_off(mut request: Request, next: Next) -> Response {
    if let Some(uri) = without(request.uri()) {
        if request.method() != Method::POST && !asks_for_a_page(&uri) {
            request.extensions_mut().insert(EmptyId);
        }
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

/// Returns whether the query chooses a part of a list.
fn asks_for_a_page(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|one| one.starts_with("page=") || one.starts_with("per_page="))
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
