//! What can be done with a snapshot.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use maud::Markup;
use maud::html;

use crate::panel::ask;
use crate::panel::ask::Ask;
use crate::panel::ask::Field;
use crate::panel::ask::Verb as _;
use crate::panel::done::Done;
use crate::panel::form::Fields;
use crate::panel::form::Posted;
use crate::panel::layout::Menu;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::snapshots::Kind;
use crate::panel::visitor::Visitor;
use crate::panel::volumes::regions;
use crate::service::App;
use crate::service::Service;
use crate::service::droplets::Command;
use crate::service::droplets::ImageChoice;
use crate::service::images::ImageChange;
use crate::service::items::SnapshotItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Restore,
    Region,
    Transfer,
    Convert,
    Rename,
    Delete,
}

impl ask::Verb for Verb {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Restore, "restore"),
        (Self::Region, "region"),
        (Self::Transfer, "transfer"),
        (Self::Convert, "convert"),
        (Self::Rename, "rename"),
        (Self::Delete, "delete"),
    ];
}

/// The form of something that can be done with a snapshot.
pub(crate) async fn ask(
    State(app): State<App>,
    visitor: Visitor,
    Path((id, verb)): Path<(String, String)>,
) -> Response {
    reply(app, visitor, move |app, visitor| {
        let item = app.snapshot(visitor.who(), &id)?;
        Ok(Reply::Page(form(app, visitor, &item, Verb::parse(&verb)?, &Fields::default(), None)))
    })
    .await
}

fn form(
    service: &Service,
    visitor: &Visitor,
    item: &SnapshotItem,
    verb: Verb,
    fields: &Fields,
    error: Option<&ApiError>,
) -> Markup {
    let name = &item.snapshot.name;
    let back = format!("/snapshots/{}", item.id());
    let (title, text, all) = match verb {
        Verb::Restore => (
            "Restore Droplet",
            html! { p { "Writes " strong { (name) } " over the disk of its Droplet. Everything written since is lost. Take a snapshot first if you want to keep it." } },
            Vec::new(),
        ),
        Verb::Region => (
            "Add to region",
            html! { p { "Copies " strong { (name) } " to another region. Writes only data that is missing there." } },
            vec![
                Field::choice("region", "Region", fields.get("region"), regions_without(service, item))
                    .required(),
            ],
        ),
        Verb::Transfer => (
            "Transfer Snapshot",
            html! { p { "Offers " strong { (name) } " to another account of this server. It moves when that account accepts; it is not copied." } },
            vec![Field::text("email", "Email of the other account", fields.get("email")).required()],
        ),
        Verb::Convert => (
            "Convert to snapshot",
            html! { p { "Makes " strong { (name) } " a snapshot, which stays until you delete it." } },
            Vec::new(),
        ),
        Verb::Rename => (
            "Rename",
            html! { p { "Gives " strong { (name) } " a new name." } },
            vec![Field::text("name", "Name", fields.some("name").as_ref().unwrap_or(name)).required()],
        ),
        Verb::Delete => (
            "Delete snapshot",
            html! { p { "Deletes " strong { (name) } " in all its regions. Other snapshots, and disks created from it, stay. This cannot be undone." } },
            Vec::new(),
        ),
    };
    let danger = matches!(verb, Verb::Delete | Verb::Restore);
    let path = verb.path(&back);
    let ask = Ask {
        menu: Menu::Snapshots,
        title,
        text,
        fields: all,
        submit: title,
        danger,
        path: &path,
        back: &back,
    };
    ask.page(visitor, error)
}

fn regions_without(service: &Service, item: &SnapshotItem) -> Vec<(String, String)> {
    let there = item.regions();
    regions(service, false).into_iter().filter(|(slug, _)| !there.contains(slug)).collect()
}

/// Does something with a snapshot.
pub(crate) async fn act(
    State(app): State<App>,
    Path((id, verb)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let Posted { visitor, fields } = posted;
    reply(app, visitor, move |app, visitor| {
        let verb = Verb::parse(&verb)?;
        let item = app.snapshot(visitor.who(), &id)?;
        match perform(app, visitor, &item, verb, &fields) {
            Ok(done) => Ok(done),
            Err(error) => Ok(Reply::refused(&error, form(app, visitor, &item, verb, &fields, Some(&error)))),
        }
    })
    .await
}

fn perform(
    service: &Arc<Service>,
    visitor: &Visitor,
    item: &SnapshotItem,
    verb: Verb,
    fields: &Fields,
) -> ApiResult<Reply> {
    let (who, id) = (visitor.who(), item.id());
    let here = format!("/snapshots/{id}");
    match verb {
        Verb::Restore => {
            let image = item.number.map(ImageChoice::Number);
            service.command_droplet(who, &item.resource_id, &Command::Restore { image })?;
            Ok(Reply::done(&format!("/droplets/{}", item.resource_id), Done::Started))
        }
        Verb::Region => {
            service.transfer_image(who, &id, fields.get("region"))?;
            Ok(Reply::done("/activity", Done::Started))
        }
        Verb::Transfer => {
            service.offer_image(who, &id, Some(fields.get("email")), None)?;
            Ok(Reply::done(&here, Done::Offered))
        }
        Verb::Convert => {
            service.convert_image(who, &id)?;
            Ok(Reply::done(&here, Done::Changed))
        }
        Verb::Rename => {
            let change = ImageChange { name: fields.some("name"), ..ImageChange::default() };
            service.update_image(who, &id, &change)?;
            Ok(Reply::done(&here, Done::Renamed))
        }
        Verb::Delete if item.number.is_some() => {
            service.delete_image(who, &id)?;
            Ok(Reply::done(Kind::of(item).list(), Done::Deleted))
        }
        Verb::Delete => {
            service.delete_snapshot(item)?;
            Ok(Reply::done(Kind::of(item).list(), Done::Deleted))
        }
    }
}

/// Accepts or declines what another account offers.
pub(crate) async fn answer_offer(
    State(app): State<App>,
    Path((id, verb)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    reply(app, posted.visitor, move |app, visitor| {
        match verb.as_str() {
            "accept" => app.accept_image(visitor.who(), &id, None)?,
            "decline" => app.decline_image(visitor.who(), &id, None)?,
            _ => return Err(ApiError::not_found()),
        }
        Ok(Reply::done("/snapshots", Done::Changed))
    })
    .await
}
