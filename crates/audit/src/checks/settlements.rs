//! Every settlement on the chain, against the batch that says that it sent it.

use alloy::primitives::{Address, B256};
use bigdecimal::{BigDecimal, num_bigint::Sign};
use futures::TryStreamExt;
use laurel_events::{
    CampaignId,
    alert::{PAYMENT_NOT_RECOVERED, PAYMENT_WITHOUT_HOLD, UNKNOWN_SETTLEMENT},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    AuditError,
    error::inconsistent,
    finding::{Code, Findings},
    pending::Pending,
    snapshot::{Known, Snapshot, any_campaign, hash_of},
};

/// With one of these about a settlement acknowledged, operators have dealt with it.
const PAYMENT_ALERTS: [&str; 3] = [PAYMENT_NOT_RECOVERED, PAYMENT_WITHOUT_HOLD, UNKNOWN_SETTLEMENT];

/// A settled segment with all that the ledger has of it.
struct Row {
    chain_id: i64,
    block_number: i64,
    block_hash: Vec<u8>,
    tx: Vec<u8>,
    log_index: i32,
    sender: Vec<u8>,
    nonce: i64,
    campaign: i64,
    first_seq: i64,
    count: i32,
    total: BigDecimal,
    words_hash: Vec<u8>,
    paid_count: i32,
    lane: Option<i32>,
    // by the attempt of that hash
    attempt_batch: Option<Uuid>,
    // by lane and nonce
    nonce_batch: Option<Uuid>,
    // by the posting of that transaction
    posting_batch: Option<Uuid>,
    state: Option<String>,
    batch_tx: Option<Vec<u8>>,
    batch_block: Option<i64>,
    batch_hash: Option<Vec<u8>>,
    segment_count: Option<i32>,
    segment_hash: Option<Vec<u8>>,
    suspended: Option<BigDecimal>,
    // a settlement that was lost, and found by a recovery
    recovered: bool,
    // by an operator
    acknowledged: bool,
}

/// Whose a settlement is.
enum Owner {
    Ours(Uuid),
    /// Ours, and its batch has no row.
    BatchLost(Uuid),
    /// Ours, and it is no attempt of its batch.
    AttemptLost(Uuid),
    /// Ours, and was lost: it is compared by itself.
    Recovered,
    Outside,
}

impl Row {
    fn owner(&self) -> Owner {
        let fits = self.segment_hash.as_ref() == Some(&self.words_hash);
        if self.recovered && self.lane.is_some() {
            return Owner::Recovered;
        }
        match (self.attempt_batch, self.nonce_batch, self.posting_batch) {
            (Some(batch), _, _) if self.state.is_some() => Owner::Ours(batch),
            (Some(batch), _, _) => Owner::BatchLost(batch),
            (None, Some(batch), _) if fits => Owner::AttemptLost(batch),
            (None, None, Some(batch)) => Owner::BatchLost(batch),
            _ => Owner::Outside,
        }
    }

    /// Where the chain has it.
    fn place(&self) -> Result<String, AuditError> {
        let tx = hash_of(&self.tx, "audit_settlements", "tx")?;
        Ok(format!("transaction {tx} in block {}", self.block_number))
    }

    /// What it settled.
    fn paid(&self) -> String {
        format!(
            "{} for {} places from seq {} of campaign {}",
            self.total,
            self.paid_count,
            self.first_seq.cast_unsigned(),
            any_campaign(self.campaign),
        )
    }
}

