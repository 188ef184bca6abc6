//! What comes up: a body is taken in, hashed, and compared with the checksums that it came with.

use crate::content::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use bytes::BytesMut;
use futures_util::StreamExt;
use s3s::S3Result;
use s3s::TrailingHeaders;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::crypto::Md5;
use s3s::dto::StreamingBlob;
use s3s::s3_error;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::task::block_in_place;

/// Bodies up to this size stay in memory, even with a directory.
const SMALL: usize = 64 << 10;
/// How much is gathered before it is written to a file.
const WRITE: usize = 1 << 20;

/// The checksums that a body came with, in base64.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) md5: Option<String>,
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
    /// Where those come from that stand behind the body.
    pub(crate) trailers: Option<TrailingHeaders>,
    /// The names of those that will stand there.
    pub(crate) announced: String,
}

impl Expected {
    /// Returns whether there is any.
    pub(crate) fn any(&self) -> bool {
        let headers = [&self.md5, &self.crc32, &self.crc32c, &self.crc64nvme, &self.sha1, &self.sha256];
        headers.iter().any(|value| value.is_some()) || self.announced.contains("x-amz-checksum-")
    }

    fn wants(&self, header: Option<&String>, name: &str) -> bool {
        header.is_some() || self.announced.contains(name)
    }

    fn hasher(&self) -> ChecksumHasher {
        ChecksumHasher {
            crc32: self.wants(self.crc32.as_ref(), "x-amz-checksum-crc32").then(Default::default),
            crc32c: self.wants(self.crc32c.as_ref(), "x-amz-checksum-crc32c").then(Default::default),
            crc64nvme: self.wants(self.crc64nvme.as_ref(), "x-amz-checksum-crc64nvme").then(Default::default),
            sha1: self.wants(self.sha1.as_ref(), "x-amz-checksum-sha1").then(s3s::crypto::Sha1::new),
            sha256: self.wants(self.sha256.as_ref(), "x-amz-checksum-sha256").then(s3s::crypto::Sha256::new),
        }
    }

    /// Adds what stands behind the body, which has been read.
    fn read_trailers(&mut self) {
        let Some(trailers) = self.trailers.as_ref().and_then(TrailingHeaders::take) else { return };
        let value = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        for (slot, name) in [
            (&mut self.crc32, "x-amz-checksum-crc32"),
            (&mut self.crc32c, "x-amz-checksum-crc32c"),
            (&mut self.crc64nvme, "x-amz-checksum-crc64nvme"),
            (&mut self.sha1, "x-amz-checksum-sha1"),
            (&mut self.sha256, "x-amz-checksum-sha256"),
        ] {
            if slot.is_none() {
                *slot = value(name);
            }
        }
    }
}

/// A body that was taken in.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) content: Content,
    pub(crate) digest: blake3::Hash,
}

/// Takes a body in, to memory, or to a file of the directory where it is not small.
pub(crate) async fn take(
    body: Option<StreamingBlob>,
    length: Option<i64>,
    mut expected: Expected,
    dir: Option<&Path>,
) -> S3Result<Taken> {
    let mut digest = blake3::Hasher::new();
    let mut md5 = expected.md5.is_some().then(Md5::new);
    let mut checksums = expected.hasher();
    let mut sink = Sink::new(length, dir);
    let mut body = body;
    while let Some(body) = body.as_mut()
        && let Some(piece) = body.next().await
    {
        let piece = piece.map_err(|error| s3_error!(BadDigest, "the body did not come whole: {error}"))?;
        digest.update(&piece);
        checksums.update(&piece);
        if let Some(md5) = &mut md5 {
            md5.update(&piece);
        }
        sink.push(&piece).map_err(s3s::S3Error::internal_error)?;
    }
    let content = sink.finish().map_err(s3s::S3Error::internal_error)?;
    if length.is_some_and(|length| u64::try_from(length) != Ok(content.len())) {
        return Err(s3_error!(IncompleteBody));
    }
    expected.read_trailers();
    let found = checksums.finalize();
    let md5 = md5.map(|md5| STANDARD.encode(md5.finalize()));
    for (name, expected, found) in [
        ("Content-MD5", expected.md5, md5),
        ("CRC32", expected.crc32, found.checksum_crc32),
        ("CRC32C", expected.crc32c, found.checksum_crc32c),
        ("CRC64NVME", expected.crc64nvme, found.checksum_crc64nvme),
        ("SHA1", expected.sha1, found.checksum_sha1),
        ("SHA256", expected.sha256, found.checksum_sha256),
    ] {
        if expected.is_some() && expected != found {
            return Err(s3_error!(BadDigest, "the {name} of the body is not the one that was given"));
        }
    }
    Ok(Taken { content, digest: digest.finalize() })
}

#[derive(Debug)]
struct Sink {
    memory: BytesMut,
    dir: Option<PathBuf>,
    file: Option<(NamedTempFile, u64)>,
}

impl Sink {
    fn new(length: Option<i64>, dir: Option<&Path>) -> Self {
        let known = length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        let room = if dir.is_some() { known.min(WRITE) } else { known.min(1 << 30) };
        Self { memory: BytesMut::with_capacity(room), dir: dir.map(Path::to_path_buf), file: None }
    }

    fn push(&mut self, piece: &Bytes) -> io::Result<()> {
        self.memory.extend_from_slice(piece);
        if self.memory.len() >= WRITE { self.write_out() } else { Ok(()) }
    }

    /// Writes what is in memory to the file, where there may be one.
    fn write_out(&mut self) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let (file, bytes) = match &mut self.file {
            Some(file) => file,
            none => none.insert((NamedTempFile::new_in(dir)?, 0)),
        };
        block_in_place(|| file.write_all(&self.memory))?;
        *bytes += self.memory.len() as u64;
        self.memory.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Content> {
        if self.file.is_some() || self.memory.len() > SMALL {
            self.write_out()?;
        }
        Ok(match self.file {
            Some((file, bytes)) => Content::File { path: Arc::new(file.into_temp_path()), bytes },
            None => Content::Memory(self.memory.freeze()),
        })
    }
}
