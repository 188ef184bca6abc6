//! The page of a volume.

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use maud::Markup;
use maud::html;

use crate::panel::disk;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::ask_link;
use crate::panel::layout::facts;
use crate::panel::layout::heading;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::snapshots;
use crate::panel::text::time;
use crate::panel::visitor::Visitor;
use crate::panel::volumes::tags_or_none;
use crate::pool::labels;
use crate::service::App;
use crate::service::Service;
use crate::service::items::VolumeItem;
use crate::words::error::ApiResult;

/// Shows the page of a volume.
pub(crate) async fn page(State(app): State<App>, visitor: Visitor, Path(id): Path<String>) -> Response {
    reply(app, visitor, move |app, visitor| {
        let item = app.disks.volume(visitor.who(), &id)?;
        Ok(Reply::Page(show(app, visitor, &item)?))
    })
    .await
}

fn show(service: &Service, visitor: &Visitor, item: &VolumeItem) -> ApiResult<Markup> {
    let path = format!("/volumes/{}", item.id());
    let droplet = match service.attachments.droplet_of(visitor.who(), item)? {
        Some(number) => html! { a href=(format!("/droplets/{number}")) { "Droplet " (number) } },
        None => html! { "nothing" },
    };
    let beside = html! {
        (ask_link(&format!("{path}/snapshot"), "Take Snapshot", "button primary"))
        (ask_link(&format!("{path}/resize"), "Resize", "button"))
        @if item.attached_to().is_some() { (ask_link(&format!("{path}/detach"), "Detach", "button")) }
        @else { (ask_link(&format!("{path}/attach"), "Attach to Droplet", "button")) }
        (ask_link(&format!("{path}/delete"), "Delete", "button danger"))
    };
    let system = match item.label(labels::FILESYSTEM_TYPE) {
        "" => "unknown",
        system => system,
    };
    let about = [
        ("Size", html! { (item.size_gib()) " GiB" }),
        ("Region", html! { (item.pool.slug) }),
        ("Attached to", droplet),
        ("File system", html! { (system) }),
        ("Created", time(item.info.created_unix_ms)),
        ("Tags", tags_or_none(&item.tags())),
        ("Id", html! { code { (item.id()) } }),
    ];
    let taken = service.volume_snapshots.list(visitor.who(), &item.id().to_string())?;
    let body = html! {
        (heading(item.name(), &beside))
        section class="card" aria-label="About" { (facts(&about)) }
        (disk::data(item)?)
        (disk::connect(service, item))
        h2 { "Snapshots of this volume" }
        (snapshots::newest_or(&taken, &html! {
            p { "None yet. A snapshot captures the disk at one moment, even while it is written to." }
            p { (ask_link(&format!("{path}/snapshot"), "Take Snapshot", "button")) }
        }))
    };
    let title = item.name();
    Ok(Page { visitor: Some(visitor), title, menu: Menu::Volumes, error: None, body }.render())
}
