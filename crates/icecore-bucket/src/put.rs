//! Making objects: once, whatever happens on the way.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use icecore::storage::Put;
use object_store::PutMode;
use object_store::multipart::PartId;
use object_store::path::Path;

use crate::remote::Remote;
use crate::remote::Sent;
use crate::trouble::Trouble;
use crate::trouble::Verb;

/// How bodies are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Longer bodies go in parts. All stores take 5 GiB at once, or almost.
    pub(crate) whole_bytes_max: u64,
    /// The length of a part.
    pub(crate) part_bytes: usize,
}

/// 10 000 parts are the most that stores take: these make 640 GiB.
pub(crate) const CUT: Cut = Cut { whole_bytes_max: 4 << 30, part_bytes: 64 << 20 };

const PARTS_AT_ONCE: usize = 4;

/// Makes an object if its name is free.
///
/// # Errors
/// The store's. Where it is not known whether the object was made, the error says so.
pub(crate) fn put_new(remote: &Remote, name: &str, body: &Bytes, cut: Cut) -> io::Result<Put> {
    let put = remote.wait(async {
        let sent = match body.len() as u64 > cut.whole_bytes_max {
            true => put_parts(remote, name, body, cut, PutMode::Create).await,
            false => remote.put(name, body, PutMode::Create).await,
        };
        match sent {
            Ok(Sent::Made) => Ok(Put::Made),
            Ok(Sent::Taken) => Ok(Put::Exists),
            Ok(Sent::Unknown) => match remote.is(name, body).await? {
                true => Ok(Put::Made),
                false => Ok(Put::Exists),
            },
            // The last attempt may have made it, too.
            Err(trouble) if trouble.may_pass() && !trouble.is_before_it() => {
                match remote.is(name, body).await {
                    Ok(true) => Ok(Put::Made),
                    Ok(false) => Ok(Put::Exists),
                    Err(_) => Err(trouble),
                }
            }
            Err(trouble) => Err(trouble),
        }
    });
    put.map_err(|trouble| remote.error(&trouble, Verb::Put, name))
}

/// Puts an object in the place of what is there.
///
/// # Errors
/// The store's.
pub(crate) fn overwrite(remote: &Remote, name: &str, body: &Bytes, cut: Cut) -> io::Result<()> {
    let put = remote.wait(async {
        match body.len() as u64 > cut.whole_bytes_max {
            true => put_parts(remote, name, body, cut, PutMode::Overwrite).await,
            false => remote.put(name, body, PutMode::Overwrite).await,
        }
    });
    put.map(drop).map_err(|trouble| remote.error(&trouble, Verb::Put, name))
}

