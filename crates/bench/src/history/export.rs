//! All grants as a file.

use std::{path::Path, time::Instant};

use anyhow::{Context, ensure};
use futures::TryStreamExt;
use reqwest::header::ACCEPT;

use crate::{
    figures::{Bound, Figure, Figures},
    server::{Access, Server},
};

/// What is to be reached: rows a second, and megabytes of memory.
const ROWS_PER_SECOND: f64 = 100_000.0;
const MEGABYTES: f64 = 100.0;

/// Each format by a process of its own, whose memory is then that of the export.
pub(super) async fn measure(laurel: &Path, database_url: &str, figures: &mut Figures) -> anyhow::Result<()> {
    for (format, accept) in [("NDJSON", "application/x-ndjson"), ("CSV", "text/csv")] {
        let server = Server::start(laurel, database_url, Access::Open, &["api"]).await?;
        let begun = Instant::now();
        let answer = reqwest::Client::new()
            .get(format!("{}/grants", server.api))
            .header(ACCEPT, accept)
            .send()
            .await
            .context("asking for the export")?;
        ensure!(answer.status().is_success(), "the export is refused: {}", answer.status());
        let (mut bytes, mut lines) = (0, 0);
        let mut body = answer.bytes_stream();
        while let Some(chunk) = body.try_next().await.context("reading the export")? {
            bytes += chunk.len();
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
        }
        let seconds = begun.elapsed().as_secs_f64();
        let megabytes = server.memory_peak()? as f64 / 1e6;
        figures.figures.push(Figure {
            what: format!("export as {format}"),
            value: lines as f64 / seconds,
            unit: "rows/s",
            bound: Some(Bound::AtLeast(ROWS_PER_SECOND)),
            detail: format!("{lines} lines, {} MB, in {seconds:.1} s", bytes / 1_000_000),
        });
        figures.figures.push(Figure {
            what: format!("memory of the export as {format}"),
            value: megabytes,
            unit: "MB",
            bound: Some(Bound::AtMost(MEGABYTES)),
            detail: "the most that the process had".to_owned(),
        });
    }
    Ok(())
}
