//! The list of API tokens. They are created on the server machine.

use axum::extract::State;
use axum::response::Response;
use maud::html;

use crate::http::params::Params;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::heading;
use crate::panel::layout::line_to_copy;
use crate::panel::list::Cell;
use crate::panel::list::Choice;
use crate::panel::list::List;
use crate::panel::list::Row;
use crate::panel::list::column;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::text::time;
use crate::panel::visitor::Visitor;
use crate::service::App;

/// Lists the account's tokens.
pub(crate) async fn page(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    reply(app, visitor, move |app, visitor| {
        let mut tokens = app.db.tokens()?;
        tokens.retain(|token| token.account == visitor.who().0);
        let rows = tokens.into_iter().map(|token| Row {
            cells: vec![
                Cell::number(token.id, token.id),
                Cell::text(token.name),
                Cell::number(token.created_unix_ms, time(token.created_unix_ms)),
                Cell::number(
                    token.used_unix_ms.unwrap_or(0),
                    html! { @match token.used_unix_ms { Some(used) => (time(used)), None => "never" } },
                ),
            ],
            menu: html! {},
        });
        let list = List {
            path: "/account",
            caption: "API tokens",
            columns: &[column("id", "Id"), column("name", "Name"), column("created", "Created"), column("used", "Last used")],
            rows: rows.collect(),
            total: None,
            choice: &Choice::from(&params),
            empty: html! { p { "This account has no tokens." } },
        };
        let account = app.accounts.get(visitor.who())?;
        let body = html! {
            (heading("API tokens", &html! {}))
            section class="card" aria-label="How to create and revoke tokens" {
                p { "Account " strong { (account.name) } ", " (account.email) ". Create and revoke tokens on the server machine, where each is shown once:" }
                (line_to_copy("Create one", &format!("icecore token create NAME --account {}", account.name)))
                (line_to_copy("Revoke one", "icecore token revoke ID"))
            }
            (list.render())
        };
        let page = Page { visitor: Some(visitor), title: "API tokens", menu: Menu::Account, error: None, body };
        Ok(Reply::Page(page.render()))
    })
    .await
}
