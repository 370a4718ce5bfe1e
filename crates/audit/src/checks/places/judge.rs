//! What a window of places tells.

use alloy::primitives::{B256, keccak256};
use laurel_chain::GrantWord;
use laurel_events::{CampaignId, VoidProof};
use laurel_ledger::amount_to_sql;

use super::{
    Met, Span,
    load::{Held, Place, Segment, Settled, Window},
    stranded::check_stranded,
};
use crate::{AuditError, error::inconsistent, finding::Code, snapshot::Snapshot};

/// What the chain made of a place.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome<'a> {
    /// The settlement of ours that set its bit.
    paid: Option<&'a Settled>,
    /// A settlement of ours that gave it another word, and that word.
    other: Option<(&'a Settled, B256)>,
}

/// Judges a window.
pub(super) fn judge(
    snapshot: &mut Snapshot<'_>,
    span: &Span,
    window: &Window,
    met: &mut Met,
) -> Result<(), AuditError> {
    let outcomes = outcomes(snapshot, span, window);
    let latest = check_segments(snapshot, span, window);
    let mut gap: Option<(i64, i64)> = None;
    for (at, (place, outcome)) in window.places.iter().zip(&outcomes).enumerate() {
        let seq = span.from + at as i64;
        let Some(place) = place else {
            if is_passed_over(window, at, outcome) {
                tell_gap(snapshot, span, gap.take());
                continue;
            }
            met.gaps = true;
            gap = Some(gap.map_or((seq, seq), |(first, _)| (first, seq)));
            continue;
        };
        tell_gap(snapshot, span, gap.take());
        let id = span.campaign.id;
        if met.again(place.number) {
            let detail = format!("grant {id}-{} was given a place, and seq {seq} as well", place.number);
            snapshot.findings.add(Code::GrantQueuedTwice, named(id, place), Some(id), detail);
        }
        let Some(held) = window.held.get(&place.number) else {
            return Err(inconsistent("runs", "numbers", id));
        };
        check_word(snapshot, id, seq, place, outcome);
        check_hold(snapshot, id, seq, place, held, outcome);
        check_state(snapshot, id, seq, place, held, outcome);
        if span.block.is_some() {
            check_void(snapshot, id, seq, place, held, window)?;
            let segment = latest[at].map(|last| &window.segments[last]);
            check_completed(snapshot, id, seq, place, held, outcome, segment);
            if outcome.paid.is_none() && !window.marks.waiting[at] {
                check_stranded(snapshot, id, (seq, place), held, segment);
            }
        }
    }
    tell_gap(snapshot, span, gap);
    Ok(())
}

/// Whether nobody has the place because a recovery has passed it over. One that the chain paid has a grant, or waits for it.
fn is_passed_over(window: &Window, at: usize, outcome: &Outcome<'_>) -> bool {
    window.marks.skipped[at] && (outcome.paid.is_none() || window.marks.orphaned[at])
}

fn named(campaign: CampaignId, place: &Place) -> String {
    format!("grant:{campaign}-{}", place.number)
}

/// What our settlements made of each place.
fn outcomes<'a>(snapshot: &Snapshot<'_>, span: &Span, window: &'a Window) -> Vec<Outcome<'a>> {
    let mut outcomes = vec![Outcome::default(); (span.to - span.from) as usize];
    for settled in window.settled.iter().filter(|settled| !snapshot.known.outside.contains(&settled.tx)) {
        for (word, seq) in settled.words.chunks(32).zip(settled.first_seq..) {
            let Some(at) = usize::try_from(seq - span.from).ok().filter(|at| *at < outcomes.len()) else {
                continue;
            };
            let word = B256::from_slice(word);
            let hole = word.is_zero();
            if !hole && window.places[at].is_some_and(|place| place.word != word) {
                outcomes[at].other = Some((settled, word));
            }
            if settled.paid.contains(seq.cast_unsigned()) {
                outcomes[at].paid = Some(settled);
            }
        }
    }
    outcomes
}

