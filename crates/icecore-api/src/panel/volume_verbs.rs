//! The operations on a volume.

use icecore::snapshot::ResourceKind;
use maud::html;

use crate::panel::ask::Field;
use crate::panel::disk::tags_field;
use crate::panel::done::Done;
use crate::panel::form::Fields;
use crate::panel::layout::Menu;
use crate::panel::reply::Reply;
use crate::panel::verbs;
use crate::panel::verbs::Question;
use crate::panel::verbs::Subject;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::items::VolumeItem;
use crate::service::volume_actions::VolumeActionRequest;
use crate::service::volumes::VOLUME_GIB_MAX;
use crate::words::error::ApiResult;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Snapshot,
    Resize,
    Attach,
    Detach,
    Delete,
}

impl verbs::Verb for Verb {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Snapshot, "snapshot"),
        (Self::Resize, "resize"),
        (Self::Attach, "attach"),
        (Self::Detach, "detach"),
        (Self::Delete, "delete"),
    ];
}

impl Subject for VolumeItem {
    type Verb = Verb;
    const MENU: Menu = Menu::Volumes;

    fn find(service: &Service, who: &Who, id: &str) -> ApiResult<Self> {
        service.disks.volume(who, id)
    }

    fn path(&self) -> String {
        format!("/volumes/{}", self.id())
    }

    fn question(&self, service: &Service, who: &Who, verb: Verb, fields: &Fields) -> ApiResult<Question> {
        let name = self.name();
        let (title, text, fields) = match verb {
            Verb::Snapshot => (
                "Take Snapshot",
                html! { p { "Captures " strong { (name) } " at this moment. Programs can keep writing; data that they have not yet written out is not included." } },
                vec![Field::text("name", "Name", fields.get("name")).required(), tags_field(fields)],
            ),
            Verb::Resize => (
                "Resize",
                html! { p { strong { (name) } " has " (self.size_gib()) " GiB. It can grow, but not shrink." } },
                vec![
                    Field::number(
                        "size",
                        "New size in GiB",
                        fields.get("size"),
                        self.size_gib() + 1,
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
                        droplets_near(service, who, self)?,
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
        Ok(Question { title, text, fields, danger: verb == Verb::Delete })
    }

    fn perform(&self, service: &Service, who: &Who, verb: Verb, fields: &Fields) -> ApiResult<Reply> {
        let (id, here) = (self.id().to_string(), self.path());
        let act = |kind: &str, done: Done| {
            let request = VolumeActionRequest {
                kind: kind.to_owned(),
                droplet_id: fields.number("droplet"),
                size_gigabytes: fields.number("size"),
                ..VolumeActionRequest::default()
            };
            service.volume_actions.act(who, &id, &request).map(|_| Reply::done(&here, done))
        };
        match verb {
            Verb::Snapshot => {
                service.volume_snapshots.take(who, &id, fields.get("name"), &fields.words("tags"))?;
                Ok(Reply::done(&here, Done::SnapshotTaken))
            }
            Verb::Resize => act("resize", Done::Resized),
            Verb::Attach => act("attach", Done::Attached),
            Verb::Detach => act("detach", Done::Detached),
            Verb::Delete => {
                service.volumes.delete(who, &id)?;
                Ok(Reply::done("/volumes", Done::Deleted))
            }
        }
    }
}

/// Returns the Droplets in a volume's region, for a choice.
fn droplets_near(service: &Service, who: &Who, item: &VolumeItem) -> ApiResult<Vec<(String, String)>> {
    let disks = service.disks.list(who, ResourceKind::Droplet)?;
    let numbers = service.disks.droplet_numbers(who)?;
    let near = disks.iter().filter(|disk| disk.pool.slug == item.pool.slug);
    Ok(near.filter_map(|disk| Some((numbers.get(&disk.id())?.to_string(), disk.name().to_owned()))).collect())
}
