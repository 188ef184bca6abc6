//! ListObjectsV2.

use crate::bucket::Objects;
use crate::calls::values::etag;
use crate::calls::values::size;
use crate::calls::values::timestamp;
use crate::store::Store;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use s3s::S3Request;
use s3s::S3Response;
use s3s::S3Result;
use s3s::dto::CommonPrefix;
use s3s::dto::EncodingType;
use s3s::dto::ListObjectsV2Input;
use s3s::dto::ListObjectsV2Output;
use s3s::dto::Object as Listed;
use s3s::s3_error;
use std::ops::Bound;

/// How many entries a page has at most.
const PAGE: i32 = 1000;
/// What stays as it is in a list that was asked for with encoded names.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// How many of the newest changes a list does not show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stale(pub(crate) usize);

/// Where a page begins.
enum From {
    Key(String),
    /// Behind all keys that begin so.
    Prefix(String),
}

impl From {
    fn read(input: &ListObjectsV2Input) -> S3Result<Self> {
        let Some(token) = &input.continuation_token else {
            return Ok(Self::Key(input.start_after.clone().unwrap_or_default()));
        };
        let bad = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let text = String::from_utf8(bytes).map_err(|_| bad())?;
        match text.split_at_checked(1) {
            Some(("k", key)) => Ok(Self::Key(key.to_owned())),
            Some(("p", prefix)) => Ok(Self::Prefix(prefix.to_owned())),
            _ => Err(bad()),
        }
    }

    fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(match self {
            Self::Key(key) => format!("k{key}"),
            Self::Prefix(prefix) => format!("p{prefix}"),
        })
    }
}

#[derive(Default)]
struct Page {
    objects: Vec<Listed>,
    prefixes: Vec<CommonPrefix>,
    next: Option<From>,
}

/// Gathers a page. An entry is a key, or all keys with the same beginning up to the delimiter.
fn page(objects: &Objects, prefix: &str, delimiter: &str, from: From, most: usize) -> Page {
    let mut page = Page::default();
    let mut last = from;
    loop {
        let (after, skipped) = match &last {
            From::Key(key) if key.as_str() < prefix => (Bound::Included(prefix), None),
            From::Key(key) => (Bound::Excluded(key.as_str()), None),
            From::Prefix(done) => (Bound::Excluded(done.as_str()), Some(done.as_str())),
        };
        let mut keys = objects.range::<str, _>((after, Bound::Unbounded));
        let next = keys.find(|(key, _)| skipped.is_none_or(|done| !key.starts_with(done)));
        let Some((key, object)) = next.filter(|(key, _)| key.starts_with(prefix)) else { return page };
        if page.objects.len() + page.prefixes.len() == most {
            page.next = Some(last);
            return page;
        }
        let rest = &key[prefix.len()..];
        let group = rest.find(delimiter).filter(|_| !delimiter.is_empty());
        if let Some(at) = group {
            let group = key[..prefix.len() + at + delimiter.len()].to_owned();
            page.prefixes.push(CommonPrefix { prefix: Some(group.clone()) });
            last = From::Prefix(group);
        } else {
            page.objects.push(Listed {
                key: Some(key.clone()),
                e_tag: etag(&object.etag),
                last_modified: Some(timestamp(object.modified_ms)),
                size: size(object.content.len()),
                ..Listed::default()
            });
            last = From::Key(key.clone());
        }
    }
}

pub(super) fn list(
    store: &Store,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let stale = request.extensions.get::<Stale>().copied();
    let input = request.input;
    let from = From::read(&input)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().unwrap_or_default();
    let max_keys = input.max_keys.unwrap_or(PAGE).clamp(0, PAGE);
    let most = usize::try_from(max_keys).unwrap_or_default();
    let mut page = store.with(&input.bucket, |bucket| {
        Ok(match stale {
            Some(Stale(changes)) => page(&bucket.objects_before(changes), &prefix, &delimiter, from, most),
            None => page(&bucket.objects, &prefix, &delimiter, from, most),
        })
    })?;
    let next = page.next.take().filter(|_| most > 0);
    let encode = |name: Option<String>| match &input.encoding_type {
        Some(how) if how.as_str() == EncodingType::URL => {
            name.map(|name| utf8_percent_encode(&name, ENCODED).to_string())
        }
        _ => name,
    };
    for object in &mut page.objects {
        object.key = encode(object.key.take());
    }
    for group in &mut page.prefixes {
        group.prefix = encode(group.prefix.take());
    }
    Ok(S3Response::new(ListObjectsV2Output {
        key_count: i32::try_from(page.objects.len() + page.prefixes.len()).ok(),
        name: Some(input.bucket),
        prefix: encode(Some(prefix)),
        delimiter: encode(input.delimiter),
        start_after: encode(input.start_after),
        max_keys: Some(max_keys),
        continuation_token: input.continuation_token,
        is_truncated: Some(next.is_some()),
        next_continuation_token: next.map(|next| next.token()),
        contents: Some(page.objects),
        common_prefixes: Some(page.prefixes),
        encoding_type: input.encoding_type,
        ..ListObjectsV2Output::default()
    }))
}
