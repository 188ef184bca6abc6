//! What went wrong with a request, whether to try again, and what to tell people about it.

use std::error::Error;
use std::io;

use icecore::storage::retained;
use object_store::client::HttpError;
use object_store::client::HttpErrorKind;

use crate::address::Address;
use crate::address::Cloud;
use crate::aws::NO_CREDENTIALS;
use crate::refusal::Refusal;
use crate::refusal::shown;
use crate::transport::NoCredentials;
use crate::transport::Unresolved;

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no such object.
    Missing,
    /// There is one already.
    Exists,
    /// The object ends before the range does.
    Ends(u64),
    /// The store said no.
    Refused(Box<Refusal>),
    /// There are no credentials.
    NoCredentials,
    /// The endpoint has no address.
    Unresolved(String),
    /// There is no connection.
    Unreachable(String),
    /// The certificate is not trusted, or TLS failed otherwise.
    Tls(String),
    /// There was no answer in time.
    TimedOut,
    /// The connection or the answer ended too early.
    Cut(String),
    /// Somebody does not want it any more.
    Cancelled,
    /// Anything else.
    Other(String),
}

/// What was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Put,
    Delete,
}

impl Trouble {
    /// Returns whether it may go better next time.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unresolved(_) | Self::Unreachable(_) | Self::TimedOut | Self::Cut(_) => true,
            Self::Refused(refusal) if refusal.is_retention() => false,
            Self::Refused(refusal) => {
                matches!(refusal.status, 408 | 409 | 429 | 500..=506 | 508..)
                    || refusal.code == "RequestTimeout"
            }
            _ => false,
        }
    }

    /// Returns whether the store wants a checksum of what is put: it locks no object without.
    pub(crate) fn wants_checksum(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 400 && refusal.message.contains("Content-MD5"))
    }

    /// Returns whether the store asks for fewer requests.
    pub(crate) fn is_overload(&self) -> bool {
        matches!(self, Self::Refused(refusal) if matches!(refusal.status, 429 | 503))
    }

    /// Returns whether the store itself said so.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Missing | Self::Exists | Self::Ends(_) | Self::Refused(_))
    }

    /// Returns whether the request has not reached the store.
    pub(crate) fn is_before_it(&self) -> bool {
        matches!(self, Self::Unresolved(_) | Self::Unreachable(_))
    }

    /// Returns whether the store said that the range is outside of the object.
    pub(crate) fn is_outside(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 416)
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Missing => io::ErrorKind::NotFound,
            Self::Exists => io::ErrorKind::AlreadyExists,
            Self::Ends(_) => io::ErrorKind::UnexpectedEof,
            Self::NoCredentials => io::ErrorKind::PermissionDenied,
            Self::Unresolved(_) | Self::Unreachable(_) => io::ErrorKind::NotConnected,
            Self::Tls(_) => io::ErrorKind::ConnectionRefused,
            Self::TimedOut => io::ErrorKind::TimedOut,
            Self::Cut(_) => io::ErrorKind::ConnectionReset,
            Self::Cancelled | Self::Other(_) => io::ErrorKind::Other,
            Self::Refused(refusal) => kind_of(refusal),
        }
    }

    /// Returns the error that names the object and says what to do.
    pub(crate) fn at(&self, address: &Address, verb: Verb, name: &str) -> io::Error {
        let why = format!("{}: {}", address.of(name), self.why(address, verb));
        match self {
            Self::Refused(refusal) if refusal.is_retention() => retained(why),
            _ => io::Error::new(self.kind(), why),
        }
    }

    fn why(&self, address: &Address, verb: Verb) -> String {
        match self {
            Self::Missing => "there is no such object".to_owned(),
            Self::Exists => "there is such an object already".to_owned(),
            Self::Ends(bytes) => format!("the object has only {bytes} bytes"),
            Self::NoCredentials => no_credentials(address.cloud()).to_owned(),
            Self::Unresolved(reason) => format!("{reason}; check the endpoint, the region and the network"),
            Self::Unreachable(reason) => {
                format!("cannot connect to the store: {reason}; check the endpoint and the network")
            }
            Self::Tls(reason) => format!(
                "TLS failed: {reason}; if the store has a certificate of your own authority, name its file in ca_file"
            ),
            Self::TimedOut => {
                "the store did not answer in time; if the link is slow, raise request_seconds".to_owned()
            }
            Self::Cut(reason) => format!("the connection broke: {reason}"),
            Self::Cancelled => "the transfer was cancelled".to_owned(),
            Self::Other(reason) => reason.clone(),
            Self::Refused(refusal) => refused(refusal, address, verb),
        }
    }
}

fn kind_of(refusal: &Refusal) -> io::ErrorKind {
    match (refusal.status, refusal.code.as_str()) {
        (..=499, _) if refusal.of_credentials => io::ErrorKind::PermissionDenied,
        (507, _) => io::ErrorKind::StorageFull,
        (_, code) if code.contains("Quota") || code.contains("StorageFull") => io::ErrorKind::StorageFull,
        (429 | 503, _) => io::ErrorKind::ResourceBusy,
        // Not `NotFound`: an object of a bucket that is not there may be there.
        (404, _) => io::ErrorKind::NotADirectory,
        (300..=399, _) | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            io::ErrorKind::InvalidInput
        }
        (401 | 403, _) | (_, "ExpiredToken" | "InvalidToken") => io::ErrorKind::PermissionDenied,
        (408, _) => io::ErrorKind::TimedOut,
        (416, _) => io::ErrorKind::UnexpectedEof,
        (400..=499, _) => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::Other,
    }
}

