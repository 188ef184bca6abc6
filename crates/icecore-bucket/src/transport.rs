//! The way to a store: HTTP over TLS, with the system's authorities, or those that were named.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::HttpClient;
use object_store::client::HttpConnector;
use object_store::client::HttpError;
use object_store::client::HttpErrorKind;
use object_store::client::HttpRequest;
use object_store::client::HttpResponse;
use object_store::client::HttpService;
use reqwest::NoProxy;
use reqwest::Proxy;
use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use reqwest::redirect::Policy;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::refusal::Refusal;
use crate::settings::Settings;

const CONNECT: Duration = Duration::from_secs(10);

/// The time for an answer of the machine's own credentials. Where there are none, nobody answers.
const METADATA: Duration = Duration::from_secs(3);

/// Data that nobody acknowledges for this long ends a connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

const IDLE_CONNECTIONS: usize = 32;

/// The client of one bucket.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: reqwest::Client,
    /// The end of the names of the store's hosts. Others are asked for credentials.
    store_host: Arc<str>,
}

impl Transport {
    /// Makes a client. `authorities` is a file of those trusted instead of the system's.
    ///
    /// # Errors
    /// What is wrong with the authorities or the proxy.
    pub(crate) fn new(
        settings: &Settings,
        authorities: Option<&Path>,
        store_host: &str,
    ) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("icecore/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls(authorities)?)
            .http1_only()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .dns_resolver(Arc::new(Resolver))
            .no_proxy();
        let except = settings.variable(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        // The machine's own credentials are never behind a proxy.
        let except = NoProxy::from_string(&format!("169.254.0.0/16,metadata.google.internal,{except}"));
        let refused = |error: reqwest::Error| format!("the proxy: {error}");
        if let Some(url) = settings.variable(&["https_proxy", "HTTPS_PROXY"]) {
            builder = builder.proxy(Proxy::https(url).map_err(refused)?.no_proxy(except.clone()));
        }
        // A server that runs as CGI has HTTP_PROXY from its clients: only the small one counts.
        if let Some(url) = settings.variable(&["http_proxy"]) {
            builder = builder.proxy(Proxy::http(url).map_err(refused)?.no_proxy(except));
        }
        let client = builder.build().map_err(|error| format!("cannot make a client: {error}"))?;
        Ok(Self { client, store_host: store_host.into() })
    }
}

fn tls(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let wrong = |error: &dyn fmt::Display| format!("the authorities in {}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
                roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"there is no certificate in it"));
            }
        }
        // Without any, each connection says that the issuer is unknown; http needs none.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| format!("TLS: {error}"))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// The client is made already: what a builder of a store asks for beside it does not matter.
impl HttpConnector for Transport {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let of_credentials = !host.ends_with(&*self.store_host);
        let answered = if is_metadata(&host) {
            tokio::time::timeout(METADATA, HttpService::call(&self.client, request))
                .await
                .unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Timeout, NoCredentials)))
        } else {
            HttpService::call(&self.client, request).await
        };
        let answer = answered.map_err(|error| match is_metadata(&host) {
            true => HttpError::new(HttpErrorKind::Unknown, NoCredentials),
            false => error,
        })?;
        judge(answer, of_credentials).await
    }
}

/// Turns answers that say more than their status does into errors, so that it is not lost on the way.
async fn judge(answer: HttpResponse, of_credentials: bool) -> Result<HttpResponse, HttpError> {
    let status = answer.status();
    if status.is_success() || status.as_u16() == 304 {
        return Ok(answer);
    }
    let header =
        |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (region, code) = (header("x-amz-bucket-region"), header("x-ms-error-code"));
    let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
    let (parts, body) = answer.into_parts();
    let body = body.bytes().await?;
    let mut refusal = Refusal::read(status.as_u16(), &String::from_utf8_lossy(&body));
    refusal.region = region.or(refusal.region);
    refusal.retry_after = retry_after;
    refusal.of_credentials = of_credentials;
    if refusal.code.is_empty() {
        refusal.code = code.unwrap_or_default();
    }
    if means_what_it_says(&refusal) {
        return Ok(HttpResponse::from_parts(parts, Bytes::into(body)));
    }
    Err(HttpError::new(HttpErrorKind::Unknown, refusal))
}

/// Returns whether `object_store` knows all about an answer by its status.
fn means_what_it_says(refusal: &Refusal) -> bool {
    match refusal.status {
        _ if refusal.of_credentials => false,
        404 => {
            !matches!(refusal.code.as_str(), "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted")
        }
        409 => !matches!(refusal.code.as_str(), "ConditionalRequestConflict" | "OperationAborted"),
        412 => true,
        _ => false,
    }
}

fn is_metadata(host: &str) -> bool {
    host.starts_with("169.254.") || host == "metadata.google.internal" || host == "fd00:ec2::254"
}

/// The machine has no credentials of its own.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the machine has no credentials of its own")]
pub(crate) struct NoCredentials;

/// A host has no address.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the name {host} cannot be resolved: {reason}")]
pub(crate) struct Unresolved {
    pub(crate) host: String,
    pub(crate) reason: String,
}

/// The system's resolver, whose errors can be told from others.
#[derive(Debug)]
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<SocketAddr> = found
                .map_err(|error| Unresolved { host: name.as_str().to_owned(), reason: error.to_string() })?
                .collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
