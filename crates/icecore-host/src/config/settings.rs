//! What stands in the file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use uuid::Uuid;

use crate::config::names::host_and_port;
use crate::config::operation::LogConfig;
use crate::config::operation::MetricsConfig;
use crate::config::operation::RequestConfig;
use crate::config::operation::ScheduleConfig;
use crate::config::operation::TlsConfig;
use crate::places::Address;
use crate::places::BucketOptions;

/// The region and the account where none is configured.
const LOCAL: &str = "local";

/// What the server is configured to do. Paths that are not absolute are below the directory of the
/// file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens, and for whom.
    #[serde(default)]
    pub server: ServerConfig,
    /// Regions by their slugs; at least one. Where none is given, `local` with the repository of the
    /// command line.
    #[serde(default)]
    pub regions: BTreeMap<String, RegionConfig>,
    /// Accounts; the first is that of snapshots and volumes that no account made. One named `local`
    /// where none is given.
    #[serde(default = "usual_accounts", rename = "account")]
    pub accounts: Vec<AccountConfig>,
    /// Sizes of Droplets, smallest first.
    #[serde(default = "usual_sizes", rename = "size")]
    pub sizes: Vec<SizeConfig>,
    /// How much an account may have.
    #[serde(default)]
    pub limits: QuotaConfig,
    /// The disks over NBD.
    #[serde(default)]
    pub nbd: NbdConfig,
    /// What may be imported.
    #[serde(default)]
    pub import: ImportConfig,
    /// Images that all accounts can make Droplets of.
    #[serde(default, rename = "image")]
    pub images: Vec<ImageConfig>,
    /// The certificate; without one there is no TLS.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// What clients may do to the server.
    #[serde(default)]
    pub requests: RequestConfig,
    /// What is logged.
    #[serde(default)]
    pub log: LogConfig,
    /// Who may read `/metrics`.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Work that is done again and again.
    #[serde(default, rename = "schedule")]
    pub schedules: Vec<ScheduleConfig>,
}

/// Where the server listens, and where it keeps its database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The address; one that other machines reach needs TLS or `allow_plain_http`.
    pub listen: SocketAddr,
    /// The names by which clients reach it, beside addresses and `localhost`. What no token guards
    /// is only told to requests for one of these.
    pub names: Vec<String>,
    /// The directory of the database, the sockets and temporary files. [`load`](crate::config::load())
    /// says where it is if the file does not.
    pub state_dir: PathBuf,
    /// Whether another address than a loopback one may be served without TLS.
    pub allow_plain_http: bool,
    /// How many snapshots of Droplets are taken at once, and beside them how many images are
    /// imported or copied to another region. What comes on top of that waits.
    pub jobs: usize,
    /// Seconds that requests have to end when the server is stopped.
    pub stop_seconds: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            names: Vec::new(),
            state_dir: PathBuf::from("state"),
            allow_plain_http: false,
            jobs: 2,
            stop_seconds: 30,
        }
    }
}

/// A region: a repository.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionConfig {
    /// What people call it; its slug where none is given.
    #[serde(default)]
    pub name: String,
    /// Its repository, which is made where it is missing.
    pub repository: Address,
    /// How the bucket is reached, if it is in one.
    #[serde(default)]
    pub bucket: BucketOptions,
    /// Whether volumes can be made in it.
    #[serde(default = "yes")]
    pub storage: bool,
    /// The file with the password of the repository, if it is sealed. With one, a repository that is
    /// made is sealed.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The file with the private key that opens the repository, instead of a password.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
}

/// An account: its tokens see what it owns and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// A word: lower-case letters, digits and `-`. It is noted with what the account owns.
    pub name: String,
    /// The address that others offer images to.
    pub email: String,
}

/// A size of Droplets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeConfig {
    /// Its name.
    pub slug: String,
    /// Of the disk, in GiB.
    pub disk: u64,
    /// Of memory, in MiB.
    #[serde(default)]
    pub memory: u64,
    /// Of processors.
    #[serde(default)]
    pub vcpus: u64,
    /// In dollars. By default DigitalOcean's price of a size with this slug, or 0.
    #[serde(default)]
    pub price_monthly: Option<f64>,
    /// In dollars. By default it follows from the monthly price, as at DigitalOcean.
    #[serde(default)]
    pub price_hourly: Option<f64>,
}

/// How much an account may have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// Volumes.
    pub volumes: usize,
    /// Droplets.
    pub droplets: usize,
    /// GiB of all its volumes together; 0 where there is no limit.
    pub volume_gigabytes: u64,
    /// Snapshots of one volume.
    pub snapshots_per_volume: usize,
    /// Seconds that must pass between two snapshots of a volume.
    pub snapshot_interval_seconds: u64,
}

impl Default for QuotaConfig {
    fn default() -> Self {
        Self {
            volumes: 1000,
            droplets: 1000,
            volume_gigabytes: 0,
            snapshots_per_volume: 1000,
            snapshot_interval_seconds: 0,
        }
    }
}

/// The disks over NBD.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NbdConfig {
    /// The unix socket; `nbd` in the state directory where none is given.
    pub socket: Option<PathBuf>,
    /// A TCP address beside it. Everyone who can reach it and knows the id of a volume can read and
    /// write that.
    pub listen: Option<SocketAddr>,
    /// Connections at once, of all disks together; where none is given, 4096, or fewer if there are
    /// not enough descriptors.
    pub connections: Option<usize>,
    /// MiB of memory for what was read of snapshots; where none is given, 1/16 of the machine's,
    /// from 96 to 1024.
    pub cache_megabytes: Option<usize>,
}

