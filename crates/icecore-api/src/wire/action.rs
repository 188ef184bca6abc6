//! Actions.

use serde::Serialize;
use utoipa::ToSchema;

use crate::db::Action;
use crate::wire::list::body;
use crate::wire::list::list_body;
use crate::wire::region::RegionJson;
use crate::words::time::rfc3339;

/// An action on a Droplet, an image or a volume, running or ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionJson {
    pub(crate) id: i64,
    /// `in-progress`, `completed` or `errored`.
    pub(crate) status: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) started_at: String,
    pub(crate) completed_at: Option<String>,
    /// None for volumes.
    pub(crate) resource_id: Option<i64>,
    pub(crate) resource_type: String,
    pub(crate) region: Option<RegionJson>,
    pub(crate) region_slug: String,
    /// The reason why it failed; not in the cloud's API.
    pub(crate) message: String,
}

impl ActionJson {
    /// Shows an action; `region` is the one that it names, where that is still configured.
    pub(crate) fn new(action: Action, region: Option<RegionJson>) -> Self {
        Self {
            id: action.id,
            status: action.status.as_str().to_owned(),
            kind: action.kind,
            started_at: rfc3339(action.started_unix_ms),
            completed_at: action.completed_unix_ms.map(rfc3339),
            resource_id: action.resource_id,
            resource_type: action.resource_type,
            region,
            region_slug: action.region,
            message: action.message,
        }
    }
}

body!(
    /// An action.
    ActionBody, action: ActionJson
);
list_body!(
    /// Actions.
    ActionsBody, actions: ActionJson
);

/// Actions started by one request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StartedActionsBody {
    pub(crate) actions: Vec<ActionJson>,
}
