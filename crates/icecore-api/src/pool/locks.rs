//! Locks by id: operations on one volume run one after another, and no others wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use uuid::Uuid;

/// The locks, one for each id in use.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<Uuid, Arc<Mutex<()>>>>);

impl Locks {
    /// Calls `what` while nobody else holds the lock of this id.
    pub(crate) fn alone<T>(&self, id: Uuid, what: impl FnOnce() -> T) -> T {
        let lock = Arc::clone(self.all().entry(id).or_default());
        let done = {
            let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
            what()
        };
        drop(lock);
        self.all().retain(|_, lock| Arc::strong_count(lock) > 1);
        done
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_waits_for_itself_and_for_no_other() {
        let locks = Locks::default();
        let [one, two] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let (tell, told) = std::sync::mpsc::channel();
        locks.alone(one, || {
            std::thread::scope(|scope| {
                let (locks, second) = (&locks, tell.clone());
                scope.spawn(move || locks.alone(two, || second.send("other").unwrap()));
                assert_eq!(told.recv(), Ok("other"));
            });
        });
        std::thread::scope(|scope| {
            let (locks, first) = (&locks, &tell);
            locks.alone(one, || {
                scope.spawn(move || locks.alone(one, || first.send("second").unwrap()));
                first.send("first").unwrap();
            });
        });
        assert_eq!([told.recv(), told.recv()], [Ok("first"), Ok("second")]);
        assert!(locks.all().is_empty());
    }
}
