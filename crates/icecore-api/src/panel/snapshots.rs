//! Backups & Snapshots: the lists.

use axum::extract::State;
use axum::response::Response;
use icecore::snapshot::ResourceKind;
use maud::Markup;
use maud::html;

use crate::http::params::Params;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::ask_link;
use crate::panel::layout::csrf;
use crate::panel::layout::heading;
use crate::panel::layout::more;
use crate::panel::list::Cell;
use crate::panel::list::Choice;
use crate::panel::list::Column;
use crate::panel::list::List;
use crate::panel::list::Row;
use crate::panel::list::column;
use crate::panel::list::plain_table;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::text::bytes;
use crate::panel::text::time;
use crate::panel::visitor::Visitor;
use crate::panel::volumes::tags;
use crate::pool::labels;
use crate::service::App;
use crate::service::Service;
use crate::service::items::SnapshotItem;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_lists::Wanted;
use crate::words::error::ApiResult;
use crate::words::text::in_query;

/// The kinds of snapshots, each with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OfDroplet,
    OfVolume,
    Backup,
    /// An imported image.
    Custom,
    /// An image for all accounts.
    Base,
}

impl Kind {
    /// Returns the kind of a snapshot.
    pub(crate) fn of(item: &SnapshotItem) -> Self {
        match labels::image_type(&item.snapshot.labels) {
            _ if item.snapshot.kind == ResourceKind::Volume => Self::OfVolume,
            labels::TYPE_BACKUP => Self::Backup,
            labels::TYPE_CUSTOM => Self::Custom,
            labels::TYPE_BASE => Self::Base,
            _ => Self::OfDroplet,
        }
    }

    /// Returns what the list of this kind has.
    pub(crate) fn wanted(self) -> Wanted {
        let (kind, classes): (_, &[Class]) = match self {
            Self::OfDroplet => (ResourceKind::Droplet, &[Class::Proper, Class::Other]),
            Self::OfVolume => (ResourceKind::Volume, &[]),
            Self::Backup => (ResourceKind::Droplet, &[Class::Backup]),
            Self::Custom => (ResourceKind::Droplet, &[Class::Custom]),
            Self::Base => (ResourceKind::Droplet, &[Class::Base]),
        };
        Wanted { kind: Some(kind), classes, ..Wanted::own() }
    }

    /// Returns the address of the list that has this kind.
    pub(crate) fn list(self) -> &'static str {
        match self {
            Self::OfDroplet => "/snapshots",
            Self::OfVolume => "/snapshots/volumes",
            Self::Backup => "/backups",
            Self::Custom | Self::Base => "/images",
        }
    }
}

const COLUMNS: [Column; 6] = [
    column("name", "Name"),
    column("of", "Of"),
    column("size", "Data"),
    column("disk", "Disk"),
    column("region", "Region"),
    column("created", "Created"),
];

/// The most snapshots listed on a disk's page.
const NEWEST: usize = 20;

const TABS: [(Kind, &str); 3] = [
    (Kind::OfDroplet, "Snapshots: Droplets"),
    (Kind::OfVolume, "Snapshots: Volumes"),
    (Kind::Backup, "Backups"),
];

/// Lists the snapshots of Droplets.
pub(crate) async fn of_droplets(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    list(app, visitor, params, Kind::OfDroplet).await
}

/// Lists the snapshots of volumes.
pub(crate) async fn of_volumes(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    list(app, visitor, params, Kind::OfVolume).await
}

/// Lists the backups of Droplets.
pub(crate) async fn backups(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    list(app, visitor, params, Kind::Backup).await
}

