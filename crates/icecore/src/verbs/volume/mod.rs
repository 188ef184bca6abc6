//! Copy-on-write volumes: writable disks that are created instantly from a snapshot and that can be
//! snapshotted themselves.

mod change;
mod create;
mod export;
mod info;
mod labels;
mod reads;
mod snapshot;

pub use crate::verbs::volume::change::delete_volume;
pub use crate::verbs::volume::change::reset_volume;
pub use crate::verbs::volume::change::resize_volume;
pub use crate::verbs::volume::change::restore_volume;
pub use crate::verbs::volume::create::VolumeOptions;
pub use crate::verbs::volume::create::create_volume;
pub use crate::verbs::volume::export::export_volume;
pub use crate::verbs::volume::info::UnreadableVolume;
pub use crate::verbs::volume::info::VolumeInfo;
pub use crate::verbs::volume::info::VolumeListing;
pub use crate::verbs::volume::info::find_volume;
pub use crate::verbs::volume::info::list_volumes;
pub use crate::verbs::volume::info::volume_dir;
pub use crate::verbs::volume::info::volume_in;
pub use crate::verbs::volume::info::watched_files;
pub use crate::verbs::volume::info::written_bytes;
pub use crate::verbs::volume::labels::relabel_volume;
pub use crate::verbs::volume::reads::StoredReads;
pub use crate::verbs::volume::reads::store_reads;
pub use crate::verbs::volume::snapshot::snapshot_volume;
