//! Volumes: the list, and a new one.

use axum::extract::State;
use axum::response::Response;
use icecore::snapshot::ResourceKind;
use maud::Markup;
use maud::html;

use crate::http::params::Params;
use crate::panel::ask::Ask;
use crate::panel::ask::Field;
use crate::panel::disk::tags_field;
use crate::panel::done::Done;
use crate::panel::form::Fields;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::ask_link;
use crate::panel::layout::heading;
use crate::panel::layout::more;
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
use crate::panel::verbs::New;
use crate::panel::visitor::Visitor;
use crate::service::App;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::items::VolumeItem;
use crate::service::volumes::VOLUME_GIB_MAX;
use crate::service::volumes::VolumeRequest;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

const COLUMNS: [Column; 5] = [
    column("name", "Name"),
    column("size", "Size"),
    column("region", "Region"),
    column("attached", "Attached to"),
    column("created", "Created"),
];

/// Lists all volumes.
pub(crate) async fn list(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    reply(app, visitor, move |app, visitor| {
        let droplets = app.disks.list(visitor.who(), ResourceKind::Droplet)?;
        let volumes = app.disks.volumes(visitor.who())?;
        let rows = volumes.iter().map(|item| row(item, &droplets)).collect();
        let empty = html! {
            h2 { "No volumes yet" }
            p { "A volume is a disk that is served over NBD. Create an empty one, or one from a snapshot." }
            p { (ask_link("/volumes/new", "Create volume", "button primary")) }
        };
        let list = List {
            path: "/volumes",
            caption: "Volumes",
            columns: &COLUMNS,
            rows,
            total: None,
            choice: &Choice::from(&params),
            empty,
        };
        let beside = ask_link("/volumes/new", "Create volume", "button primary");
        let body = html! { (heading("Volumes", &beside)) (list.render()) };
        let page = Page { visitor: Some(visitor), title: "Volumes", menu: Menu::Volumes, error: None, body };
        Ok(Reply::Page(page.render()))
    })
    .await
}

fn row(item: &VolumeItem, droplets: &[VolumeItem]) -> Row {
    let path = format!("/volumes/{}", item.id());
    let droplet = item.attached_to().and_then(|id| droplets.iter().find(|droplet| droplet.id() == id));
    let size = html! { (bytes(item.info.size_bytes)) };
    let entries = html! {
        (ask_link(&format!("{path}/snapshot"), "Take Snapshot", ""))
        (ask_link(&format!("{path}/resize"), "Resize", ""))
        @if droplet.is_some() { (ask_link(&format!("{path}/detach"), "Detach", "")) }
        @else { (ask_link(&format!("{path}/attach"), "Attach to Droplet", "")) }
        (ask_link(&format!("{path}/delete"), "Delete", "danger"))
    };
    Row {
        cells: vec![
            Cell::shown(item.name(), html! { a href=(path) { (item.name()) } (tags(&item.tags())) }),
            Cell::number(item.info.size_bytes, size),
            Cell::text(&item.pool.slug),
            Cell::text(droplet.map_or("", VolumeItem::name)),
            Cell::number(item.info.created_unix_ms, time(item.info.created_unix_ms)),
        ],
        menu: more(item.name(), &entries),
    }
}

/// Shows tags.
pub(crate) fn tags(tags: &[String]) -> Markup {
    html! { @for tag in tags { " " span class="tag" { (tag) } } }
}

/// Shows tags as a fact.
pub(crate) fn tags_or_none(all: &[String]) -> Markup {
    html! { @if all.is_empty() { "none" } (tags(all)) }
}

/// Returns the regions where something can be created, for a choice.
pub(crate) fn regions(service: &Service, storage: bool) -> Vec<(String, String)> {
    let pools = service.pools.values().filter(|pool| pool.storage || !storage);
    pools.map(|pool| (pool.slug.clone(), region_name(&pool.name, &pool.slug))).collect()
}

fn region_name(name: &str, slug: &str) -> String {
    if name == slug { slug.to_owned() } else { format!("{name} ({slug})") }
}

/// The form for a new volume, empty or from a snapshot.
pub(crate) struct NewVolume;

impl New for NewVolume {
    const FROM_ADDRESS: &'static str = "snapshot";

    fn page(
        service: &Service,
        visitor: &Visitor,
        fields: &Fields,
        error: Option<&ApiError>,
    ) -> ApiResult<Markup> {
        let name = Field::text("name", "Name", fields.get("name"))
            .required()
            .hint("Lower-case letters, digits and -, beginning with a letter.");
        let mut all = vec![name];
        let mut text = html! { p { "The disk is served over NBD as soon as it exists. It takes up space as you write to it." } };
        if let Some(id) = &fields.some("snapshot") {
            let item = service.snapshots.get(visitor.who(), id)?;
            text = html! {
                p {
                    "The volume has the content of the snapshot " strong { (item.snapshot.name) } ", and "
                    (item.snapshot.min_disk_gib().max(1)) " GiB. It stores only your changes."
                }
            };
            all.push(Field::hidden("snapshot", id));
            let slugs = item.regions();
            let mut there = regions(service, true);
            there.retain(|(slug, _)| slugs.contains(slug));
            all.push(Field::choice("region", "Region", fields.get("region"), there));
        } else {
            all.push(Field::number("size", "Size in GiB", fields.get("size"), 1, VOLUME_GIB_MAX).required());
            all.push(Field::choice("region", "Region", fields.get("region"), regions(service, true)));
            let kinds = [("", "none"), ("ext4", "ext4"), ("xfs", "xfs")];
            let kinds = kinds.map(|(value, name)| (value.to_owned(), name.to_owned())).to_vec();
            all.push(Field::choice("filesystem", "File system", fields.get("filesystem"), kinds));
        }
        all.push(tags_field(fields));
        let ask = Ask {
            menu: Menu::Volumes,
            title: "Create volume",
            text,
            fields: all,
            submit: "Create volume",
            danger: false,
            path: "/volumes",
            back: "/volumes",
        };
        Ok(ask.page(visitor, error))
    }

    fn make(service: &Service, who: &Who, fields: &Fields) -> ApiResult<Reply> {
        let request = VolumeRequest {
            name: fields.get("name").to_owned(),
            region: fields.some("region"),
            size_gigabytes: fields.number("size"),
            snapshot_id: fields.some("snapshot"),
            filesystem_type: fields.get("filesystem").to_owned(),
            tags: fields.words("tags"),
            ..VolumeRequest::default()
        };
        let item = service.volumes.create(who, &request)?;
        Ok(Reply::done(&format!("/volumes/{}", item.id()), Done::Created))
    }
}
