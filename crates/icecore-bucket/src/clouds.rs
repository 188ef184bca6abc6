//! Stores of the three clouds, made of an address and settings.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::RetryConfig;
use object_store::aws::AmazonS3Builder;
use object_store::aws::AmazonS3ConfigKey;
use object_store::aws::Checksum;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::MultipartStore;

use crate::address::Address;
use crate::address::Cloud;
use crate::aws::Aws;
use crate::aws::Credentials;
use crate::settings::Settings;
use crate::settings::host_of;
use crate::settings::is_private;
use crate::transport::Transport;

/// All that a bucket needs of a store.
pub(crate) trait Store: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Store for T {}

/// The stores of an address.
pub(crate) struct Stores {
    /// What reads, lists and deletes, and writes as long as the other is not needed.
    pub(crate) store: Arc<dyn Store>,
    /// What sends a checksum with each body. Buckets with object lock want one, and not all that speak
    /// S3 take one.
    pub(crate) with_checksums: Option<Arc<dyn Store>>,
}

/// Makes the stores of an address. Nothing is sent.
///
/// # Errors
/// What is wrong with the settings, and what to do.
pub(crate) fn stores(address: &Address, settings: &Settings) -> Result<Stores, String> {
    let one = |store| Stores { store, with_checksums: None };
    match address.cloud() {
        Cloud::S3 => s3(address, settings),
        Cloud::Google => google(address, settings).map(one),
        Cloud::Azure => azure(address, settings).map(one),
    }
}

/// Whoever puts an object has to know whether it was tried before: the callers try again, not the
/// store.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn s3(address: &Address, settings: &Settings) -> Result<Stores, String> {
    let aws = Aws::find(settings)?;
    let host = aws
        .endpoint
        .as_deref()
        .map_or_else(|| format!("s3.{}.amazonaws.com", aws.region), |url| host_of(url).to_owned());
    let transport = Transport::new(settings, aws.authorities.as_deref(), &host)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(address.bucket())
        .with_region(&aws.region)
        .with_retry(once())
        .with_disable_bulk_delete(true)
        .with_allow_http(true)
        // TLS keeps what is sent as it is, and what is stored is proven by whoever reads it: to sign
        // all of it as well takes a core that has no instructions for it longer than a fast link.
        .with_unsigned_payload(aws.endpoint.as_deref().is_none_or(is_private))
        .with_http_connector(transport)
        .with_virtual_hosted_style_request(!aws.path_style);
    builder = match &aws.endpoint {
        None => builder,
        Some(endpoint) => builder.with_endpoint(match (aws.path_style, endpoint.split_once("://")) {
            (false, Some((scheme, rest))) => format!("{scheme}://{}.{rest}", address.bucket()),
            _ => endpoint.clone(),
        }),
    };
    match aws.credentials {
        Credentials::Anonymous => builder = builder.with_skip_signature(true),
        Credentials::Key { id, secret, token } => {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            if let Some(token) = token {
                builder = builder.with_token(token);
            }
        }
        Credentials::WebIdentity { token_file, role } => {
            let token_file = token_file.to_string_lossy().into_owned();
            builder = builder.with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file);
            builder = builder.with_config(AmazonS3ConfigKey::RoleArn, role);
            for (key, variable) in [
                (AmazonS3ConfigKey::RoleSessionName, "AWS_ROLE_SESSION_NAME"),
                (AmazonS3ConfigKey::StsEndpoint, "AWS_ENDPOINT_URL_STS"),
            ] {
                if let Some(value) = settings.variable(&[variable]) {
                    builder = builder.with_config(key, value);
                }
            }
        }
        Credentials::OfMachine => {
            for (key, variable) in [
                (
                    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                ),
                (AmazonS3ConfigKey::ContainerCredentialsFullUri, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
                (
                    AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                ),
                (AmazonS3ConfigKey::MetadataEndpoint, "AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            ] {
                if let Some(value) = settings.variable(&[variable]) {
                    builder = builder.with_config(key, value);
                }
            }
        }
    }
    let build = |builder: AmazonS3Builder| {
        builder.build().map(|store| Arc::new(store) as Arc<dyn Store>).map_err(|error| error.to_string())
    };
    let with_checksums = build(builder.clone().with_checksum_algorithm(Checksum::SHA256))?;
    Ok(match aws.endpoint {
        None => Stores { store: with_checksums, with_checksums: None },
        Some(_) => Stores { store: build(builder)?, with_checksums: Some(with_checksums) },
    })
}

