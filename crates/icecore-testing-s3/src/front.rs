//! What stands between a connection and the operations: log, faults and region.

use crate::bodies::Answer;
use crate::bodies::AnyError;
use crate::bodies::Question;
use crate::bodies::read_away;
use crate::calls::listing::Stale;
use crate::faults::Fault;
use crate::faults::Schedule;
use crate::log::Entry;
use crate::log::Log;
use crate::target::call_of;
use crate::target::signer;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::header::CONTENT_TYPE;
use hyper::header::EXPECT;
use hyper::header::HeaderValue;
use s3s::service::S3Service;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the connections share.
pub(crate) struct Shared {
    pub(crate) service: S3Service,
    pub(crate) log: Arc<Log>,
    pub(crate) schedule: Mutex<Schedule>,
    pub(crate) region: Option<String>,
}

/// One connection's side of it.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: u64,
    /// Resets the connection once it is set.
    pub(crate) cut: Arc<AtomicBool>,
}

impl Front {
    /// Answers a request. An error ends the connection.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Result<Response<Answer>, AnyError> {
        let call = call_of(&request, self.connection);
        let fault = {
            let mut schedule = self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner);
            schedule.next(call.operation, &call.key)
        };
        let entry = self.shared.log.begin(call);
        entry.update(|call| call.fault = fault.as_ref().map(name));
        let is_head = request.method() == Method::HEAD;
        if let Some(fault) = &fault
            && is_before(fault)
        {
            if matches!(fault, Fault::Error { .. }) && !waits(&request) {
                read_away(request.into_body()).await;
            }
            return self.fail(fault, entry, is_head).await;
        }
        let answer = self.carry_out(request, &fault, &entry).await?;
        let Some(fault) = fault else { return Ok(seen(answer, &entry)) };
        match fault {
            Fault::Error { .. } | Fault::Reset { .. } | Fault::Hang { .. } => {
                self.fail(&fault, entry, is_head).await
            }
            Fault::StaleList { .. } => Ok(seen(answer, &entry)),
            Fault::Slow { millis } => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(seen(answer, &entry))
            }
            Fault::Truncate { bytes } => Ok(seen(with_length(answer, 0).map(|body| body.cut(bytes)), &entry)),
            Fault::Length { add } => {
                Ok(seen(with_length(answer, add).map(Answer::with_other_length), &entry))
            }
        }
    }

    /// Lets the operation happen.
    async fn carry_out(
        &self,
        request: Request<Incoming>,
        fault: &Option<Fault>,
        entry: &Entry,
    ) -> Result<Response<Answer>, AnyError> {
        let is_head = request.method() == Method::HEAD;
        if let (Some(right), Some((_, region))) = (&self.shared.region, signer(&request))
            && region != right
        {
            let message = format!("the region '{region}' is wrong; expecting '{right}'");
            let more = format!("<Region>{right}</Region>");
            return Ok(error("AuthorizationHeaderMalformed", 400, (&message, &more), entry, is_head));
        }
        let waits = waits(&request);
        let (head, body) = request.into_parts();
        let (body, mut rest) = Question::new(body, entry.clone());
        let mut request = Request::from_parts(head, s3s::Body::http_body(body));
        if let Some(Fault::StaleList { changes }) = fault {
            request.extensions_mut().insert(Stale(*changes));
        }
        let answer = self.shared.service.call(request).await.map_err(AnyError::from)?;
        if !waits && let Ok(rest) = rest.try_recv() {
            read_away(rest).await;
        }
        Ok(answer.map(|body| Answer::new(body, entry.clone())))
    }

    /// Lets a request fail.
    async fn fail(&self, fault: &Fault, entry: Entry, is_head: bool) -> Result<Response<Answer>, AnyError> {
        match fault {
            Fault::Error { code, status, .. } => {
                let answer = error(code, *status, ("a fault of the test", ""), &entry, is_head);
                Ok(seen(answer, &entry))
            }
            // The client gives up, and with its connection goes this.
            Fault::Hang { .. } => pending().await,
            _ => {
                self.cut.store(true, Ordering::Release);
                Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
            }
        }
    }
}

/// Returns whether the client sends no body before it is told to.
fn waits<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(EXPECT)
}

/// Notes the status, before the client can see it.
fn seen(answer: Response<Answer>, entry: &Entry) -> Response<Answer> {
    entry.update(|call| call.status = Some(answer.status().as_u16()));
    answer
}

/// Returns whether a fault keeps the request from being carried out.
fn is_before(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Error { after: false, .. } | Fault::Reset { after: false } | Fault::Hang { after: false }
    )
}

/// Returns a fault's name for the log.
fn name(fault: &Fault) -> String {
    let after = |after: &bool| if *after { " after" } else { "" };
    match fault {
        Fault::Error { code, status, after: late } => format!("{status} {code}{}", after(late)),
        Fault::Reset { after: late } => format!("reset{}", after(late)),
        Fault::Hang { after: late } => format!("hang{}", after(late)),
        Fault::Truncate { bytes } => format!("truncate {bytes}"),
        Fault::Length { add } => format!("length {add:+}"),
        Fault::Slow { millis } => format!("slow {millis}"),
        Fault::StaleList { changes } => format!("stale list {changes}"),
    }
}

/// Puts a length in the head that differs from the body's.
fn with_length(mut answer: Response<Answer>, add: i64) -> Response<Answer> {
    let in_head =
        answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(bytes) = in_head.or(answer.body().size_hint().exact()) {
        let bytes = bytes.saturating_add_signed(add);
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    answer
}

/// Returns an error as S3 words it.
fn error(
    code: &str,
    status: u16,
    (message, more): (&str, &str),
    entry: &Entry,
    is_head: bool,
) -> Response<Answer> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    );
    let body = if is_head { s3s::Body::empty() } else { s3s::Body::from(text) };
    let mut answer = Response::new(Answer::new(body, entry.clone()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}
