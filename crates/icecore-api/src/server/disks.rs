//! The thread that serves disks over NBD.

use std::io;
use std::sync::Arc;
use std::thread;

use icecore::Error;
use icecore::Result;
use icecore_host::machine::usual_connections;
use icecore_nbd::Event;
use icecore_nbd::Events;
use icecore_nbd::Limits;
use icecore_nbd::Listener;
use icecore_nbd::Server;
use icecore_nbd::Stopper;

use crate::ops::metrics::Meters;
use crate::pool::exports::Served;
use crate::service::Service;

/// The memory for running reads and writes of NBD clients.
const MEMORY_BYTES: usize = 64 << 20;

/// The running NBD server.
pub(super) struct Disks {
    stopper: Stopper,
    thread: thread::JoinHandle<io::Result<icecore_nbd::Report>>,
}

impl Disks {
    /// Starts serving the disks.
    pub(super) fn serve(service: &Service, meters: &Arc<Meters>) -> Result<Self> {
        let starting = |error| Error::io("starting to serve disks", error);
        let socket = &service.nbd.0;
        let listener = icecore_nbd::bind_unix(socket).map_err(|error| {
            Error::io(format!("binding {}", socket.display()), error)
                .with_hint("choose another `socket` under [nbd], or another state_dir for this server")
        })?;
        let mut listeners: Vec<Listener> = vec![listener.into()];
        if let Some(address) = service.config.nbd.listen {
            let listener = std::net::TcpListener::bind(address)
                .map_err(|error| Error::io(format!("binding {address} for disks"), error))?;
            listeners.push(listener.into());
        }
        // Called even if unused, because it raises the limit of open files.
        let usual = usual_connections();
        let connections = service.config.nbd.connections.unwrap_or(usual);
        let limits = Limits { connections, memory_bytes: MEMORY_BYTES, ..Limits::default() };
        let exports = Arc::new(Served(Arc::clone(&service.pools)));
        let events = Arc::new(Telling(Arc::clone(meters)));
        let server = Server::with_events(exports, limits, events).map_err(starting)?;
        let stopper = server.stopper();
        let thread = thread::Builder::new().name("nbd".to_owned()).spawn(move || server.serve(&listeners));
        Ok(Self { stopper, thread: thread.map_err(Error::no_thread)? })
    }

    /// Stops serving. Everything written is synced, and the disks are closed.
    pub(super) fn stop(self) {
        self.stopper.stop();
        match self.thread.join() {
            Ok(Ok(report)) => {
                for export in report.unsynced {
                    tracing::error!(%export, "data written to a disk may not be on the medium");
                }
            }
            _ => tracing::error!("the NBD server failed to stop cleanly"),
        }
    }
}

/// A listener that logs and counts events.
struct Telling(Arc<Meters>);

impl Events for Telling {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Connected { connection, peer } => {
                self.0.nbd_connected();
                tracing::debug!(connection, peer, "NBD client");
            }
            Event::Opened { connection, export } => tracing::info!(connection, export, "disk in use"),
            Event::Disconnected { connection, problem } => {
                self.0.nbd_disconnected();
                tracing::debug!(connection, problem, "NBD client disconnected");
            }
            Event::Refused { problem } => tracing::warn!(problem, "NBD client refused"),
            Event::RequestFailed { export, command, offset, length, error, .. } => {
                tracing::error!(export, command, offset, length, %error, "a disk failed");
            }
            _ => {}
        }
    }
}
