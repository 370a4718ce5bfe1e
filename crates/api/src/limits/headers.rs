//! How a caller stands, in headers (draft-ietf-httpapi-ratelimit-headers).

use std::fmt::Write;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};

use super::{Charge, limiter::Standing};
use crate::Problem;

/// What there is to be had.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What there still is.
const REMAINING: HeaderName = HeaderName::from_static("ratelimit");

/// An answer that tells how its caller stands.
pub(crate) fn with_standing(answer: impl IntoResponse, charge: &Charge) -> Response {
    let mut answer = answer.into_response();
    tell(answer.headers_mut(), &charge.standings());
    answer
}

/// One entry for each bucket, as structured fields have lists (RFC 9651).
fn tell(headers: &mut HeaderMap, standings: &[Standing]) {
    let (mut policy, mut remaining) = (String::new(), String::new());
    for (place, standing) in standings.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let (name, rate) = (standing.class.as_str(), standing.rate);
        let _ = write!(policy, "{comma}\"{name}\";q={};w={}", rate.quota(), rate.window_s());
        let _ = write!(remaining, "{comma}\"{name}\";r={};t={}", standing.remaining, standing.full_in_s);
    }
    for (name, value) in [(POLICY, policy), (REMAINING, remaining)] {
        if let Ok(value) = HeaderValue::from_str(&value)
            && !value.is_empty()
        {
            headers.insert(name, value);
        }
    }
    if let Some(wait) = standings.iter().filter_map(|standing| standing.refused_for_s).max() {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait));
    }
}

/// What a caller hears who asked for too much.
pub(super) fn refused(standing: &Standing, wait: i64) -> Problem {
    let (class, rate) = (standing.class.as_str(), standing.rate);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        format!(
            "{class}: at most {} in {} s, and nothing was changed: try again in {wait} s",
            rate.quota(),
            rate.window_s()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Rate};

    #[test]
    fn several_buckets_are_one_list() {
        let standing = |class, remaining, refused_for_s| Standing {
            class,
            rate: Rate::new(10, 60).unwrap(),
            remaining,
            full_in_s: 7,
            refused_for_s,
        };
        let mut headers = HeaderMap::new();
        tell(&mut headers, &[standing(Class::SignIn, 3, None), standing(Class::Login, 0, Some(6))]);
        assert_eq!(headers[POLICY], "\"sign-in\";q=10;w=60, \"login\";q=10;w=60");
        assert_eq!(headers[REMAINING], "\"sign-in\";r=3;t=7, \"login\";r=0;t=7");
        assert_eq!(headers[RETRY_AFTER], "6");
        headers.clear();
        tell(&mut headers, &[]);
        assert!(headers.is_empty());
    }
}
