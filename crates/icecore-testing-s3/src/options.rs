//! What a server is started with.

use crate::rights::Credential;
use crate::rights::Rights;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The network that is put in front of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// The time of a round trip: what each request takes longer, and each new connection once more.
    pub latency: Duration,
    /// Bits per second in each direction, shared by all connections. None is unlimited.
    pub bits_per_second: Option<u64>,
}

/// What a server is started with. The default is a server on the loopback, with one credential
/// (`test`, `secret`), no bucket, a link without delay, and everything in memory.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens. Port 0 is any.
    pub address: SocketAddr,
    /// Where it answers `/_log`, `/_counters`, `/_reset`, `/_faults` and `/_clock`.
    pub control: Option<SocketAddr>,
    /// Buckets that exist from the start.
    pub buckets: Vec<String>,
    /// Who may do what.
    pub credentials: Vec<Credential>,
    /// The region that signatures must name. None accepts all.
    pub region: Option<String>,
    /// A directory for bodies over 64 KiB. They are deleted when the server stops.
    pub dir: Option<PathBuf>,
    /// How long new objects are locked, in every bucket.
    pub retain: Option<Duration>,
    /// Ignore `If-None-Match` and `If-Match` of writes, as some stores do.
    pub ignore_conditions: bool,
    /// The network.
    pub link: Link,
    /// A file that each finished call is appended to, as a line of JSON.
    pub log: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            control: None,
            buckets: Vec::new(),
            credentials: vec![Credential::new("test", "secret", Rights::ALL)],
            region: None,
            dir: None,
            retain: None,
            ignore_conditions: false,
            link: Link::default(),
            log: None,
        }
    }
}
