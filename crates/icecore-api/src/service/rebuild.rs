//! At the start: what the database lost is taken over from the repositories, and what an earlier
//! server left behind goes.

use icecore::snapshot::ResourceKind;

use crate::db::Numbered;
use crate::pool::labels;
use crate::service::Service;
use crate::service::Who;
use crate::words::error::ApiResult;

impl Service {
    /// Does all of it, before anybody asks for anything.
    pub(super) fn take_over(&self) -> ApiResult<()> {
        self.take_over_numbers()?;
        self.take_over_tags()?;
        self.remove_unfinished()?;
        self.clear_scratch();
        Ok(())
    }

    /// Gives all that has a number noted that number, before anything new gets one.
    fn take_over_numbers(&self) -> ApiResult<()> {
        let mut all = Vec::new();
        for pool in self.pools().values() {
            for volume in icecore::volume::list_volumes(pool.repo())?.volumes {
                all.push(Numbered { uuid: volume.id.0, noted: labels::number(&volume.labels) });
            }
            for snapshot in icecore::snapshot::list(pool.repo())?.snapshots {
                all.push(Numbered { uuid: snapshot.id.0, noted: labels::number(&snapshot.labels) });
                if let Some(uuid) = labels::id(&snapshot.labels, labels::RESOURCE) {
                    all.push(Numbered { uuid, noted: labels::resource_number(&snapshot.labels) });
                }
            }
        }
        all.retain(|item| item.noted.is_some());
        self.db().numbers(&all)?;
        Ok(())
    }

    /// Notes all tags that something has, as they are spelt where they are oldest.
    fn take_over_tags(&self) -> ApiResult<()> {
        for account in &self.config().accounts {
            let who = Who(account.name.clone());
            let mut things = self.tagged_things(&who)?;
            things.sort_by_key(|thing| thing.created_unix_ms);
            for tag in things.iter().flat_map(|thing| &thing.tags) {
                self.db().make_tag(&who.0, tag)?;
            }
        }
        Ok(())
    }

    /// Removes volumes that were being made when the server ended.
    fn remove_unfinished(&self) -> ApiResult<()> {
        for pool in self.pools().values() {
            for volume in icecore::volume::list_volumes(pool.repo())?.volumes {
                let unfinished = labels::text(&volume.labels, labels::UNFINISHED).is_some();
                if !unfinished || volume.kind != ResourceKind::Volume {
                    continue;
                }
                match icecore::volume::delete_volume(pool.repo(), &volume.name) {
                    Ok(_) => tracing::info!(volume = %volume.name, "removed an unfinished object"),
                    Err(error) => {
                        tracing::warn!(volume = %volume.name, %error, "what was not finished stays")
                    }
                }
            }
        }
        Ok(())
    }
}