/// Makes a large object of parts. Stores do not tell whether the name was free when it appeared: it
/// is looked up before, which is enough for names that only one writer uses.
async fn put_parts(
    remote: &Remote,
    name: &str,
    body: &Bytes,
    cut: Cut,
    mode: PutMode,
) -> Result<Sent, Trouble> {
    let path = remote.path(name)?;
    if mode == PutMode::Create {
        match remote.length(name).await {
            Ok(_) => return Ok(Sent::Taken),
            Err(Trouble::Missing) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    let id = remote.attempts.run(0, async |_| Ok(remote.writer().create_multipart(&path).await?)).await?;
    let mut unfinished = Unfinished { remote, path: &path, id: Some(id.clone()) };
    let starts = (0..body.len()).step_by(cut.part_bytes);
    let parts = starts.enumerate().map(|(number, start)| {
        let part = body.slice(start..body.len().min(start + cut.part_bytes));
        let (id, path) = (&id, &path);
        async move {
            let put = async |_| Ok(remote.writer().put_part(path, id, number, part.clone().into()).await?);
            remote.attempts.run(part.len() as u64, put).await
        }
    });
    let parts: Vec<PartId> = futures_util::stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
    let complete = async |_| Ok(remote.writer().complete_multipart(&path, &id, parts.clone()).await?);
    let completed = remote.attempts.run(0, complete).await;
    if completed.is_ok() {
        unfinished.id = None;
        return Ok(Sent::Made);
    }
    // What was completed has no parts any more, and completing it again fails.
    match remote.is(name, body).await {
        Ok(true) => {
            unfinished.id = None;
            Ok(Sent::Made)
        }
        _ => completed.map(|_| Sent::Made),
    }
}

/// Parts that cost money until they are given up.
struct Unfinished<'a> {
    remote: &'a Remote,
    path: &'a Path,
    id: Option<String>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (store, path) = (Arc::clone(self.remote.writer()), self.path.clone());
        // Nobody waits for it; buckets can remove what is left after some days.
        self.remote.handle.spawn(async move { store.abort_multipart(&path, &id).await });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bucket::Bucket;
    use crate::double::Double;
    use crate::double::Fault;

    const KEY: &str = "a/journal/1";
    const NAME: &str = "journal/1";
    const LONG: Duration = Duration::from_secs(3600);

    fn put(bucket: &Bucket, bytes: &'static [u8]) -> io::Result<Put> {
        put_new(bucket.remote(), NAME, &Bytes::from_static(bytes), CUT)
    }

    fn content(double: &Double, bucket: &Bucket) -> Option<Bytes> {
        bucket.remote().wait(double.content(KEY))
    }

    #[test]
    fn an_object_that_was_made_although_the_answer_says_otherwise_is_ours() {
        for fault in [
            Fault::StatusAfter(500, "InternalError"),
            Fault::StatusAfter(503, "SlowDown"),
            Fault::StatusAfter(409, "ConditionalRequestConflict"),
            Fault::ResetAfter,
        ] {
            let double = Double::default();
            let bucket = double.bucket(LONG);
            double.fail("put", &[fault]);
            assert_eq!(put(&bucket, b"ours").unwrap(), Put::Made, "{fault:?}");
            assert_eq!(content(&double, &bucket).as_deref(), Some(&b"ours"[..]), "{fault:?}");
            assert_eq!(put(&bucket, b"ours").unwrap(), Put::Exists, "{fault:?}");
        }
    }

    #[test]
    fn an_object_that_was_made_without_an_answer_is_ours() {
        let double = Double::default();
        // Only the first request is never answered: however late the others are, they have time.
        let bucket = double.bucket(Duration::from_secs(1));
        double.fail("put", &[Fault::SilenceAfter]);
        assert_eq!(put(&bucket, b"ours").unwrap(), Put::Made);
    }

    #[test]
    fn an_object_of_somebody_else_is_never_ours() {
        for fault in [Fault::Forestalled(b"his", 500), Fault::Forestalled(b"much longer", 409)] {
            let double = Double::default();
            let bucket = double.bucket(LONG);
            double.fail("put", &[fault]);
            assert_eq!(put(&bucket, b"our").unwrap(), Put::Exists, "{fault:?}");
            assert_ne!(content(&double, &bucket).as_deref(), Some(&b"our"[..]), "{fault:?}");
        }
    }

    #[test]
    fn a_name_that_was_taken_before_is_not_read() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        assert_eq!(put(&bucket, b"same").unwrap(), Put::Made);
        assert_eq!(put(&bucket, b"same").unwrap(), Put::Exists);
        assert_eq!(double.calls(), [format!("put {KEY}"), format!("put {KEY}")]);
    }

    #[test]
    fn the_last_attempt_may_have_made_it() {
        let no = Fault::Status(500, "");
        let double = Double::default();
        let bucket = double.bucket(LONG);
        double.fail("put", &[no, no, no, Fault::ResetAfter]);
        assert_eq!(put(&bucket, b"ours").unwrap(), Put::Made);

        let double = Double::default();
        let bucket = double.bucket(LONG);
        double.fail("put", &[no, no, no, no]);
        let error = put(&bucket, b"ours").unwrap_err().to_string();
        assert!(error.starts_with("s3://lab/a/journal/1: the store failed"), "{error}");
        assert_eq!(content(&double, &bucket), None);
    }

    #[test]
    fn what_is_denied_is_not_tried_again() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        double.fail("put", &[Fault::Status(403, "AccessDenied")]);
        assert_eq!(put(&bucket, b"x").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(double.calls().len(), 1);
    }

    const SMALL: Cut = Cut { whole_bytes_max: 10, part_bytes: 4 };
    const BODY: Bytes = Bytes::from_static(b"0123456789ab");

    #[test]
    fn a_large_object_goes_in_parts() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        double.fail("part", &[Fault::None, Fault::Status(503, "SlowDown"), Fault::ResetAfter]);
        assert_eq!(put_new(bucket.remote(), NAME, &BODY, SMALL).unwrap(), Put::Made);
        assert_eq!(content(&double, &bucket), Some(BODY));
        let parts = double.calls().iter().filter(|call| call.starts_with("part")).count();
        assert_eq!(parts, 3 + 2);
        assert_eq!(put_new(bucket.remote(), NAME, &BODY, SMALL).unwrap(), Put::Exists);
        let other = Bytes::from_static(b"ab0123456789");
        overwrite(bucket.remote(), NAME, &other, SMALL).unwrap();
        assert_eq!(content(&double, &bucket), Some(other));
    }

    #[test]
    fn parts_that_were_put_together_without_an_answer_are_an_object() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        double.fail("complete", &[Fault::ResetAfter]);
        assert_eq!(put_new(bucket.remote(), NAME, &BODY, SMALL).unwrap(), Put::Made);
        assert!(!double.calls().iter().any(|call| call.starts_with("abort")));
    }

    #[test]
    fn parts_of_no_object_are_given_up() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        double.fail("part", &[Fault::Status(403, "AccessDenied")]);
        assert!(put_new(bucket.remote(), NAME, &BODY, SMALL).is_err());
        // Nobody waits for it but this test.
        while !double.calls().contains(&format!("abort {KEY}")) {
            bucket.remote().wait(tokio::task::yield_now());
        }
        assert_eq!(content(&double, &bucket), None);
    }
}