/// Compares them all.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let (chains, blocks, only) = (snapshot.chains(), snapshot.blocks(), snapshot.only());
    let Snapshot { conn, findings, known, pending, .. } = snapshot;
    // Lanes by their account; a batch by its attempt, else by its nonce; a segment by its batch and first place.
    let mut rows = sqlx::query_as!(
        Row,
        r#"
        SELECT s.chain_id, s.block_number, s.block_hash, s.tx, s.log_index, s.sender, s.nonce, s.campaign, s.first_seq,
               s.count, s.total, s.words_hash, s.paid_count, l.id AS "lane?", a.batch AS "attempt_batch?",
               n.id AS "nonce_batch?",
               (SELECT p.batch FROM postings p WHERE p.campaign = s.campaign AND p.tx = s.tx LIMIT 1) AS posting_batch,
               b.state AS "state?", b.mined_tx AS batch_tx, b.block_number AS batch_block, b.block_hash AS batch_hash,
               g.count AS "segment_count?", g.words_hash AS "segment_hash?",
               (SELECT u.amount FROM suspense u
                WHERE u.chain_id = s.chain_id AND u.tx = s.tx AND u.log_index = s.log_index
                ORDER BY u.turn DESC LIMIT 1) AS suspended,
               EXISTS (SELECT FROM recovered_txs r WHERE r.chain_id = s.chain_id AND r.tx = s.tx) AS "recovered!",
               EXISTS (SELECT FROM acknowledgements k
                       WHERE k.code = ANY ($4) AND split_part(k.about, '/tx:0x', 2) = encode(s.tx, 'hex')) AS "acknowledged!"
        FROM unnest($1::bigint[], $2::bigint[]) AS f (chain_id, number)
        JOIN audit_settlements s ON s.chain_id = f.chain_id AND s.block_number <= f.number
        LEFT JOIN attempts a ON a.tx = s.tx
        LEFT JOIN vaults v ON v.chain_id = s.chain_id AND v.address = s.vault
        LEFT JOIN lanes l ON l.vault = v.id AND l.address = s.sender
        LEFT JOIN batches n ON n.lane = l.id AND n.nonce = s.nonce AND NOT n.adopted
        LEFT JOIN batches b ON b.id = coalesce(a.batch, n.id)
        LEFT JOIN segments g ON g.campaign = s.campaign AND g.first_seq = s.first_seq AND g.batch = coalesce(a.batch, n.id)
        WHERE $3::bigint IS NULL OR s.campaign = $3
        ORDER BY s.chain_id, s.block_number, s.log_index
        "#,
        &chains,
        &blocks,
        only,
        &PAYMENT_ALERTS.map(str::to_owned),
    )
    .fetch(&mut **conn as &mut PgConnection);
    while let Some(row) = rows.try_next().await? {
        known.settlements += 1;
        compare_row(&row, findings, known, pending)?;
    }
    Ok(())
}

fn compare_row(
    row: &Row,
    findings: &mut Findings,
    known: &mut Known,
    pending: &Pending,
) -> Result<(), AuditError> {
    let campaign = Some(any_campaign(row.campaign));
    let place = row.place()?;
    match row.owner() {
        Owner::Ours(batch) => compare_ours(row, batch, campaign, findings, pending),
        Owner::BatchLost(batch) => {
            known.lost.extend(row.lane.map(|lane| (lane, row.nonce)));
            let detail =
                format!("{place} settled it, nonce {} of its lane; the ledger has no such batch", row.nonce);
            findings.add(Code::BatchMissing, format!("batch:{batch}"), campaign, detail);
            Ok(())
        }
        Owner::AttemptLost(batch) => {
            let detail =
                format!("{place} settled it; the ledger has no such transaction among those it signed");
            findings.add(Code::AttemptMissing, format!("batch:{batch}"), campaign, detail);
            Ok(())
        }
        Owner::Recovered => compare_suspense(row, campaign, findings, pending),
        Owner::Outside => from_outside(row, campaign, findings, known, pending),
    }
}

