//! The second port: log, counters, faults and clock of a server that runs as a program.

use crate::clock::Clock;
use crate::faults::Faults;
use crate::faults::Schedule;
use crate::front::Shared;
use crate::store::Store;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

/// What it works on.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Arc<Store>,
}

impl Control {
    pub(crate) async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Ok(refused(StatusCode::BAD_REQUEST, &error.to_string())),
        };
        Ok(match (&method, path.as_str()) {
            (&Method::GET, "/_log") => json(&self.shared.log.calls()),
            (&Method::GET, "/_counters") => json(&self.shared.log.counters()),
            (_, "/_reset") => {
                self.shared.log.reset();
                self.set_faults(Faults::default());
                json(&())
            }
            (&Method::PUT | &Method::POST, "/_faults") => match serde_json::from_slice(&body) {
                Ok(faults) => {
                    self.set_faults(faults);
                    json(&())
                }
                Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
            },
            (&Method::PUT | &Method::POST, "/_clock") => match set_clock(&self.store.clock, &query) {
                Ok(()) => json(&self.store.clock.now_ms()),
                Err(error) => refused(StatusCode::BAD_REQUEST, &error),
            },
            _ => refused(
                StatusCode::NOT_FOUND,
                "GET /_log, GET /_counters, /_reset, PUT /_faults, PUT /_clock",
            ),
        })
    }

    fn set_faults(&self, faults: Faults) {
        *self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner) = Schedule::new(faults);
    }
}

/// Sets the clock as `advance_ms=N` or `unix_ms=N` says.
fn set_clock(clock: &Clock, query: &str) -> Result<(), String> {
    let (name, value) = query.split_once('=').unwrap_or((query, ""));
    let value: u64 = value.parse().map_err(|error| format!("{query}: {error}"))?;
    match name {
        "advance_ms" => clock.advance(Duration::from_millis(value)),
        "unix_ms" => clock.stop_at(value),
        _ => return Err("advance_ms=N or unix_ms=N".to_owned()),
    }
    Ok(())
}

fn json<T: Serialize>(value: &T) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut answer = Response::new(Full::new(Bytes::from(text)));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer
        }
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn refused(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
    *answer.status_mut() = status;
    answer
}
