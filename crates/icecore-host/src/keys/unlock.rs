//! Opens the key slots of a sealed repository with what a program has.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NextStep;
use icecore::Result;
use icecore::repository::Fits;
use icecore::repository::KeySlot;
use icecore::repository::MasterKey;
use icecore::repository::RepositoryId;
use icecore::repository::Unlock;

use crate::keys::content::SlotContent;
use crate::keys::slot::Credential;
use crate::keys::slot::open_slot;
use crate::keys::sources::Sources;

/// The most slots that are opened at the same time: each takes 128 MiB.
const AT_ONCE: usize = 4;

/// Returns how a program opens sealed repositories: with the first of its sources that is set. It
/// remembers the master key of the repository it opened last, and needs the source no more to open
/// that again.
pub fn with(sources: Sources) -> Unlock {
    let last: Mutex<Option<(RepositoryId, MasterKey)>> = Mutex::default();
    Unlock::new(move |slots, fits| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|(id, master)| fits(*id, master));
        if let Some((_, master)) = known {
            return Ok(MasterKey::new(master.expose()));
        }
        let SlotContent { repository, master } = open_one(slots, &sources.unlock()?, sources.what(), fits)?;
        let copy = MasterKey::new(master.expose());
        *last = Some((repository, master));
        Ok(copy)
    })
}

/// Returns the content of a slot of `what` that opens and fits.
fn open_one(slots: &[KeySlot], credential: &Credential, what: &str, fits: Fits<'_>) -> Result<SlotContent> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let at_once = match credential {
        Credential::Password(_) => cores.min(AT_ONCE),
        // They may ask something.
        Credential::Identities(_) => 1,
    };
    let found = first_that_fits(slots, &|slot| open_slot(&slot.bytes, credential), at_once, fits)?;
    found.ok_or_else(|| {
        let (message, hint) = match credential {
            Credential::Password(_) => {
                ("the password is wrong: it opens no key slot", "try again, or use another password")
            }
            Credential::Identities(_) => ("the identity opens no key slot", "use another identity"),
        };
        Error::new(ErrorKind::PermissionDenied, format!("{message} of {what}")).with_hint(hint)
    })
}

/// What `open` makes of a slot: none if the slot is for somebody else.
type Open<'a> = &'a (dyn Fn(&KeySlot) -> Result<Option<SlotContent>> + Sync);

/// Opens slots, several at once, until one fits. Returns none if there is a sound slot, but none that
/// opens.
fn first_that_fits(
    slots: &[KeySlot],
    open: Open<'_>,
    at_once: usize,
    fits: Fits<'_>,
) -> Result<Option<SlotContent>> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Outcome::default());
    let work = || {
        while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
            let opened = open(slot);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match opened {
                Ok(Some(content)) if fits(content.repository, &content.master) => {
                    found.fitting = Some(content);
                    next.store(slots.len(), Ordering::Relaxed);
                }
                Ok(Some(_)) => found.other = true,
                Ok(None) => found.closed = true,
                Err(error) => found.error = found.error.take().or(Some(error)),
            }
        }
    };
    thread::scope(|threads| {
        for _ in 1..at_once.min(slots.len()) {
            // Where there is no thread, this one does all.
            let _ = thread::Builder::new().spawn_scoped(threads, work);
        }
        work();
    });
    match found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Outcome { fitting: Some(content), .. } => Ok(Some(content)),
        Outcome { other: true, .. } => Err(Error::new(
            ErrorKind::Corrupt,
            "a key slot was opened, but its key does not fit: the config is damaged, or the slot is of another repository",
        )
        .with_hint(NextStep::RepairCatalog)),
        Outcome { closed: false, error: Some(error), .. } => Err(error),
        _ => Ok(None),
    }
}

/// What came of opening slots.
#[derive(Default)]
struct Outcome {
    fitting: Option<SlotContent>,
    /// A slot was opened that does not fit.
    other: bool,
    /// A sound slot is for somebody else.
    closed: bool,
    error: Option<Error>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use icecore::repository::SlotId;

    use uuid::Uuid;

    use super::*;

    fn slots(count: u8) -> Vec<KeySlot> {
        let slot = |number: u8| KeySlot { id: SlotId(Uuid::from_u128(number.into())), bytes: vec![number] };
        (0..count).map(slot).collect()
    }

    fn content(number: u8) -> SlotContent {
        let repository = RepositoryId(Uuid::from_u128(number.into()));
        SlotContent { repository, master: MasterKey::new(&[number; 32]) }
    }

    const OURS: u8 = 7;

    fn fits(id: RepositoryId, master: &MasterKey) -> bool {
        (id, master.expose()) == (content(OURS).repository, &[OURS; 32])
    }

    /// Opens slots by what `of` says of each. Returns the outcome and how many were opened.
    fn opened(
        count: u8,
        at_once: usize,
        of: impl Fn(u8) -> Result<Option<SlotContent>> + Sync,
    ) -> (Result<Option<SlotContent>>, usize) {
        let opened = AtomicUsize::new(0);
        let open = |slot: &KeySlot| {
            opened.fetch_add(1, Ordering::Relaxed);
            of(slot.bytes[0])
        };
        let found = first_that_fits(&slots(count), &open, at_once, &fits);
        (found, opened.into_inner())
    }

    #[test]
    fn a_wrong_password_is_tried_once_on_each_slot() {
        for at_once in [1, 2, 4] {
            let (found, tries) = opened(3, at_once, |_| Ok(None));
            assert!(found.unwrap().is_none() && tries == 3);
        }
    }

    #[test]
    fn slots_that_are_damaged_or_of_another_repository_do_not_matter_where_one_fits() {
        let of = |number| match number {
            0 => Err(Error::new(ErrorKind::Corrupt, "damaged")),
            1 => Ok(None),
            2 => Ok(Some(content(2))),
            _ => Ok(Some(content(OURS))),
        };
        for at_once in [1, 4] {
            assert_eq!(opened(4, at_once, of).0.unwrap().unwrap().master.expose(), &[OURS; 32]);
        }
        assert_eq!(opened(10, 1, of).1, 4, "the others are not opened");
        assert_eq!(opened(3, 1, of).0.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(opened(2, 1, of).0.unwrap().is_none(), "the password may be of the damaged one");
        assert_eq!(opened(1, 1, of).0.unwrap_err().to_string(), "damaged");
    }

    #[test]
    fn a_password_opens_a_repository_again_without_being_asked_for() {
        let sources = |password: &'static str| {
            let asked = Mutex::new(0);
            let ask = move |_: &str| {
                let mut asked = asked.lock().unwrap();
                *asked += 1;
                assert_eq!(*asked, 1, "it is asked for again");
                Ok(crate::keys::SecretString::from(password))
            };
            Sources::new(Arc::new(|_| None), Some(Arc::new(ask)))
        };
        let password = crate::keys::SecretString::from("open sesame");
        let bytes = crate::keys::new_password_slot(&content(OURS), &password).unwrap();
        let slot = [KeySlot { id: SlotId(Uuid::from_u128(1)), bytes }];
        let unlock = with(sources("open sesame"));
        for _ in 0..2 {
            assert_eq!(unlock.open(&slot, &fits).unwrap().expose(), &[OURS; 32]);
        }
        let error = with(sources("open sesamf")).open(&slot, &fits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
}
