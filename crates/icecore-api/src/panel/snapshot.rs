//! The page of a snapshot, with the map of its image and its relatives.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use icecore::ErrorKind;
use icecore::Meter;
use icecore::Progress;
use icecore::snapshot::ImageMap;
use icecore::snapshot::MapOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use maud::Markup;
use maud::html;

use crate::http::params::Params;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::facts;
use crate::panel::layout::heading;
use crate::panel::layout::line_to_copy;
use crate::panel::map;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::snapshots::Kind;
use crate::panel::snapshots::entries;
use crate::panel::text::bytes;
use crate::panel::text::time;
use crate::panel::visitor::Visitor;
use crate::panel::volumes::tags_or_none;
use crate::service::App;
use crate::service::Service;
use crate::service::items::SnapshotItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The time limit for drawing a map, in milliseconds: a visitor waits for the page.
const MAP_MS_MAX: i64 = 10_000;
/// The most snapshots of the same disk, and of others, to compare one with.
const BESIDE: usize = 200;

/// A limit that stops the drawing of a map when its time is over.
struct Patience<'a> {
    service: &'a Service,
    end_unix_ms: i64,
}

impl Progress for Patience<'_> {
    fn total(&self, _meter: Meter, _total: u64) {}
    fn advance(&self, _meter: Meter, _amount: u64) {}

    fn cancelled(&self) -> bool {
        self.service.clock.now_unix_ms() > self.end_unix_ms
    }
}

/// Shows the page of a snapshot.
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<String>,
    params: Params,
) -> Response {
    reply(app, visitor, move |app, visitor| {
        let item = app.snapshots.get(visitor.who(), &id)?;
        let all = app.snapshots.beside(visitor.who(), &item, BESIDE)?;
        Ok(Reply::Page(show(app, visitor, &item, &all, params.get("against"))?))
    })
    .await
}

fn show(
    service: &Arc<Service>,
    visitor: &Visitor,
    item: &SnapshotItem,
    all: &[SnapshotItem],
    against: Option<&str>,
) -> ApiResult<Markup> {
    let snapshot = &item.snapshot;
    let kind = Kind::of(item);
    let what = match kind {
        Kind::OfDroplet => "Snapshot of a Droplet",
        Kind::OfVolume => "Snapshot of a volume",
        Kind::Backup => "Backup",
        Kind::Custom => "Custom image",
        Kind::Base => "Base image",
    };
    let about = [
        ("Kind", html! { (what) }),
        ("Of", html! { (snapshot.resource) }),
        ("Disk", html! { (bytes(snapshot.size_bytes)) }),
        ("Data without zeros", html! { (bytes(snapshot.stats.data_bytes)) }),
        (
            "New data at creation",
            html! { (bytes(snapshot.stats.new_bytes)) ", " (bytes(snapshot.stats.stored_bytes)) " compressed" },
        ),
        ("Regions", html! { (item.regions().join(", ")) }),
        ("Created", time(snapshot.created_unix_ms)),
        ("Tags", tags_or_none(&snapshot.tags)),
        ("Id", html! { code { (item.id()) } }),
    ];
    let about: Vec<_> = about
        .into_iter()
        // The amount of new data reveals what the repository held before, from any account.
        .filter(|(name, _)| !name.starts_with("New") || service.accounts.may_know_what_is_shared())
        .collect();
    let menu = if kind == Kind::Custom || kind == Kind::Base { Menu::Images } else { Menu::Snapshots };
    let body = html! {
        (heading(&snapshot.name, &entries(item, "button")))
        section class="card" aria-label="About" { (facts(&about)) }
        (drawn(service, item, all, against)?)
        section class="card" aria-labelledby="lineage" {
            h2 id="lineage" { "Lineage" }
            (lineage(service, visitor, item, all)?)
        }
        section class="card" aria-labelledby="connect" {
            h2 id="connect" { "Read over NBD" }
            (line_to_copy("NBD, read-only", &service.nbd.uri(snapshot.id.0)))
        }
    };
    Ok(Page { visitor: Some(visitor), title: &snapshot.name, menu, error: None, body }.render())
}

