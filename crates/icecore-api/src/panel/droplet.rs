//! The page of a Droplet.

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use maud::Markup;
use maud::html;

use crate::panel::activity::running;
use crate::panel::disk;
use crate::panel::layout::Menu;
use crate::panel::layout::Page;
use crate::panel::layout::ask_link;
use crate::panel::layout::badge;
use crate::panel::layout::facts;
use crate::panel::layout::heading;
use crate::panel::layout::more;
use crate::panel::reply::Reply;
use crate::panel::reply::reply;
use crate::panel::snapshots::Kind;
use crate::panel::snapshots::newest_or;
use crate::panel::text::time;
use crate::panel::visitor::Visitor;
use crate::panel::volumes::tags_or_none;
use crate::service::App;
use crate::service::Service;
use crate::service::droplets::item::DropletItem;
use crate::service::snapshot_lists::Wanted;
use crate::wire::network::NetworksJson;
use crate::words::error::ApiResult;

/// Shows the page of a Droplet.
pub(crate) async fn page(State(app): State<App>, visitor: Visitor, Path(id): Path<String>) -> Response {
    reply(app, visitor, move |app, visitor| {
        let item = app.droplets.get(visitor.who(), &id)?;
        Ok(Reply::Page(show(app, visitor, &item)?))
    })
    .await
}

fn show(service: &Service, visitor: &Visitor, item: &DropletItem) -> ApiResult<Markup> {
    let path = format!("/droplets/{}", item.number);
    let of = Some((item.disk.info.kind, item.disk.id()));
    let taken = |kind: Kind| service.snapshots.list(visitor.who(), &Wanted { of, ..kind.wanted() });
    let (snapshots, backups) = (taken(Kind::OfDroplet)?, taken(Kind::Backup)?);
    let body = html! {
        (heading(item.disk.name(), &actions(item, &path)))
        (running(service, visitor, Some(item.disk.id()))?)
        section class="card" aria-label="About" { (about(item)) }
        (disk::data(&item.disk)?)
        (disk::connect(service, &item.disk))
        (volumes(service, visitor, item)?)
        h2 { "Snapshots" }
        (newest_or(&snapshots, &html! {
            p { "None yet. Power off the machine or sync its disks before you take one, or take a live snapshot." }
            p { (ask_link(&format!("{path}/snapshot"), "Take Snapshot", "button")) }
        }))
        @if item.backups().is_some() || !backups.is_empty() {
            h2 { "Backups" }
            (newest_or(&backups, &html! { p { "None yet. The first one is made at the chosen hour." } }))
        }
    };
    let title = item.disk.name();
    Ok(Page { visitor: Some(visitor), title, menu: Menu::Droplets, error: None, body }.render())
}

fn actions(item: &DropletItem, path: &str) -> Markup {
    let ask = |verb: &str, name: &str| ask_link(&format!("{path}/{verb}"), name, "");
    let on = item.status() == "active";
    let take = if on { "Take Live Snapshot" } else { "Take Snapshot" };
    let entries = html! {
        (ask("resize", "Resize"))
        (ask("rename", "Rename"))
        (ask("rebuild", "Rebuild"))
        @if on { (ask("power-off", "Power off")) } @else { (ask("power-on", "Power on")) }
        @if item.backups().is_some() { (ask("disable-backups", "Disable backups")) }
        @else { (ask("enable-backups", "Enable backups")) }
        (ask_link(&format!("{path}/delete"), "Delete", "danger"))
    };
    html! {
        (ask_link(&format!("{path}/snapshot"), take, "button primary"))
        (more(item.disk.name(), &entries))
    }
}

fn about(item: &DropletItem) -> Markup {
    let backups = item.backups().map_or_else(|| "off".to_owned(), |policy| policy.to_label());
    facts(&[
        ("Status", badge(item.status())),
        ("Size", html! { (item.size.slug) }),
        ("Disk", html! { (item.disk.size_gib()) " GiB" }),
        ("Image", html! { (item.image.name) }),
        ("Region", html! { (item.disk.pool.slug) }),
        ("Backups", html! { (backups) }),
        ("Features", html! { (features(item)) }),
        ("Addresses", addresses(item)),
        ("VPC", html! { code { (item.vpc) } }),
        ("Created", time(item.disk.info.created_unix_ms)),
        ("Tags", tags_or_none(&item.disk.tags())),
        ("Id", html! { code { (item.number) } }),
    ])
}

/// Returns the names of the features that were asked for.
fn features(item: &DropletItem) -> String {
    let asked = item.features();
    let all = [
        ("monitoring", asked.monitoring),
        ("IPv6", asked.ipv6),
        ("private networking", asked.private_networking),
    ];
    let names: Vec<&str> = all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Shows the addresses of record.
fn addresses(item: &DropletItem) -> Markup {
    let networks = NetworksJson::from(item);
    let v4 = networks.v4.into_iter().map(|network| (network.ip_address, network.kind));
    let v6 = networks.v6.into_iter().map(|network| (network.ip_address, network.kind));
    html! {
        @for (address, kind) in v4.chain(v6) { code { (address) } " " (kind) br; }
        span class="soft" { "Records: no machine has them." }
    }
}

fn volumes(service: &Service, visitor: &Visitor, item: &DropletItem) -> ApiResult<Markup> {
    let attached = service.attachments.volumes_of(visitor.who(), item.disk.id())?;
    Ok(html! {
        section class="card" aria-labelledby="volumes" {
            h2 id="volumes" { "Volumes" }
            @if attached.is_empty() { p class="soft" { "None attached. Attach one on the volume's page." } }
            @for volume in &attached {
                p {
                    a href=(format!("/volumes/{}", volume.id())) { (volume.name()) } " " (volume.size_gib()) " GiB "
                    (ask_link(&format!("/volumes/{}/detach", volume.id()), "Detach", "button quiet"))
                }
            }
        }
    })
}
