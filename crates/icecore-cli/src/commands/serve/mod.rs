//! `icecore serve`.

pub(crate) mod config;

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use icecore::Error;
use icecore::Result;
use icecore_api::Controls;
use icecore_api::Running;
use icecore_host::clock::SystemClock;

use crate::app::App;
use crate::commands::serve::config::ConfigArgs;
use crate::commands::volume::serve::parse_listen;
use crate::exit::Verdict;
use crate::host;
use crate::json;

/// Serve repositories over HTTP, as DigitalOcean's API, with a control panel, until it is stopped
///
/// doctl, pydo, Terraform and others work with it: give them the address that is printed and a token of `icecore token create`. Regions,
/// accounts, TLS and schedules are in the configuration. Volumes and Droplets are disks over NBD, at addresses that the API tells.
/// Ctrl-C or SIGTERM ends it when the requests that have begun are answered, a second one at once; SIGHUP reads the certificate again.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Serve at this port of this machine, or address and port, whatever the configuration says
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// Serve at an address that other machines reach without TLS. Everyone on the way can read tokens and data
    #[arg(long)]
    allow_plain_http: bool,
}

impl ServeArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        // From now on a signal ends the server in order.
        host::stop_flag_but_for_hang_ups();
        let mut config = self.config.read(app)?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.allow_plain_http |= self.allow_plain_http;
        icecore_api::config::check(&config)?;
        icecore_api::start_log(&config.log)?;
        let regions = config.regions.keys().cloned().collect();
        let controls = Controls::default();
        steer(&controls)?;
        if host::asked_to_stop() {
            return Ok(Verdict::Clean);
        }
        let mut told = Ok(());
        let ready = |running: &Running| told = tell(app, running, regions);
        icecore_api::serve(config, Arc::new(SystemClock), ready, &controls)?;
        told.map(|()| Verdict::Clean)
    }
}

/// Has signals steer the server.
fn steer(controls: &Controls) -> Result<()> {
    let starting = |error| Error::io("starting to listen to signals", error);
    let hear = |waker: UnixStream, ear: UnixStream, act: Box<dyn Fn() + Send>| {
        let listen = move || {
            // The other end stays open as long as the process runs; what was written to it twice may be read once.
            while std::io::Read::read(&mut &ear, &mut [0; 64]).is_ok_and(|bytes| bytes > 0) {
                act();
            }
            drop(waker);
        };
        thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop).map_err(Error::no_thread)
    };
    let (waker, ear) = UnixStream::pair().map_err(starting)?;
    host::wake_on_stop_but_for_hang_ups(waker.try_clone().map_err(starting)?).map_err(starting)?;
    let of_stop = controls.clone();
    hear(
        waker,
        ear,
        Box::new(move || {
            host::notify("STOPPING=1");
            of_stop.stop();
        }),
    )?;
    let (waker, ear) = UnixStream::pair().map_err(starting)?;
    host::wake_on_reload(waker.try_clone().map_err(starting)?).map_err(starting)?;
    let of_reload = controls.clone();
    hear(waker, ear, Box::new(move || of_reload.reload()))
}

fn tell(app: &App, running: &Running, regions: Vec<String>) -> Result<()> {
    let scheme = if running.encrypted { "https" } else { "http" };
    let url = format!("{scheme}://{}", running.address);
    let socket = running.nbd_socket.display().to_string();
    let text = format!("serving {} at {url}\n  disks over NBD at {socket}\n", regions.join(", "));
    let result =
        json::ServerResult { url, address: running.address.to_string(), nbd_socket: socket, regions };
    let told = app.ui.result(&result, &text);
    host::notify("READY=1");
    told
}