async fn list(app: App, visitor: Visitor, params: Params, kind: Kind) -> Response {
    reply(app, visitor, move |app, visitor| {
        let (wanted, choice) = (kind.wanted(), Choice::from(&params));
        let part = |skip, most| app.snapshots.page(visitor.who(), &wanted, true, skip, most);
        let total = part(0, 0)?.total;
        let (skip, most) = choice.part(total);
        // Newest first, unless the visitor sorts them.
        let items = part(skip, most)?.items;
        let empty = match kind {
            Kind::OfVolume => ("No snapshots of volumes yet", "/volumes", "Go to the volumes"),
            Kind::Backup => ("No backups yet", "/droplets", "Enable backups of a Droplet"),
            _ => ("No snapshots of Droplets yet", "/droplets", "Go to the Droplets"),
        };
        let empty = html! {
            h2 { (empty.0) }
            p { "A snapshot is a full, independent, read-only copy of a disk at one moment. Data that it shares with others is stored once." }
            p { a class="button primary" href=(empty.1) { (empty.2) } }
        };
        let list = List {
            path: kind.list(),
            caption: "Snapshots",
            columns: &COLUMNS,
            rows: items.iter().map(row).collect(),
            total: choice.is_plain().then_some(total),
            choice: &choice,
            empty,
        };
        let body = html! {
            (heading("Backups & Snapshots", &html! {}))
            nav class="tabs" aria-label="Kinds of snapshots" {
                @for (tab, name) in TABS {
                    a href=(tab.list()) aria-current=[(tab == kind).then_some("page")] { (name) }
                }
            }
            (offers(app, visitor)?)
            (list.render())
        };
        let title = "Backups & Snapshots";
        Ok(Reply::Page(Page { visitor: Some(visitor), title, menu: Menu::Snapshots, error: None, body }.render()))
    })
    .await
}

/// Shows the images that other accounts offer.
fn offers(service: &Service, visitor: &Visitor) -> ApiResult<Markup> {
    let offers = service.offers.to(visitor.who())?;
    Ok(html! {
        @for (number, name, sender) in offers {
            section class="card" aria-label="Offered to you" {
                p { strong { (sender) } " offers the snapshot " strong { (name) } " to this account." }
                div class="inline" {
                    @for (verb, name, class) in [("accept", "Accept", "primary"), ("decline", "Decline", "")] {
                        form method="post" action=(format!("/offers/{number}/{verb}")) {
                            (csrf(visitor))
                            button class=(class) { (name) }
                        }
                    }
                }
            }
        }
    })
}

/// Returns the row of a snapshot.
pub(crate) fn row(item: &SnapshotItem) -> Row {
    let snapshot = &item.snapshot;
    let path = format!("/snapshots/{}", item.id());
    let data = snapshot.stats.data_bytes;
    Row {
        cells: vec![
            Cell::shown(&snapshot.name, html! { a href=(path) { (snapshot.name) } (tags(&snapshot.tags)) }),
            Cell::text(&snapshot.resource),
            Cell::number(data, bytes(data)),
            Cell::number(snapshot.size_bytes, bytes(snapshot.size_bytes)),
            Cell::text(item.regions().join(", ")),
            Cell::number(snapshot.created_unix_ms, time(snapshot.created_unix_ms)),
        ],
        menu: more(&snapshot.name, &entries(item, "")),
    }
}

/// Returns the menu entries of a snapshot.
pub(crate) fn entries(item: &SnapshotItem, class: &str) -> Markup {
    let kind = Kind::of(item);
    let (id, path) = (item.id(), format!("/snapshots/{}", item.id()));
    let ask = |verb: &str, name: &str| ask_link(&format!("{path}/{verb}"), name, class);
    let danger = format!("{class} danger");
    html! {
        @if kind == Kind::OfVolume { (ask_link(&format!("/volumes/new?snapshot={id}"), "Create volume", class)) }
        @else if kind != Kind::Backup { (ask_link(&format!("/droplets/new?image={id}"), "Create Droplet", class)) }
        @if kind == Kind::OfDroplet || kind == Kind::Backup { (ask("restore", "Restore Droplet")) }
        @if kind == Kind::Backup { (ask("convert", "Convert to snapshot")) }
        @if kind == Kind::OfDroplet || kind == Kind::Custom { (ask("region", "Add to region")) }
        @if kind == Kind::OfDroplet { (ask("transfer", "Transfer Snapshot")) }
        @if kind != Kind::OfVolume { (ask("rename", "Rename")) }
        (ask_link(&format!("{path}/delete"), "Delete", danger.trim()))
    }
}

/// Shows the newest of some snapshots and a link to all of them, or `empty` if there are none.
pub(crate) fn newest_or(items: &[SnapshotItem], empty: &Markup) -> Markup {
    let Some(first) = items.first() else { return html! { div class="card" { (empty) } } };
    let rows: Vec<Row> = items.iter().rev().take(NEWEST).map(row).collect();
    let all = format!("{}?filter={}", Kind::of(first).list(), in_query(&first.snapshot.resource));
    html! {
        div class="card" {
            (plain_table("Snapshots", &COLUMNS, &rows))
            @if items.len() > NEWEST { p class="nothing" { "The newest " (NEWEST) " of " (items.len()) ". " a href=(all) { "Show all" } } }
        }
    }
}