/// Shows the map of the image, compared with another snapshot if one is chosen.
fn drawn(
    service: &Service,
    item: &SnapshotItem,
    all: &[SnapshotItem],
    against: Option<&str>,
) -> ApiResult<Markup> {
    let pool = item.pools.first().ok_or_else(ApiError::not_found)?;
    let there = |other: &&SnapshotItem| other.pools.iter().any(|one| one.slug == pool.slug);
    let others: Vec<_> =
        all.iter().filter(there).filter(|other| other.snapshot.id != item.snapshot.id).collect();
    let chosen = others.iter().find(|other| against.is_some_and(|id| other.id() == id));
    let chosen_id: Option<SnapshotId> = chosen.map(|other| other.snapshot.id);
    // Without sharing, nothing of other accounts is read: the page must not even show that their
    // data is damaged.
    let sharing = service.accounts.may_know_what_is_shared();
    let options = MapOptions { cells: map::CELLS, against: chosen_id, sharing };
    let patience = Patience { service, end_unix_ms: service.clock.now_unix_ms() + MAP_MS_MAX };
    let map = match icecore::snapshot::image_map(pool.repo(), item.snapshot.id, &options, &patience) {
        Ok(mut map) => {
            forget_what_the_other_had_no_room_for(&mut map);
            Some(map)
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => None,
        Err(error) => return Err(error.into()),
    };
    Ok(html! {
        section class="card" aria-labelledby="map" {
            h2 id="map" { "Map of the image" }
            @if !others.is_empty() {
                form class="inline" method="get" data-submit-on-change {
                    div class="field" {
                        label for="against" { "Changed since" }
                        select id="against" name="against" {
                            option value="" { "do not compare" }
                            @for other in others.iter().rev() {
                                option value=(other.id()) selected[Some(other.snapshot.id) == chosen_id] {
                                    (other.snapshot.name) " (" (other.snapshot.resource) ")"
                                }
                            }
                        }
                    }
                    button { "Compare" }
                }
                br;
            }
            @match &map {
                Some(map) => (map::draw(map, sharing)),
                None => p { "The map takes too long to draw here. Draw it with  " code { "icecore snapshot map " (item.snapshot.id) } "." },
            }
        }
    })
}

/// Does not count zeros after the end of a smaller image as changes.
fn forget_what_the_other_had_no_room_for(map: &mut ImageMap) {
    let Some(end) = map.against.as_ref().map(|other| other.size_bytes) else { return };
    let mut begin = 0u64;
    for cell in &mut map.cells {
        let before = end.saturating_sub(begin).min(map.cell_bytes);
        cell.changed_bytes = cell.changed_bytes.min(before.saturating_add(cell.data_bytes));
        begin = begin.saturating_add(map.cell_bytes);
    }
}

/// Shows the origin of a snapshot, and what was made from it.
fn lineage(
    service: &Service,
    visitor: &Visitor,
    item: &SnapshotItem,
    all: &[SnapshotItem],
) -> ApiResult<Markup> {
    let id = item.snapshot.id;
    let link = |other: &SnapshotItem| html! { a href=(format!("/snapshots/{}", other.id())) { (other.snapshot.name) } };
    let parent = item.snapshot.parent.map(|parent| service.snapshots.seen(visitor.who(), parent.0));
    let parent = parent.transpose()?;
    let children = all.iter().filter(|other| other.snapshot.parent == Some(id));
    let mut made = Vec::new();
    let numbers = service.disks.droplet_numbers(visitor.who())?;
    for kind in [ResourceKind::Volume, ResourceKind::Droplet] {
        for disk in service.disks.list(visitor.who(), kind)? {
            if disk.info.origin.as_ref().is_some_and(|origin| origin.id == id) {
                let (word, path) = match numbers.get(&disk.id()) {
                    Some(number) => ("Droplet", format!("/droplets/{number}")),
                    None => ("Volume", format!("/volumes/{}", disk.id())),
                };
                made.push((word, path, disk.name().to_owned()));
            }
        }
    }
    Ok(html! {
        ul class="lineage" {
            li { @match parent {
                Some(Some(parent)) => { "Taken after " (link(&parent)) }
                Some(None) => { "Taken after a deleted snapshot" }
                None => { "First known snapshot of " (item.snapshot.resource) }
            } }
            li class="here" { strong { (item.snapshot.name) } }
            @for child in children { li { "Then " (link(child)) } }
            @for (word, path, name) in &made { li { (word) " created from it: " a href=(path) { (name) } } }
        }
    })
}
