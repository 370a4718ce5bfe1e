//! `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header): the same request sent again gets the same answer.
//!
//! ```text
//!   begin ──► key locked? no ──► 409       finish: the answer is kept by the transaction that changed something
//!               │ yes
//!               ▼
//!             answered before? same request ──► the stored answer, Idempotency-Replayed: true
//!               │ no           other request ──► 422
//!               ▼
//!             the route does its work
//! ```
//!
//! A refused request changed nothing, so nothing is kept of it: mend it and send it under the same key.

use axum::{
    extract::{FromRequest, MatchedPath, OptionalFromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use laurel_events::canonical_json;
use laurel_ledger::{
    IdempotencyScope, StoredAnswer, commit, find_answer, lock_idempotency_key, store_answer,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Postgres, Transaction};

use crate::{
    ApiState, Principal, Problem,
    extract::{RequestBody, parse_json, read_body, read_body_if_any},
    staff_log::{Change, keep_change},
};

/// The request's header.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key: any UUID or hash fits, and an index row stays small.
pub(crate) const KEY_LENGTH_MAX: usize = 255;

/// The key of a request, and what the request is recognised by.
#[derive(Clone, Debug)]
pub(crate) struct Idempotency {
    key: String,
    route: String,
    digest: [u8; 32],
}

impl Idempotency {
    fn new(parts: &Parts, key: String, body: &[u8]) -> Self {
        let route = format!("{} {}", parts.method, parts.uri.path());
        let mut digest = Sha256::new();
        digest.update((route.len() as u64).to_be_bytes());
        digest.update(&route);
        let query = parts.uri.query().unwrap_or_default();
        digest.update((query.len() as u64).to_be_bytes());
        digest.update(query);
        digest.update(body);
        // Kept without what the path names, such as a player.
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        Self { key, route: format!("{} {route}", parts.method), digest: digest.finalize().into() }
    }

    fn scope<'a>(&'a self, principal: &'a Principal) -> IdempotencyScope<'a> {
        IdempotencyScope {
            org: principal.org,
            role: principal.role_name(),
            subject: &principal.subject,
            key: &self.key,
        }
    }

    /// Takes the key for the transaction. Returns the answer where the same request had one before.
    async fn begin(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        principal: &Principal,
    ) -> Result<Option<Reply>, Problem> {
        let scope = self.scope(principal);
        if !lock_idempotency_key(tx, scope).await? {
            let detail = "a request with this idempotency-key is being answered: send it again in a moment";
            return Err(Problem::conflict("request_in_progress", detail));
        }
        match find_answer(tx, now, scope).await? {
            None => Ok(None),
            Some(answer) if answer.request_digest == self.digest => Reply::replayed(answer).map(Some),
            Some(_) => Err(Problem::unprocessable(
                "idempotency_key_reused",
                "another request was answered under this idempotency-key: take a new key for a new request",
            )
            .of_parameter("idempotency-key")),
        }
    }

    /// Keeps the answer; it commits with what it tells of.
    async fn finish(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        principal: &Principal,
        reply: &Reply,
    ) -> Result<(), Problem> {
        let answer = StoredAnswer {
            request_digest: self.digest,
            status: reply.status.as_u16(),
            etag: reply.etag.clone(),
            body: reply.body.clone(),
        };
        Ok(store_answer(tx, now, self.scope(principal), &self.route, &answer).await?)
    }
}

/// The transaction of a request that changes something, once for its key, where it has one.
#[derive(Debug)]
pub(crate) struct Once<'a> {
    pub(crate) tx: Transaction<'static, Postgres>,
    pub(crate) state: &'a ApiState,
    now: DateTime<Utc>,
    pub(crate) principal: &'a Principal,
    idempotency: Option<&'a Idempotency>,
}

impl<'a> Once<'a> {
    /// Begins it. Without a transaction comes the answer that the same request had before.
    pub(crate) async fn begin(
        state: &'a ApiState,
        now: DateTime<Utc>,
        principal: &'a Principal,
        idempotency: Option<&'a Idempotency>,
    ) -> Result<Result<Self, Reply>, Problem> {
        let mut tx = state.pool.begin().await?;
        if let Some(idempotency) = idempotency
            && let Some(reply) = idempotency.begin(&mut tx, now, principal).await?
        {
            // Before it is answered: whoever comes next is not told that this one is in progress.
            tx.rollback().await?;
            return Ok(Err(reply));
        }
        Ok(Ok(Self { tx, state, now, principal, idempotency }))
    }

    /// Ends it with nothing changed, so that nothing is held while somebody else is asked.
    pub(crate) async fn give_up(self) -> Result<(), Problem> {
        Ok(self.tx.rollback().await?)
    }

    /// Commits it at the place `at`, with the answer and, where somebody who works here changes something, a record of that.
    pub(crate) async fn commit(
        mut self,
        at: &'static str,
        reply: Reply,
        change: Option<Change>,
    ) -> Result<Reply, Problem> {
        if let Some(idempotency) = self.idempotency {
            idempotency.finish(&mut self.tx, self.now, self.principal, &reply).await?;
        }
        if let Some(change) = change {
            keep_change(&mut self.tx, self.state, self.now, self.principal, change).await?;
        }
        commit(self.tx, at).await?;
        Ok(reply)
    }
}

/// The key in the headers: a string of visible characters, with or without the quotes of a structured field (RFC 8941).
fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let plain = key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if key.is_empty() || key.len() > KEY_LENGTH_MAX || !plain {
        let detail =
            format!("an idempotency-key is 1 to {KEY_LENGTH_MAX} visible ASCII characters; a UUID does");
        return Err(Problem::bad_request("invalid_idempotency_key", detail).of_parameter("idempotency-key"));
    }
    Ok(Some(key.to_owned()))
}

