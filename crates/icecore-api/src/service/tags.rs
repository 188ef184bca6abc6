//! Tags.

use crate::pool::labels;
use crate::service::Service;
use crate::service::Who;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names::check_tag;

impl Service {
    /// Notes tags that something is made with, and returns them as they were spelt first, sorted.
    pub(crate) fn tags_for_new(&self, who: &Who, wanted: &[String]) -> ApiResult<Vec<String>> {
        wanted.iter().try_for_each(|tag| check_tag(tag))?;
        let mut tags =
            wanted.iter().map(|tag| self.db().make_tag(&who.0, tag)).collect::<ApiResult<Vec<_>>>()?;
        tags.sort();
        tags.dedup();
        if tags.len() > labels::TAGS_MAX {
            return Err(ApiError::unprocessable(format!("there are at most {} tags", labels::TAGS_MAX)));
        }
        Ok(tags)
    }
}
