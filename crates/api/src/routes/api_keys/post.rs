//! `POST /v1/api-keys`

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use laurel_campaign::{GAME_NAME_MAX, GAMES_MAX};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::out::ApiKeyOut;
use crate::{
    ApiState, Principal, Problem,
    auth::{NewApiKey, add_api_key},
    extract::RequestBody,
    idempotency::{Keyed, Once, Reply},
    pointer::pointer_to,
    routes::campaigns::GameName,
    shape::Lists,
    staff_log::Change,
};

/// The longest name of a game server, in bytes: as long as that of anybody else who has a token.
const SUBJECT_BYTES_MAX: usize = 128;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewApiKey)]
pub(crate) struct Request {
    /// The game server. Its outcomes are known by this name and their ids, so a new key of the same server needs the same name.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    subject: String,
    /// The games that it may report of; without, all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<GameName>>, min_items = 1, max_items = 100)]
    games: Option<Vec<String>>,
    /// When the key ends by itself; without, when it is revoked.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

impl RequestBody for Request {
    const LISTS: Lists = Lists::of(&["games"]);
}

impl Request {
    fn check(&self, now: DateTime<Utc>) -> Result<(), Problem> {
        let named = |name: &str, bytes_max: usize| {
            !name.trim().is_empty() && name.len() <= bytes_max && !name.chars().any(char::is_control)
        };
        let refuse = |field: &str, what: String| {
            let detail = format!("{field}: {what}");
            Err(Problem::unprocessable("invalid_api_key", detail).at(pointer_to(field)))
        };
        if !named(&self.subject, SUBJECT_BYTES_MAX) {
            return refuse("subject", format!("1 to {SUBJECT_BYTES_MAX} bytes without control characters"));
        }
        if let Some(games) = &self.games
            && (games.is_empty()
                || games.len() > GAMES_MAX
                || games.iter().any(|game| !named(game, GAME_NAME_MAX)))
        {
            return refuse(
                "games",
                format!("1 to {GAMES_MAX} names of 1 to {GAME_NAME_MAX} bytes; leave it out for all games"),
            );
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return refuse("expires_at", "this moment has passed".to_owned());
        }
        Ok(())
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyMade)]
pub(crate) struct Answer {
    #[serde(flatten)]
    made: ApiKeyOut,
    /// The key. It is shown this once: the same request sent again is answered with null.
    key: Option<String>,
}

/// Make an API key for a game server
#[utoipa::path(
    post, path = "/api-keys", tag = "sign-in", operation_id = "post_api_key", request_body(content = Request, example = json!({ "subject": "arena", "games": ["quiz"], "expires_at": "2036-01-01T00:00:00Z" })),
    params(("idempotency-key" = String, Header, description = "The same for the same request sent again")),
    responses((status = 201, body = Answer), (status = "4XX", body = Problem)),
)]
pub(crate) async fn handler(
    State(state): State<ApiState>,
    principal: Principal,
    Keyed { request, idempotency }: Keyed<Request>,
) -> Result<Reply, Problem> {
    let now = state.now();
    let mut rng = state.rng().await;
    let mut once = match Once::begin(&state, now, &principal, Some(&idempotency)).await? {
        Ok(once) => once,
        Err(answered) => return Ok(answered),
    };
    request.check(now)?;
    let new = NewApiKey {
        org: principal.org,
        subject: &request.subject,
        games: request.games.as_deref(),
        expires_at: request.expires_at,
        created_by: &principal.subject,
    };
    let (made, key) = add_api_key(&mut once.tx, now, &mut rng, &new).await?;
    let mut answer = Answer { made: made.into(), key: None };
    let change = Change::of("api-key", answer.made.id).after(&answer.made)?;
    // What is kept of the answer is without the key.
    let kept = Reply::json(StatusCode::CREATED, None, &answer)?;
    once.commit("api_key_made", kept, Some(change)).await?;
    answer.key = Some(key.reveal().to_owned());
    Ok(Reply::json(StatusCode::CREATED, None, &answer)?.not_stored())
}