fn compare_ours(
    row: &Row,
    batch: Uuid,
    campaign: Option<CampaignId>,
    findings: &mut Findings,
    pending: &Pending,
) -> Result<(), AuditError> {
    let about = format!("batch:{batch}");
    let place = row.place()?;
    match (&row.segment_hash, row.segment_count) {
        (Some(hash), Some(count)) if *hash == row.words_hash && count == row.count => {}
        (None, _) => {
            let detail = format!("{place} settled {}; the ledger's batch has no such segment", row.paid());
            findings.add(Code::SegmentDiffers, about.clone(), campaign, detail);
        }
        (Some(hash), count) => {
            let detail = format!(
                "{place} settled {} words with hash {} from seq {}; the ledger's segment has {} with hash {}",
                row.count,
                hash_of(&row.words_hash, "audit_settlements", "words_hash")?,
                row.first_seq.cast_unsigned(),
                count.unwrap_or(0),
                hash_of(hash, "segments", "words_hash")?,
            );
            findings.add(Code::SegmentDiffers, about.clone(), campaign, detail);
        }
    }
    let confirmed = row.state.as_deref() == Some("confirmed")
        && row.batch_tx.as_ref() == Some(&row.tx)
        && row.batch_block == Some(row.block_number)
        && row.batch_hash.as_ref() == Some(&row.block_hash);
    if !confirmed && !pending.unsettled.contains(&hash_of(&row.tx, "audit_settlements", "tx")?) {
        let state = row.state.as_deref().unwrap_or("unknown");
        let theirs = row.batch_block.map_or_else(|| "no block".to_owned(), |block| format!("block {block}"));
        let detail = format!("{place} settled it; the ledger has it as {state}, in {theirs}");
        findings.add(Code::BatchDiffers, about.clone(), campaign, detail);
    }
    if row.suspended.as_ref().is_some_and(|suspended| suspended.sign() == Sign::Plus) {
        let detail = format!("{place} is a settlement of this ledger, and the books have it in suspense");
        findings.add(Code::SuspenseDiffers, about, campaign, detail);
    }
    Ok(())
}

fn from_outside(
    row: &Row,
    campaign: Option<CampaignId>,
    findings: &mut Findings,
    known: &mut Known,
    pending: &Pending,
) -> Result<(), AuditError> {
    let tx: B256 = hash_of(&row.tx, "audit_settlements", "tx")?;
    let sender = Address::try_from(row.sender.as_slice())
        .map_err(|_| inconsistent("audit_settlements", "sender", tx))?;
    known.outside.insert(tx);
    known.lanes.extend(row.lane);
    let who = row.lane.map_or_else(|| format!("account {sender}"), |lane| format!("lane {lane}, {sender},"));
    let nothing = BigDecimal::from(0);
    let booked = match &row.suspended {
        Some(_) => "has it in suspense",
        None if row.total == nothing => "did not sign it",
        None => "did not sign it, and has it not in suspense",
    };
    let place = row.place()?;
    let about = format!("campaign:{}/tx:{tx}", any_campaign(row.campaign));
    let detail = format!(
        "{who} paid {} by {place} on chain {}; the ledger {booked}",
        row.paid(),
        row.chain_id.cast_unsigned()
    );
    let code = if row.acknowledged { Code::SettlementAcknowledged } else { Code::SettlementFromOutside };
    findings.add(code, about, campaign, detail);
    compare_suspense(row, campaign, findings, pending)
}

/// What was paid and not by a batch of its own is in suspense, as it was.
fn compare_suspense(
    row: &Row,
    campaign: Option<CampaignId>,
    findings: &mut Findings,
    pending: &Pending,
) -> Result<(), AuditError> {
    let tx: B256 = hash_of(&row.tx, "audit_settlements", "tx")?;
    let place = row.place()?;
    let about = format!("campaign:{}/tx:{tx}", any_campaign(row.campaign));
    let expected = (row.total.sign() == Sign::Plus).then_some(&row.total);
    if row.suspended.as_ref() != expected && !pending.unbooked.contains(&tx) {
        let theirs = row.suspended.as_ref().map_or_else(|| "nothing".to_owned(), BigDecimal::to_string);
        let detail = format!(
            "{place} paid {} without a batch, log {}; the books have {theirs} of it in suspense",
            row.total, row.log_index,
        );
        findings.add(Code::SuspenseDiffers, about, campaign, detail);
    }
    Ok(())
}
