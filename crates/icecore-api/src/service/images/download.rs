//! Downloads of images over HTTPS. A download that breaks off continues where it was, if the file is
//! still the same.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header;
use icecore::Error;
use icecore::Progress;
use icecore_host::config::ImportConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::Certificate;
use ureq::tls::RootCerts;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::resolver::ResolvedSocketAddrs;
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::DefaultConnector;
use ureq::unversioned::transport::NextTimeout;
use uuid::Uuid;

use crate::service::images::remote::Remote;
use crate::service::images::spool::Spool;
use crate::service::images::spool::Version;
use crate::service::items::GIB;
use crate::service::jobs::JobProgress;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// How long a connection may take to be made, and to send its next byte.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most redirects to follow.
const REDIRECTS_MAX: usize = 5;
/// The most attempts in a row that bring nothing.
const TRIES_MAX: u32 = 5;
/// The interval for checking whether a waiting download should continue.
const LOOK: Duration = Duration::from_millis(100);
/// The certificates of the system's authorities, on Debian, Fedora and others.
const SYSTEM_CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A download of one import.
pub(crate) struct Download<'a> {
    pub(crate) config: &'a ImportConfig,
    pub(crate) spool: &'a Spool,
    pub(crate) import: Uuid,
    pub(crate) remote: Remote,
    pub(crate) progress: &'a JobProgress,
}

/// Why an attempt did not succeed.
enum Stopped {
    /// It broke off, and another attempt may help.
    Broken(String),
    /// It can never succeed.
    Failed(ApiError),
}

impl From<ApiError> for Stopped {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl Download<'_> {
    /// Downloads the file into the spool, or what is missing of it.
    ///
    /// # Errors
    /// 422 if it is not there, too large or too slow, or if its machine cannot be reached.
    pub(crate) fn run(&self) -> ApiResult<()> {
        let roots = certificates(self.config)?;
        let file = self.spool.open(self.import)?;
        let until = Instant::now() + Duration::from_secs(self.config.download_minutes.saturating_mul(60));
        let (mut before, mut tries) = (length(&file)?, 0);
        loop {
            let problem = match self.attempt(&file, &roots, until) {
                Ok(()) => return Ok(()),
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Broken(problem)) => problem,
            };
            let now = length(&file)?;
            tries = if now > before { 0 } else { tries + 1 };
            before = now;
            tracing::info!(import = %self.import, bytes = now, problem, "a download broke off");
            if tries >= TRIES_MAX {
                return Err(self.problem(format!("{problem}; the server tried {TRIES_MAX} times")));
            }
            // 0, 2, 4, 8 seconds.
            self.wait(if tries < 2 { Duration::ZERO } else { Duration::from_secs(1 << (tries - 1)) })?;
            self.check(until)?;
        }
    }

    /// Returns an error about this download.
    fn problem(&self, why: impl std::fmt::Display) -> ApiError {
        ApiError::unprocessable(format!("cannot download {}: {why}", self.remote.name))
    }

    fn wait(&self, pause: Duration) -> ApiResult<()> {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            self.check(end + pause)?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Checks whether the download should continue.
    fn check(&self, until: Instant) -> ApiResult<()> {
        if self.progress.cancelled() {
            return Err(ApiError::unprocessable("interrupted"));
        }
        if Instant::now() > until {
            return Err(self.problem(format!(
                "it takes longer than the {} minutes that the server's configuration allows (import.download_minutes)",
                self.config.download_minutes
            )));
        }
        Ok(())
    }

    fn attempt(&self, file: &File, roots: &RootCerts, until: Instant) -> Result<(), Stopped> {
        let have = length(file)?;
        let version = self.spool.version(self.import).filter(|_| have > 0);
        let answer = self.ask(roots, have, version.as_ref())?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let whole = match status {
            206 if range(&headers).is_some_and(|(from, _)| from == have) => {
                range(&headers).and_then(|(_, whole)| whole)
            }
            200 => {
                self.restart(file, &headers)?;
                number(&headers, header::CONTENT_LENGTH)
            }
            // The part may be all of it; otherwise it is of something else.
            416 if version.is_some() => match range(&headers) {
                Some((_, Some(whole))) if whole == have => return Ok(()),
                _ => {
                    self.restart(file, &HeaderMap::new())?;
                    return Err(Stopped::Broken("the file has changed".to_owned()));
                }
            },
            206 => {
                self.restart(file, &HeaderMap::new())?;
                return Err(Stopped::Broken("the answer is another part of the file".to_owned()));
            }
            408 | 429 | 500.. => {
                return Err(Stopped::Broken(format!("its machine answers {}", answer.status())));
            }
            _ => {
                let why = format!("its machine answers {}: check the URL", answer.status());
                return Err(self.problem(why).into());
            }
        };
        let bytes_max = self.config.download_gigabytes.saturating_mul(GIB);
        self.check_size(whole.unwrap_or(0), bytes_max)?;
        self.progress.begin(whole.unwrap_or(0));
        self.copy(answer.into_body().into_reader(), file, bytes_max, until)?;
        match whole {
            Some(whole) if length(file)? != whole => {
                Err(Stopped::Broken("the connection ended early".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn check_size(&self, bytes: u64, bytes_max: u64) -> ApiResult<()> {
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(self.problem(format!(
            "it is larger than the {} GB that the server's configuration allows (import.download_gigabytes)",
            self.config.download_gigabytes
        )))
    }

    /// Drops what has been downloaded, and records the version of what comes now.
    fn restart(&self, file: &File, headers: &HeaderMap) -> ApiResult<()> {
        file.set_len(0).map_err(|error| Error::io("shortening a download", error))?;
        self.spool.set_version(self.import, version(headers).as_ref())
    }

    fn copy(
        &self,
        mut from: impl Read,
        mut to: &File,
        bytes_max: u64,
        until: Instant,
    ) -> Result<(), Stopped> {
        let mut buffer = vec![0; 64 << 10];
        let mut total = length(to)?;
        loop {
            self.check(until)?;
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stopped::Broken(error.to_string())),
            };
            total += count as u64;
            self.check_size(total, bytes_max)?;
            let writing = |error| ApiError::from(Error::io("writing a download", error));
            to.write_all(&buffer[..count]).map_err(writing)?;
            self.progress.set_done(total);
        }
    }

    /// Asks for the file, or for the rest of it, and follows redirects.
    fn ask(
        &self,
        roots: &RootCerts,
        have: u64,
        version: Option<&Version>,
    ) -> Result<ureq::http::Response<ureq::Body>, Stopped> {
        let mut remote = self.remote.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.check(Instant::now() + PATIENCE)?;
            let mut request = agent(&remote, roots).get(remote.uri.clone());
            if let Some(version) = version {
                request =
                    request.header("Range", format!("bytes={have}-")).header("If-Range", &version.validator);
            }
            let answer = request.call().map_err(|error| self.not_reached(&remote, &error))?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION).and_then(|it| it.to_str().ok());
            let location = location.ok_or_else(|| self.problem("its machine redirects to nowhere"))?;
            remote = remote.redirect(self.config, location)?;
        }
        Err(self.problem(format!("there are more than {REDIRECTS_MAX} redirects")).into())
    }

    fn not_reached(&self, remote: &Remote, error: &ureq::Error) -> Stopped {
        let host = remote.uri.host().unwrap_or_default();
        let certificate = match error {
            ureq::Error::Io(inner) if inner.kind() == io::ErrorKind::PermissionDenied => {
                return self.problem(inner).into();
            }
            ureq::Error::Io(inner) => inner.to_string().contains("certificate"),
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
            _ => false,
        };
        if certificate {
            let hint = "if the machine has a certificate of your own authority, name that under `ca_file` in [import]";
            return self
                .problem(format!("the certificate of {host} is not accepted: {error} ({hint})"))
                .into();
        }
        Stopped::Broken(format!("cannot reach {host}: {error}"))
    }
}

/// Creates a client for one request. It takes no proxy and no redirect.
fn agent(remote: &Remote, roots: &RootCerts) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(roots.clone())
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .https_only(true)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("icecore/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_connect(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .timeout_per_write(Some(PATIENCE))
        .tls_config(tls)
        .build();
    Agent::with_parts(config, DefaultConnector::new(), Allowed(remote.clone()))
}

/// A resolver that returns only addresses where a host may be. The client connects to these, and
/// asks for no others.
#[derive(Debug)]
struct Allowed(Remote);

impl Resolver for Allowed {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| self.0.may_be_at(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let host = uri.host().unwrap_or_default();
            let message = format!(
                "the host {host} has only addresses that are not on the internet: if that is right, name it under `private_hosts` in [import]"
            );
            return Err(ureq::Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, message)));
        }
        Ok(allowed)
    }
}

