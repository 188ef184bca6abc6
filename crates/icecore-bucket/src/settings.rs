//! How a bucket is reached.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

/// The variables of the environment that matter.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_ALLOW_HTTP",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "STORAGE_EMULATOR_HOST",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// What the configuration says about one bucket. It goes before the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The URL of the service: `https://ams3.digitaloceanspaces.com`.
    pub endpoint: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// The profile of `~/.aws/config` and `~/.aws/credentials`.
    pub profile: Option<String>,
    /// Whether the bucket stands in the path of URLs rather than in front of the host's name. By
    /// default it does if there is an endpoint.
    pub path_style: Option<bool>,
    /// Whether an endpoint without TLS is fine. Without it, only one on this machine is.
    pub allow_http: Option<bool>,
    /// Whether requests are not signed: to read a public bucket.
    pub anonymous: Option<bool>,
    /// The storage account, for Azure.
    pub account: Option<String>,
    /// A file of credentials: of AWS (instead of `~/.aws/credentials`) or a service account of Google.
    pub credentials_file: Option<PathBuf>,
    /// A file of authorities in PEM that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The time for one request, beside that of the transfer itself, in seconds; 30 by default.
    pub request_seconds: Option<u64>,
    /// The time after which a request is not tried again, in seconds; 180 by default.
    pub retry_seconds: Option<u64>,
}

/// What decides how a bucket is reached: the environment, the files below the home directory, and
/// the options of a repository.
#[derive(Clone, Default)]
pub struct Settings {
    variables: BTreeMap<&'static str, String>,
    home: Option<PathBuf>,
    pub(crate) options: Options,
}

impl Settings {
    /// Takes what matters from an environment. Files are read when a bucket is opened.
    #[must_use]
    pub fn new(environment: &dyn Fn(&str) -> Option<String>, home: Option<&Path>) -> Self {
        let set = |name: &&'static str| environment(name).filter(|value| !value.is_empty());
        let variables = VARIABLES.iter().filter_map(|name| Some((*name, set(name)?))).collect();
        Self { variables, home: home.map(Path::to_path_buf), options: Options::default() }
    }

    /// Returns these settings with the options of a repository.
    #[must_use]
    pub fn with(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Returns the first of these variables that is set.
    pub(crate) fn variable(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.variables.get(*name)).map(String::as_str)
    }

    /// Returns whether a variable says yes.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.variable(&[name])
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes"))
    }

    /// Returns a path below the home directory.
    pub(crate) fn below_home(&self, path: &str) -> Option<PathBuf> {
        self.home.as_deref().map(|home| home.join(path))
    }

    /// Returns a path in which `~` is the home directory.
    pub(crate) fn expanded(&self, path: &str) -> PathBuf {
        path.strip_prefix("~/").and_then(|rest| self.below_home(rest)).unwrap_or_else(|| PathBuf::from(path))
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_secs(self.options.request_seconds.unwrap_or(30).max(1))
    }

    pub(crate) fn whole(&self) -> Duration {
        Duration::from_secs(self.options.retry_seconds.unwrap_or(180))
    }

    /// Returns the file of the authorities that are trusted instead of the system's.
    pub(crate) fn authorities(&self) -> Option<PathBuf> {
        let variable = self.variable(&["AWS_CA_BUNDLE", "SSL_CERT_FILE"]).map(|path| self.expanded(path));
        self.options.ca_file.clone().or(variable)
    }

    /// Returns whether data may go to this URL without TLS.
    ///
    /// # Errors
    /// What to do if not.
    pub(crate) fn check_endpoint(&self, url: &str) -> Result<(), String> {
        let allowed = self.options.allow_http.unwrap_or_else(|| self.is_on("AWS_ALLOW_HTTP"));
        match url.split_once("://") {
            Some(("https", _)) => Ok(()),
            Some(("http", _)) if allowed || is_here(host_of(url)) => Ok(()),
            Some(("http", _)) => Err(format!(
                "the endpoint {url} has no TLS: use https://, or set allow_http = true if the network is yours"
            )),
            _ => Err(format!("the endpoint {url:?} does not begin with https://")),
        }
    }
}

/// Secrets stay out of logs.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.variables.keys().collect();
        f.debug_struct("Settings")
            .field("variables", &names)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Returns the host in a URL.
pub(crate) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Returns whether nobody on the way to this URL can read or change what is sent.
pub(crate) fn is_private(url: &str) -> bool {
    url.starts_with("https://") || is_here(host_of(url))
}

/// Returns whether a host is this machine.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host == "::1" || is_loopback_v4(host)
}

fn is_loopback_v4(host: &str) -> bool {
    host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::new(&find, Some(Path::new("/home/me")))
    }

    #[test]
    fn only_tls_and_this_machine_are_private() {
        let private =
            ["https://s3.example.com", "http://localhost:9000", "http://127.0.0.1/", "http://[::1]:9"];
        assert!(private.iter().all(|url| is_private(url)));
        assert!(!["http://10.0.0.1:9000", "http://s3.example.com"].iter().any(|url| is_private(url)));
    }

    #[test]
    fn data_goes_without_tls_only_where_that_is_fine() {
        let plain = settings(&[]);
        for fine in ["https://lab:9000", "http://127.0.0.1:9000", "http://localhost", "http://[::1]:1/x"] {
            assert_eq!(plain.check_endpoint(fine), Ok(()), "{fine}");
        }
        for not in
            ["http://lab:9000", "http://127.0.0.1.evil.example", "http://10.0.0.1", "lab:9000", "ftp://lab"]
        {
            assert!(plain.check_endpoint(not).is_err(), "{not}");
        }
        assert_eq!(settings(&[("AWS_ALLOW_HTTP", "true")]).check_endpoint("http://lab"), Ok(()));
        let allowed = Options { allow_http: Some(true), ..Options::default() };
        assert_eq!(plain.clone().with(allowed).check_endpoint("http://lab"), Ok(()));
        let forbidden = Options { allow_http: Some(false), ..Options::default() };
        assert!(settings(&[("AWS_ALLOW_HTTP", "1")]).with(forbidden).check_endpoint("http://lab").is_err());
    }

    #[test]
    fn hosts_are_found_in_urls() {
        for (url, host) in [
            ("https://a.b:1/c", "a.b"),
            ("http://[fd00::1]:80/", "fd00::1"),
            ("https://a?x", "a"),
            ("a:1", "a"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", settings(&[("AWS_SECRET_ACCESS_KEY", "wJalr")]));
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("wJalr"), "{shown}");
    }

    #[test]
    fn an_empty_variable_is_none() {
        assert_eq!(settings(&[("AWS_PROFILE", "")]).variable(&["AWS_PROFILE"]), None);
        let both = settings(&[("AWS_DEFAULT_REGION", "a"), ("AWS_REGION", "b")]);
        assert_eq!(both.variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]), Some("b"));
        assert_eq!(both.expanded("~/x"), Path::new("/home/me/x"));
    }
}
