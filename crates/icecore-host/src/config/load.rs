//! The configuration is read and checked.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::config::names::host_and_port;
use crate::config::names::is_host;
use crate::config::names::is_slug;
use crate::config::names::is_word;
use crate::config::operation::RequestConfig;
use crate::config::operation::is_loopback;
use crate::config::schedule;
use crate::config::settings::Config;
use crate::config::settings::ImportConfig;
use crate::config::settings::NbdConfig;
use crate::config::settings::Usual;

/// The most connections that can be counted.
const CONNECTIONS_MAX: usize = usize::MAX >> 3;

/// The name of the server's database in the state directory.
pub const DATABASE: &str = "icecore.sqlite";

/// Reads the configuration from a file; `usual` has what it may leave out.
///
/// # Errors
/// `NotFound` if there is no such file; `InvalidInput` if it says what cannot be.
pub fn load(path: &Path, usual: &Usual) -> Result<Config> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::io(format!("reading the configuration {}", path.display()), error))?;
    let absolute = std::path::absolute(path)
        .map_err(|error| Error::io(format!("looking at {}", path.display()), error))?;
    let dir = absolute.parent().map_or_else(PathBuf::new, Path::to_owned);
    read(&text, &dir, usual).map_err(|error| error.in_context(path.display()))
}

/// Reads the configuration from text that leaves nothing out; `dir` is where its relative paths
/// begin, and the state is below it.
///
/// # Errors
/// `InvalidInput` if it says what cannot be.
pub fn parse(text: &str, dir: &Path) -> Result<Config> {
    read(text, dir, &Usual::default())
}

fn read(text: &str, dir: &Path, usual: &Usual) -> Result<Config> {
    let invalid =
        |error: toml::de::Error| Error::new(ErrorKind::InvalidInput, error.to_string().trim_end().to_owned());
    let mut config: Config = toml::from_str(text).map_err(invalid)?;
    if config.regions.is_empty() {
        config.regions.extend(usual.region());
    }
    check(&config)?;
    let keys: toml::Table = toml::from_str(text).map_err(invalid)?;
    if keys.get("server").and_then(|server| server.get("state_dir")).is_none() {
        config.server.state_dir = state_dir(&dir.join(&config.server.state_dir), usual)?;
    }
    let below = |path: &mut PathBuf| *path = dir.join(&path);
    below(&mut config.server.state_dir);
    config.import.folders.iter_mut().for_each(below);
    config.nbd.socket.iter_mut().chain(&mut config.import.ca_file).for_each(below);
    if let Some(tls) = &mut config.tls {
        below(&mut tls.certificate);
        below(&mut tls.key);
    }
    for (slug, region) in &mut config.regions {
        region.repository.begin_in(dir);
        #[cfg(feature = "bucket")]
        for path in region.bucket.credentials_file.iter_mut().chain(&mut region.bucket.ca_file) {
            if !path.starts_with("~") {
                below(path);
            }
        }
        region.password_file.iter_mut().chain(&mut region.identity_file).for_each(below);
        if region.name.is_empty() {
            region.name.clone_from(slug);
        }
    }
    Ok(config)
}

/// Returns the state directory of a configuration that names none: that of the user, as without a
/// configuration, so that a first file leaves the state where it is. Servers of the first versions
/// had it beside the file; a database there stays in use.
fn state_dir(beside: &Path, usual: &Usual) -> Result<PathBuf> {
    let database = beside.join(DATABASE);
    let there = database
        .try_exists()
        .map_err(|error| Error::io(format!("looking at {}", database.display()), error))?;
    Ok(usual.state_dir.clone().filter(|_| !there).unwrap_or_else(|| beside.to_owned()))
}

