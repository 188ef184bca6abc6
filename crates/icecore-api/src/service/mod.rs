//! The operations of an account: one service for each kind of resource. Each service holds what it
//! needs, and calls only services below it. All of them block: call them from threads that may
//! block.

pub(crate) mod accounts;
pub(crate) mod actions;
pub(crate) mod attachments;
pub(crate) mod disks;
pub(crate) mod droplets;
mod file_systems;
pub(crate) mod images;
pub(crate) mod items;
pub(crate) mod jobs;
mod parts;
pub(crate) mod projects;
mod scratch;
pub(crate) mod sessions;
pub(crate) mod snapshot_index;
pub(crate) mod snapshot_lists;
pub(crate) mod snapshots;
pub(crate) mod ssh_keys;
pub(crate) mod start;
pub(crate) mod tag_names;
pub(crate) mod tags;
pub(crate) mod usage;
pub(crate) mod volume_actions;
pub(crate) mod volume_snapshots;
pub(crate) mod volumes;
pub(crate) mod vpcs;

use std::sync::Arc;

use icecore::Result;
use icecore_host::clock::Clock;
use icecore_host::config::Config;

use crate::db::Db;
use crate::pool::Pools;
use crate::pool::exports::NbdAddress;
use crate::service::accounts::Accounts;
use crate::service::actions::Actions;
use crate::service::attachments::Attachments;
use crate::service::disks::Disks;
use crate::service::droplets::catalog::Droplets;
use crate::service::droplets::commands::DropletCommands;
use crate::service::droplets::create::NewDroplets;
use crate::service::droplets::destructions::Destructions;
use crate::service::droplets::jobs::DropletJobs;
use crate::service::images::catalog::Images;
use crate::service::images::commands::ImageCommands;
use crate::service::images::import::Imports;
use crate::service::images::jobs::ImageJobs;
use crate::service::images::offers::Offers;
use crate::service::jobs::Jobs;
use crate::service::parts::Parts;
use crate::service::projects::Projects;
use crate::service::scratch::Scratch;
use crate::service::sessions::Sessions;
use crate::service::snapshots::Snapshots;
use crate::service::ssh_keys::SshKeys;
use crate::service::tags::Tags;
use crate::service::usage::Usage;
use crate::service::volume_actions::VolumeActions;
use crate::service::volume_snapshots::VolumeSnapshots;
use crate::service::volumes::Volumes;
use crate::service::vpcs::Vpcs;

/// The services, as handlers share them.
pub(crate) type App = Arc<Service>;

/// All services, and the state they share.
pub(crate) struct Service {
    pub(crate) config: Arc<Config>,
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<dyn Clock>,
    /// All regions.
    pub(crate) pools: Arc<Pools>,
    /// The address where disks are served.
    pub(crate) nbd: NbdAddress,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) sessions: Sessions,
    pub(crate) actions: Actions,
    pub(crate) disks: Arc<Disks>,
    pub(crate) attachments: Arc<Attachments>,
    pub(crate) volumes: Volumes,
    pub(crate) volume_actions: VolumeActions,
    pub(crate) volume_snapshots: VolumeSnapshots,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) ssh_keys: Arc<SshKeys>,
    pub(crate) projects: Projects,
    pub(crate) vpcs: Arc<Vpcs>,
    pub(crate) tags: Tags,
    pub(crate) images: Arc<Images>,
    pub(crate) image_commands: ImageCommands,
    pub(crate) offers: Offers,
    pub(crate) droplets: Arc<Droplets>,
    pub(crate) new_droplets: NewDroplets,
    pub(crate) droplet_commands: Arc<DropletCommands>,
    pub(crate) destructions: Destructions,
    pub(crate) usage: Usage,
    scratch: Scratch,
    imports: Arc<Imports>,
    image_jobs: ImageJobs,
    droplet_jobs: DropletJobs,
}

impl Service {
    /// Opens the database and the regions, and creates each service from its parts.
    fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let parts = Parts::open(config, clock)?;
        let images = Arc::new(Images::new(&parts));
        let imports = Arc::new(Imports::new(&parts));
        let image_jobs = ImageJobs::new(&parts, &imports);
        let droplets = Arc::new(Droplets::new(&parts, &images));
        let droplet_jobs = DropletJobs::new(&parts);
        let droplet_commands = Arc::new(DropletCommands::new(&parts, &images, &droplets, &droplet_jobs));
        let server = &parts.config.server;
        let nbd = parts.config.nbd.socket.clone().unwrap_or_else(|| server.state_dir.join("nbd"));
        Ok(Self {
            nbd: NbdAddress(nbd),
            sessions: Sessions::new(&parts),
            volumes: Volumes::new(&parts),
            volume_actions: VolumeActions::new(&parts),
            volume_snapshots: VolumeSnapshots::new(&parts),
            tags: Tags::new(&parts),
            image_commands: ImageCommands::new(&parts, &images, &image_jobs),
            offers: Offers::new(&parts, &images),
            new_droplets: NewDroplets::new(&parts, &images, &droplets, &droplet_jobs),
            destructions: Destructions::new(&parts, &droplets, &droplet_commands),
            droplet_commands,
            usage: Usage::new(&parts),
            projects: Projects::new(&parts),
            config: parts.config,
            db: parts.db,
            clock: parts.clock,
            pools: parts.pools,
            jobs: parts.jobs,
            scratch: parts.scratch,
            accounts: parts.accounts,
            actions: parts.actions,
            disks: parts.disks,
            attachments: parts.attachments,
            snapshots: parts.snapshots,
            ssh_keys: parts.ssh_keys,
            vpcs: parts.vpcs,
            images,
            imports,
            image_jobs,
            droplets,
            droplet_jobs,
        })
    }
}
