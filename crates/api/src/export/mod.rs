//! Whole lists as files: CSV or NDJSON, streamed.
//!
//! ```text
//!   source ──rows──► encoder ──bytes──► body          one window of rows at a time: whoever reads slowly makes the source wait,
//!                       │                             and a reader who stops is let go
//!                       ╰──► manifest: rows, bytes and hashes, under /v1/exports/{id} when it is over
//! ```
//!
//! No snapshot is held while somebody reads: rows come in an order that does not change, and each is as it is when its window is read.

mod manifest;
mod sheet;
mod turns;

use std::{future::Future, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, LINK},
    },
    response::{IntoResponse, Response},
};
use futures::stream;
use laurel_events::{PlayerId, time_ordered};
use laurel_ledger::LedgerError;
use serde::Serialize;
use sqlx::PgConnection;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::manifest::break_overdue_exports;
pub(crate) use self::{
    manifest::{ExportOut, find_export, forget_player, list_exports},
    sheet::cell,
    turns::ExportTurns,
};
use self::{
    manifest::{Manifest, begin, end},
    sheet::{Sheet, SheetError},
};
use crate::{ApiState, Principal, Problem};

/// How long a reader may take nothing before they are let go.
const READER_WITHIN: Duration = Duration::from_secs(30);

/// How long an export may take: ten million rows at the rate at which they are read, many times over. What runs for longer, nobody makes
/// any more.
const EXPORT_WITHIN: Duration = Duration::from_secs(2 * 3_600);

/// How soon whoever was sent away comes again, in seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("5");

/// What a list is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// RFC 4180, with a line of names.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

impl Format {
    /// What the Accept header asks for; `None` where that is a page, as it is without one.
    pub(crate) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let known = kinds.filter_map(|kind| match kind.to_ascii_lowercase().as_str() {
            "text/csv" => Some(Some(Self::Csv)),
            "application/x-ndjson" => Some(Some(Self::Ndjson)),
            "application/json" | "application/*" | "*/*" => Some(None),
            _ => None,
        });
        known.into_iter().next().flatten()
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    const fn content_type(self) -> HeaderValue {
        match self {
            Self::Csv => HeaderValue::from_static("text/csv; charset=utf-8; header=present"),
            Self::Ndjson => HeaderValue::from_static("application/x-ndjson"),
        }
    }
}

/// Where the rows of an export come from.
pub(crate) trait Source: Send + 'static {
    /// A row: only fields that are plain, the same in each.
    type Row: Serialize + Send + 'static;

    /// What it is a list of.
    const WHAT: &'static str;

    /// The names of a row's fields, in their order.
    const NAMES: &'static [&'static str];

    /// Of whom it tells everything, if it is what is known of a player.
    fn player(&self) -> Option<PlayerId> {
        None
    }

    /// The next rows, which may be none; `None` at the end.
    fn next(
        &mut self,
        conn: &mut PgConnection,
    ) -> impl Future<Output = Result<Option<Vec<Self::Row>>, LedgerError>> + Send;
}

/// Streams what the source has. `query` is what was asked for, for the manifest.
pub(crate) async fn export<S: Source>(
    state: &ApiState,
    principal: &Principal,
    format: Format,
    query: &str,
    source: S,
) -> Result<Response, Problem> {
    let Some(turn) = state.exports().begin(source.player()) else {
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_exports",
            "others are being made: try again in a moment",
        );
        return Ok(([(HeaderName::from_static("retry-after"), COME_AGAIN)], problem).into_response());
    };
    let (now, id) = (state.now(), time_ordered(state.now(), &mut state.rng().await));
    let mut conn = state.pool.acquire().await?;
    let manifest = Manifest { id, what: S::WHAT, query, format };
    begin(&mut conn, now, principal, &manifest).await?;
    drop(conn);
    let (rows_to, rows) = mpsc::channel(1);
    let (bytes_to, bytes) = mpsc::channel(1);
    tokio::spawn(read_rows(state.clone(), source, rows_to));
    let state = state.clone();
    tokio::spawn(async move {
        write_rows::<S>(&state, id, format, rows, bytes_to).await;
        drop(turn);
    });
    let body = Body::from_stream(stream::unfold(bytes, async |mut bytes| Some((bytes.recv().await?, bytes))));
    let file =
        format!("attachment; filename=\"{}-{}.{}\"", S::WHAT, now.format("%Y%m%dT%H%M%SZ"), format.as_str());
    let described = format!("</v1/exports/{id}>; rel=\"describedby\"");
    let header = |text: &str| HeaderValue::from_str(text).expect("it is made of visible ASCII");
    let headers = [
        (CONTENT_TYPE, format.content_type()),
        (CONTENT_DISPOSITION, header(&file)),
        (LINK, header(&described)),
        (CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    ];
    Ok((headers, body).into_response())
}

/// What passes from the source to the encoder.
type Rows<R> = Result<Vec<R>, LedgerError>;

