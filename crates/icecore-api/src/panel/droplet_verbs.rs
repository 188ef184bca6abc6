//! What can be done with a Droplet.

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
use crate::panel::droplets::images;
use crate::panel::droplets::sizes;
use crate::panel::form::Fields;
use crate::panel::form::Posted;
use crate::panel::layout::Menu;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::visitor::Visitor;
use crate::service::App;
use crate::service::Service;
use crate::service::droplets::BackupPolicy;
use crate::service::droplets::Command;
use crate::service::droplets::DropletItem;
use crate::service::droplets::ImageChoice;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Snapshot,
    Resize,
    Rename,
    Rebuild,
    PowerOn,
    PowerOff,
    EnableBackups,
    DisableBackups,
    Delete,
}

impl ask::Verb for Verb {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Snapshot, "snapshot"),
        (Self::Resize, "resize"),
        (Self::Rename, "rename"),
        (Self::Rebuild, "rebuild"),
        (Self::PowerOn, "power-on"),
        (Self::PowerOff, "power-off"),
        (Self::EnableBackups, "enable-backups"),
        (Self::DisableBackups, "disable-backups"),
        (Self::Delete, "delete"),
    ];
}

/// The form of something that can be done with a Droplet.
pub(crate) async fn ask(
    State(app): State<App>,
    visitor: Visitor,
    Path((id, verb)): Path<(String, String)>,
) -> Response {
    reply(app, visitor, move |app, visitor| {
        let item = app.droplet(visitor.who(), &id)?;
        Ok(Reply::Page(form(app, visitor, &item, Verb::parse(&verb)?, &Fields::default(), None)?))
    })
    .await
}

fn form(
    service: &Service,
    visitor: &Visitor,
    item: &DropletItem,
    verb: Verb,
    fields: &Fields,
    error: Option<&ApiError>,
) -> ApiResult<Markup> {
    let name = item.disk.name();
    let back = format!("/droplets/{}", item.number);
    let title = match verb {
        Verb::Snapshot if item.status() == "active" => "Take Live Snapshot",
        Verb::Snapshot => "Take Snapshot",
        Verb::Resize => "Resize",
        Verb::Rename => "Rename",
        Verb::Rebuild => "Rebuild",
        Verb::PowerOn => "Power on",
        Verb::PowerOff => "Power off",
        Verb::EnableBackups => "Enable backups",
        Verb::DisableBackups => "Disable backups",
        Verb::Delete => "Delete Droplet",
    };
    let path = verb.path(&back);
    let ask = Ask {
        menu: Menu::Droplets,
        title,
        text: html! { p { strong { (name) } ": " (says(verb)) } },
        fields: questions(service, visitor, item, verb, fields)?,
        submit: title,
        danger: matches!(verb, Verb::Delete | Verb::Rebuild),
        path: &path,
        back: &back,
    };
    Ok(ask.page(visitor, error))
}

/// Says what will happen.
fn says(verb: Verb) -> &'static str {
    match verb {
        Verb::Snapshot => {
            "captures the disk at this moment, without attached volumes: take their snapshots separately."
        }
        Verb::Resize => "gets another size. Its disk can grow, but not shrink.",
        Verb::Rename => "gets a new name.",
        Verb::Rebuild => {
            "an image replaces the content of the disk. Take a snapshot first if you want to keep it."
        }
        Verb::PowerOn => "is marked as running. This server does not run machines.",
        Verb::PowerOff => "is marked as powered off. This server does not run machines.",
        Verb::EnableBackups => "the server makes regular backups. They are deleted with the Droplet.",
        Verb::DisableBackups => "the server makes no more backups. Existing ones stay.",
        Verb::Delete => "its disk and its backups are deleted. Its snapshots stay. This cannot be undone.",
    }
}

fn questions<'a>(
    service: &Service,
    visitor: &Visitor,
    item: &DropletItem,
    verb: Verb,
    fields: &Fields,
) -> ApiResult<Vec<Field<'a>>> {
    Ok(match verb {
        Verb::Snapshot => {
            vec![Field::text("name", "Name", fields.get("name")).hint("By default, the name is the time.")]
        }
        Verb::Resize => vec![
            Field::choice("size", "Size", fields.get("size"), sizes(service, item.disk.size_gib()))
                .required(),
            Field::check("disk", "Grow the disk as well", fields.get("disk")).hint("This cannot be undone."),
        ],
        Verb::Rename => {
            let name = fields.some("name");
            vec![Field::text("name", "Name", name.as_deref().unwrap_or(item.disk.name())).required()]
        }
        Verb::Rebuild => {
            vec![Field::choice("image", "Image", fields.get("image"), images(service, visitor)?).required()]
        }
        Verb::EnableBackups => {
            let plans = [("daily", "daily, kept for 7 days"), ("weekly", "weekly, kept for 4 weeks")];
            let plans = plans.map(|(value, name)| (value.to_owned(), name.to_owned())).to_vec();
            let hours =
                [0, 4, 8, 12, 16, 20].map(|hour| (hour.to_string(), format!("{hour}:00 UTC"))).to_vec();
            vec![
                Field::choice("plan", "How often", fields.get("plan"), plans),
                Field::choice("hour", "From", fields.get("hour"), hours),
            ]
        }
        Verb::PowerOn | Verb::PowerOff | Verb::DisableBackups | Verb::Delete => Vec::new(),
    })
}

/// Does something with a Droplet.
pub(crate) async fn act(
    State(app): State<App>,
    Path((id, verb)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let Posted { visitor, fields } = posted;
    reply(app, visitor, move |app, visitor| {
        let verb = Verb::parse(&verb)?;
        let item = app.droplet(visitor.who(), &id)?;
        match perform(app, visitor, &id, verb, &fields) {
            Ok(done) if verb == Verb::Delete => Ok(Reply::done("/droplets", done)),
            Ok(done) => Ok(Reply::done(&format!("/droplets/{}", item.number), done)),
            Err(error) => Ok(Reply::refused(&error, form(app, visitor, &item, verb, &fields, Some(&error))?)),
        }
    })
    .await
}

fn perform(
    service: &Arc<Service>,
    visitor: &Visitor,
    id: &str,
    verb: Verb,
    fields: &Fields,
) -> ApiResult<Done> {
    let (command, done) = match verb {
        Verb::Snapshot => (Command::Snapshot { name: fields.some("name") }, Done::Started),
        Verb::Resize => {
            let disk = fields.some("disk").is_some();
            (Command::Resize { size: fields.get("size").to_owned(), disk }, Done::Resized)
        }
        Verb::Rename => (Command::Rename { name: fields.get("name").to_owned() }, Done::Renamed),
        Verb::Rebuild => {
            let image = fields.number("image").map(ImageChoice::Number);
            (Command::Rebuild { image }, Done::Started)
        }
        Verb::PowerOn => (Command::PowerOn, Done::Changed),
        Verb::PowerOff => (Command::PowerOff, Done::Changed),
        Verb::EnableBackups => {
            let plan = fields.some("plan");
            let policy = BackupPolicy::new(plan.as_deref(), None, fields.number("hour"))?;
            (Command::EnableBackups(policy), Done::Changed)
        }
        Verb::DisableBackups => (Command::DisableBackups, Done::Changed),
        Verb::Delete => {
            service.delete_droplet(visitor.who(), id)?;
            return Ok(Done::Deleted);
        }
    };
    service.command_droplet(visitor.who(), id, &command)?;
    Ok(done)
}