fn google(address: &Address, settings: &Settings) -> Result<Arc<dyn Store>, String> {
    let emulator = settings.variable(&["STORAGE_EMULATOR_HOST"]).map(|host| match host.contains("://") {
        true => host.to_owned(),
        false => format!("http://{host}"),
    });
    let endpoint = settings.options.endpoint.clone().or(emulator);
    if let Some(endpoint) = &endpoint {
        settings.check_endpoint(endpoint)?;
    }
    let host = endpoint.as_deref().map_or("storage.googleapis.com", host_of);
    let transport = Transport::new(settings, settings.authorities().as_deref(), host)?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(address.bucket())
        .with_retry(once())
        .with_http_connector(transport);
    if let Some(endpoint) = &endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    let of_user = || {
        settings
            .below_home(".config/gcloud/application_default_credentials.json")
            .filter(|path| path.exists())
    };
    let named = settings.variable(&["GOOGLE_APPLICATION_CREDENTIALS"]).map(|path| settings.expanded(path));
    if settings.options.anonymous == Some(true) {
        builder = builder.with_skip_signature(true);
    } else if let Some(path) = &settings.options.credentials_file {
        builder = builder.with_service_account_path(path.to_string_lossy());
    } else if let Some(path) = named.or_else(of_user) {
        builder = builder.with_application_credentials(path.to_string_lossy());
    }
    builder.build().map(|store| Arc::new(store) as _).map_err(|error| error.to_string())
}

fn azure(address: &Address, settings: &Settings) -> Result<Arc<dyn Store>, String> {
    let account = settings.options.account.as_deref();
    let account = account.or(settings.variable(&["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"]));
    let Some(account) = account else {
        return Err("no storage account is named: set account, or AZURE_STORAGE_ACCOUNT_NAME".to_owned());
    };
    let endpoint = settings.options.endpoint.as_deref();
    if let Some(endpoint) = endpoint {
        settings.check_endpoint(endpoint)?;
    }
    let host =
        endpoint.map_or_else(|| format!("{account}.blob.core.windows.net"), |url| host_of(url).to_owned());
    let transport = Transport::new(settings, settings.authorities().as_deref(), &host)?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(address.bucket())
        .with_account(account)
        .with_retry(once())
        .with_allow_http(true)
        .with_http_connector(transport);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    if settings.options.anonymous == Some(true) {
        builder = builder.with_skip_signature(true);
    }
    if let Some(key) = settings.variable(&["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"]) {
        builder = builder.with_access_key(key);
    }
    if let Some(token) = settings.variable(&["AZURE_STORAGE_SAS_TOKEN"]) {
        builder = builder.with_config(object_store::azure::AzureConfigKey::SasKey, token);
    }
    if let Some(id) = settings.variable(&["AZURE_CLIENT_ID"]) {
        builder = builder.with_client_id(id);
    }
    if let Some(secret) = settings.variable(&["AZURE_CLIENT_SECRET"]) {
        builder = builder.with_client_secret(secret);
    }
    if let Some(tenant) = settings.variable(&["AZURE_TENANT_ID"]) {
        builder = builder.with_tenant_id(tenant);
    }
    if let Some(file) = settings.variable(&["AZURE_FEDERATED_TOKEN_FILE"]) {
        builder = builder.with_federated_token_file(file);
    }
    builder.build().map(|store| Arc::new(store) as _).map_err(|error| error.to_string())
}