/// Checks what the ledger says of segments that the chain has not settled, and returns the segment that counts of each place.
fn check_segments(snapshot: &mut Snapshot<'_>, span: &Span, window: &Window) -> Vec<Option<usize>> {
    let mut latest = vec![None; (span.to - span.from) as usize];
    for (index, segment) in window.segments.iter().enumerate() {
        let seqs = segment.first_seq..segment.first_seq + i64::from(segment.count);
        for seq in seqs.filter(|seq| !segment.holes.contains(seq)) {
            let Some(last) = usize::try_from(seq - span.from).ok().and_then(|at| latest.get_mut(at)) else {
                continue;
            };
            let rank = |index: usize| window.segments[index].rank(seq);
            if last.is_none_or(|last| rank(last) <= segment.rank(seq)) {
                *last = Some(index);
            }
        }
        // Those that were settled are compared with the chain itself.
        if !segment.settled && segment.first_seq >= span.from {
            check_words_hash(snapshot, span, window, segment);
        }
    }
    latest
}

fn check_words_hash(snapshot: &mut Snapshot<'_>, span: &Span, window: &Window, segment: &Segment) {
    let from = (segment.first_seq - span.from) as usize;
    let Some(places) = window.places.get(from..from + segment.count as usize) else { return };
    let word_of = |(seq, place): (i64, &Option<Place>)| {
        if segment.holes.contains(&seq) { Some(B256::ZERO) } else { place.map(|place| place.word) }
    };
    let words: Option<Vec<B256>> = (segment.first_seq..).zip(places).map(word_of).collect();
    let Some(words) = words else { return };
    let hash = keccak256(words.concat());
    if hash != segment.words_hash {
        let detail = format!(
            "the words of campaign {} from seq {} hash to {hash}; the segment that was signed has {}",
            span.campaign.id, segment.first_seq, segment.words_hash,
        );
        let about = format!("batch:{}", segment.batch);
        snapshot.findings.add(Code::SegmentDiffers, about, Some(span.campaign.id), detail);
    }
}

fn tell_gap(snapshot: &mut Snapshot<'_>, span: &Span, gap: Option<(i64, i64)>) {
    let Some((first, last)) = gap else { return };
    let id = span.campaign.id;
    let detail = format!(
        "the queue of campaign {id} has given places up to {}; no grant has the places {first} to {last}",
        span.campaign.next_seq - 1,
    );
    snapshot.findings.add(Code::SeqMissing, format!("campaign:{id}/seq:{first}"), Some(id), detail);
}

fn check_word(snapshot: &mut Snapshot<'_>, id: CampaignId, seq: i64, place: &Place, outcome: &Outcome<'_>) {
    let Some((settled, word)) = outcome.other else { return };
    let told = |word: B256| match GrantWord::decode(word) {
        Some(word) => format!("{} to {}", word.amount(), word.recipient()),
        None => format!("the word {word}"),
    };
    let detail = format!(
        "seq {seq} pays {} as the ledger has it; transaction {} in block {} sent {}",
        told(place.word),
        settled.tx,
        settled.block,
        told(word),
    );
    snapshot.findings.add(Code::WordDiffers, named(id, place), Some(id), detail);
}

/// The hold is over what the word pays: the chain's word where it has one.
fn check_hold(
    snapshot: &mut Snapshot<'_>,
    id: CampaignId,
    seq: i64,
    place: &Place,
    held: &Held,
    outcome: &Outcome<'_>,
) {
    let word = outcome.other.map_or(place.word, |(_, word)| word);
    let pays = GrantWord::decode(word).map(GrantWord::amount);
    match (held.amount, pays) {
        (Some(held), Some(pays)) if held != pays => {
            let who = match outcome.paid {
                Some(paid) => format!("transaction {} in block {} paid", paid.tx, paid.block),
                None => "its word pays".to_owned(),
            };
            let detail = format!("the hold is over {held}; {who} {pays} for seq {seq}");
            let difference = amount_to_sql(pays) - amount_to_sql(held);
            snapshot.known.deltas(id).holds += difference;
            snapshot.findings.add(Code::GrantAmountDiffers, named(id, place), Some(id), detail);
        }
        (None, Some(pays)) => {
            // The books know of it where a number is missing; else the place names a grant that never was.
            if snapshot.known.missing.contains(&(id, place.number)) {
                snapshot.known.deltas(id).holds += amount_to_sql(pays);
            } else {
                let detail = format!("seq {seq} was given to it; there is no such hold");
                snapshot.findings.add(Code::GrantMissing, named(id, place), Some(id), detail);
            }
        }
        _ => {}
    }
}

