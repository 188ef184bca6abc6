//! Signing in and out.

use std::sync::Arc;

use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Redirect;
use axum::response::Response;
use maud::Markup;
use maud::html;

use crate::http::blocking::blocking;
use crate::http::connection::Encrypted;
use crate::http::params::Params;
use crate::panel::form::Posted;
use crate::panel::form::read_form;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::reply::page_response;
use crate::panel::reply::problem;
use crate::panel::session::session_of;
use crate::panel::visitor::cookie;
use crate::service::App;
use crate::words::error::ApiError;

/// Returns the page to show after signing in: always one of this server, whatever the address asks
/// for.
fn next(wanted: Option<&str>) -> &str {
    let inside = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.chars().all(|c| c.is_ascii_graphic() && c != '\\')
    };
    wanted.filter(inside).unwrap_or("/")
}

fn form(next: &str, error: Option<&ApiError>) -> Markup {
    let body = html! {
        section class="card ask" {
            h1 { "Sign in" }
            form method="post" action="/sign-in" {
                input type="hidden" name="next" value=(next);
                div class="field" {
                    label for="token" { "API token" }
                    input id="token" type="password" name="token" required autofocus autocomplete="current-password"
                        aria-describedby="token-hint";
                    p class="hint" id="token-hint" {
                        "Create one on the server machine:  " code { "icecore token create panel" }
                    }
                }
                div class="buttons" { button class="primary" { "Sign in" } }
            }
        }
    };
    Page { visitor: None, title: "Sign in", menu: Menu::None, error, body }.render()
}

/// Shows the page for signing in.
pub(crate) async fn page(State(app): State<App>, params: Params, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let next = next(params.get("next"));
    match session_of(&app, &parts).await {
        Ok(Some(_)) => Redirect::to(next).into_response(),
        Ok(None) => page_response(StatusCode::OK, form(next, None)),
        Err(error) => problem(None, &error),
    }
}

/// Begins a session, if the token is valid.
pub(crate) async fn sign_in(State(app): State<App>, request: Request) -> Response {
    let encrypted = request.extensions().get::<Encrypted>().is_some();
    let fields = match read_form(request).await {
        Ok(fields) => fields,
        Err(error) => return problem(None, &error),
    };
    let next = next(Some(fields.get("next"))).to_owned();
    let token = fields.get("token").to_owned();
    let asked = Arc::clone(&app);
    match blocking(move || asked.sessions.begin(&token)).await {
        Ok(secret) => {
            let cookie = cookie(Some(&secret), encrypted);
            ([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response()
        }
        Err(error) if error.status == 401 => {
            let message =
                "This is not a valid token of this server. `icecore token list` lists the valid ones.";
            let error = ApiError { message: message.to_owned(), ..error };
            page_response(StatusCode::UNAUTHORIZED, form(&next, Some(&error)))
        }
        Err(error) => problem(None, &error),
    }
}

/// Ends a session.
pub(crate) async fn sign_out(State(app): State<App>, posted: Posted) -> Response {
    let visitor = posted.visitor;
    let gone = cookie(None, visitor.encrypted);
    match blocking(move || app.sessions.end(&visitor.secret)).await {
        Ok(()) => ([(header::SET_COOKIE, gone)], Redirect::to("/sign-in")).into_response(),
        Err(error) => problem(None, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_nobody_is_sent_elsewhere() {
        for (wanted, goes) in [
            (Some("/volumes?sort=name"), "/volumes?sort=name"),
            (Some("//evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("/a\r\nb"), "/"),
            (None, "/"),
        ] {
            assert_eq!(next(wanted), goes);
        }
    }
}
