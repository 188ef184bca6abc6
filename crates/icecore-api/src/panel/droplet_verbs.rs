//! The operations on a Droplet.

use maud::html;

use crate::panel::ask::Field;
use crate::panel::done::Done;
use crate::panel::droplets::images;
use crate::panel::droplets::sizes;
use crate::panel::form::Fields;
use crate::panel::layout::Menu;
use crate::panel::reply::Reply;
use crate::panel::verbs;
use crate::panel::verbs::Question;
use crate::panel::verbs::Subject;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::droplets::backups::BackupPolicy;
use crate::service::droplets::commands::Command;
use crate::service::droplets::create::ImageChoice;
use crate::service::droplets::item::DropletItem;
use crate::words::error::ApiResult;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
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

impl verbs::Verb for Verb {
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

impl Subject for DropletItem {
    type Verb = Verb;
    const MENU: Menu = Menu::Droplets;

    fn find(service: &Service, who: &Who, id: &str) -> ApiResult<Self> {
        service.droplets.get(who, id)
    }

    fn path(&self) -> String {
        format!("/droplets/{}", self.number)
    }

    fn question(&self, service: &Service, who: &Who, verb: Verb, fields: &Fields) -> ApiResult<Question> {
        let title = match verb {
            Verb::Snapshot if self.status() == "active" => "Take Live Snapshot",
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
        Ok(Question {
            title,
            text: html! { p { strong { (self.disk.name()) } ": " (says(verb)) } },
            fields: fields_of(service, who, self, verb, fields)?,
            danger: matches!(verb, Verb::Delete | Verb::Rebuild),
        })
    }

    fn perform(&self, service: &Service, who: &Who, verb: Verb, fields: &Fields) -> ApiResult<Reply> {
        let id = self.number.to_string();
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
                service.droplet_commands.delete(who, &id)?;
                return Ok(Reply::done("/droplets", Done::Deleted));
            }
        };
        service.droplet_commands.command(who, &id, &command)?;
        Ok(Reply::done(&self.path(), done))
    }
}

/// Returns the consequences of an operation.
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

fn fields_of(
    service: &Service,
    who: &Who,
    item: &DropletItem,
    verb: Verb,
    fields: &Fields,
) -> ApiResult<Vec<Field<'static>>> {
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
            vec![Field::choice("image", "Image", fields.get("image"), images(service, who)?).required()]
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
