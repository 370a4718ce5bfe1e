//! Bodies, paths and pages; what is wrong with them becomes a [`Problem`].

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use crate::Problem;

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "send the body as content-type: application/json",
            )),
            Err(JsonRejection::JsonDataError(error)) => {
                Err(Problem::unprocessable("invalid_body", error.body_text()))
            }
            Err(JsonRejection::JsonSyntaxError(error)) => {
                Err(Problem::bad_request("malformed_json", error.body_text()))
            }
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", error.body_text()))
            }
            Err(error) => Err(Problem::bad_request("unreadable_body", error.body_text())),
        }
    }
}

/// Something parsed from the path, such as an id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            // An id that cannot be is the id of nothing.
            Err(_) => Err(Problem::not_found("thing: the id in the path is malformed")),
        }
    }
}

/// A query string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(error) => Err(Problem::bad_request("invalid_query", error.body_text())),
        }
    }
}

/// The page size without a limit, and the largest one.
const LIMIT_DEFAULT: u16 = 50;
const LIMIT_MAX: u16 = 500;

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Where the page before ended, as its `next` said.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    /// How many items, 1 to 500; 50 without.
    #[serde(default)]
    pub(crate) limit: Option<u16>,
}

impl Paging {
    /// The limit, and what the cursor points behind.
    pub(crate) fn parse<T: std::str::FromStr>(
        cursor: Option<&str>,
        limit: Option<u16>,
    ) -> Result<(Option<T>, i64), Problem> {
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::bad_request("invalid_limit", format!("limit is from 1 to {LIMIT_MAX}")));
        }
        let cursor = cursor.map(|cursor| cursor.parse().map_err(|_| invalid_cursor())).transpose()?;
        Ok((cursor, i64::from(limit)))
    }
}

fn invalid_cursor() -> Problem {
    Problem::bad_request("invalid_cursor", "use the `next` of the page before, unchanged")
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; null on the last one.
    pub(crate) next: Option<String>,
}

impl<T> Page<T> {
    /// A page of `items` that were read with `limit`; `cursor` tells an item's cursor.
    pub(crate) fn new(items: Vec<T>, limit: i64, cursor: impl Fn(&T) -> String) -> Self {
        let full = i64::try_from(items.len()).is_ok_and(|found| found >= limit);
        let next = items.last().filter(|_| full).map(cursor);
        Self { items, next }
    }
}
