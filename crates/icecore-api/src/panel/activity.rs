//! Activity: actions and their progress.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::response::sse::Event;
use axum::response::sse::KeepAlive;
use axum::response::sse::Sse;
use futures_util::stream::unfold;
use icecore::snapshot::ResourceKind;
use maud::Markup;
use maud::html;
use serde::Serialize;
use uuid::Uuid;

use crate::db::Action;
use crate::db::ActionStatus;
use crate::http::blocking::blocking;
use crate::http::params::Params;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::badge;
use crate::panel::layout::heading;
use crate::panel::list::Cell;
use crate::panel::list::Choice;
use crate::panel::list::Column;
use crate::panel::list::List;
use crate::panel::list::Row;
use crate::panel::list::column;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::text::bytes;
use crate::panel::text::time;
use crate::panel::visitor::Visitor;
use crate::service::App;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::words::error::ApiResult;

/// The most actions listed, newest first.
const LISTED: usize = 1000;
/// The interval between two checks for progress.
const TICK: Duration = Duration::from_millis(400);
/// The number of checks in one answer: 20 seconds. The browser then asks again, and learns whether
/// the session has ended.
const TICKS: u32 = 50;

const COLUMNS: [Column; 6] = [
    column("type", "Action"),
    column("status", "Status"),
    column("of", "Of"),
    column("region", "Region"),
    column("started", "Started"),
    column("ended", "Ended"),
];

/// Lists all actions.
pub(crate) async fn list(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    reply(app, visitor, move |app, visitor| {
        let (_, actions) = app.actions.list(visitor.who(), None, 0, LISTED)?;
        let mut names = HashMap::new();
        for kind in [ResourceKind::Volume, ResourceKind::Droplet] {
            let disks = app.disks.list(visitor.who(), kind)?;
            names.extend(disks.iter().map(|disk| (disk.id(), disk.name().to_owned())));
        }
        let empty = html! {
            h2 { "No activity yet" }
            p { "This page lists snapshots of Droplets, restores, imports and copies to other regions, with their progress." }
        };
        let list = List {
            path: "/activity",
            caption: "Actions",
            columns: &COLUMNS,
            rows: actions.iter().map(|action| row(app, action, names.get(&action.resource))).collect(),
            total: None,
            choice: &Choice::from(&params),
            empty,
        };
        let body = html! { (heading("Activity", &html! {})) (list.render()) };
        let page = Page { visitor: Some(visitor), title: "Activity", menu: Menu::Activity, error: None, body };
        Ok(Reply::Page(page.render()))
    })
    .await
}

/// Returns the row of an action; `name` is the name of its disk, if known.
fn row(service: &Service, action: &Action, name: Option<&String>) -> Row {
    let status = html! {
        @if action.status == ActionStatus::InProgress { (progress(service, action)) }
        @else { (badge(action.status.as_str())) }
        @if !action.message.is_empty() { div class="hint" { (action.message) } }
    };
    let ended = action.completed_unix_ms;
    let of = match (name, action.resource_id) {
        (Some(name), _) => format!("{} {name}", action.resource_type),
        (None, Some(number)) => format!("{} {number}", action.resource_type),
        (None, None) => format!("{} {}", action.resource_type, action.resource),
    };
    let path = match (action.resource_type.as_str(), action.resource_id) {
        ("droplet", Some(number)) => format!("/droplets/{number}"),
        ("image", Some(number)) => format!("/snapshots/{number}"),
        _ => format!("/volumes/{}", action.resource),
    };
    let of_shown = html! { a href=(path) { (of) } };
    Row {
        cells: vec![
            Cell::text(words(&action.kind)),
            Cell::shown(action.status.as_str(), status),
            Cell::shown(of, of_shown),
            Cell::text(&action.region),
            Cell::number(action.started_unix_ms, time(action.started_unix_ms)),
            Cell::number(ended.unwrap_or(i64::MAX), html! { @if let Some(ended) = ended { (time(ended)) } }),
        ],
        menu: html! {},
    }
}

/// Returns the API's word for an action in plain language.
fn words(kind: &str) -> String {
    kind.replace('_', " ")
}

/// Shows the progress of an action; the script updates it.
fn progress(service: &Service, action: &Action) -> Markup {
    let known = service.actions.progress(action.id).filter(|(_, total)| *total > 0);
    let text = format!("{} is in progress", words(&action.kind));
    html! {
        span data-action=(action.id) {
            @match known {
                Some((done, total)) => progress max=(total) value=(done) aria-label=(text) { (bytes(done)) " of " (bytes(total)) },
                None => progress aria-label=(text) { "in progress" },
            }
        }
    }
}

/// Shows the running actions of a resource, or of all.
pub(crate) fn running(service: &Service, visitor: &Visitor, resource: Option<Uuid>) -> ApiResult<Markup> {
    let mut running = unfinished(service, visitor.who())?;
    running.retain(|action| resource.is_none_or(|resource| action.resource == resource));
    Ok(html! {
        @for action in &running {
            p class="card" { strong { (words(&action.kind)) } " " (progress(service, action)) }
        }
    })
}

fn unfinished(service: &Service, who: &Who) -> ApiResult<Vec<Action>> {
    let mut actions = service.db.unfinished_actions()?;
    actions.retain(|action| action.account == who.0);
    Ok(actions)
}

/// A running action, as the script receives it.
#[derive(Debug, Serialize)]
struct Going {
    id: i64,
    done: u64,
    total: u64,
}

fn going(service: &Service, who: &Who) -> ApiResult<String> {
    let mut going = Vec::new();
    for action in unfinished(service, who)? {
        let (done, total) = service.actions.progress(action.id).unwrap_or((0, 0));
        going.push(Going { id: action.id, done, total });
    }
    Ok(serde_json::to_string(&going).unwrap_or_default())
}

/// Streams the progress of actions while the browser listens.
pub(crate) async fn events(State(app): State<App>, visitor: Visitor) -> Response {
    let begun = (app, visitor.session.who, String::new(), 0);
    let events = unfold(begun, |(app, who, mut told, mut ticks)| async move {
        while ticks < TICKS {
            if ticks > 0 {
                tokio::time::sleep(TICK).await;
            }
            ticks += 1;
            let (asked, of) = (app.clone(), who.clone());
            let now = blocking(move || going(&asked, &of)).await.ok()?;
            if now != told {
                told.clone_from(&now);
                let event = Event::default().event("actions").data(now);
                return Some((Ok::<_, Infallible>(event), (app, who, told, ticks)));
            }
        }
        None
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
