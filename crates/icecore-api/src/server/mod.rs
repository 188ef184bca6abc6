//! The whole server: sockets, threads, shutdown.

mod disks;
mod listen;
mod tls;
mod wire;

use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_host::clock::Clock;
use icecore_host::config;
use icecore_host::config::Config;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::http;
use crate::ops;
use crate::ops::metrics::Meters;
use crate::ops::schedule::Scheduler;
use crate::panel;
use crate::server::disks::Disks;
use crate::server::listen::Listening;
use crate::server::tls::Tls;
use crate::service::Service;
use crate::service::start;
use crate::words::patience::patiently;
use crate::words::private::make_private_dir;

/// The file in the state directory that a running server keeps locked.
const LOCK: &str = "lock";
/// The threads that serve clients. Other threads run whatever blocks.
const WORKERS: usize = 4;
/// The other threads of a server: disks, schedules, and one for the first request.
const OTHER_THREADS: usize = 3;

/// A handle that controls a server from another thread. All clones control the same server.
#[derive(Debug, Clone)]
pub struct Controls(Arc<watch::Sender<Wanted>>);

/// The requests made to a server.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    stop: bool,
    /// How many times a reload of the certificate was requested.
    reloads: u64,
}

impl Default for Controls {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Wanted::default())))
    }
}

impl Controls {
    /// Stops the server: it accepts no new connections, and answers the requests that have begun.
    pub fn stop(&self) {
        self.0.send_modify(|wanted| wanted.stop = true);
    }

    /// Requests a reload of the certificate.
    pub fn reload(&self) {
        self.0.send_modify(|wanted| wanted.reloads += 1);
    }

    async fn stopped(&self) {
        // `self` holds the sender, so this wait can only end by the request to stop.
        let _ = self.0.subscribe().wait_for(|wanted| wanted.stop).await;
    }
}

/// The facts about a server that accepts requests.
#[derive(Debug, Clone)]
pub struct Running {
    /// The address it listens on.
    pub address: SocketAddr,
    /// Whether over TLS.
    pub encrypted: bool,
    /// The unix socket of the disks.
    pub nbd_socket: PathBuf,
}

/// Serves a configuration until it is told to stop, and calls `ready` once it accepts requests.
///
/// # Errors
/// `InUse` if another server has the state directory; those of opening what is configured, and of
/// the sockets.
pub fn serve(
    config: Config,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(&Running),
    controls: &Controls,
) -> Result<()> {
    config::check(&config)?;
    let _lock = lock(&config)?;
    let tls = config.tls.as_ref().map(Tls::open).transpose()?.map(Arc::new);
    let service = Arc::new(start::open(config, clock)?);
    check_threads()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("starting the server", error))?;
    let listener = runtime.block_on(bind(service.config.server.listen))?;
    // Before anybody uses a disk: an interrupted restore starts again here.
    start::resume(&service).map_err(|error| Error::new(ErrorKind::Io, error.message))?;
    let served = serve_all(&service, &runtime, listener, tls, ready, controls);
    service.jobs.stop();
    // Blocking work that nobody waited for may continue until here.
    runtime.shutdown_timeout(Duration::from_secs(service.config.server.stop_seconds));
    served
}

/// Serves until it is told to stop, and ends everything but jobs.
fn serve_all(
    service: &Arc<Service>,
    runtime: &Runtime,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    ready: impl FnOnce(&Running),
    controls: &Controls,
) -> Result<()> {
    let address =
        listener.local_addr().map_err(|error| Error::io("reading the address of a socket", error))?;
    let running = Running { address, encrypted: tls.is_some(), nbd_socket: service.nbd.0.clone() };
    let meters = Arc::new(Meters::default());
    let scheduler = Arc::new(Scheduler::new(Arc::clone(service), Arc::clone(&meters))?);
    let disks = Disks::serve(service, &meters)?;
    let schedules = match scheduler.start() {
        Ok(schedules) => schedules,
        Err(error) => {
            disks.stop();
            return Err(error);
        }
    };
    let (end, ending) = watch::channel(false);
    let router = http::router(service, panel::router(service).merge(ops::router(service, &meters)));
    let router = ops::around(router, &meters, ending);
    let listening = Listening {
        router: http::outermost(router),
        tls: tls.clone(),
        limits: service.config.requests.clone(),
        meters,
    };
    tracing::info!(%address, encrypted = running.encrypted, "serving");
    ready(&running);
    let patience = Duration::from_secs(service.config.server.stop_seconds);
    runtime.block_on(async {
        let reloading = tokio::spawn(reload(tls, controls.0.subscribe()));
        let stopped = async {
            controls.stopped().await;
            // Ends the streams of clients that wait for news of actions.
            end.send_replace(true);
        };
        listening.run(listener, stopped, patience).await;
        reloading.abort();
    });
    tracing::info!("all requests have ended; closing disks");
    scheduler.stop();
    if schedules.join().is_err() {
        tracing::error!("the schedules failed to stop cleanly");
    }
    disks.stop();
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            Error::new(ErrorKind::InUse, format!("another program listens at {address}"))
                .with_hint("choose another port")
        }
        _ => Error::io(format!("binding {address}"), error),
    })
}

/// Reloads the certificate whenever that is requested.
async fn reload(tls: Option<Arc<Tls>>, mut wanted: watch::Receiver<Wanted>) {
    let mut done = wanted.borrow_and_update().reloads;
    while wanted.changed().await.is_ok() {
        let now = wanted.borrow_and_update().reloads;
        if now != done
            && let Some(tls) = &tls
        {
            tls.reload();
        }
        done = now;
    }
}

/// Checks that the system can start the server's first threads, because the runtime panics if it
/// cannot start one.
fn check_threads() -> Result<()> {
    let gate = Mutex::new(());
    thread::scope(|threads| {
        let closed = gate.lock();
        let wait = || thread::Builder::new().spawn_scoped(threads, || drop(gate.lock())).map(drop);
        let started = (0..WORKERS + OTHER_THREADS).try_for_each(|_| wait());
        drop(closed);
        started.map_err(Error::no_thread)
    })
}

/// Locks the state directory against other servers. The lock ends with the process, however that
/// ends.
fn lock(config: &Config) -> Result<File> {
    let dir = &config.server.state_dir;
    for path in std::iter::once(dir).chain(&config.nbd.socket) {
        icecore::image::check_outside_repository(path, None)?;
    }
    make_private_dir(dir)?;
    let path = dir.join(LOCK);
    let locking = |error| Error::io(format!("locking {}", path.display()), error);
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(locking)?;
    patiently(|| match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another server uses the state in {}", dir.display());
            Err(Error::new(ErrorKind::InUse, message)
                .with_hint("stop that server, or choose another state_dir for this one"))
        }
        Err(TryLockError::Error(error)) => Err(locking(error)),
    })?;
    Ok(file)
}
