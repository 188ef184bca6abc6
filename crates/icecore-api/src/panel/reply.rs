//! Answers of the panel's handlers: a page, a redirect, or an error page.

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Redirect;
use axum::response::Response;
use maud::Markup;
use maud::html;

use crate::http::blocking::blocking;
use crate::panel::done::Done;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::visitor::Visitor;
use crate::service::App;
use crate::service::Service;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// An answer.
pub(crate) enum Reply {
    /// A page.
    Page(Markup),
    /// A page that says why something failed, with the status of that error.
    Refused(u16, Markup),
    /// A redirect to the page that shows the result.
    Go(String),
}

impl Reply {
    /// Redirects to a path, where a message confirms the operation.
    pub(crate) fn done(path: &str, done: Done) -> Self {
        let between = if path.contains('?') { '&' } else { '?' };
        Self::Go(format!("{path}{between}done={}", done.key()))
    }

    /// Shows a page with a message that says why something failed.
    pub(crate) fn refused(error: &ApiError, page: Markup) -> Self {
        Self::Refused(error.status, page)
    }
}

/// Computes an answer, on a thread that may block.
pub(crate) async fn reply(
    app: App,
    visitor: Visitor,
    what: impl FnOnce(&Arc<Service>, &Visitor) -> ApiResult<Reply> + Send + 'static,
) -> Response {
    let asked = visitor.clone();
    match blocking(move || what(&app, &asked)).await {
        Ok(Reply::Page(page)) => page_response(StatusCode::OK, page),
        Ok(Reply::Refused(status, page)) => {
            page_response(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), page)
        }
        Ok(Reply::Go(path)) => Redirect::to(&path).into_response(),
        Err(error) => problem(Some(&visitor), &error),
    }
}

/// Answers with a page.
pub(crate) fn page_response(status: StatusCode, page: Markup) -> Response {
    let html = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    (status, [html], page.into_string()).into_response()
}

/// Answers with a page that shows only the error.
pub(crate) fn problem(visitor: Option<&Visitor>, error: &ApiError) -> Response {
    let title = match error.status {
        404 => "Not found",
        403 => "Not allowed",
        500.. => "Something went wrong",
        _ => "Cannot do that",
    };
    let body = html! {
        div class="card problem" {
            h1 { (title) }
            p { (error.message) }
            p { a class="button" href="/" { "Go to the start page" } }
        }
    };
    let page = Page { visitor, title, menu: Menu::None, error: None, body };
    page_response(StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST), page.render())
}
