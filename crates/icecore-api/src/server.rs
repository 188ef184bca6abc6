//! The server as a whole: sockets, threads, the end.

use std::future::Future;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use icecore::Error;
use icecore::Result;
use icecore_nbd::Limits;
use icecore_nbd::Server as NbdServer;
use icecore_nbd::Stopper;

use crate::config::Config;
use crate::http;
use crate::pool::exports::Served;
use crate::service::Service;
use crate::words::clock::Clock;

/// Memory for what NBD clients read and write at the moment.
const NBD_MEMORY_BYTES: usize = 64 << 20;

/// Serves a configuration until `stop` is done; `ready` is told the address then served.
///
/// # Errors
/// Those of opening what is configured, and of the sockets.
pub fn serve(
    config: Config,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(std::net::SocketAddr),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let listen = config.server.listen;
    let service = Arc::new(Service::open(config, clock)?);
    let nbd = serve_disks(&service)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("starting the server", error))?;
    let done = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        ready(listener.local_addr()?);
        axum::serve(listener, http::router(&service)).with_graceful_shutdown(stop).await
    });
    nbd.stop();
    done.map_err(|error| Error::io(format!("serving at {listen}"), error))
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
        return Err(Error::new(icecore::ErrorKind::InUse, message)
            .with_hint("stop that one, or give this one another state_dir"));
    }
    // One of a process that has ended.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).map_err(|error| Error::io(format!("binding {}", path.display()), error))
}
