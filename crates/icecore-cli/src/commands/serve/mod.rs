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

/// Serve DigitalOcean's API and a control panel for repositories, over HTTP
///
/// doctl, pydo, Terraform and others work with it: give them the printed address and a token from
/// `icecore token create`. The configuration sets regions, accounts, TLS and schedules. Volumes and
/// Droplets are disks over NBD, at addresses that the API returns. Ctrl-C or SIGTERM stops the
/// server after it has answered the requests that have begun; a second one ends it at once. SIGHUP
/// makes it read the certificate again.
///
/// The password or private key of a sealed region comes from `password_file` or `identity_file` in
/// the configuration, a systemd credential, or ICECORE_PASSWORD_FILE and the like; the server never
/// asks.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Listen on this port of this machine, or on this address and port; overrides the
    /// configuration
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// Listen without TLS on an address that other machines can reach. Anyone on the way can read
    /// tokens and data
    #[arg(long)]
    allow_plain_http: bool,
}

impl ServeArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        // From now on a signal stops the server in order.
        host::stop_flag_but_for_hang_ups();
        let mut config = self.config.read(app)?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.allow_plain_http |= self.allow_plain_http;
        icecore_host::config::check(&config)?;
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

/// Makes signals control the server.
fn steer(controls: &Controls) -> Result<()> {
    let starting = |error| Error::io("starting to listen for signals", error);
    let hear = |waker: UnixStream, ear: UnixStream, act: Box<dyn Fn() + Send>| {
        let listen = move || {
            // The other end stays open as long as the process runs; two bytes may arrive as one
            // read.
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