fn check_state(
    snapshot: &mut Snapshot<'_>,
    id: CampaignId,
    seq: i64,
    place: &Place,
    held: &Held,
    outcome: &Outcome<'_>,
) {
    if held.seq.is_some_and(|other| other != seq) {
        let detail =
            format!("its run gave it seq {seq}; its exception says seq {}", held.seq.unwrap_or_default());
        snapshot.findings.add(Code::SeqGivenTwice, named(id, place), Some(id), detail);
    }
    let state = held.state.as_deref().unwrap_or_default();
    if let (Some(paid), "failed" | "compensated" | "awaiting_wallet") = (outcome.paid, state) {
        let detail = format!(
            "the ledger has it as {state}; transaction {} in block {} paid seq {seq}",
            paid.tx, paid.block
        );
        snapshot.findings.add(Code::PaidGrantFailed, named(id, place), Some(id), detail);
    }
}

/// A hold with a place is voided only if the chain says that the place can never be paid.
fn check_void(
    snapshot: &mut Snapshot<'_>,
    id: CampaignId,
    seq: i64,
    place: &Place,
    held: &Held,
    window: &Window,
) -> Result<(), AuditError> {
    let Some(proof) = &held.proof else { return Ok(()) };
    let proof: VoidProof = serde_json::from_value(proof.clone())
        .map_err(|_| inconsistent("voids", "proof", named(id, place)))?;
    let seq_bits = seq.cast_unsigned();
    let proven = match proof {
        VoidProof::NeverQueued => false,
        VoidProof::Cancelled { seq: named, tx } => {
            let burns = |(word, mask, by): &(u64, alloy::primitives::U256, B256)| {
                *by == tx && *word == seq_bits >> 8 && mask.bit((seq_bits & 0xff) as usize)
            };
            named == seq_bits && window.cancelled.iter().any(burns)
        }
        VoidProof::Released { seq: named, tx } => named == seq_bits && window.released.contains(&tx),
    };
    if !proven {
        let why = match proof {
            VoidProof::NeverQueued => "because it never had a place".to_owned(),
            VoidProof::Cancelled { tx, .. } => format!("because transaction {tx} cancelled it"),
            VoidProof::Released { tx, .. } => format!("because transaction {tx} released the campaign"),
        };
        let detail = format!("its hold was voided {why}; it has seq {seq}, and the chain does not say so");
        snapshot.findings.add(Code::VoidUnproven, named(id, place), Some(id), detail);
    }
    Ok(())
}

fn check_completed(
    snapshot: &mut Snapshot<'_>,
    id: CampaignId,
    seq: i64,
    place: &Place,
    held: &Held,
    outcome: &Outcome<'_>,
    segment: Option<&Segment>,
) {
    let completes = |segment: &&Segment| segment.posted && !segment.is_over(seq) && !segment.pending;
    let Some(segment) = segment.filter(completes) else {
        return;
    };
    let plain = matches!(held.state.as_deref(), None | Some("queued"));
    let about = format!("batch:{}", segment.batch);
    if outcome.paid.is_some() || !plain || snapshot.findings.has(Code::BatchNotOnChain, &about) {
        return;
    }
    let detail = format!(
        "the ledger has it as completed by batch {}; no settlement of ours has paid seq {seq}",
        segment.batch
    );
    snapshot.findings.add(Code::CompletedNotPaid, named(id, place), Some(id), detail);
}