/// What may be imported as an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportConfig {
    /// Folders whose files may be imported by `file://` URLs, and single files or block devices.
    /// None: nothing may.
    pub folders: Vec<PathBuf>,
    /// Hosts on the internet whose files may be imported by `https://` URLs, with a port unless it is
    /// 443. None: nothing may.
    pub hosts: Vec<String>,
    /// The same of hosts that may have addresses of this machine or of a private network.
    pub private_hosts: Vec<String>,
    /// A PEM file with the authorities whose certificates are accepted; those of the system where
    /// none is given.
    pub ca_file: Option<PathBuf>,
    /// The largest file that may be downloaded, in GiB.
    pub download_gigabytes: u64,
    /// Minutes that a download may take.
    pub download_minutes: u64,
    /// The largest disk that may be imported, in GiB.
    pub max_gigabytes: u64,
}

impl Default for ImportConfig {
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            hosts: Vec::new(),
            private_hosts: Vec::new(),
            ca_file: None,
            download_gigabytes: 100,
            download_minutes: 120,
            max_gigabytes: 2048,
        }
    }
}

/// A host that images may be downloaded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedHost {
    /// At addresses of the internet.
    Public,
    /// At any address.
    Private,
}

impl ImportConfig {
    /// Returns whether files of a host may be downloaded at a port. The host of an IPv6 address has
    /// no brackets.
    pub fn allows(&self, host: &str, port: u16) -> Option<AllowedHost> {
        let among = |hosts: &[String]| {
            let mut split = hosts.iter().filter_map(|text| host_and_port(text));
            split.any(|(name, at)| name.eq_ignore_ascii_case(host) && at == port)
        };
        if among(&self.private_hosts) {
            return Some(AllowedHost::Private);
        }
        among(&self.hosts).then_some(AllowedHost::Public)
    }
}

/// A base image: a snapshot of a Droplet's disk that all accounts can make Droplets of, and none
/// can change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// The name that it is asked for by, such as `debian-13-x64`.
    pub slug: String,
    /// The id of the snapshot, whole. It is there in each region that has this snapshot.
    pub snapshot: Uuid,
    /// What people call it; the name of the snapshot where none is given.
    #[serde(default)]
    pub name: String,
    /// What system is in it.
    #[serde(default)]
    pub distribution: String,
}

fn yes() -> bool {
    true
}

fn usual_accounts() -> Vec<AccountConfig> {
    vec![AccountConfig { name: LOCAL.to_owned(), email: "local@example.com".to_owned() }]
}

fn usual_sizes() -> Vec<SizeConfig> {
    let size = SizeConfig::new;
    vec![
        size("s-1vcpu-512mb-10gb", 10, 512, 1),
        size("s-1vcpu-1gb", 25, 1024, 1),
        size("s-1vcpu-2gb", 50, 2048, 1),
        size("s-2vcpu-2gb", 60, 2048, 2),
        size("s-2vcpu-4gb", 80, 4096, 2),
        size("s-4vcpu-8gb", 160, 8192, 4),
        size("s-8vcpu-16gb", 320, 16384, 8),
    ]
}

/// Where things are that a file leaves out. What is missing here must be in the file.
#[derive(Debug, Clone, Default)]
pub struct Usual {
    /// The repository of the region `local`.
    pub repository: Option<Address>,
    /// The state of the user's servers.
    pub state_dir: Option<PathBuf>,
}

impl Usual {
    /// Returns the region where none is configured.
    pub(super) fn region(&self) -> Option<(String, RegionConfig)> {
        Some((LOCAL.to_owned(), local_region(self.repository.clone()?)))
    }
}

fn local_region(repository: Address) -> RegionConfig {
    RegionConfig {
        name: LOCAL.to_owned(),
        repository,
        bucket: BucketOptions::default(),
        storage: true,
        password_file: None,
        identity_file: None,
    }
}

impl Config {
    /// Returns the configuration where nobody has written one: one repository, as the region
    /// `local`.
    pub fn of_repository(repository: Address, state_dir: PathBuf) -> Self {
        Self {
            server: ServerConfig { state_dir, ..ServerConfig::default() },
            regions: BTreeMap::from([(LOCAL.to_owned(), local_region(repository))]),
            accounts: usual_accounts(),
            sizes: usual_sizes(),
            limits: QuotaConfig::default(),
            nbd: NbdConfig::default(),
            import: ImportConfig::default(),
            images: Vec::new(),
            tls: None,
            requests: RequestConfig::default(),
            log: LogConfig::default(),
            metrics: MetricsConfig::default(),
            schedules: Vec::new(),
        }
    }

    /// Returns the account that owns what no account made.
    pub fn first_account(&self) -> &str {
        self.accounts.first().map_or(LOCAL, |account| &account.name)
    }

    /// Returns the size of this name.
    pub fn size(&self, slug: &str) -> Option<&SizeConfig> {
        self.sizes.iter().find(|size| size.slug == slug)
    }

    /// Returns the account of this name.
    pub fn account(&self, name: &str) -> Option<&AccountConfig> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// Returns what is configured of a snapshot, if it is a base image. Of several entries, the first
    /// says how it is shown.
    pub fn base_image(&self, snapshot: Uuid) -> Option<&ImageConfig> {
        self.images.iter().find(|image| image.snapshot == snapshot)
    }

    /// Returns the snapshot that is a base image under this slug.
    pub fn base_snapshot(&self, slug: &str) -> Option<Uuid> {
        self.images.iter().find(|image| image.slug == slug).map(|image| image.snapshot)
    }
}
