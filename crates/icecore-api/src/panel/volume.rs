//! A volume: its page, and what can be done with it.

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use icecore::snapshot::ResourceKind;
use maud::Markup;
use maud::html;

use crate::panel::ask;
use crate::panel::ask::Ask;
use crate::panel::ask::Field;
use crate::panel::ask::Verb as _;
use crate::panel::disk;
use crate::panel::done::Done;
use crate::panel::form::Fields;
use crate::panel::form::Posted;
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
use crate::service::volume_actions::VolumeActionRequest;
use crate::service::volumes::VOLUME_GIB_MAX;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// What can be done with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Snapshot,
    Resize,
    Attach,
    Detach,
    Delete,
}

impl ask::Verb for Verb {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Snapshot, "snapshot"),
        (Self::Resize, "resize"),
        (Self::Attach, "attach"),
        (Self::Detach, "detach"),
        (Self::Delete, "delete"),
    ];
}

/// The page of a volume.
pub(crate) async fn page(State(app): State<App>, visitor: Visitor, Path(id): Path<String>) -> Response {
    reply(app, visitor, move |app, visitor| {
        let item = app.volume(visitor.who(), &id)?;
        Ok(Reply::Page(show(app, visitor, &item)?))
    })
    .await
}

fn show(service: &Service, visitor: &Visitor, item: &VolumeItem) -> ApiResult<Markup> {
    let path = format!("/volumes/{}", item.id());
    let droplet = match service.attachment(visitor.who(), item)? {
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
    let taken = service.snapshots_of_volume(visitor.who(), &item.id().to_string())?;
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

/// The form of something that can be done with a volume.
pub(crate) async fn ask(
    State(app): State<App>,
    visitor: Visitor,
    Path((id, verb)): Path<(String, String)>,
) -> Response {
    reply(app, visitor, move |app, visitor| {
        let item = app.volume(visitor.who(), &id)?;
        Ok(Reply::Page(form(app, visitor, &item, Verb::parse(&verb)?, &Fields::default(), None)?))
    })
    .await
}

fn form(
    service: &Service,
    visitor: &Visitor,
    item: &VolumeItem,
    verb: Verb,
    fields: &Fields,
    error: Option<&ApiError>,
) -> ApiResult<Markup> {
    let back = format!("/volumes/{}", item.id());
    let name = item.name();
    let (title, text, all) = match verb {
        Verb::Snapshot => (
            "Take Snapshot",
            html! { p { "Captures " strong { (name) } " at this moment. Programs can keep writing; data that they have not yet written out is not included." } },
            vec![Field::text("name", "Name", fields.get("name")).required(), disk::tags_field(fields)],
        ),
        Verb::Resize => (
            "Resize",
            html! { p { strong { (name) } " has " (item.size_gib()) " GiB. It can grow, but not shrink." } },
            vec![
                Field::number(
                    "size",
                    "New size in GiB",
                    fields.get("size"),
                    item.size_gib() + 1,
                    VOLUME_GIB_MAX,
                )
                .required(),
            ],
        ),
        Verb::Attach => (
            "Attach to Droplet",
            html! { p { "Marks " strong { (name) } " as attached to a Droplet of the same region. An attached volume cannot be deleted." } },
            vec![
                Field::choice(
                    "droplet",
                    "Droplet",
                    fields.get("droplet"),
                    droplets_near(service, visitor, item)?,
                )
                .required(),
            ],
        ),
        Verb::Detach => {
            ("Detach", html! { p { "Detaches " strong { (name) } ". Its content stays." } }, Vec::new())
        }
        Verb::Delete => (
            "Delete volume",
            html! { p { "Deletes " strong { (name) } " and all its data. Its snapshots stay. This cannot be undone." } },
            Vec::new(),
        ),
    };
    let danger = verb == Verb::Delete;
    let path = verb.path(&back);
    let ask = Ask {
        menu: Menu::Volumes,
        title,
        text,
        fields: all,
        submit: title,
        danger,
        path: &path,
        back: &back,
    };
    Ok(ask.page(visitor, error))
}

/// Returns the Droplets of the region of a volume, for a choice.
fn droplets_near(
    service: &Service,
    visitor: &Visitor,
    item: &VolumeItem,
) -> ApiResult<Vec<(String, String)>> {
    let disks = service.disks(visitor.who(), ResourceKind::Droplet)?;
    let numbers = service.droplet_numbers(visitor.who())?;
    let near = disks.iter().filter(|disk| disk.pool.slug == item.pool.slug);
    Ok(near.filter_map(|disk| Some((numbers.get(&disk.id())?.to_string(), disk.name().to_owned()))).collect())
}

/// Does something with a volume.
pub(crate) async fn act(
    State(app): State<App>,
    Path((id, verb)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let Posted { visitor, fields } = posted;
    reply(app, visitor, move |app, visitor| {
        let verb = Verb::parse(&verb)?;
        let item = app.volume(visitor.who(), &id)?;
        match perform(app, visitor, &id, verb, &fields) {
            Ok(done) if verb == Verb::Delete => Ok(Reply::done("/volumes", done)),
            Ok(done) => Ok(Reply::done(&format!("/volumes/{}", item.id()), done)),
            Err(error) => Ok(Reply::refused(&error, form(app, visitor, &item, verb, &fields, Some(&error))?)),
        }
    })
    .await
}

fn perform(service: &Service, visitor: &Visitor, id: &str, verb: Verb, fields: &Fields) -> ApiResult<Done> {
    let who = visitor.who();
    let action = |kind: &str| {
        let request = VolumeActionRequest {
            kind: kind.to_owned(),
            droplet_id: fields.number("droplet"),
            size_gigabytes: fields.number("size"),
            ..VolumeActionRequest::default()
        };
        service.act_on_volume(who, id, &request)
    };
    match verb {
        Verb::Snapshot => {
            service.take_volume_snapshot(who, id, fields.get("name"), &fields.words("tags"))?;
            Ok(Done::SnapshotTaken)
        }
        Verb::Resize => action("resize").map(|_| Done::Resized),
        Verb::Attach => action("attach").map(|_| Done::Attached),
        Verb::Detach => {
            let droplet = service.attachment(who, &service.volume(who, id)?)?;
            let request = VolumeActionRequest {
                kind: "detach".to_owned(),
                droplet_id: droplet,
                ..VolumeActionRequest::default()
            };
            service.act_on_volume(who, id, &request).map(|_| Done::Detached)
        }
        Verb::Delete => service.delete_volume(who, id).map(|()| Done::Deleted),
    }
}
