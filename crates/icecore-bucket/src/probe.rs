//! Trying what a store keeps of what it promises.

use std::io;

use bytes::Bytes;
use futures_util::future::join_all;
use icecore::storage::Objects;
use icecore::storage::is_retained;
use object_store::PutMode;

use crate::bucket::Bucket;
use crate::remote::Sent;
use crate::trouble::Trouble;
use crate::trouble::Verb;

/// Where objects for trying are. Nothing of a repository has such a name.
const DIR: &str = "local-probe";

/// How often several put one object at once, and how many do.
const RACES: usize = 4;
const RACERS: u8 = 4;

/// Long enough that the requests of a race overlap.
const BODY_BYTES: usize = 16 << 10;

/// What was found out about a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// A second object of the same name was refused.
    pub refuses_second: bool,
    /// Of several that were put at once, one was made, each time.
    pub one_wins: bool,
    /// What was put is what is read, and what was refused changed nothing.
    pub reads_back: bool,
    /// What was put is in the list at once.
    pub lists: bool,
    /// Whether the credentials may delete. Without that, a few small objects stay.
    pub deletes: bool,
    /// The store keeps objects for a time, whoever wants to delete them: so these stay as well.
    pub retains: bool,
}

impl Probe {
    /// Returns whether several machines may write to one repository there.
    #[must_use]
    pub fn many_may_write(&self) -> bool {
        self.refuses_second && self.one_wins && self.reads_back && self.lists
    }
}

impl Bucket {
    /// Tries a store with small objects, whose names have `token` in them: a word that nobody else
    /// uses.
    ///
    /// # Errors
    /// The store's: no such bucket, no right to put, get or list. A right to delete is not needed.
    pub fn probe(&self, token: &str) -> io::Result<Probe> {
        let dir = format!("{DIR}/{token}");
        let (refuses_second, mut reads_back) = self.put_twice(&format!("{dir}/0"))?;
        let (mut one_wins, mut names) = (true, vec!["0".to_owned()]);
        for race in 1..=RACES {
            let (won, sound) = self.race(&format!("{dir}/{race}"))?;
            one_wins &= won;
            reads_back &= sound;
            names.push(race.to_string());
        }
        let mut listed = self.list(&dir)?;
        listed.sort_unstable();
        let (mut deletes, mut retains) = (true, false);
        for name in &names {
            match self.delete(&format!("{dir}/{name}")) {
                Ok(()) => {}
                Err(error) if is_retained(&error) => retains = true,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => deletes = false,
                Err(error) => return Err(error),
            }
        }
        Ok(Probe { refuses_second, one_wins, reads_back, lists: listed == names, deletes, retains })
    }

    /// Returns whether the second of two objects was refused, and whether the right one is read.
    fn put_twice(&self, name: &str) -> io::Result<(bool, bool)> {
        let remote = self.remote();
        let done = remote.wait(async {
            let first = remote.put(name, &body(0), PutMode::Create).await?;
            if first == Sent::Taken {
                return Err(Trouble::Exists);
            }
            let second = remote.put(name, &body(1), PutMode::Create).await?;
            let found = remote.is(name, &body(u8::from(second == Sent::Made))).await?;
            Ok((second != Sent::Made, found))
        });
        done.map_err(|trouble| remote.error(&trouble, Verb::Put, name))
    }

    /// Returns whether one of several objects that are put at once is made, and whether that one is
    /// read.
    fn race(&self, name: &str) -> io::Result<(bool, bool)> {
        let remote = self.remote();
        let done = remote.wait(async {
            let bodies: Vec<Bytes> = (0..RACERS).map(body).collect();
            let sent = join_all(bodies.iter().map(|body| remote.put(name, body, PutMode::Create))).await;
            let sent = sent.into_iter().collect::<Result<Vec<Sent>, Trouble>>()?;
            let made: Vec<&Bytes> = bodies
                .iter()
                .zip(&sent)
                .filter(|(_, sent)| **sent == Sent::Made)
                .map(|(body, _)| body)
                .collect();
            let unknown = sent.contains(&Sent::Unknown);
            let sound = match made.as_slice() {
                [one] => remote.is(name, one).await?,
                [] => unknown,
                _ => true,
            };
            Ok((made.len() == 1 || (made.is_empty() && unknown), sound))
        });
        done.map_err(|trouble| remote.error(&trouble, Verb::Put, name))
    }
}

fn body(number: u8) -> Bytes {
    vec![number; BODY_BYTES].into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::double::Double;
    use crate::double::Fault;

    const LONG: Duration = Duration::from_secs(3600);
    const GOOD: Probe = Probe {
        refuses_second: true,
        one_wins: true,
        reads_back: true,
        lists: true,
        deletes: true,
        retains: false,
    };

    #[test]
    fn a_store_that_keeps_its_promise_is_for_many_machines() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        assert_eq!(bucket.probe("t").unwrap(), GOOD);
        assert!(GOOD.many_may_write());
        for bad in [
            Probe { refuses_second: false, ..GOOD },
            Probe { one_wins: false, ..GOOD },
            Probe { reads_back: false, ..GOOD },
            Probe { lists: false, ..GOOD },
        ] {
            assert!(!bad.many_may_write(), "{bad:?}");
        }
        assert_eq!(bucket.list("local-probe/t").unwrap(), [""; 0]);
    }

    #[test]
    fn a_store_that_ignores_create_is_found_out() {
        let double = Double::default();
        double.ignore_create();
        let probe = double.bucket(LONG).probe("t").unwrap();
        assert_eq!(probe, Probe { refuses_second: false, one_wins: false, ..GOOD });
        assert!(!probe.many_may_write());
    }

    #[test]
    fn a_right_to_delete_is_not_needed() {
        let double = Double::default();
        double.fail("delete", &[Fault::Status(403, "AccessDenied"); 5]);
        let probe = double.bucket(LONG).probe("t").unwrap();
        assert_eq!(probe, Probe { deletes: false, ..GOOD });
        assert!(probe.many_may_write());
    }

    #[test]
    fn a_store_that_keeps_objects_for_a_time_is_for_many_machines() {
        let double = Double::default();
        double.fail("delete", &[Fault::Status(403, "ObjectLockedByBucketPolicy"); 5]);
        let probe = double.bucket(LONG).probe("t").unwrap();
        assert_eq!(probe, Probe { retains: true, ..GOOD });
        assert!(probe.many_may_write());
    }

    #[test]
    fn an_answer_that_is_lost_is_no_sign_of_a_bad_store() {
        let double = Double::default();
        double.fail("put", &[Fault::ResetAfter, Fault::None, Fault::None, Fault::StatusAfter(500, "")]);
        assert_eq!(double.bucket(LONG).probe("t").unwrap(), GOOD);
    }

    #[test]
    fn without_rights_there_is_an_error() {
        let double = Double::default();
        double.fail("put", &[Fault::Status(403, "AccessDenied")]);
        let error = double.bucket(LONG).probe("t").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("s3:PutObject"), "{error}");
    }
}
