//! Who may do what.

use crate::rights::Credential;
use crate::rights::Rights;
use s3s::S3Result;
use s3s::access::S3Access;
use s3s::access::S3AccessContext;
use s3s::auth::S3Auth;
use s3s::auth::SecretKey;
use s3s::s3_error;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The credentials of a server, by access key.
#[derive(Debug, Clone)]
pub(crate) struct Credentials(Arc<BTreeMap<String, Credential>>);

impl Credentials {
    pub(crate) fn new(credentials: &[Credential]) -> Self {
        let by_access = credentials.iter().map(|credential| (credential.access.clone(), credential.clone()));
        Self(Arc::new(by_access.collect()))
    }

    /// Returns the rights of whoever signed a request.
    pub(crate) fn rights(&self, signer: Option<&s3s::auth::Credentials>) -> Rights {
        signer
            .and_then(|signer| self.0.get(&signer.access_key))
            .map_or(Rights::NONE, |credential| credential.rights)
    }
}

#[async_trait::async_trait]
impl S3Auth for Credentials {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let credential = self.0.get(access_key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(SecretKey::from(credential.secret.as_str()))
    }
}

#[async_trait::async_trait]
impl S3Access for Credentials {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let rights = self.rights(cx.credentials());
        // A policy of AWS can ask for this header, so that a right to create is none to overwrite.
        let creates = cx.headers().get("if-none-match").is_some_and(|value| value == "*");
        let writes = if creates { rights.put_new } else { rights.overwrite };
        let allowed = match cx.s3_op().name() {
            "GetObject" | "HeadObject" => rights.get,
            "ListBuckets" | "ListObjects" | "ListObjectsV2" | "HeadBucket" | "GetBucketLocation" => {
                rights.list
            }
            "PutObject" | "CompleteMultipartUpload" => writes,
            "CopyObject" => writes && rights.get,
            "CreateMultipartUpload" | "UploadPart" | "AbortMultipartUpload" => {
                rights.put_new || rights.overwrite
            }
            "UploadPartCopy" => rights.get && (rights.put_new || rights.overwrite),
            "DeleteObject" => rights.delete,
            // The answer says which keys were denied.
            "DeleteObjects" => cx.credentials().is_some(),
            _ => rights == Rights::ALL,
        };
        if allowed { Ok(()) } else { Err(s3_error!(AccessDenied)) }
    }
}
