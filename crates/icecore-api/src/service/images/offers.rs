//! Transfers of images from one account to another, which must accept them.

use std::sync::Arc;

use icecore_host::clock::Clock;
use icecore_host::config::Config;
use uuid::Uuid;

use crate::db::Db;
use crate::db::Offer;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Who;
use crate::service::accounts::uuid_of_account;
use crate::service::images::catalog::Images;
use crate::service::images::item::ImageType;
use crate::service::parts::Parts;
use crate::service::snapshots::Snapshots;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;

/// The offers of all accounts.
pub(crate) struct Offers {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    snapshots: Arc<Snapshots>,
    images: Arc<Images>,
}

impl Offers {
    pub(crate) fn new(parts: &Parts, images: &Arc<Images>) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            clock: Arc::clone(&parts.clock),
            snapshots: Arc::clone(&parts.snapshots),
            images: Arc::clone(images),
        }
    }

    /// Offers an image to another account, given by email or id. Returns the number of the offer.
    pub(crate) fn make(
        &self,
        who: &Who,
        id: &str,
        email: Option<&str>,
        uuid: Option<&str>,
    ) -> ApiResult<i64> {
        let image = self.images.own(who, id)?;
        if image.kind != ImageType::Snapshot {
            return Err(ApiError::bad_request(
                "only snapshots of Droplets can be transferred to another account",
            ));
        }
        let named = |text: &str| text.parse::<Uuid>().ok();
        let wanted = self.config.accounts.iter().find(|account| match (email, uuid) {
            (Some(email), _) => account.email.eq_ignore_ascii_case(email),
            (None, Some(uuid)) => named(uuid) == Some(uuid_of_account(&account.name)),
            (None, None) => false,
        });
        let recipient = wanted.filter(|account| account.name != who.0).ok_or_else(|| {
            ApiError::bad_request("recipient_email or recipient_uuid must belong to another account")
        })?;
        self.db
            .make_offer(image.uuid, &who.0, &recipient.name, self.clock.now_unix_ms())?
            .ok_or_else(|| ApiError::bad_request("the image is already on offer: cancel that offer first"))
    }

    /// Returns the offer of an image that `mine` selects.
    fn find(&self, id: &str, transfer: Option<i64>, mine: impl Fn(&Offer) -> bool) -> ApiResult<Offer> {
        let number = ids::number(id).ok_or_else(ApiError::not_found)?;
        let uuid = self.db.numbered(number)?.ok_or_else(ApiError::not_found)?;
        let meant = |offer: &Offer| transfer.is_none_or(|transfer| transfer == offer.id) && mine(offer);
        self.db.offer(uuid)?.filter(meant).ok_or_else(ApiError::not_found)
    }

    /// Accepts an image that another account offers; `transfer` is the number of the offer, if the
    /// client gives one.
    pub(crate) fn accept(&self, who: &Who, id: &str, transfer: Option<i64>) -> ApiResult<()> {
        let offer = self.find(id, transfer, |offer| offer.recipient == who.0)?;
        if self.db.unfinished_actions()?.iter().any(|action| action.resource == offer.uuid) {
            return Err(ApiError::unprocessable("Image already has a pending event."));
        }
        let accepted = self.db.accept_offer(offer.id)? && self.hand_over(&offer)?;
        if accepted { Ok(()) } else { Err(ApiError::not_found()) }
    }

    /// Declines an offer.
    pub(crate) fn decline(&self, who: &Who, id: &str, transfer: Option<i64>) -> ApiResult<()> {
        let offer = self.find(id, transfer, |offer| offer.recipient == who.0)?;
        self.db.withdraw_offer(offer.id)?;
        Ok(())
    }

    /// Cancels an offer.
    pub(crate) fn withdraw(&self, who: &Who, id: &str, transfer: Option<i64>) -> ApiResult<()> {
        let offer = self.find(id, transfer, |offer| offer.sender == who.0)?;
        self.db.withdraw_offer(offer.id)?;
        Ok(())
    }

    /// Returns the offers to an account: the number of each image, its name, and the sender.
    pub(crate) fn to(&self, who: &Who) -> ApiResult<Vec<(i64, String, String)>> {
        let mut shown = Vec::new();
        for offer in self.db.offers_to(&who.0)? {
            if let Some(image) = self.images.of_snapshot(&Who(offer.sender.clone()), offer.uuid)? {
                shown.push((image.number, image.name, offer.sender));
            }
        }
        Ok(shown)
    }

    /// Sets the new owner of an image in all regions, and returns whether any has it. It removes
    /// the tags, which are the old owner's words.
    fn hand_over(&self, offer: &Offer) -> ApiResult<bool> {
        let owner = Labels::from([(labels::ACCOUNT.to_owned(), offer.recipient.clone())]);
        let found =
            self.snapshots.in_all_regions(&Who(offer.recipient.clone()), offer.uuid, |repo, id| {
                let snapshot = icecore::snapshot::relabel(repo, id, &owner, &[])?;
                icecore::snapshot::retag(repo, id, &[], &snapshot.tags).map(drop)
            })?;
        self.db.end_offer(offer.id)?;
        Ok(found)
    }

    /// Completes the transfers that an earlier server did not complete.
    pub(crate) fn end_accepted(&self) -> ApiResult<()> {
        self.db.accepted_offers()?.iter().try_for_each(|offer| self.hand_over(offer).map(drop))
    }
}
