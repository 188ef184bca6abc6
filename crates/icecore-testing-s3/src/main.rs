//! The server as a program, for clients in other languages and for benches.

use clap::Parser;
use icecore_testing_s3::Credential;
use icecore_testing_s3::Link;
use icecore_testing_s3::Options;
use icecore_testing_s3::Server;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::io::stdin;
use std::io::stdout;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// An S3 server for tests, with a slow link and faults
///
/// Prints its endpoint, and the address of its second port. Runs until its standard input ends, or
/// forever with --stay.
#[derive(Debug, Parser)]
#[command(name = "s3-double")]
struct Args {
    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port, 0 for any
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The port for /_log, /_counters, /_reset, /_faults and /_clock, 0 for any
    #[arg(long, default_value_t = 0)]
    control: u16,
    /// A directory for bodies over 64 KiB; without it everything is in memory
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A bucket that exists from the start; can be repeated
    #[arg(long)]
    bucket: Vec<String>,
    /// A credential as KEY:SECRET or KEY:SECRET:RIGHTS, with rights from get, list, put-new, overwrite,
    /// delete, separated by commas; can be repeated [default: test:secret]
    #[arg(long)]
    access: Vec<Credential>,
    /// The only region that signatures may name
    #[arg(long)]
    region: Option<String>,
    /// The time of a round trip, in milliseconds
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Megabits per second in each direction
    #[arg(long)]
    mbit: Option<u64>,
    /// Lock new objects for so many seconds
    #[arg(long)]
    retain_seconds: Option<u64>,
    /// Ignore If-None-Match and If-Match of writes
    #[arg(long)]
    ignore_conditions: bool,
    /// A file for the log, a line of JSON for each call
    #[arg(long)]
    log: Option<PathBuf>,
    /// A file with faults, as for PUT /_faults
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Do not stop when the standard input ends
    #[arg(long)]
    stay: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let defaults = Options::default();
    let server = Server::start(&Options {
        address: SocketAddr::new(args.host, args.port),
        control: Some(SocketAddr::new(args.host, args.control)),
        buckets: args.bucket,
        credentials: if args.access.is_empty() { defaults.credentials } else { args.access },
        region: args.region,
        dir: args.dir,
        retain: args.retain_seconds.map(Duration::from_secs),
        ignore_conditions: args.ignore_conditions,
        link: Link {
            latency: Duration::from_millis(args.latency_ms),
            bits_per_second: args.mbit.map(|mbit| mbit.saturating_mul(1_000_000)),
        },
        log: args.log,
    })?;
    if let Some(path) = args.faults {
        server.set_faults(serde_json::from_reader(File::open(path)?)?);
    }
    let mut out = stdout();
    writeln!(out, "endpoint {}", server.endpoint())?;
    writeln!(out, "control {}", server.control().unwrap_or_default())?;
    out.flush()?;
    if args.stay {
        loop {
            std::thread::park();
        }
    }
    // Whoever started it and is gone leaves no server behind.
    std::io::copy(&mut stdin(), &mut std::io::sink())?;
    server.stop();
    Ok(())
}
