//! Droplets: the list, and a new one.

use axum::extract::State;
use axum::response::Response;
use icecore_host::config::SizeConfig;
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
use crate::panel::layout::badge;
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
use crate::panel::text::time;
use crate::panel::verbs::New;
use crate::panel::visitor::Visitor;
use crate::panel::volumes::regions;
use crate::panel::volumes::tags;
use crate::service::App;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::droplets::backups::BackupPolicy;
use crate::service::droplets::create::DropletRequest;
use crate::service::droplets::create::ImageChoice;
use crate::service::droplets::features::Features;
use crate::service::droplets::item::DropletItem;
use crate::service::images::item::ImageItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The most snapshots in the choice of an image; imported images are all in it.
const IMAGES: usize = 200;

const COLUMNS: [Column; 6] = [
    column("name", "Name"),
    column("status", "Status"),
    column("image", "Image"),
    column("disk", "Disk"),
    column("region", "Region"),
    column("created", "Created"),
];

/// Lists all Droplets.
pub(crate) async fn list(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    reply(app, visitor, move |app, visitor| {
        let droplets = app.droplets.list(visitor.who())?;
        let empty = html! {
            h2 { "No Droplets yet" }
            p { "A Droplet is a bootable disk created from an image or a snapshot. Import an image first, or use a snapshot." }
            p {
                (ask_link("/droplets/new", "Create Droplet", "button primary")) " "
                (ask_link("/images/new", "Import image", "button"))
            }
        };
        let list = List {
            path: "/droplets",
            caption: "Droplets",
            columns: &COLUMNS,
            rows: droplets.iter().map(row).collect(),
            total: None,
            choice: &Choice::from(&params),
            empty,
        };
        let beside = ask_link("/droplets/new", "Create Droplet", "button primary");
        let body = html! { (heading("Droplets", &beside)) (list.render()) };
        let page = Page { visitor: Some(visitor), title: "Droplets", menu: Menu::Droplets, error: None, body };
        Ok(Reply::Page(page.render()))
    })
    .await
}

fn row(item: &DropletItem) -> Row {
    let path = format!("/droplets/{}", item.number);
    let name = item.disk.name();
    let entries = html! {
        (ask_link(&format!("{path}/snapshot"), "Take Snapshot", ""))
        (ask_link(&format!("{path}/rebuild"), "Rebuild", ""))
        (ask_link(&format!("{path}/resize"), "Resize", ""))
        (ask_link(&format!("{path}/rename"), "Rename", ""))
        (ask_link(&format!("{path}/delete"), "Delete", "danger"))
    };
    let shown = html! { a href=(path) { (name) } (tags(&item.disk.tags())) };
    Row {
        cells: vec![
            Cell::shown(name, shown),
            Cell::shown(item.status(), badge(item.status())),
            Cell::text(&item.image.name),
            Cell::number(item.disk.size_gib(), format!("{} GiB", item.disk.size_gib())),
            Cell::text(&item.disk.pool.slug),
            Cell::number(item.disk.info.created_unix_ms, time(item.disk.info.created_unix_ms)),
        ],
        menu: more(name, &entries),
    }
}

/// Returns the sizes with a disk of at least this many GiB, for a choice.
pub(crate) fn sizes(service: &Service, least_gib: u64) -> Vec<(String, String)> {
    let fitting = service.config.sizes.iter().filter(|size| size.disk >= least_gib);
    let name = |size: &SizeConfig| {
        format!("{}: {} GiB disk, {} MiB memory, {} vCPU", size.slug, size.disk, size.memory, size.vcpus)
    };
    fitting.map(|size| (size.slug.clone(), name(size))).collect()
}

/// Returns the images that a Droplet can be made from, for a choice.
pub(crate) fn images(service: &Service, who: &Who) -> ApiResult<Vec<(String, String)>> {
    let mut images = service.images.newest(who, IMAGES)?;
    images.retain(ImageItem::is_available);
    images.reverse();
    let name = |image: &ImageItem| {
        format!(
            "{} ({}, {}, {} GiB)",
            image.name,
            image.kind.as_str(),
            image.regions().join(" "),
            image.min_disk_gib
        )
    };
    Ok(images.iter().map(|image| (image.number.to_string(), name(image))).collect())
}

/// The form for a new Droplet.
pub(crate) struct NewDroplet;

impl New for NewDroplet {
    const FROM_ADDRESS: &'static str = "image";

    fn page(
        service: &Service,
        visitor: &Visitor,
        fields: &Fields,
        error: Option<&ApiError>,
    ) -> ApiResult<Markup> {
        let image = fields.get("image");
        let all = images(service, visitor.who())?;
        if all.is_empty() {
            let body = html! {
                section id="ask" class="card ask" aria-labelledby="ask-title" {
                    h1 id="ask-title" { "Create Droplet" }
                    p { "There is no image from which to create a Droplet. Import one first." }
                    div class="buttons" { a class="button primary" href="/images/new" { "Import image" } }
                }
            };
            let title = "Create Droplet";
            return Ok(Page { visitor: Some(visitor), title, menu: Menu::Droplets, error, body }.render());
        }
        let chosen = service.images.get(visitor.who(), image).ok();
        let least = chosen.as_ref().map_or(0, |image| image.min_disk_gib);
        let mut there = regions(service, false);
        if let Some(chosen) = &chosen {
            let slugs = chosen.regions();
            there.retain(|(slug, _)| slugs.contains(slug));
        }
        let ask = Ask {
            menu: Menu::Droplets,
            title: "Create Droplet",
            text: html! { p { "Its disk has the content of the image and stores only your changes." } },
            fields: vec![
                Field::text("name", "Name", fields.get("name"))
                    .required()
                    .hint("A host name: letters, digits, - and dots."),
                Field::choice("image", "Image", image, all).required(),
                Field::choice("size", "Size", fields.get("size"), sizes(service, least)).required(),
                Field::choice("region", "Region", fields.get("region"), there),
                Field::check("backups", "Backups, weekly", fields.get("backups")),
                Field::check("monitoring", "Monitoring", fields.get("monitoring")),
                Field::check("ipv6", "IPv6", fields.get("ipv6"))
                    .hint("Programs read this in the API. The server runs no machine and no network."),
                tags_field(fields),
            ],
            submit: "Create Droplet",
            danger: false,
            path: "/droplets",
            back: "/droplets",
        };
        Ok(ask.page(visitor, error))
    }

    fn make(service: &Service, who: &Who, fields: &Fields) -> ApiResult<Reply> {
        let backups = fields.some("backups").map(|_| BackupPolicy::new(None, None, None));
        let request = DropletRequest {
            names: vec![fields.get("name").to_owned()],
            region: fields.some("region"),
            size: fields.get("size").to_owned(),
            image: fields.number("image").map(ImageChoice::Number),
            tags: fields.words("tags"),
            backups: backups.transpose()?,
            features: Features {
                monitoring: fields.some("monitoring").is_some(),
                ipv6: fields.some("ipv6").is_some(),
                ..Features::default()
            },
            ..DropletRequest::default()
        };
        let made = service.new_droplets.create(who, &request)?;
        let path = made
            .first()
            .map_or_else(|| "/droplets".to_owned(), |(item, _)| format!("/droplets/{}", item.number));
        Ok(Reply::done(&path, Done::Created))
    }
}
