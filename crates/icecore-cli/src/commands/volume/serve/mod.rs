//! `icecore volume serve`.

mod exports;
mod record;
mod sockets;

use std::num::NonZero;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::snapshot::BlockCache;
use icecore::volume::Volume;
use icecore::volume::VolumeSnapshotOptions;
use icecore_host::control;
use icecore_nbd::Event;
use icecore_nbd::Events;
use icecore_nbd::Limits;
use icecore_nbd::Report;
use icecore_nbd::Server;

use crate::app::App;
use crate::commands::volume::prefetch;
use crate::commands::volume::prefetch::Extent;
use crate::commands::volume::serve::exports::Served;
use crate::commands::volume::serve::sockets::Address;
use crate::commands::volume::serve::sockets::Socket;
use crate::exit::Verdict;
use crate::host;
use crate::json;
use crate::ui::Running;
use crate::ui::Ui;
use crate::units;

#[cfg(feature = "server")]
pub(crate) use crate::commands::volume::serve::sockets::parse_listen;

/// The memory for requests in flight, in addition to 64 KiB for each client and to the cache of
/// chunks.
const MEMORY_BYTES: usize = 64 << 20;

/// Serve volumes and snapshots as disks over NBD
///
/// Prints the address of each disk and how to use it with qemu, nbd-client and nbdfuse. Without
/// names, serves all volumes. Ctrl-C, SIGTERM or the end of its terminal stops it, after a sync of
/// all written data. `icecore volume snapshot` works meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Names of volumes
    #[arg(value_name = "NAME")]
    volumes: Vec<String>,
    /// Also serve a snapshot, read-only, as snapshot:SNAP; can be repeated
    #[arg(long = "snapshot", value_name = "SNAP")]
    snapshots: Vec<String>,
    /// Serve any snapshot that a client asks for as snapshot:SNAP
    #[arg(long)]
    all_snapshots: bool,
    /// The unix socket to listen on [default: one in the repository]
    #[arg(long, value_name = "PATH", conflicts_with = "listen", value_hint = clap::ValueHint::FilePath)]
    socket: Option<PathBuf>,
    /// Listen on a TCP port of this machine, or on this address and port. Anyone who can reach it
    /// can read and write
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = sockets::parse_listen)]
    listen: Option<std::net::SocketAddr>,
    /// Serve the volumes read-only
    #[arg(long)]
    read_only: bool,
    /// Concurrent connections of all clients together; further ones are closed [default: 4096, or
    /// as many as file descriptors allow]
    #[arg(long, value_name = "N")]
    connections: Option<NonZero<usize>>,
    /// Memory to cache data read from snapshots, shared by all disks [default: 1/16 of the
    /// machine's, from 96 MiB to 1 GiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    cache: Option<u64>,
    /// Store what clients read of the snapshots below the volumes when serving ends: --prefetch then
    /// fetches that first, on any machine, for new volumes of the same snapshot or of another one of
    /// its resource
    #[arg(long)]
    record: bool,
    /// Meanwhile, fetch the data of the snapshots into the cache of this machine: first what was
    /// recorded, then the rest
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    prefetch: Option<Extent>,
}

