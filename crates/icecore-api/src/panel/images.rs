//! Images: the list of imported ones, and a new one.

use axum::extract::State;
use axum::response::Response;
use maud::Markup;
use maud::html;

use crate::http::params::Params;
use crate::panel::activity::running;
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
use crate::service::images::commands::ImportRequest;
use crate::service::images::item::ImageItem;
use crate::service::images::item::ImageStatus;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_lists::Wanted;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

const COLUMNS: [Column; 6] = [
    column("name", "Name"),
    column("status", "Status"),
    column("distribution", "Distribution"),
    column("disk", "Disk"),
    column("region", "Region"),
    column("created", "Created"),
];

/// Lists imported images, and those for all accounts.
pub(crate) async fn list(State(app): State<App>, visitor: Visitor, params: Params) -> Response {
    reply(app, visitor, move |app, visitor| {
        let wanted = Wanted { base: true, classes: &[Class::Custom, Class::Base], ..Wanted::own() };
        let mut images = app.images.page(visitor.who(), &wanted, 0, usize::MAX)?.items;
        images.reverse();
        let empty = html! {
            h2 { "No images yet" }
            p { "Import a machine's disk from a file on this server, and create Droplets from it." }
            p { (ask_link("/images/new", "Import image", "button primary")) }
        };
        let list = List {
            path: "/images",
            caption: "Images",
            columns: &COLUMNS,
            rows: images.iter().map(row).collect(),
            total: None,
            choice: &Choice::from(&params),
            empty,
        };
        let beside = ask_link("/images/new", "Import image", "button primary");
        let body = html! { (heading("Images", &beside)) (running(app, visitor, None)?) (list.render()) };
        let page = Page { visitor: Some(visitor), title: "Images", menu: Menu::Images, error: None, body };
        Ok(Reply::Page(page.render()))
    })
    .await
}

fn row(image: &ImageItem) -> Row {
    let path = format!("/snapshots/{}", image.number);
    let (status, problem) = match &image.status {
        ImageStatus::New => ("NEW", ""),
        ImageStatus::Available => ("available", ""),
        ImageStatus::Deleted(problem) => ("deleted", problem.as_str()),
    };
    let linked = image.is_available() && !image.is_public();
    let name = html! {
        @if linked { a href=(path) { (image.name) } } @else { strong { (image.name) } }
        (tags(&image.tags))
        @if !problem.is_empty() { div class="hint" { (problem) } }
    };
    let entries = html! {
        @if image.is_available() {
            (ask_link(&format!("/droplets/new?image={}", image.number), "Create Droplet", ""))
        }
        @if linked {
            (ask_link(&format!("{path}/region"), "Add to region", ""))
            (ask_link(&format!("{path}/rename"), "Rename", ""))
            (ask_link(&format!("{path}/delete"), "Delete", "danger"))
        }
    };
    let menu = if image.is_available() {
        more(&image.name, &entries)
    } else {
        html! {}
    };
    Row {
        cells: vec![
            Cell::shown(&image.name, name),
            Cell::shown(status, badge(status)),
            Cell::text(&image.distribution),
            Cell::number(image.min_disk_gib, format!("{} GiB", image.min_disk_gib)),
            Cell::text(image.regions().join(", ")),
            Cell::number(image.created_unix_ms, time(image.created_unix_ms)),
        ],
        menu,
    }
}

/// The form for importing an image from a file.
pub(crate) struct NewImage;

impl New for NewImage {
    const FROM_ADDRESS: &'static str = "";

    fn page(
        service: &Service,
        visitor: &Visitor,
        fields: &Fields,
        error: Option<&ApiError>,
    ) -> ApiResult<Markup> {
        let import = &service.config.import;
        let (folders, hosts) = (&import.folders, import.hosts.iter().chain(&import.private_hosts));
        let text = html! {
            p { "A disk in a file on the server machine or at an https URL: raw, qcow2, vmdk, vhdx or vdi." }
            @if folders.is_empty() && hosts.clone().next().is_none() {
                p class="message error" { "The configuration allows no import: add folders to  " code { "folders" } " or hosts to " code { "hosts" } " in the section " code { "[import]" } "." }
            }
            @if !folders.is_empty() {
                p { "A file must be in one of these folders: " @for folder in folders { code { (folder.display()) } " " } }
            }
            @if hosts.clone().next().is_some() {
                p { "A URL must be at one of these hosts: " @for host in hosts { code { (host) } " " } }
            }
        };
        let ask = Ask {
            menu: Menu::Images,
            title: "Import image",
            text,
            fields: vec![
                Field::text("name", "Name", fields.get("name")).required(),
                Field::text("url", "Location", fields.get("url"))
                    .required()
                    .hint("file:///PATH, or an https URL"),
                Field::choice("region", "Region", fields.get("region"), regions(service, false)),
                Field::text("distribution", "Distribution", fields.get("distribution"))
                    .hint("Such as Debian. Optional."),
                tags_field(fields),
            ],
            submit: "Import image",
            danger: false,
            path: "/images",
            back: "/images",
        };
        Ok(ask.page(visitor, error))
    }

    fn make(service: &Service, who: &Who, fields: &Fields) -> ApiResult<Reply> {
        let request = ImportRequest {
            name: fields.get("name").to_owned(),
            url: fields.get("url").to_owned(),
            region: fields.get("region").to_owned(),
            distribution: fields.get("distribution").to_owned(),
            description: String::new(),
            tags: fields.words("tags"),
        };
        service.image_commands.import(who, &request)?;
        Ok(Reply::done("/images", Done::Started))
    }
}