/// Checks what a configuration says, as [`parse`] does.
///
/// # Errors
/// `InvalidInput` if it says what cannot be.
pub fn check(config: &Config) -> Result<()> {
    let bad = |message: String, hint: &str| Err(Error::new(ErrorKind::InvalidInput, message).with_hint(hint));
    if config.regions.is_empty() {
        return bad("there is no region".to_owned(), "add one: [regions.local] with repository = \"DIR\"");
    }
    if let Some(slug) = config.regions.keys().find(|slug| !is_word(slug)) {
        return bad(format!("{slug:?} is not a valid region slug"), "use lower-case letters, digits and -");
    }
    let directories = std::iter::once(("server.state_dir".to_owned(), &config.server.state_dir))
        .chain(config.import.folders.iter().map(|folder| ("import.folders".to_owned(), folder)));
    for (key, directory) in directories {
        icecore::repository::check_directory(directory)
            .map_err(|error| error.in_context(format!("`{key}`")))?;
    }
    check_regions(config)?;
    if config.accounts.is_empty() {
        return bad("there is no account".to_owned(), "leave out `account`, or add one");
    }
    let mut seen = BTreeSet::new();
    for account in &config.accounts {
        if !is_word(&account.name) {
            return bad(
                format!("{:?} is not a valid account name", account.name),
                "use lower-case letters, digits and -",
            );
        }
        if !seen.insert(&account.name) || !seen.insert(&account.email) {
            return bad(
                format!("the account {} appears twice", account.name),
                "give each account a unique name and email",
            );
        }
    }
    let slugs: BTreeSet<_> = config.sizes.iter().map(|size| &size.slug).collect();
    if slugs.len() != config.sizes.len()
        || config.sizes.iter().any(|size| size.disk == 0 || size.disk > 16384 || !size.has_prices())
    {
        return bad(
            "the sizes are invalid".to_owned(),
            "each needs a unique slug, a disk of 1 to 16384 GiB, and prices from 0",
        );
    }
    let images: BTreeSet<_> = config.images.iter().map(|image| &image.slug).collect();
    if images.len() != config.images.len() || images.iter().any(|slug| !is_slug(slug)) {
        return bad(
            "the slugs of the base images are invalid".to_owned(),
            "each needs a unique one of lower-case letters, digits, - and . that begins with a letter",
        );
    }
    if config.server.jobs == 0 || config.import.max_gigabytes == 0 {
        return bad("server.jobs and import.max_gigabytes cannot be 0".to_owned(), "leave them out");
    }
    let listen = config.server.listen;
    if !is_loopback(listen) && config.tls.is_none() && !config.server.allow_plain_http {
        return bad(
            format!("other machines can reach {listen}, but there is no TLS"),
            "listen on 127.0.0.1, set a certificate in [tls], or set allow_plain_http = true behind a proxy that encrypts",
        );
    }
    if let Some(name) = config.server.names.iter().find(|name| !is_host(name)) {
        return bad(
            format!("`server.names`: {name:?} is not a host name"),
            "write the name alone, such as icecore.example.com, without a scheme and a port",
        );
    }
    check_import(&config.import)?;
    check_nbd(&config.nbd)?;
    check_requests(&config.requests)?;
    schedule::check(config)
}

fn check_regions(config: &Config) -> Result<()> {
    let mut repositories = BTreeSet::new();
    for (slug, region) in &config.regions {
        let (message, hint) = if !repositories.insert(&region.repository) {
            ("uses the repository of another region", "give it a separate repository")
        } else if region.password_file.is_some() && region.identity_file.is_some() {
            ("has both password_file and identity_file", "leave one of them out")
        } else {
            continue;
        };
        return Err(
            Error::new(ErrorKind::InvalidInput, format!("the region {slug} {message}")).with_hint(hint)
        );
    }
    Ok(())
}

fn check_import(import: &ImportConfig) -> Result<()> {
    let bad = |message: String, hint: &str| Err(Error::new(ErrorKind::InvalidInput, message).with_hint(hint));
    let mut hosts = import.hosts.iter().chain(&import.private_hosts);
    if let Some(host) = hosts.find(|host| host_and_port(host).is_none()) {
        return bad(
            format!("`import.hosts`: {host:?} is not a host"),
            "write a name or an address, with a port unless it is 443: images.example.com, 192.0.2.1:8443",
        );
    }
    if import.hosts.iter().any(|host| import.private_hosts.contains(host)) {
        return bad(
            "`import.hosts` and `import.private_hosts` have a host in common".to_owned(),
            "name it under private_hosts only if it is in a private network",
        );
    }
    if [import.download_gigabytes, import.download_minutes].contains(&0) {
        return bad(
            "import.download_gigabytes and import.download_minutes cannot be 0".to_owned(),
            "leave them out; without hosts, nothing is downloaded",
        );
    }
    Ok(())
}