impl ServeArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        // From now on a signal does not end the process before all written data is synced.
        host::stop_flag();
        let repo = Arc::new(app.open()?);
        let dir = app.place()?.at.local_root()?;
        let dir =
            dir.canonicalize().map_err(|error| Error::io(format!("looking at {}", dir.display()), error))?;
        let cache_bytes = self.cache.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let cache = BlockCache::new(cache_bytes.unwrap_or_else(icecore_host::machine::usual_cache_bytes));
        let names = self.names(&repo)?;
        let open = |name: &String| Volume::open(Arc::clone(&repo), name, Arc::clone(&cache)).map(Arc::new);
        let volumes = names.iter().map(open).collect::<Result<Vec<_>>>()?;
        if self.record {
            record::begin(app.ui, &volumes)?;
        }
        let served = Served::new(
            Arc::clone(&repo),
            cache,
            volumes,
            &self.snapshots,
            self.all_snapshots,
            self.read_only,
        )?;
        let address = match (&self.socket, self.listen) {
            (Some(path), _) => {
                app.check_outside(path)?;
                Address::unix(path)?
            }
            (None, Some(address)) => Address::Tcp(address),
            (None, None) => {
                let first = names.first().map(|name| dir.join(icecore::volume::volume_dir(&repo, name)));
                Address::usual(&dir, first.as_deref())
            }
        };
        let socket = Socket::bind(address)?;
        if socket.is_open_to_others() {
            app.ui.warn("anyone who can reach this address can read and write the disks: there is no encryption and no password");
        }
        let served = Arc::new(served);
        let events = Arc::new(Telling(app.ui));
        let starting = |error| Error::io("starting to serve", error);
        // This call raises the limit of descriptors in any case.
        let usual = icecore_host::machine::usual_connections();
        let connections = self.connections.map_or(usual, NonZero::get);
        let limits = Limits { connections, memory_bytes: MEMORY_BYTES, ..Limits::default() };
        let server = Server::with_events(Arc::clone(&served) as Arc<_>, limits, events).map_err(starting)?;
        let waker = server.stopper().waker().map_err(starting)?;
        host::wake_on_stop(waker).map_err(starting)?;
        let requests: Vec<_> =
            served.volumes().iter().filter_map(|volume| listen(app.ui, &dir, &repo, volume)).collect();
        tell(app, &served, &socket)?;
        if let Some(extent) = self.prefetch {
            prefetch::in_background(app, served.to_prefetch()?, extent)?;
        }
        let report =
            if host::asked_to_stop() { Ok(Report::default()) } else { server.serve(&[socket.listener]) };
        requests.into_iter().for_each(control::Socket::stop);
        socket.address.remove();
        self.finish(app, &served, report)
    }

    fn names(&self, repo: &Repository) -> Result<Vec<String>> {
        if !self.volumes.is_empty() || !self.snapshots.is_empty() || self.all_snapshots {
            let mut names = Vec::<String>::new();
            for name in &self.volumes {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            return Ok(names);
        }
        let all: Vec<String> =
            icecore::volume::list_volumes(repo)?.volumes.into_iter().map(|volume| volume.name).collect();
        if all.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "there is no volume to serve").with_hint(
                "create one with `icecore volume create NAME --snapshot SNAP`, or serve a snapshot with --snapshot SNAP",
            ));
        }
        Ok(all)
    }

    /// Syncs all volumes, whoever has written to them, and reports what was done.
    fn finish(&self, app: &App, served: &Served, report: std::io::Result<Report>) -> Result<Verdict> {
        let mut all_synced = true;
        for volume in served.volumes() {
            if let Err(error) = volume.sync() {
                all_synced = false;
                app.ui.warn(&format!(
                    "volume {} could not be synced: {error}\n  hint: data written since its last sync may be lost",
                    volume.name()
                ));
            }
        }
        let all_stored = !self.record || record::end(app.ui, served.volumes());
        let report = report.map_err(|error| Error::io("serving", error))?;
        app.ui.note(&format!(
            "served {}: {} read, {} written",
            units::count(report.connections, "connection"),
            units::bytes(report.read_bytes),
            units::bytes(report.written_bytes)
        ));
        Ok(Verdict::from_findings(!all_synced || !all_stored))
    }
}

/// Takes snapshots of a volume when other processes ask for them. Serves the disk even if there can
/// be no socket for that.
fn listen(ui: Ui, dir: &Path, repo: &Repository, volume: &Arc<Volume>) -> Option<control::Socket> {
    let asked_of = Arc::clone(volume);
    // They stop with the process; nobody watches their progress.
    let take =
        move |asked: &VolumeSnapshotOptions| control::take(&asked_of, asked, &Running::start("", false));
    let dir = dir.join(icecore::volume::volume_dir(repo, volume.name()));
    let listening = control::Socket::listen(&dir, volume.name(), take);
    listening
        .inspect_err(|error| {
            let name = volume.name();
            ui.warn(&format!(
                "`icecore volume snapshot {name}` does not work while {name} is served: {error}"
            ));
        })
        .ok()
}

fn tell(app: &App, served: &Served, socket: &Socket) -> Result<()> {
    let mut text = String::new();
    let mut exports = Vec::new();
    for export in served.listed() {
        let uri = socket.address.uri(&export.name);
        text += &format!("serving {} ({})\n  {uri}\n", export.name, export.description);
        text += &socket.address.usage(&export.name, &uri, served.may_be_written(&export.name));
        exports.push(json::Export { name: export.name, description: export.description, uri });
    }
    if served.serves_all_snapshots() {
        let uri = socket.address.uri("snapshot:SNAP");
        text += &format!("serving all snapshots, read-only\n  {uri}\n");
    }
    app.ui.result(&json::ServeResult { exports, address: socket.address.to_string() }, &text)
}

/// Reports events to the user.
struct Telling(Ui);

impl Events for Telling {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::RequestFailed { export, command, offset, length, error, .. } => {
                self.0.warn(&format!("{export}: {command} of {length} bytes at {offset} failed: {error}"));
            }
            Event::Refused { problem } => self.0.warn(&format!("a connection was refused: {problem}")),
            Event::Connected { connection, peer } => {
                self.0.detail(&format!("connection {connection} from {peer}"));
            }
            Event::Opened { connection, export } => {
                self.0.detail(&format!("connection {connection} uses {export}"));
            }
            Event::Disconnected { connection, problem } => {
                let why = problem.map_or_else(String::new, |problem| format!(": {problem}"));
                self.0.detail(&format!("connection {connection} ended{why}"));
            }
            _ => {}
        }
    }
}
