//! What a request asks for, told from its head: for the log and for the faults, before anything is
//! checked or read.

use crate::log::Call;
use hyper::Method;
use hyper::Request;
use percent_encoding::percent_decode_str;

fn header<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Returns access key and region of a signature (`Credential=KEY/DATE/REGION/s3/aws4_request`).
pub(crate) fn signer<B>(request: &Request<B>) -> Option<(&str, &str)> {
    let scope = header(request, "authorization")?.split_once("Credential=")?.1;
    let mut fields = scope.split([',', ' ']).next()?.rsplitn(5, '/');
    let (_, _, region, _) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some((fields.next()?, region))
}

/// Returns the entry of a request in the log.
pub(crate) fn call_of<B>(request: &Request<B>, connection: u64) -> Call {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    let path = path.strip_prefix('/').unwrap_or(&path);
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let query: Vec<(String, String)> =
        request.uri().query().unwrap_or_default().split('&').map(pair).collect();
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let has = |name: &str| value(name).is_some();
    let is_copy = request.headers().contains_key("x-amz-copy-source");
    let in_object = !key.is_empty();
    let operation = match (request.method(), bucket.is_empty(), in_object) {
        (&Method::GET, true, false) => "ListBuckets",
        (&Method::GET, false, true) => "GetObject",
        (&Method::GET, false, false) if has("location") => "GetBucketLocation",
        (&Method::GET, false, false) if has("list-type") => "ListObjectsV2",
        (&Method::HEAD, false, true) => "HeadObject",
        (&Method::HEAD, false, false) => "HeadBucket",
        (&Method::PUT, false, false) => "CreateBucket",
        (&Method::PUT, false, true) if has("partNumber") && is_copy => "UploadPartCopy",
        (&Method::PUT, false, true) if has("partNumber") => "UploadPart",
        (&Method::PUT, false, true) if is_copy => "CopyObject",
        (&Method::PUT, false, true) => "PutObject",
        (&Method::POST, false, false) if has("delete") => "DeleteObjects",
        (&Method::POST, false, true) if has("uploads") => "CreateMultipartUpload",
        (&Method::POST, false, true) if has("uploadId") => "CompleteMultipartUpload",
        (&Method::DELETE, false, true) if has("uploadId") => "AbortMultipartUpload",
        (&Method::DELETE, false, true) => "DeleteObject",
        _ => "Unknown",
    };
    let key = if in_object { key.to_owned() } else { value("prefix").unwrap_or_default() };
    Call {
        connection,
        access: signer(request).map_or_else(String::new, |(access, _)| access.to_owned()),
        operation,
        method: request.method().to_string(),
        bucket: bucket.to_owned(),
        key,
        range: header(request, "range").unwrap_or_default().to_owned(),
        ..Call::default()
    }
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let plain = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    (plain(name), plain(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, path: &str) -> Call {
        call_of(&Request::builder().method(method).uri(path).body(()).unwrap(), 3)
    }

    #[test]
    fn operations_are_told_from_method_path_and_query() {
        for (method, path, operation, bucket, key) in [
            ("GET", "/", "ListBuckets", "", ""),
            ("GET", "/b?list-type=2&prefix=packs%2Fa+b", "ListObjectsV2", "b", "packs/a b"),
            ("GET", "/b/packs/a%20b", "GetObject", "b", "packs/a b"),
            ("PUT", "/b/k", "PutObject", "b", "k"),
            ("PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart", "b", "k"),
            ("POST", "/b/k?uploads", "CreateMultipartUpload", "b", "k"),
            ("POST", "/b?delete", "DeleteObjects", "b", ""),
            ("DELETE", "/b/k?uploadId=u", "AbortMultipartUpload", "b", "k"),
            ("PATCH", "/b/k", "Unknown", "b", "k"),
        ] {
            let call = call(method, path);
            assert_eq!(
                (call.operation, &*call.bucket, &*call.key),
                (operation, bucket, key),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn a_signature_names_key_and_region() {
        let value =
            "AWS4-HMAC-SHA256 Credential=A/K/20260101/eu-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let request = Request::builder().header("authorization", value).body(()).unwrap();
        assert_eq!(signer(&request), Some(("A/K", "eu-1")));
    }
}