/// Reads window after window. Holds a connection only while it reads.
async fn read_rows<S: Source>(state: ApiState, mut source: S, rows: mpsc::Sender<Rows<S::Row>>) {
    loop {
        let read = async {
            let mut conn = state.read_pool.acquire().await?;
            source.next(&mut conn).await
        };
        let next = match read.await {
            Ok(Some(next)) => Ok(next),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let failed = next.is_err();
        // Whoever encodes has gone if the reader has.
        if rows.send(next).await.is_err() || failed {
            return;
        }
    }
}

/// Encodes and hashes what comes, and keeps what became of it.
async fn write_rows<S: Source>(
    state: &ApiState,
    id: Uuid,
    format: Format,
    rows: mpsc::Receiver<Rows<S::Row>>,
    bytes: mpsc::Sender<Result<Bytes, Broken>>,
) {
    let mut sheet = Sheet::new(format);
    let writing = write_all::<S>(&state.shutdown, &mut sheet, rows, &bytes);
    let written = timeout(EXPORT_WITHIN, writing).await.unwrap_or(Err(Unfinished::TooLong));
    if let Err(reason) = &written {
        tracing::warn!(export.id = %id, %reason, "an export was broken off");
        // A body that ends without its last chunk is seen to be broken by whoever reads it; whether anybody does, is theirs.
        let _unread = bytes.try_send(Err(Broken));
    }
    let written = written.is_ok().then(|| sheet.finish());
    let kept = async {
        let mut conn = state.pool.acquire().await?;
        end(&mut conn, state.now(), id, written).await
    };
    if let Err(error) = kept.await {
        tracing::error!(export.id = %id, error = %error, "the manifest of an export is not kept");
    }
}

/// Why an export does not come to its end.
#[derive(Debug, thiserror::Error)]
enum Unfinished {
    #[error("the reader has gone")]
    ReaderGone,
    #[error("the reader takes nothing")]
    ReaderStalls,
    #[error("it takes longer than an export may")]
    TooLong,
    #[error("the server stops")]
    Shutdown,
    #[error(transparent)]
    Sheet(#[from] SheetError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

async fn write_all<S: Source>(
    shutdown: &CancellationToken,
    sheet: &mut Sheet,
    mut rows: mpsc::Receiver<Rows<S::Row>>,
    bytes: &mpsc::Sender<Result<Bytes, Broken>>,
) -> Result<(), Unfinished> {
    send(bytes, sheet.names(S::NAMES)?).await?;
    loop {
        let next = tokio::select! {
            next = rows.recv() => next,
            // Where nothing is found for long, nothing is sent that would tell.
            () = bytes.closed() => return Err(Unfinished::ReaderGone),
            () = shutdown.cancelled() => return Err(Unfinished::Shutdown),
        };
        let Some(rows) = next else { return Ok(()) };
        send(bytes, sheet.encode(&rows?)?).await?;
    }
}

async fn send(bytes: &mpsc::Sender<Result<Bytes, Broken>>, encoded: Bytes) -> Result<(), Unfinished> {
    if encoded.is_empty() {
        return Ok(());
    }
    match timeout(READER_WITHIN, bytes.send(Ok(encoded))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Unfinished::ReaderGone),
        Err(_) => Err(Unfinished::ReaderStalls),
    }
}

/// A body that does not come to its end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the export was broken off")]
struct Broken;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// A source of which nothing comes.
    struct Nothing;

    impl Source for Nothing {
        type Row = ();

        const WHAT: &'static str = "nothing";

        const NAMES: &'static [&'static str] = &[];

        async fn next(&mut self, _: &mut PgConnection) -> Result<Option<Vec<()>>, LedgerError> {
            Ok(Some(Vec::new()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_goes_while_nothing_is_found_is_noticed() {
        let (rows_to, rows) = mpsc::channel(1);
        let (bytes_to, bytes) = mpsc::channel(1);
        rows_to.send(Ok(Vec::new())).await.unwrap();
        let (mut sheet, shutdown) = (Sheet::new(Format::Ndjson), CancellationToken::new());
        let writing = write_all::<Nothing>(&shutdown, &mut sheet, rows, &bytes_to);
        drop(bytes);
        let ended = timeout(READER_WITHIN, writing).await.expect("it ends");
        assert!(matches!(ended, Err(Unfinished::ReaderGone)), "{ended:?}");
        assert!(rows_to.is_closed(), "whoever reads the rows hears of it");
    }

    #[rstest]
    #[case("", None)]
    #[case("*/*", None)]
    #[case("application/json", None)]
    #[case("text/csv", Some(Format::Csv))]
    #[case("TEXT/CSV; charset=utf-8", Some(Format::Csv))]
    #[case("text/html, application/x-ndjson;q=0.9, */*;q=0.1", Some(Format::Ndjson))]
    #[case("application/json, text/csv", None)]
    #[case("image/png", None)]
    fn what_is_accepted_first_is_given(#[case] accept: &str, #[case] format: Option<Format>) {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        assert_eq!(Format::wanted(&headers), format);
    }
}
