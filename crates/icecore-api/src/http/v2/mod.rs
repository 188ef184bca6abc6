//! The paths of version 2 of the API.

mod account;
mod actions;
mod backup_policies;
mod beside;
mod destructions;
mod droplet_actions;
mod droplets;
mod image_actions;
mod images;
mod projects;
mod regions;
mod snapshots;
mod ssh_keys;
mod tags;
mod volume_actions;
mod volume_snapshots;
mod volumes;
mod vpcs;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::App;

/// Returns all paths, and what is to be told of them.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(beside::router())
        .routes(routes!(account::get))
        .routes(routes!(ssh_keys::list, ssh_keys::create))
        .routes(routes!(ssh_keys::get, ssh_keys::update, ssh_keys::delete))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::get, projects::replace, projects::change, projects::delete))
        .routes(routes!(projects::resources, projects::assign))
        .routes(routes!(vpcs::list, vpcs::create))
        .routes(routes!(vpcs::get, vpcs::replace, vpcs::change, vpcs::delete))
        .routes(routes!(vpcs::members))
        .routes(routes!(regions::list))
        .routes(routes!(regions::list_sizes))
        .routes(routes!(actions::list))
        .routes(routes!(actions::get))
        .routes(routes!(snapshots::list))
        .routes(routes!(snapshots::get, snapshots::delete))
        .routes(routes!(tags::list, tags::create))
        .routes(routes!(tags::get, tags::delete))
        .routes(routes!(tags::add, tags::remove))
        .routes(routes!(volumes::list, volumes::create, volumes::delete_by_name))
        .routes(routes!(volumes::get, volumes::delete))
        .routes(routes!(volume_actions::act_by_name))
        .routes(routes!(volume_actions::act, volume_actions::list))
        .routes(routes!(volume_actions::get))
        .routes(routes!(volume_snapshots::get, volume_snapshots::delete))
        .routes(routes!(volume_snapshots::list, volume_snapshots::create))
        .routes(routes!(droplets::list, droplets::create, droplets::delete_tagged))
        .routes(routes!(droplets::get, droplets::delete))
        .routes(routes!(droplets::snapshots))
        .routes(routes!(droplets::backups))
        .routes(routes!(backup_policies::list))
        .routes(routes!(backup_policies::supported))
        .routes(routes!(backup_policies::get))
        .routes(routes!(destructions::list))
        .routes(routes!(destructions::selective))
        .routes(routes!(destructions::dangerous))
        .routes(routes!(destructions::status))
        .routes(routes!(destructions::retry))
        .routes(routes!(droplet_actions::create_tagged))
        .routes(routes!(droplet_actions::list, droplet_actions::create))
        .routes(routes!(droplet_actions::get))
        .routes(routes!(images::list, images::create))
        .routes(routes!(images::get, images::update, images::delete))
        .routes(routes!(image_actions::list, image_actions::create))
        .routes(routes!(image_actions::get))
        .routes(routes!(image_actions::offer))
        .routes(routes!(image_actions::accept))
        .routes(routes!(image_actions::decline))
        .routes(routes!(image_actions::cancel))
}
