//! A store in memory that fails as it is told, for tests.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use icecore::storage::MemoryStorage;
use object_store::CopyOptions;
use object_store::Error;
use object_store::GetOptions;
use object_store::GetResult;
use object_store::GetResultPayload;
use object_store::ListResult;
use object_store::MultipartUpload;
use object_store::ObjectMeta;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::PutResult;
use object_store::Result;
use object_store::client::HttpError;
use object_store::client::HttpErrorKind;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::multipart::PartId;
use object_store::path::Path;

use crate::attempts::Pace;
use crate::bucket::Bucket;
use crate::clouds::Stores;
use crate::refusal::Refusal;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// This status and code, and nothing is done.
    Status(u16, &'static str),
    /// This status and code, and yet it is done.
    StatusAfter(u16, &'static str),
    /// The connection is reset, and yet it is done.
    ResetAfter,
    /// No answer, ever, and nothing is done.
    Silence,
    /// No answer, ever, and yet it is done.
    SilenceAfter,
    /// The body of an answer ends early, and the connection breaks.
    Truncated,
    /// The body of an answer is this much shorter than it says, and nobody minds.
    Shorter(u64),
    /// Somebody else makes the object before, with these bytes; the answer is this status.
    Forestalled(&'static [u8], u16),
}

/// The calls of a store, in order: `put a/b`, `get a/b`, and so on.
#[derive(Default)]
struct State {
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    calls: Vec<String>,
    ignores_create: bool,
}

/// The store. Clones share everything.
#[derive(Clone, Default)]
pub(crate) struct Double {
    pub(crate) inner: Arc<InMemory>,
    state: Arc<Mutex<State>>,
}

impl Double {
    /// The next calls of a kind (`put`, `get`, `list`, `delete`, `part`, `complete`) go wrong so.
    pub(crate) fn fail(&self, kind: &'static str, faults: &[Fault]) {
        self.state().faults.entry(kind).or_default().extend(faults);
    }

    /// From now on, create means overwrite.
    pub(crate) fn ignore_create(&self) {
        self.state().ignores_create = true;
    }

    /// Returns the calls until now, and forgets them.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    /// Returns a bucket of it that tries again at once. An answer is waited for this long.
    pub(crate) fn bucket(&self, wait: Duration) -> Bucket {
        self.bucket_with(wait, &MemoryStorage::new())
    }

    pub(crate) fn bucket_with(&self, wait: Duration, spool: &MemoryStorage) -> Bucket {
        let pause = Duration::from_micros(1);
        let pace = Pace { request: wait, whole: Duration::MAX, pause, attempts: 4, first_attempts: 4 };
        let address = "s3://lab/a".parse().unwrap();
        let stores = Stores { store: Arc::new(self.clone()), with_checksums: None };
        Bucket::over(stores, &address, pace, Arc::new(spool.clone())).unwrap()
    }

    pub(crate) async fn content(&self, key: &str) -> Option<Bytes> {
        self.inner.get(&Path::from(key)).await.ok()?.bytes().await.ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn next(&self, kind: &'static str, path: &str) -> Fault {
        let mut state = self.state();
        state.calls.push(format!("{kind} {path}"));
        state.faults.get_mut(kind).and_then(VecDeque::pop_front).unwrap_or(Fault::None)
    }

    /// Makes a call, or does not, and answers as it is told.
    async fn call<T>(
        &self,
        kind: &'static str,
        path: &Path,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match self.next(kind, path.as_ref()) {
            Fault::None | Fault::Truncated | Fault::Shorter(_) => call.await,
            Fault::Status(status, code) => Err(refused(status, code)),
            Fault::StatusAfter(status, code) => {
                call.await?;
                Err(refused(status, code))
            }
            Fault::ResetAfter => {
                call.await?;
                Err(reset())
            }
            Fault::Silence => std::future::pending().await,
            Fault::SilenceAfter => {
                call.await?;
                std::future::pending().await
            }
            Fault::Forestalled(bytes, status) => {
                self.inner.put(path, bytes.into()).await?;
                Err(refused(status, ""))
            }
        }
    }
}

fn generic(error: HttpError) -> Error {
    Error::Generic { store: "double", source: Box::new(error) }
}

pub(crate) fn refused(status: u16, code: &str) -> Error {
    let refusal = Refusal { status, code: code.to_owned(), ..Refusal::default() };
    generic(HttpError::new(HttpErrorKind::Unknown, refusal))
}

fn reset() -> Error {
    generic(HttpError::new(
        HttpErrorKind::Interrupted,
        std::io::Error::from(std::io::ErrorKind::ConnectionReset),
    ))
}

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Double")
    }
}

impl fmt::Display for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Double")
    }
}

#[async_trait]
impl ObjectStore for Double {
    async fn put_opts(&self, path: &Path, body: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        if self.state().ignores_create {
            options.mode = PutMode::Overwrite;
        }
        self.call("put", path, self.inner.put_opts(path, body, options)).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("parts are put one by one")
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.call("head", path, self.inner.get_opts(path, options)).await;
        }
        let fault = self.state().faults.get("get").and_then(|faults| faults.front().copied());
        let answer = self.call("get", path, self.inner.get_opts(path, options)).await?;
        let (cut, broken) = match fault {
            Some(Fault::Truncated) => ((answer.range.end - answer.range.start).div_ceil(2), true),
            Some(Fault::Shorter(bytes)) => (bytes, false),
            _ => return Ok(answer),
        };
        let (meta, range) = (answer.meta.clone(), answer.range.clone());
        let (attributes, extensions) = (answer.attributes.clone(), answer.extensions.clone());
        let bytes = answer.bytes().await?;
        let kept = bytes.slice(..bytes.len() - usize::try_from(cut).unwrap());
        let items: Vec<_> = [Ok(kept)].into_iter().chain(broken.then(|| Err(reset()))).collect();
        let payload = GetResultPayload::Stream(Box::pin(futures_util::stream::iter(items)));
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        paths
            .then(move |path| {
                let this = this.clone();
                async move {
                    let path = path?;
                    this.call("delete", &path, this.inner.delete(&path)).await?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let fault = self.next("list", prefix.map(AsRef::as_ref).unwrap_or_default());
        list(fault, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let fault = self.next("list", &format!("after {offset}"));
        list(fault, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.call("list", &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("nothing is copied")
    }
}

/// Lists, or fails: after the first name for what is called truncated.
fn list(
    fault: Fault,
    names: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    match fault {
        Fault::None => names,
        Fault::Truncated => names.take(1).chain(futures_util::stream::iter([Err(reset())])).boxed(),
        Fault::Status(status, code) => futures_util::stream::iter([Err(refused(status, code))]).boxed(),
        other => unreachable!("{other:?} of a list"),
    }
}

#[async_trait]
impl MultipartStore for Double {
    async fn create_multipart(&self, path: &Path) -> Result<String> {
        self.call("create", path, self.inner.create_multipart(path)).await
    }

    async fn put_part(&self, path: &Path, id: &String, number: usize, body: PutPayload) -> Result<PartId> {
        self.call("part", path, self.inner.put_part(path, id, number, body)).await
    }

    async fn complete_multipart(&self, path: &Path, id: &String, parts: Vec<PartId>) -> Result<PutResult> {
        self.call("complete", path, self.inner.complete_multipart(path, id, parts)).await
    }

    async fn abort_multipart(&self, path: &Path, id: &String) -> Result<()> {
        self.call("abort", path, self.inner.abort_multipart(path, id)).await
    }
}