/// A JSON body that must come with a key.
#[derive(Clone, Debug)]
pub(crate) struct Keyed<T> {
    pub(crate) request: T,
    pub(crate) idempotency: Idempotency,
}

impl<S: Send + Sync, T: RequestBody> FromRequest<S> for Keyed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let key = key_of(request.headers())?.ok_or_else(|| {
            Problem::bad_request(
                "idempotency_key_missing",
                "send an idempotency-key header, such as a new UUID, and the same one when you send this again",
            )
            .of_parameter("idempotency-key")
        })?;
        let (parts, bytes) = read_body(request, state).await?;
        let request = parse_json(&bytes)?;
        let content = canonical(&bytes)?;
        Ok(Self { request, idempotency: Idempotency::new(&parts, key, &content) })
    }
}

/// A JSON body and a key, each of which may be absent.
#[derive(Clone, Debug)]
pub(crate) struct MaybeKeyed<T> {
    pub(crate) request: Option<T>,
    pub(crate) idempotency: Option<Idempotency>,
}

impl<S: Send + Sync, T: RequestBody> FromRequest<S> for MaybeKeyed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let key = key_of(request.headers())?;
        let (parts, bytes) = read_body_if_any(request, state).await?;
        let (request, content) = match bytes {
            None => (None, Vec::new()),
            Some(bytes) => (Some(parse_json(&bytes)?), canonical(&bytes)?),
        };
        Ok(Self { request, idempotency: key.map(|key| Idempotency::new(&parts, key, &content)) })
    }
}

/// Two spellings of the same content are the same request.
fn canonical(bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    let content: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| Problem::internal(&error.to_string()))?;
    canonical_json(&content).map_err(|error| Problem::internal(&error.to_string()))
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Idempotency {
    type Rejection = Problem;

    /// The key of a request without a body, which may have one.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(key_of(&parts.headers)?.map(|key| Self::new(parts, key, &[])))
    }
}

/// An answer that can be kept.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    etag: Option<String>,
    body: Vec<u8>,
    replayed: bool,
    secret: bool,
}

impl Reply {
    /// An answer with a JSON body.
    pub(crate) fn json<T: Serialize>(
        status: StatusCode,
        etag: Option<String>,
        body: &T,
    ) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| Problem::internal(&error.to_string()))?;
        Ok(Self { status, etag, body, replayed: false, secret: false })
    }

    /// The same, for nobody to keep on the way: it holds a secret.
    pub(crate) fn not_stored(self) -> Self {
        Self { secret: true, ..self }
    }

    fn replayed(answer: StoredAnswer) -> Result<Self, Problem> {
        let status = StatusCode::from_u16(answer.status)
            .map_err(|_| Problem::internal("an answer is stored with a status that is none"))?;
        Ok(Self { status, etag: answer.etag, body: answer.body, replayed: true, secret: false })
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(etag) = self.etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
            headers.insert(header::ETAG, etag);
        }
        if self.secret {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}