fn refused(refusal: &Refusal, address: &Address, verb: Verb) -> String {
    let bucket = address.whole_bucket();
    if refusal.of_credentials {
        return format!("cannot get credentials ({refusal}); check the role or account that they are for");
    }
    match (refusal.status, refusal.code.as_str(), &refusal.region) {
        _ if refusal.is_retention() => {
            format!("the store keeps it until its retention ends ({refusal}); try again after that")
        }
        _ if kind_of(refusal) == io::ErrorKind::StorageFull => {
            format!("the store has no space for it ({refusal}); raise the quota, or free space")
        }
        (404, ..) => {
            format!("there is no bucket {bucket} ({refusal}); create it, or check its name and the endpoint")
        }
        (300..=399, _, Some(region)) | (400, "AuthorizationHeaderMalformed", Some(region)) => {
            format!("the bucket is in the region {region}: set region = {region:?} or AWS_REGION")
        }
        (300..=399, ..) | (400, "AuthorizationHeaderMalformed", None) => {
            format!("the bucket is elsewhere ({refusal}): set its region, or its endpoint")
        }
        (_, "RequestTimeTooSkewed" | "RequestExpired", _) => {
            "the clock of this machine is wrong by more than the store accepts: set it, as with \
             `timedatectl set-ntp true`"
                .to_owned()
        }
        (_, "InvalidAccessKeyId", _) => {
            format!("the store does not know the access key ({refusal}); check it and the endpoint")
        }
        (_, "SignatureDoesNotMatch", _) => {
            format!("the secret does not belong to the access key ({refusal}); check both")
        }
        (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => {
            format!("the credentials have expired ({refusal}); get new ones")
        }
        (_, "InvalidObjectState" | "BlobArchived", _) => {
            format!(
                "the object is archived ({refusal}); restore it, and keep the bucket in a class that can be read at once"
            )
        }
        (401, ..) => format!("the store wants other credentials ({refusal})"),
        (403, ..) => {
            let seen = match verb {
                Verb::Get => ". Without the right to list, a store says this of a missing object, too",
                _ => "",
            };
            format!(
                "access denied ({refusal}); the credentials need the right {}{seen}",
                right(address.cloud(), verb)
            )
        }
        (429 | 503, ..) => {
            format!("the store is overloaded ({refusal}); try again later, with fewer machines at once")
        }
        (500.., ..) => format!("the store failed ({refusal}); try again later"),
        _ => format!("the store refused ({refusal})"),
    }
}

/// Returns the right that a request needs, in the words of the cloud.
fn right(cloud: Cloud, verb: Verb) -> &'static str {
    match (cloud, verb) {
        (Cloud::S3, Verb::Get) => "s3:GetObject",
        (Cloud::S3, Verb::List) => "s3:ListBucket",
        (Cloud::S3, Verb::Put) => "s3:PutObject",
        (Cloud::S3, Verb::Delete) => "s3:DeleteObject",
        (Cloud::Google, Verb::Get) => "storage.objects.get",
        (Cloud::Google, Verb::List) => "storage.objects.list",
        (Cloud::Google, Verb::Put) => "storage.objects.create",
        (Cloud::Google, Verb::Delete) => "storage.objects.delete",
        (Cloud::Azure, Verb::Get) => "to read blobs",
        (Cloud::Azure, Verb::List) => "to list blobs",
        (Cloud::Azure, Verb::Put) => "to create and write blobs",
        (Cloud::Azure, Verb::Delete) => "to delete blobs",
    }
}

/// Says what to do without credentials.
fn no_credentials(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::S3 => NO_CREDENTIALS,
        Cloud::Google => {
            "no credentials found: name a service account's file in GOOGLE_APPLICATION_CREDENTIALS, or run \
             `gcloud auth application-default login`; this machine has none of its own"
        }
        Cloud::Azure => {
            "no credentials found: set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_ID with \
             AZURE_CLIENT_SECRET and AZURE_TENANT_ID; this machine has none of its own"
        }
    }
}

