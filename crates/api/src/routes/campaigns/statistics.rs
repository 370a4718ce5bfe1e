//! `GET /v1/campaigns/{campaign_id}/statistics`, and as it changes: `GET /v1/campaigns/{campaign_id}/statistics/live`

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::stream;
use laurel_events::CampaignId;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, timeout_at},
};

use utoipa::ToSchema;

use super::campaign;
use crate::{ApiState, Principal, Problem, extract::Path, statistics::CampaignStatistics};

/// How long a stream lasts: whoever wants to see more comes again, and is asked again who they are.
const STREAM_MAX: Duration = Duration::from_secs(60);

/// How soon a stream is looked at again where nobody says that something has changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often changes are told at the most.
const TELL_MIN: Duration = Duration::from_millis(250);

/// How soon whoever was sent away comes again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// A campaign's books and counts
///
/// At the most a second old. Send the ETag as `if-none-match`, and an unchanged answer is not sent again.
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/statistics", tag = "campaigns", operation_id = "get_campaign_statistics",
    params(
        ("campaign_id" = String, Path, description = "The campaign's id"),
        ("if-none-match" = Option<String>, Header, description = "The ETag of an answer that the caller has"),
    ),
    responses(
        (status = 200, body = CampaignStatistics),
        (status = 304, description = "It is as it was"),
        (status = "4XX", body = Problem),
    ),
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    campaign(&mut *state.read_pool.acquire().await?, &principal, id).await?;
    let snapshot = state.statistics().get(&state, id).await?;
    let etag = (header::ETAG, snapshot.etag.clone());
    // Whoever keeps answers for others must not give this one to them.
    let private = (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if snapshot.is_known(&headers) {
        return Ok((StatusCode::NOT_MODIFIED, [etag, private]).into_response());
    }
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([etag, private, json], snapshot.body.clone()).into_response())
}

/// An event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is what the document says of lines that are written as they are")]
pub(crate) struct StatisticsEvent {
    /// statistics.
    event: String,
    /// The ETag of the statistics.
    id: String,
    /// How soon to come again, in milliseconds.
    retry: u64,
    /// The statistics, as JSON.
    data: String,
}

/// What a stream has told, and until when it lasts.
struct Watching {
    state: ApiState,
    campaign: CampaignId,
    changes: watch::Receiver<()>,
    told: Option<HeaderValue>,
    ends: Instant,
    _permit: OwnedSemaphorePermit,
}

/// A campaign's books and counts, as they change
///
/// Server-sent events named `statistics`, each with the whole answer of `/statistics` as its data and its ETag as its id; the first comes at
/// once. A stream ends after a minute: come again with the last id as `last-event-id`, and only what has changed is told.
#[utoipa::path(
    get, path = "/campaigns/{campaign_id}/statistics/live", tag = "campaigns", operation_id = "watch_campaign_statistics",
    params(
        ("campaign_id" = String, Path, description = "The campaign's id"),
        ("last-event-id" = Option<String>, Header, description = "The id of the last event that the caller has"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = StatisticsEvent),
        (status = "4XX", body = Problem),
    ),
)]
pub(crate) async fn live(
    State(state): State<ApiState>,
    principal: Principal,
    Path(id): Path<CampaignId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    campaign(&mut *state.read_pool.acquire().await?, &principal, id).await?;
    let permit = state.streams().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_streams",
            "too many are watching: ask for /statistics instead",
        )
    })?;
    let watching = Watching {
        changes: state.statistics_changes(),
        told: headers.get("last-event-id").cloned(),
        ends: Instant::now() + STREAM_MAX,
        campaign: id,
        _permit: permit,
        state,
    };
    let events = stream::unfold(watching, next);
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// The next event, or the end.
async fn next(mut watching: Watching) -> Option<(Result<Event, Infallible>, Watching)> {
    let shutdown = watching.state.shutdown.clone();
    loop {
        if shutdown.is_cancelled() || Instant::now() >= watching.ends {
            return None;
        }
        // What cannot be read now may be readable when the caller comes again.
        let snapshot = watching.state.statistics().get(&watching.state, watching.campaign).await.ok()?;
        if watching.told.as_ref() != Some(&snapshot.etag) {
            let event = Event::default()
                .event("statistics")
                .id(snapshot.etag.to_str().ok()?)
                .retry(COME_AGAIN)
                .data(str::from_utf8(&snapshot.body).ok()?);
            watching.told = Some(snapshot.etag.clone());
            return Some((Ok(event), watching));
        }
        let again = (Instant::now() + LOOK_AGAIN).min(watching.ends);
        let changed = timeout_at(again, watching.changes.changed());
        shutdown.run_until_cancelled(changed).await;
        // Several changes are told as one.
        shutdown.run_until_cancelled(tokio::time::sleep(TELL_MIN)).await;
    }
}
