//! The rate limit of tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::http::auth::TokenId;
use crate::service::App;
use crate::words::error::ApiError;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// The limit reported when none is configured.
const USUAL: u64 = 5000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The request counts of all tokens. A token costs a few bytes, and only existing tokens are
/// counted.
#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<i64, [Window; 2]>>);

/// The requests in a period of time.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since_ms: i64,
    count: u64,
}

/// The rate that a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    limit: u64,
    remaining: u64,
    /// The end of the period, in seconds since 1970.
    reset: i64,
    /// The seconds until a request is allowed, or none if this one is.
    retry_after: Option<u64>,
}

impl Window {
    /// Starts a new window if this one is over, or if the clock was set back.
    fn at(self, now_ms: i64, length_ms: i64) -> Self {
        let age = now_ms.saturating_sub(self.since_ms);
        if (0..length_ms).contains(&age) { self } else { Self { since_ms: now_ms, count: 0 } }
    }
}

impl Rates {
    /// Counts a request, if it is allowed.
    fn count(&self, token: i64, limits: [u64; 2], now_ms: i64) -> Rate {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = all.entry(token).or_default();
        let lengths = [HOUR_MS, MINUTE_MS];
        for (window, length) in windows.iter_mut().zip(lengths) {
            *window = window.at(now_ms, length);
        }
        let ends = |index: usize| windows[index].since_ms.saturating_add(lengths[index]);
        let full = (0..2).filter(|&index| limits[index] > 0 && windows[index].count >= limits[index]);
        let wait_ms = full.map(|index| ends(index) - now_ms).max();
        // The client is told the hourly rate, as by DigitalOcean, or the rate per minute if that is
        // the only limit.
        let told = if limits[0] == 0 { 1 } else { 0 };
        let reset = ends(told).div_euclid(1000);
        if wait_ms.is_none() {
            windows.iter_mut().for_each(|window| window.count += 1);
        }
        Rate {
            limit: limits[told],
            remaining: limits[told].saturating_sub(windows[told].count),
            reset,
            retry_after: wait_ms.map(|wait| u64::try_from(wait).unwrap_or(0).div_ceil(1000).max(1)),
        }
    }
}

/// Rejects a request whose token was used too often.
pub(super) async fn limit(
    State((app, rates)): State<(App, Arc<Rates>)>,
    request: Request,
    next: Next,
) -> Response {
    let limits = [app.config.requests.per_hour, app.config.requests.per_minute];
    let token = request.extensions().get::<TokenId>().copied();
    let Some(TokenId(token)) = token.filter(|_| limits != [0, 0]) else { return next.run(request).await };
    let rate = rates.count(token, limits, app.clock.now_unix_ms());
    let mut answer = match rate.retry_after {
        None => next.run(request).await,
        Some(seconds) => ApiError::too_many("API rate limit exceeded.", seconds).into_response(),
    };
    tell(answer.headers_mut(), rate);
    answer
}

fn tell(headers: &mut HeaderMap, rate: Rate) {
    headers.insert(LIMIT, rate.limit.into());
    headers.insert(REMAINING, rate.remaining.into());
    headers.insert(RESET, rate.reset.into());
}

/// Adds the usual headers when there is no limit, for clients that look for them.
pub(super) fn tell_usual(headers: &mut HeaderMap, now_unix_ms: i64) {
    if !headers.contains_key(LIMIT) {
        let reset = now_unix_ms.saturating_add(HOUR_MS).div_euclid(1000);
        tell(headers, Rate { limit: USUAL, remaining: USUAL, reset, retry_after: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_600_000_000_000;

    #[test]
    fn a_token_has_an_hour_and_a_minute() {
        let rates = Rates::default();
        let count = |token, after_ms| {
            let rate = rates.count(token, [3, 2], T0 + after_ms);
            (rate.remaining, rate.retry_after)
        };
        assert_eq!(count(1, 0), (2, None));
        assert_eq!(count(1, 10_000), (1, None));
        // The minute's limit is reached, and rejected requests do not count.
        assert_eq!(count(1, 20_500), (1, Some(40)));
        assert_eq!(count(2, 20_500), (2, None), "another token has its own");
        assert_eq!(count(1, 60_000), (0, None));
        // The hour's limit is reached.
        assert_eq!(count(1, 120_000), (0, Some(3480)));
        assert_eq!(count(1, HOUR_MS), (2, None));
        let rate = rates.count(3, [3, 2], T0);
        assert_eq!((rate.limit, rate.reset), (3, (T0 + HOUR_MS) / 1000));
    }

    #[test]
    fn a_minute_alone_is_told_and_a_clock_that_is_set_back_begins_anew() {
        let rates = Rates::default();
        let rate = rates.count(1, [0, 1], T0);
        assert_eq!((rate.limit, rate.remaining, rate.reset), (1, 0, (T0 + MINUTE_MS) / 1000));
        assert!(rates.count(1, [0, 1], T0 + 1).retry_after.is_some());
        assert!(rates.count(1, [0, 1], T0 - HOUR_MS).retry_after.is_none());
    }
}
