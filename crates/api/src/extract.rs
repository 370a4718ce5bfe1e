//! Bodies, paths and pages; what is wrong with them becomes a [`Problem`].

use std::ops::RangeInclusive;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE, request::Parts},
};
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Number, Value};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Problem,
    pointer::{named, pointer},
    shape::{Lists, check_shape},
};

/// What a route reads from a body.
pub(crate) trait RequestBody: DeserializeOwned {
    /// Where it may hold lists.
    const LISTS: Lists = Lists::NONE;
}

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: RequestBody> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (_, bytes) = read_body(request, state).await?;
        Ok(Self(parse_json(&bytes)?))
    }
}

/// The head and the bytes of a request that says that it is JSON.
pub(crate) async fn read_body<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<(Parts, Bytes), Problem> {
    require_json(request.headers())?;
    read_bytes(request, state).await
}

/// The head and the bytes of a request that says that it is JSON, unless it has no body.
pub(crate) async fn read_body_if_any<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<(Parts, Option<Bytes>), Problem> {
    let (parts, bytes) = read_bytes(request, state).await?;
    if bytes.is_empty() {
        return Ok((parts, None));
    }
    require_json(&parts.headers)?;
    Ok((parts, Some(bytes)))
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        return Ok(());
    }
    let detail = "send the body as content-type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail))
}

async fn read_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
    match bytes {
        Ok(bytes) => Ok((parts, bytes)),
        Err(error) => Err(Problem::bad_request("unreadable_body", error.body_text())),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// What the bytes say.
pub(crate) fn parse_json<T: RequestBody>(bytes: &[u8]) -> Result<T, Problem> {
    check_shape(bytes, T::LISTS).map_err(refused)?;
    read(bytes).map_err(refused)
}

/// What JSON says. A number like `5.0` is a whole one, as JSON Schema has it, which serde does not take for one.
///
/// # Errors
/// If it says something else; with the path to it.
pub(crate) fn read<T: DeserializeOwned>(
    json: &[u8],
) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    serde_path_to_error::deserialize(&mut deserializer).or_else(|refused| {
        // Only then, so that what is written as usual is read once.
        match serde_json::from_slice(json).map(respell) {
            Ok((value, true)) => serde_path_to_error::deserialize(value),
            _ => Err(refused),
        }
    })
}

/// The same with every whole number written as one, and whether one was not.
fn respell(mut value: Value) -> (Value, bool) {
    let changed = respell_in(&mut value);
    (value, changed)
}

fn respell_in(value: &mut Value) -> bool {
    match value {
        Value::Number(number) => match whole(number) {
            Some(whole) => {
                *number = whole;
                true
            }
            None => false,
        },
        // All of them, whether or not one was changed before.
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| respell_in(item) | changed),
        Value::Object(fields) => {
            fields.values_mut().fold(false, |changed, field| respell_in(field) | changed)
        }
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// The whole number that is written as a float.
fn whole(number: &Number) -> Option<Number> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    // Beyond that a float does not tell a number from the next one.
    let is_whole = float.fract() == 0.0 && float.abs() <= FLOAT_WHOLE_MAX;
    is_whole.then(|| format!("{float:.0}").parse().ok())?
}

/// The largest whole number that a float tells from its neighbours: 2^53 - 1.
const FLOAT_WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

fn refused(error: serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let why = error.inner().to_string();
    if !error.inner().is_data() {
        return Problem::bad_request("malformed_json", format!("the body is no JSON: {why}"));
    }
    Problem::unprocessable("invalid_body", error.to_string()).at(pointer(error.path(), &why))
}

/// Whether a part of the address holds a NUL, which no name has and PostgreSQL cannot store.
fn holds_nul(text: &str) -> bool {
    text.contains("%00") || text.contains('\0')
}

/// Something parsed from the path, such as an id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if holds_nul(parts.uri.path()) {
            return Err(Problem::not_found("thing: the id in the path is malformed"));
        }
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
        if parts.uri.query().is_some_and(holds_nul) {
            return Err(Problem::bad_request("invalid_query", "a query holds no NUL"));
        }
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => {
                require_times(parts.uri.query().unwrap_or_default())?;
                Ok(Self(query))
            }
            Err(error) => {
                let text = error.body_text();
                let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                let parameter = named(reason).or_else(|| Some(reason.split_once(": ")?.0));
                let problem = Problem::bad_request("invalid_query", reason);
                Err(match parameter {
                    Some(parameter) => problem.of_parameter(parameter),
                    None => problem,
                })
            }
        }
    }
}

/// The years that RFC 3339 can write.
const YEARS: RangeInclusive<i32> = 0..=9999;

/// Refuses a moment that PostgreSQL cannot store, and that adding a day to would be none.
fn require_times(query: &str) -> Result<(), Problem> {
    let is_far = |text: &str| text.parse::<DateTime<Utc>>().is_ok_and(|time| !YEARS.contains(&time.year()));
    match url::form_urlencoded::parse(query.as_bytes()).find(|(_, value)| is_far(value)) {
        None => Ok(()),
        Some((name, _)) => {
            let detail = format!("{name}: a moment is in the years 0000 to 9999");
            Err(Problem::bad_request("invalid_query", detail).of_parameter(&name))
        }
    }
}

/// The page size without a limit, and the largest one.
const LIMIT_DEFAULT: u16 = 50;
pub(crate) const LIMIT_MAX: u16 = 500;

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
            let problem = Problem::bad_request("invalid_limit", format!("limit is from 1 to {LIMIT_MAX}"));
            return Err(problem.of_parameter("limit"));
        }
        let cursor = cursor.map(|cursor| cursor.parse().map_err(|_| invalid_cursor())).transpose()?;
        Ok((cursor, i64::from(limit)))
    }
}

/// A moment of the past.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Moment {
    /// As it was at this moment (RFC 3339): what was recorded until then, and nothing else. As it is now without.
    #[serde(default)]
    pub(crate) as_of: Option<DateTime<Utc>>,
}

/// Checks that a filter's value is one that the field can have.
pub(crate) fn known<'a>(
    field: &str,
    value: Option<&'a str>,
    values: &[&str],
) -> Result<Option<&'a str>, Problem> {
    match value {
        Some(value) if !values.contains(&value) => {
            let detail = format!("{field} is one of {}", values.join(", "));
            Err(Problem::bad_request("invalid_query", detail).of_parameter(field))
        }
        value => Ok(value),
    }
}

pub(crate) fn invalid_cursor() -> Problem {
    Problem::bad_request("invalid_cursor", "use the `next` of the page before, unchanged")
        .of_parameter("cursor")
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