impl From<object_store::Error> for Trouble {
    fn from(error: object_store::Error) -> Self {
        let mut kind = None;
        let mut deepest = String::new();
        let mut next: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = next {
            if let Some(refusal) = error.downcast_ref::<Refusal>() {
                return Self::Refused(Box::new(refusal.clone()));
            }
            if error.is::<NoCredentials>() {
                return Self::NoCredentials;
            }
            if let Some(unresolved) = error.downcast_ref::<Unresolved>() {
                return Self::Unresolved(unresolved.to_string());
            }
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Self::Tls(shown(&tls.to_string()));
            }
            kind = kind.or_else(|| error.downcast_ref::<HttpError>().map(HttpError::kind));
            deepest = shown(&error.to_string());
            // What is wrapped in an error of IO is not its source.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match wrapped {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        match (error, kind) {
            (object_store::Error::NotFound { .. }, _) => Self::Missing,
            (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }, _) => {
                Self::Exists
            }
            (_, Some(HttpErrorKind::Connect)) => Self::Unreachable(deepest),
            (_, Some(HttpErrorKind::Timeout)) => Self::TimedOut,
            (_, Some(HttpErrorKind::Request | HttpErrorKind::Interrupted | HttpErrorKind::Decode)) => {
                Self::Cut(deepest)
            }
            (object_store::Error::PermissionDenied { .. }, _) => {
                Self::Refused(Box::new(Refusal { status: 403, ..Refusal::default() }))
            }
            _ => Self::Other(deepest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str) -> Refusal {
        Refusal { status, code: code.to_owned(), ..Refusal::default() }
    }

    #[test]
    fn errors_name_the_object_and_say_what_to_do() {
        use io::ErrorKind as Kind;
        let address: Address = "s3://lab/a".parse().unwrap();
        let elsewhere = Refusal { region: Some("eu-west-1".into()), ..refusal(301, "PermanentRedirect") };
        let malformed =
            Refusal { region: Some("eu-west-1".into()), ..refusal(400, "AuthorizationHeaderMalformed") };
        let role = Refusal { of_credentials: true, ..refusal(403, "AccessDenied") };
        for (refusal, kind, part) in [
            (refusal(404, "NoSuchBucket"), Kind::NotADirectory, "there is no bucket s3://lab ("),
            (refusal(403, "AccessDenied"), Kind::PermissionDenied, "need the right s3:PutObject"),
            (refusal(403, "RequestTimeTooSkewed"), Kind::PermissionDenied, "timedatectl"),
            (refusal(403, "InvalidAccessKeyId"), Kind::PermissionDenied, "does not know the access key"),
            (refusal(403, "SignatureDoesNotMatch"), Kind::PermissionDenied, "the secret does not belong"),
            (refusal(400, "ExpiredToken"), Kind::PermissionDenied, "have expired"),
            (role, Kind::PermissionDenied, "cannot get credentials"),
            (elsewhere, Kind::InvalidInput, "set region = \"eu-west-1\""),
            (malformed, Kind::InvalidInput, "set region = \"eu-west-1\""),
            (refusal(307, ""), Kind::InvalidInput, "or its endpoint"),
            (refusal(403, "QuotaExceeded"), Kind::StorageFull, "raise the quota"),
            (refusal(507, ""), Kind::StorageFull, "raise the quota"),
            (refusal(503, "SlowDown"), Kind::ResourceBusy, "overloaded"),
            (refusal(500, "InternalError"), Kind::Other, "the store failed"),
            (refusal(416, ""), Kind::UnexpectedEof, "refused"),
            (refusal(403, "InvalidObjectState"), Kind::PermissionDenied, "archived"),
            (refusal(409, "BlobImmutableDueToPolicy"), Kind::PermissionDenied, "until its retention ends"),
        ] {
            let error = Trouble::Refused(Box::new(refusal)).at(&address, Verb::Put, "packs/1");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().starts_with("s3://lab/a/packs/1: "), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        for (trouble, kind, part) in [
            (Trouble::Missing, Kind::NotFound, "no such object"),
            (Trouble::NoCredentials, Kind::PermissionDenied, "AWS_ACCESS_KEY_ID"),
            (Trouble::Unresolved("the name x".into()), Kind::NotConnected, "check the endpoint"),
            (Trouble::Tls("unknown issuer".into()), Kind::ConnectionRefused, "ca_file"),
            (Trouble::TimedOut, Kind::TimedOut, "in time"),
            (Trouble::Ends(5), Kind::UnexpectedEof, "only 5 bytes"),
        ] {
            let error = trouble.at(&address, Verb::Get, "");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(
                error.to_string().starts_with("s3://lab/a: ") && error.to_string().contains(part),
                "{error}"
            );
        }
    }

    #[test]
    fn the_reason_is_found_below_what_wraps_it() {
        let wrap = |source: Box<dyn Error + Send + Sync>| {
            let error = HttpError::new_boxed(HttpErrorKind::Connect, source);
            Trouble::from(object_store::Error::Generic { store: "x", source: Box::new(error) })
        };
        let tls = rustls::Error::NoCertificatesPresented;
        assert!(matches!(wrap(Box::new(io::Error::new(io::ErrorKind::InvalidData, tls))), Trouble::Tls(_)));
        let unresolved = Unresolved { host: "lab".into(), reason: "no".into() };
        let found = wrap(Box::new(io::Error::other(unresolved)));
        assert_eq!(found, Trouble::Unresolved("the name lab cannot be resolved: no".into()));
        assert_eq!(wrap(Box::new(NoCredentials)), Trouble::NoCredentials);
        assert_eq!(wrap(Box::new(refusal(500, "x"))), Trouble::Refused(Box::new(refusal(500, "x"))));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(wrap(Box::new(refused)), Trouble::Unreachable("connection refused".into()));
    }
}
