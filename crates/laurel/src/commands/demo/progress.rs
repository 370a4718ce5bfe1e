//! The stages as they fill and drain: bars on a terminal, plain lines otherwise.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicU64, Ordering},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::pipeline::Pipeline;

/// Without a terminal, every so many looks there is a line: one a second.
const LINE_EVERY: u64 = 5;

/// The display.
pub(crate) struct Progress {
    bars: Option<(MultiProgress, [ProgressBar; 6])>,
    looks: AtomicU64,
}

impl Progress {
    /// A display for so many outcomes.
    pub(crate) fn new(outcomes: u32) -> Self {
        Self { bars: std::io::stderr().is_terminal().then(|| bars(outcomes)), looks: AtomicU64::new(0) }
    }

    /// Shows how far everything is.
    pub(crate) fn show(&self, now: &Pipeline) {
        let decided = now.outcomes - now.undecided.min(now.outcomes);
        let payable = now.grants - now.waiting.min(now.grants);
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        match &self.bars {
            Some((_, [recorded, decisions, queued, submitted, mined, completed])) => {
                recorded.set_position(now.outcomes);
                decisions.set_length(now.outcomes);
                decisions.set_position(decided);
                decisions.set_message(format!("{} granted, {} declined", now.grants, now.declined));
                for bar in [queued, submitted, mined, completed] {
                    bar.set_length(payable);
                }
                queued.set_position(now.queued);
                queued.set_message(format!("{} await a wallet", now.waiting));
                submitted.set_position(now.submitted);
                mined.set_position(now.mined);
                completed.set_position(now.completed);
                completed.set_message(format!("{} transactions", now.transactions));
            }
            None if looks.is_multiple_of(LINE_EVERY) => super::super::note(&format!(
                "outcomes {} | decided {decided} | granted {} (await a wallet: {}) | queued {} | submitted {} | \
                 mined {} | completed {}",
                now.outcomes, now.grants, now.waiting, now.queued, now.submitted, now.mined, now.completed,
            )),
            None => {}
        }
    }

    /// Leaves the display as it is.
    pub(crate) fn finish(&self) {
        if let Some((_, bars)) = &self.bars {
            bars.iter().for_each(ProgressBar::abandon);
        }
    }
}

fn bars(outcomes: u32) -> (MultiProgress, [ProgressBar; 6]) {
    let display = MultiProgress::new();
    let style = ProgressStyle::with_template("{prefix:>10} {bar:40.green/dim} {pos:>7}/{len:<7} {msg}")
        .expect("the template is a constant that is known to parse")
        .progress_chars("━━╌");
    let bar = |name: &'static str, length: u64| {
        display.add(ProgressBar::new(length).with_style(style.clone()).with_prefix(name))
    };
    let bars = [
        bar("recorded", u64::from(outcomes)),
        bar("decided", 0),
        bar("queued", 0),
        bar("submitted", 0),
        bar("mined", 0),
        bar("completed", 0),
    ];
    (display, bars)
}
