//! The server as a whole: sockets, threads, the end.

use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_nbd::Limits;
use icecore_nbd::Server as NbdServer;
use icecore_nbd::Stopper;
use tokio::sync::watch;

use crate::config::Config;
use crate::http;
use crate::panel;
use crate::pool::exports::Served;
use crate::service::Service;
use crate::service::make_private_dir;
use crate::words::clock::Clock;

/// Memory for what NBD clients read and write at the moment.
const NBD_MEMORY_BYTES: usize = 64 << 20;

/// The file in the state directory that a running server has locked.
const LOCK: &str = "lock";

/// Steers a server from another thread. All clones steer the same one.
#[derive(Debug, Clone)]
pub struct Controls(Arc<watch::Sender<Wanted>>);

/// What a server was told.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    stop: bool,
    /// How often the certificate was to be read again.
    reloads: u64,
}

impl Default for Controls {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Wanted::default())))
    }
}

impl Controls {
    /// Ends the server: nobody is accepted any more, and requests that have begun are answered.
    pub fn stop(&self) {
        self.0.send_modify(|wanted| wanted.stop = true);
    }

    /// Has the certificate read again.
    pub fn reload(&self) {
        self.0.send_modify(|wanted| wanted.reloads += 1);
    }

    async fn stopped(&self) {
        // The sender is in here, so that waiting ends with what is waited for.
        let _ = self.0.subscribe().wait_for(|wanted| wanted.stop).await;
    }
}

/// A server that takes requests.
#[derive(Debug, Clone)]
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    /// Whether over TLS.
    pub encrypted: bool,
    /// The unix socket of the disks.
    pub nbd_socket: PathBuf,
}

/// Serves a configuration until it is told to stop; `ready` is called when it takes requests.
///
/// # Errors
/// `InUse` if another server has the state directory; those of opening what is configured, and of the sockets.
pub fn serve(
    config: Config,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(&Running),
    controls: &Controls,
) -> Result<()> {
    let listen = config.server.listen;
    let _lock = lock(&config)?;
    let service = Arc::new(Service::open(config, clock)?);
    // Before anybody uses a disk: one that was being restored is restored again.
    service.resume().map_err(|error| Error::new(ErrorKind::Io, error.message))?;
    let nbd = serve_disks(&service).inspect_err(|_| service.stop_jobs())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("starting the server", error))?;
    let controls = controls.clone();
    let done = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        ready(&Running { address, encrypted: false, nbd_socket: service.nbd().0.clone() });
        let stopped = async move { controls.stopped().await };
        axum::serve(listener, http::router(&service, panel::router(&service)))
            .with_graceful_shutdown(stopped)
            .await
    });
    nbd.stop();
    service.stop_jobs();
    done.map_err(|error| Error::io(format!("serving at {listen}"), error))
}

/// Makes sure that no other server works with the same state. The lock ends with the process, however that ends.
fn lock(config: &Config) -> Result<File> {
    let dir = &config.server.state_dir;
    make_private_dir(dir)?;
    let path = dir.join(LOCK);
    let locking = |error| Error::io(format!("locking {}", path.display()), error);
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(locking)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another server works with the state in {}", dir.display());
            Err(Error::new(ErrorKind::InUse, message)
                .with_hint("stop that one, or give this one another state_dir"))
        }
        Err(TryLockError::Error(error)) => Err(locking(error)),
    }
}

/// The thread that serves disks.
struct Disks {
    stopper: Stopper,
    thread: thread::JoinHandle<io::Result<icecore_nbd::Report>>,
}

impl Disks {
    fn stop(self) {
        self.stopper.stop();
        if !matches!(self.thread.join(), Ok(Ok(_))) {
            tracing::error!("the NBD server did not end well");
        }
    }
}

fn serve_disks(service: &Arc<Service>) -> Result<Disks> {
    let starting = |error| Error::io("starting to serve disks", error);
    let listener = bind(&service.nbd().0)?;
    let limits = Limits { memory_bytes: NBD_MEMORY_BYTES, ..Limits::default() };
    let server = NbdServer::new(Arc::new(Served(service.pools().clone())), limits).map_err(starting)?;
    let stopper = server.stopper();
    let thread =
        thread::Builder::new().name("nbd".to_owned()).spawn(move || server.serve(&[listener.into()]));
    Ok(Disks { stopper, thread: thread.map_err(starting)? })
}

/// Binds a unix socket in the directory of the server, where nobody else has one.
fn bind(path: &Path) -> Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let message = format!("another process serves at {}", path.display());
        return Err(Error::new(ErrorKind::InUse, message)
            .with_hint("stop that one, or give this one another state_dir"));
    }
    // One of a process that has ended.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).map_err(|error| Error::io(format!("binding {}", path.display()), error))
}
