//! Requests for snapshots of volumes that are served, each answered in a thread of its own.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;

use icecore::Error;
use icecore::Repository;
use icecore::Result;
use icecore::Volume;

use crate::commands::volume::control;
use crate::commands::volume::snapshot::take;
use crate::ui::Running;

/// The threads that wait for requests.
pub(crate) struct Requests {
    repository: PathBuf,
    stopping: Arc<AtomicBool>,
    waiting: Vec<(String, JoinHandle<()>)>,
}

impl Requests {
    /// Begins to wait for requests for each of some volumes.
    pub(crate) fn start(repo: &Arc<Repository>, repository: &Path, volumes: &[Arc<Volume>]) -> Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut requests =
            Self { repository: repository.to_owned(), stopping: Arc::clone(&stopping), waiting: Vec::new() };
        for volume in volumes {
            let name = volume.name().to_owned();
            let doing = |error| Error::io(format!("making the control socket of volume {name}"), error);
            let listener = control::bind(repository, &name).map_err(doing)?;
            let (repo, volume, stopping) = (Arc::clone(repo), Arc::clone(volume), Arc::clone(&stopping));
            let waiting = thread::spawn(move || wait(&repo, &volume, &listener, &stopping));
            requests.waiting.push((name, waiting));
        }
        Ok(requests)
    }

    /// Takes no more requests, and waits until those under way are answered.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        for (name, waiting) in self.waiting {
            control::wake(&self.repository, &name);
            // A thread that failed waits for nothing any more.
            let _ = waiting.join();
            control::unbind(&self.repository, &name);
        }
    }
}

fn wait(repo: &Repository, volume: &Volume, listener: &UnixListener, stopping: &AtomicBool) {
    thread::scope(|threads| {
        while let Ok((stream, _)) = listener.accept() {
            if stopping.load(Ordering::SeqCst) {
                break;
            }
            threads.spawn(move || {
                // It stops with the process; nobody looks at how far it is. Whoever went away is not answered.
                let _ =
                    control::answer(&stream, |asked| take(repo, volume, asked, &Running::start("", false)));
            });
        }
    });
}
