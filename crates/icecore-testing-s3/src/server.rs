//! A server: its threads, its ports, and what a test can tell it.

use crate::auth::Credentials;
use crate::calls::service::Operations;
use crate::control::Control;
use crate::faults::Faults;
use crate::faults::Schedule;
use crate::front::Front;
use crate::front::Shared;
use crate::link::LinkedStream;
use crate::link::SharedLink;
use crate::log::Call;
use crate::log::Counters;
use crate::log::Log;
use crate::options::Options;
use crate::store::Store;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use s3s::service::S3ServiceBuilder;
use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener as Listener;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A running server. It stops when it is dropped, and forgets everything: files of bodies soon after
/// that, or by the end of [`stop`](Self::stop).
#[derive(Debug)]
pub struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    control: Option<SocketAddr>,
    parts: Parts,
}

#[derive(Clone)]
struct Parts {
    shared: Arc<Shared>,
    store: Arc<Store>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server, which listens when this returns.
    ///
    /// # Errors
    /// Those of the ports, of the directory and of the log's file.
    pub fn start(options: &Options) -> io::Result<Self> {
        let file = options.log.as_ref().map(|path| OpenOptions::new().create(true).append(true).open(path));
        let log = Arc::new(Log::new(file.transpose()?));
        let store = Arc::new(Store::new(options)?);
        let credentials = Credentials::new(&options.credentials);
        let operations = Operations { store: Arc::clone(&store), credentials: credentials.clone() };
        let mut service = S3ServiceBuilder::new(operations);
        service.set_auth(credentials.clone());
        service.set_access(credentials);
        let shared = Arc::new(Shared {
            service: service.build(),
            log: Arc::clone(&log),
            schedule: Mutex::default(),
            region: options.region.clone(),
        });
        let parts = Parts { shared, store };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("s3-double")
            .enable_all()
            .build()?;
        let listener = listen(options.address)?;
        let address = listener.local_addr()?;
        let entered = runtime.enter();
        let link = Arc::new(SharedLink::new(options.link, log));
        runtime.spawn(serve(TcpListener::from_std(listener)?, Arc::clone(&parts.shared), link));
        let control = options.control.map(listen).transpose()?;
        let control_address = control.as_ref().map(Listener::local_addr).transpose()?;
        if let Some(control) = control {
            runtime.spawn(serve_control(TcpListener::from_std(control)?, parts.clone()));
        }
        drop(entered);
        Ok(Self { runtime: Some(runtime), address, control: control_address, parts })
    }

    /// Returns the address for clients: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address of the second port, where there is one.
    #[must_use]
    pub fn control(&self) -> Option<String> {
        self.control.map(|address| format!("http://{address}"))
    }

    /// Returns the calls since the start, or since the last reset, in the order of arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Call> {
        self.parts.shared.log.calls()
    }

    /// Returns the sums over these calls.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.parts.shared.log.counters()
    }

    /// Empties log and counters.
    pub fn reset_log(&self) {
        self.parts.shared.log.reset();
    }

    /// Replaces the faults. Their counts begin anew.
    pub fn set_faults(&self, faults: Faults) {
        *self.parts.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner) = Schedule::new(faults);
    }

    /// Makes a bucket, unless it is there.
    pub fn make_bucket(&self, name: &str) {
        self.parts.store.make_bucket(name);
    }

    /// Locks objects that are put into a bucket from now on for so long, or no longer.
    ///
    /// # Errors
    /// `NotFound`: there is no such bucket.
    pub fn set_retention(&self, bucket: &str, retain: Option<Duration>) -> io::Result<()> {
        let set = self.parts.store.with(bucket, |bucket| {
            bucket.retain = retain;
            Ok(())
        });
        set.map_err(|_| io::Error::new(io::ErrorKind::NotFound, format!("no bucket {bucket}")))
    }

    /// Returns the time of the store, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.parts.store.clock.now_ms()
    }

    /// Stops the clock of the store at a time, in milliseconds since 1970.
    pub fn stop_clock_at(&self, unix_ms: u64) {
        self.parts.store.clock.stop_at(unix_ms);
    }

    /// Moves the clock of the store forward.
    pub fn advance_clock(&self, by: Duration) {
        self.parts.store.clock.advance(by);
    }

    /// Stops it, and waits until nothing of it is left. Not for asynchronous tasks, which must not
    /// block.
    pub fn stop(mut self) {
        // Its requests end here, and with them what they hold.
        drop(self.runtime.take());
    }

    /// Returns the keys of a bucket with their sizes, past all rights, faults and log. A bucket that
    /// is not there has none.
    #[must_use]
    pub fn objects(&self, bucket: &str) -> Vec<(String, u64)> {
        let objects = self.parts.store.with(bucket, |bucket| {
            Ok(bucket.objects.iter().map(|(key, object)| (key.clone(), object.content.len())).collect())
        });
        objects.unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waiting: a test may drop the server where it must not block.
            runtime.shutdown_background();
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<Listener> {
    let listener = Listener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, link: Arc<SharedLink>) {
    // An error of accepting is one connection's, or a lack of files that ends with others.
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        // A link without delay of its own must not get one from small packets.
        let _ = stream.set_nodelay(true);
        let cut = Arc::new(AtomicBool::new(false));
        let front =
            Front { shared: Arc::clone(&shared), connection: shared.log.connected(), cut: Arc::clone(&cut) };
        let io = TokioIo::new(LinkedStream::new(stream, Arc::clone(&link), cut));
        let service = service_fn(move |request| front.clone().answer(request));
        tokio::spawn(http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service));
    }
}

async fn serve_control(listener: TcpListener, parts: Parts) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let control = Control { shared: Arc::clone(&parts.shared), store: Arc::clone(&parts.store) };
        let service = service_fn(move |request| control.clone().answer(request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
