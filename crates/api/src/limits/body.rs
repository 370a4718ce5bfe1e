//! Bodies, before anybody waits for them.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::StatusCode,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::Class;
use crate::Problem;

/// How much of a body there may be: as much as the client says, or as a route of the class reads.
///
/// # Errors
/// 413. Whoever says so is not even listened to.
pub(crate) fn expected_bytes(body: &Body, class: Class) -> Result<usize, Problem> {
    let bytes_max = class.body_bytes_max();
    let hint = body.size_hint();
    if hint.lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    Ok(hint
        .upper()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .map_or(bytes_max, |bytes| bytes.min(bytes_max)))
}

/// All of a body, if it is not too large, and comes in time.
///
/// # Errors
/// 413, 408, or 400 if it is broken off.
pub(crate) async fn read_body(body: Body, class: Class, within: Duration) -> Result<Bytes, Problem> {
    let bytes_max = class.body_bytes_max();
    match tokio::time::timeout(within, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(bytes_max)),
        Ok(Err(error)) => Err(Problem::bad_request("unreadable_body", error.to_string())),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow_body",
            "the body did not come in time: send less at once",
        )),
    }
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("a body has at most {bytes_max} bytes here: send less at once"),
    )
}