/// Reads the certificates of the authorities to trust.
fn certificates(config: &ImportConfig) -> ApiResult<RootCerts> {
    let system = || SYSTEM_CERTIFICATES.iter().map(Path::new).find(|path| path.exists());
    let path = config.ca_file.as_deref().or_else(system).ok_or_else(|| {
        ApiError::unprocessable(
            "the server's system has no certificates of authorities: install ca-certificates, or set `ca_file` in [import]",
        )
    })?;
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| {
        ApiError::unprocessable(format!("cannot read the certificates in {}: {error}", path.display()))
    })?;
    Ok(read.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).into())
}

fn length(file: &File) -> ApiResult<u64> {
    Ok(file.metadata().map_err(|error| Error::io("looking at a download", error))?.len())
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// Returns the version of a file, if a part of it can be asked for later.
fn version(headers: &HeaderMap) -> Option<Version> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let tag = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| text(header::LAST_MODIFIED)).map(|validator| Version { validator })
}

/// Returns where the part in an answer begins, and the length of the whole file: `bytes 5-9/10`, or
/// `bytes */10`.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (part, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let from = match part.split_once('-') {
        Some((from, _)) => from.parse().ok()?,
        None => 0,
    };
    Some((from, whole.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_versions_are_read() {
        let of = |name: header::HeaderName, text: &str| HeaderMap::from_iter([(name, text.parse().unwrap())]);
        let part = |text: &str| range(&of(header::CONTENT_RANGE, text));
        assert_eq!(part("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(part("bytes 5-9/*"), Some((5, None)));
        assert_eq!(part("bytes */10"), Some((0, Some(10))));
        for bad in ["5-9/10", "bytes 5-9", "bytes x-9/10", ""] {
            assert_eq!(part(bad), None, "{bad}");
        }
        let of_tag = |text: &str| version(&of(header::ETAG, text)).map(|version| version.validator);
        assert_eq!(of_tag("\"a\"").as_deref(), Some("\"a\""));
        assert_eq!(of_tag("W/\"a\""), None);
        let date = "Mon, 30 Nov 2026 17:43:39 GMT";
        assert_eq!(version(&of(header::LAST_MODIFIED, date)).unwrap().validator, date);
    }
}