fn check_nbd(nbd: &NbdConfig) -> Result<()> {
    if [nbd.connections, nbd.cache_megabytes].contains(&Some(0)) {
        let message = "nbd.connections and nbd.cache_megabytes cannot be 0";
        return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("leave them out"));
    }
    Ok(())
}

fn check_requests(requests: &RequestConfig) -> Result<()> {
    // hyper takes no smaller buffer, and a request of a browser has more than a few hundred bytes.
    if requests.head_bytes < 8 << 10
        || [requests.connections, requests.connections_per_peer, requests.body_bytes].contains(&0)
        || [requests.head_seconds, requests.body_seconds].contains(&0)
    {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "with these limits in [requests] the server could not serve anything",
        )
        .with_hint(
            "head_bytes must be 8192 or more, and the others 1 or more; leave out what you do not need",
        ));
    }
    if requests.connections > CONNECTIONS_MAX {
        let message = format!("{} connections are too many to count", requests.connections);
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("set requests.connections to what the machine can handle; the default is 1000"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::Address;

    #[test]
    fn paths_are_below_the_directory_of_the_file() {
        let config = parse("[regions.local]\nrepository = \"repo\"", Path::new("/etc/icecore")).unwrap();
        assert_eq!(config.regions["local"].repository.to_string(), "/etc/icecore/repo");
        assert_eq!(config.regions["local"].name, "local");
        assert_eq!(config.server.state_dir, Path::new("/etc/icecore/state"));
        assert_eq!(config.first_account(), "local");
    }

    #[test]
    fn what_the_file_leaves_out_is_where_it_is_without_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.toml");
        let usual = Usual {
            repository: Some(Address::Directory("/home/ann/repo".into())),
            state_dir: Some(PathBuf::from("/home/ann/state")),
        };
        let load_text = |text: &str| {
            std::fs::write(&path, text).unwrap();
            load(&path, &usual).unwrap()
        };
        for text in ["", "[server]\njobs = 1", "[regions]"] {
            let config = load_text(text);
            assert_eq!(config.server.state_dir, Path::new("/home/ann/state"), "{text}");
            assert_eq!(config.regions["local"].repository.to_string(), "/home/ann/repo", "{text}");
        }
        let named = load_text("[server]\nstate_dir = \"mine\"\n[regions.x]\nrepository = \"y\"");
        assert_eq!(named.server.state_dir, dir.path().join("mine"));
        assert_eq!(named.regions.keys().collect::<Vec<_>>(), ["x"]);
        // A directory alone is not the state of a server.
        let beside = dir.path().join("state");
        std::fs::create_dir(&beside).unwrap();
        assert_eq!(load_text("").server.state_dir, Path::new("/home/ann/state"));
        std::fs::write(beside.join(DATABASE), "").unwrap();
        assert_eq!(load_text("").server.state_dir, beside);
        let named = load_text("[server]\nstate_dir = \"mine\"");
        assert_eq!(named.server.state_dir, dir.path().join("mine"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let region = "[regions.local]\nrepository = \"repo\"\n";
        let schedule = "[[schedule]]\nname = \"s\"\n";
        let of_task = |task: &str, keys: &str| {
            format!("{region}{schedule}cron = \"@daily\"\ntask = \"{task}\"\n{keys}")
        };
        for (text, says) in [
            ("", "there is no region"),
            ("[regions]\n", "there is no region"),
            ("[regions.\"A b\"]\nrepository = \"x\"", "slug"),
            (&format!("{region}[regions.two]\nrepository = \"repo\""), "repository of another"),
            (&format!("{region}wrong = 1"), "wrong"),
            (&format!("{region}[server]\nlisten = \"0.0.0.0:80\""), "TLS"),
            (&format!("{region}[[account]]\nname = \"A\"\nemail = \"a@b\""), "account name"),
            (&format!("{region}[requests]\nhead_bytes = 100"), "limits"),
            (&format!("{region}[requests]\nconnections = {}", i64::MAX), "too many to count"),
            (&format!("{region}[nbd]\nconnections = 0"), "cannot be 0"),
            (&format!("{region}[server]\nnames = [\"a.example:80\"]"), "not a host name"),
            (&format!("{region}[requests]\nconnections_per_peer = 0"), "limits"),
            (&format!("{region}[import]\nhosts = [\"https://a.example\"]"), "not a host"),
            (&format!("{region}[import]\nhosts = [\"a:0\"]"), "not a host"),
            (&format!("{region}[import]\nprivate_hosts = [\"[::1\"]"), "not a host"),
            (&format!("{region}[import]\nhosts = [\"a\"]\nprivate_hosts = [\"a\"]"), "in common"),
            (&format!("{region}[import]\ndownload_minutes = 0"), "cannot be 0"),
            (&format!("{region}[nbd]\ncache_megabytes = 0"), "cannot be 0"),
            (&of_task("gc", "keep = { last = 1 }"), "`keep` has no effect"),
            (&of_task("gc", "names = [\"x\"]"), "`names` has no effect with the task `gc`"),
            (&of_task("gc", "minutes = 5"), "`minutes` has no effect"),
            (&of_task("verify", "of = [\"volume\"]"), "`of` has no effect"),
            (&of_task("verify", "tags = [\"x\"]"), "`tags` has no effect"),
            (&of_task("verify", "accounts = [\"local\"]"), "`accounts` has no effect"),
            (&of_task("snapshot", "share = 1.0"), "`share` has no effect with the task `snapshot`"),
            (&of_task("prune", "keep = { last = 1 }\nminutes = 1"), "`minutes` has no effect"),
            ("[regions.local]\nrepository = \"sftp://host/x\"", "is a URL"),
            ("[regions.local]\nrepository = \"\"", "is empty"),
            ("[server]\nstate_dir = \"\"\n[regions.local]\nrepository = \"x\"", "server.state_dir"),
            (&of_task("prune", "keep = { within = \"6m\" }"), "months or minutes"),
            (&of_task("verify", "share = 0.5\nminutes = 1"), "`share` is less than 1"),
            (&of_task("verify", "share = 1.5"), "not a valid share"),
            (&format!("{region}{schedule}cron = \"x\"\ntask = \"gc\""), "schedule s"),
            (&format!("{region}{schedule}cron = \"@daily\"\ntask = \"prune\""), "which snapshots to keep"),
            (
                &format!("{region}{schedule}cron = \"@daily\"\ntask = \"prune\"\nkeep = {{}}"),
                "without a rule",
            ),
            (&format!("{region}{schedule}cron = \"@daily\"\ntask = \"gc\"\nregions = [\"x\"]"), "no region"),
            (
                &format!(
                    "{region}{schedule}cron = \"@daily\"\ntask = \"gc\"\n[[schedule]]\nname = \"s\"\ncron = \"@daily\"\ntask = \"gc\""
                ),
                "twice",
            ),
            (&format!("{region}[[size]]\nslug = \"s\"\ndisk = 0"), "sizes"),
            (&format!("{region}[[size]]\nslug = \"s\"\ndisk = 1\nprice_monthly = -1"), "sizes"),
            (
                &format!(
                    "{region}[[image]]\nslug = \"7\"\nsnapshot = \"019a0000-0000-7000-8000-000000000000\""
                ),
                "base images",
            ),
            (&format!("{region}[[image]]\nslug = \"debian\"\nsnapshot = \"debian\""), "snapshot"),
            (&format!("{region}[server]\njobs = 0"), "jobs"),
        ] {
            let error = parse(text, Path::new("/")).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
