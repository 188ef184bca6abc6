//! Immediate actions on volumes: attach, detach, resize.

use std::sync::Arc;

use icecore::volume::VolumeInfo;
use icecore_host::clock::Clock;
use icecore_host::config::Config;
use uuid::Uuid;

use crate::db::Action;
use crate::db::ActionStatus;
use crate::db::Db;
use crate::db::NewAction;
use crate::service::accounts::Accounts;
use crate::service::accounts::Who;
use crate::service::attachments::Attachments;
use crate::service::attachments::note_attachment;
use crate::service::disks::Disks;
use crate::service::items::GIB;
use crate::service::items::VolumeItem;
use crate::service::parts::Parts;
use crate::service::tag_names::TagNames;
use crate::service::tag_names::add_to_disk;
use crate::service::volumes::VOLUME_GIB_MAX;
use crate::service::volumes::check_gigabytes;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// A request for an action on a volume.
#[derive(Debug, Clone, Default)]
pub(crate) struct VolumeActionRequest {
    /// `attach`, `detach` or `resize`.
    pub(crate) kind: String,
    pub(crate) droplet_id: Option<i64>,
    pub(crate) size_gigabytes: Option<i64>,
    /// The region that the volume must be in.
    pub(crate) region: Option<String>,
    /// Tags to add to the volume.
    pub(crate) tags: Vec<String>,
}

/// A checked action.
enum Plan {
    /// Attaches to the Droplet with this disk.
    Attach(Uuid),
    Detach,
    Resize(u64),
}

impl Plan {
    /// Returns the type of the action.
    fn kind(&self) -> &'static str {
        match self {
            Self::Attach(_) => "attach_volume",
            Self::Detach => "detach_volume",
            Self::Resize(_) => "resize_volume",
        }
    }
}

/// The service that carries out actions on volumes.
pub(crate) struct VolumeActions {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    accounts: Arc<Accounts>,
    disks: Arc<Disks>,
    attachments: Arc<Attachments>,
    tag_names: Arc<TagNames>,
}

impl VolumeActions {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            clock: Arc::clone(&parts.clock),
            accounts: Arc::clone(&parts.accounts),
            disks: Arc::clone(&parts.disks),
            attachments: Arc::clone(&parts.attachments),
            tag_names: Arc::clone(&parts.tag_names),
        }
    }

    /// Acts on a volume, and returns the completed action.
    pub(crate) fn act(&self, who: &Who, id: &str, request: &VolumeActionRequest) -> ApiResult<Action> {
        let found = self.disks.volume(who, id)?;
        if request.region.as_deref().is_some_and(|region| region != found.pool.slug) {
            return Err(ApiError::unprocessable(format!("the volume is in the region {}", found.pool.slug)));
        }
        self.accounts.alone(who, || {
            let _changes = found.pool.changes();
            // Read again, now that nobody else can change the volume.
            self.act_alone(who, &self.disks.volume(who, id)?, request)
        })
    }

    fn act_alone(&self, who: &Who, item: &VolumeItem, request: &VolumeActionRequest) -> ApiResult<Action> {
        let plan = self.plan(who, item, request)?;
        let tags = self.tag_names.for_new(who, &request.tags)?;
        let begun = self.db.begin_action(&NewAction {
            account: &who.0,
            kind: plan.kind(),
            resource_type: "volume",
            resource: item.id(),
            resource_id: None,
            region: &item.pool.slug,
            job: None,
            now_unix_ms: self.clock.now_unix_ms(),
        })?;
        let done = add_to_disk(item, &tags).and_then(|()| carry_out(item, &plan));
        let problem = done.as_ref().err().map(ToString::to_string);
        let now_unix_ms = self.clock.now_unix_ms();
        let ended = self.db.end_action(begun.id, problem.as_deref(), now_unix_ms);
        done?;
        // The action is done even if its end could not be recorded: an error would make clients
        // repeat it.
        Ok(ended.unwrap_or_else(|error| {
            tracing::warn!(action = begun.id, %error, "could not record the end of an action");
            Action { status: ActionStatus::Completed, completed_unix_ms: Some(now_unix_ms), ..begun }
        }))
    }

    fn plan(&self, who: &Who, item: &VolumeItem, request: &VolumeActionRequest) -> ApiResult<Plan> {
        match request.kind.as_str() {
            "attach" => Ok(Plan::Attach(self.attachments.check_attach(who, item, request.droplet_id)?.id())),
            "detach" => self.attachments.check_detach(who, item, request.droplet_id).map(|()| Plan::Detach),
            "resize" => self.check_resize(who, &item.info, request.size_gigabytes).map(Plan::Resize),
            _ => Err(ApiError::not_found_saying("The specified action type is not available.")),
        }
    }

    /// Returns the new size in bytes.
    fn check_resize(&self, who: &Who, volume: &VolumeInfo, gib: Option<i64>) -> ApiResult<u64> {
        let gib = gib.ok_or_else(|| ApiError::unprocessable("size_gigabytes is required"))?;
        let gib = u64::try_from(gib).unwrap_or(0);
        if gib > VOLUME_GIB_MAX {
            return Err(ApiError::unprocessable(format!(
                "failed to resize volume: size_gigabytes must be at most {VOLUME_GIB_MAX}"
            )));
        }
        let now = volume.size_bytes;
        if gib * GIB <= now {
            return Err(ApiError::unprocessable(format!(
                "failed to resize volume: volumes only grow, and this one has {} GiB",
                now.div_ceil(GIB)
            )));
        }
        check_gigabytes(&self.config.limits, &self.disks.volumes(who)?, gib - now.div_ceil(GIB))?;
        Ok(gib * GIB)
    }
}

fn carry_out(item: &VolumeItem, plan: &Plan) -> ApiResult<()> {
    match plan {
        Plan::Attach(disk) => note_attachment(item, Some(*disk)),
        Plan::Detach => note_attachment(item, None),
        Plan::Resize(bytes) => item.pool.disks().grow(&item.info.name, *bytes).map_err(ApiError::busy),
    }
}
