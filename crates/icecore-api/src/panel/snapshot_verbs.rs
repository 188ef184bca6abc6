//! The operations on a snapshot.

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use maud::html;

use crate::panel::ask::Field;
use crate::panel::done::Done;
use crate::panel::form::Fields;
use crate::panel::form::Posted;
use crate::panel::layout::Menu;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::snapshots::Kind;
use crate::panel::verbs;
use crate::panel::verbs::Question;
use crate::panel::verbs::Subject;
use crate::panel::volumes::regions;
use crate::service::App;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::droplets::commands::Command;
use crate::service::droplets::create::ImageChoice;
use crate::service::images::commands::ImageChange;
use crate::service::items::SnapshotItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Restore,
    Region,
    Transfer,
    Convert,
    Rename,
    Delete,
}

impl verbs::Verb for Verb {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Restore, "restore"),
        (Self::Region, "region"),
        (Self::Transfer, "transfer"),
        (Self::Convert, "convert"),
        (Self::Rename, "rename"),
        (Self::Delete, "delete"),
    ];
}

impl Subject for SnapshotItem {
    type Verb = Verb;
    const MENU: Menu = Menu::Snapshots;

    fn find(service: &Service, who: &Who, id: &str) -> ApiResult<Self> {
        service.snapshots.get(who, id)
    }

    fn path(&self) -> String {
        format!("/snapshots/{}", self.id())
    }

    fn question(&self, service: &Service, _who: &Who, verb: Verb, fields: &Fields) -> ApiResult<Question> {
        let name = &self.snapshot.name;
        let (title, text, fields) = match verb {
            Verb::Restore => (
                "Restore Droplet",
                html! { p { "Writes " strong { (name) } " over the disk of its Droplet. Everything written since is lost. Take a snapshot first if you want to keep it." } },
                Vec::new(),
            ),
            Verb::Region => (
                "Add to region",
                html! { p { "Copies " strong { (name) } " to another region. Writes only data that is missing there." } },
                vec![
                    Field::choice("region", "Region", fields.get("region"), regions_without(service, self))
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
        Ok(Question { title, text, fields, danger })
    }

    fn perform(&self, service: &Service, who: &Who, verb: Verb, fields: &Fields) -> ApiResult<Reply> {
        let (id, here) = (self.id(), self.path());
        match verb {
            Verb::Restore => {
                let image = self.number.map(ImageChoice::Number);
                service.droplet_commands.command(who, &self.resource_id, &Command::Restore { image })?;
                Ok(Reply::done(&format!("/droplets/{}", self.resource_id), Done::Started))
            }
            Verb::Region => {
                service.image_commands.transfer(who, &id, fields.get("region"))?;
                Ok(Reply::done("/activity", Done::Started))
            }
            Verb::Transfer => {
                service.offers.make(who, &id, Some(fields.get("email")), None)?;
                Ok(Reply::done(&here, Done::Offered))
            }
            Verb::Convert => {
                service.image_commands.convert(who, &id)?;
                Ok(Reply::done(&here, Done::Changed))
            }
            Verb::Rename => {
                let change = ImageChange { name: fields.some("name"), ..ImageChange::default() };
                service.image_commands.update(who, &id, &change)?;
                Ok(Reply::done(&here, Done::Renamed))
            }
            Verb::Delete if self.number.is_some() => {
                service.image_commands.delete(who, &id)?;
                Ok(Reply::done(Kind::of(self).list(), Done::Deleted))
            }
            Verb::Delete => {
                service.snapshots.delete(who, self.snapshot.id.0)?;
                Ok(Reply::done(Kind::of(self).list(), Done::Deleted))
            }
        }
    }
}

fn regions_without(service: &Service, item: &SnapshotItem) -> Vec<(String, String)> {
    let there = item.regions();
    regions(service, false).into_iter().filter(|(slug, _)| !there.contains(slug)).collect()
}

/// Accepts or declines an image that another account offers.
pub(crate) async fn answer_offer(
    State(app): State<App>,
    Path((id, verb)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    reply(app, posted.visitor, move |app, visitor| {
        match verb.as_str() {
            "accept" => app.offers.accept(visitor.who(), &id, None)?,
            "decline" => app.offers.decline(visitor.who(), &id, None)?,
            _ => return Err(ApiError::not_found()),
        }
        Ok(Reply::done("/snapshots", Done::Changed))
    })
    .await
}
