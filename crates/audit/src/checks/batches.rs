//! Batches and the transactions that were signed for them.

use alloy::primitives::{Address, B256, keccak256};
use chrono::TimeDelta;
use futures::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    AuditError,
    error::inconsistent,
    finding::Code,
    reading::{SignedSegments, read_signed},
    snapshot::{Snapshot, any_campaign, hash_of},
};

/// How far the clocks of replicas may be apart: what was signed that long before the last comparison is looked at again.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(10);

/// Compares batches with their transactions, and both with the chain.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    find_lost(snapshot).await?;
    find_unsigned(snapshot).await?;
    find_unsettled(snapshot).await?;
    check_attempts(snapshot).await
}

/// Batches that something names and that have no row.
async fn find_lost(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let lost = sqlx::query!(
        r#"
        SELECT x.batch AS "batch!", min(x.campaign) AS campaign
        FROM (SELECT batch, NULL::bigint AS campaign FROM attempts
              UNION ALL SELECT batch, campaign FROM segments
              UNION ALL SELECT batch, campaign FROM postings) x
        LEFT JOIN batches b ON b.id = x.batch
        WHERE b.id IS NULL
        GROUP BY x.batch
        HAVING $1::bigint IS NULL OR min(x.campaign) = $1
        "#,
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in &lost {
        let campaign = row.campaign.map(any_campaign);
        let detail = "transactions, segments or postings name it; the ledger has no such batch".to_owned();
        snapshot.findings.add(Code::BatchMissing, format!("batch:{}", row.batch), campaign, detail);
    }
    let batches: Vec<Uuid> = lost.iter().map(|row| row.batch).collect();
    let attempts = sqlx::query!("SELECT raw FROM attempts WHERE batch = ANY ($1)", &batches)
        .fetch_all(&mut *snapshot.conn)
        .await?;
    let lanes = sqlx::query!("SELECT id, address FROM lanes").fetch_all(&mut *snapshot.conn).await?;
    for attempt in attempts {
        let Some(signed) = read_signed(Address::ZERO, &attempt.raw) else { continue };
        let lanes = lanes.iter().filter(|lane| lane.address == signed.sender.as_slice());
        snapshot.known.lost.extend(lanes.map(|lane| (lane.id, signed.nonce.cast_signed())));
    }
    Ok(())
}

/// Batches without any transaction.
async fn find_unsigned(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT b.id, b.state, (SELECT min(s.campaign) FROM segments s WHERE s.batch = b.id) AS campaign
        FROM batches b
        WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.batch = b.id)
          -- a transaction that was recovered may be of several batches, and its bytes are the first one's
          AND NOT (b.adopted AND EXISTS (SELECT FROM attempts a JOIN adoptions d ON d.batch = a.batch
                                         WHERE a.tx = b.mined_tx AND d.tx = a.tx))
          AND ($1::bigint IS NULL OR EXISTS (SELECT FROM segments s WHERE s.batch = b.id AND s.campaign = $1))
        "#,
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let detail =
            format!("the batch is {}; the ledger has no transaction that was signed for it", row.state);
        let campaign = row.campaign.map(any_campaign);
        snapshot.findings.add(Code::AttemptMissing, format!("batch:{}", row.id), campaign, detail);
    }
    Ok(())
}

/// Batches that count as confirmed and that no vault settled. A nonce that was filled by an empty transaction settles
/// nothing.
async fn find_unsettled(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT b.id, b.block_number, b.mined_tx, v.address, v.chain_id,
               (SELECT a.raw FROM attempts a WHERE a.tx = b.mined_tx) AS raw,
               (SELECT min(s.campaign) FROM segments s WHERE s.batch = b.id) AS campaign
        FROM batches b
        JOIN lanes l ON l.id = b.lane
        JOIN vaults v ON v.id = l.vault
        WHERE b.state = 'confirmed' AND v.chain_id = ANY ($1)
          AND EXISTS (SELECT FROM segments s WHERE s.batch = b.id AND ($2::bigint IS NULL OR s.campaign = $2))
          AND NOT EXISTS (SELECT FROM audit_settlements t WHERE t.tx = b.mined_tx)
          AND NOT EXISTS (SELECT FROM audit_settlements t JOIN attempts a ON a.tx = t.tx WHERE a.batch = b.id)
        "#,
        &snapshot.chains(),
        snapshot.only(),
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let vault = Address::try_from(row.address.as_slice())
            .map_err(|_| inconsistent("vaults", "address", row.chain_id))?;
        let signed = row.raw.as_deref().and_then(|raw| read_signed(vault, raw));
        if signed.is_some_and(|signed| signed.segments.is_empty()) {
            continue;
        }
        let tx = row.mined_tx.as_deref().map(|tx| hash_of(tx, "batches", "mined_tx")).transpose()?;
        if tx.is_some_and(|tx| snapshot.pending.unsettled.contains(&tx)) {
            continue;
        }
        let detail = format!(
            "the ledger has it confirmed in block {} by transaction {}; the vault settled nothing in that",
            row.block_number.unwrap_or_default(),
            tx.unwrap_or(B256::ZERO),
        );
        let campaign = row.campaign.map(any_campaign);
        snapshot.findings.add(Code::BatchNotOnChain, format!("batch:{}", row.id), campaign, detail);
    }
    Ok(())
}

struct Attempt {
    batch: Uuid,
    tx: Vec<u8>,
    raw: Vec<u8>,
    nonce: i64,
    lane: i32,
    address: Vec<u8>,
    vault: Vec<u8>,
    campaigns: Option<Vec<i64>>,
    firsts: Option<Vec<i64>>,
    counts: Option<Vec<i32>>,
    hashes: Option<Vec<Vec<u8>>>,
    adopted: bool,
}

/// The stored bytes of transactions: what was signed since the last comparison, or all.
async fn check_attempts(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let since = snapshot.since.map(|since| since - CLOCKS_APART);
    let only = snapshot.only();
    let Snapshot { conn, findings, .. } = snapshot;
    let mut attempts = sqlx::query_as!(
        Attempt,
        r#"
        SELECT a.batch, a.tx, a.raw, b.nonce, l.id AS lane, l.address, v.address AS vault, s.campaigns, s.firsts, s.counts,
               s.hashes, b.adopted
        FROM attempts a
        JOIN batches b ON b.id = a.batch
        JOIN lanes l ON l.id = b.lane
        JOIN vaults v ON v.id = l.vault
        CROSS JOIN LATERAL (
            SELECT array_agg(campaign) AS campaigns, array_agg(first_seq) AS firsts, array_agg(count) AS counts,
                   array_agg(words_hash) AS hashes
            FROM segments s WHERE s.batch = a.batch
        ) s
        WHERE ($1::timestamptz IS NULL OR a.signed_at >= $1) AND ($2::bigint IS NULL OR $2 = ANY (s.campaigns))
        "#,
        since,
        only,
    )
    .fetch(&mut **conn as &mut PgConnection);
    while let Some(attempt) = attempts.try_next().await? {
        if let Some(problem) = attempt.problem()? {
            let campaign = attempt.campaigns.as_deref().and_then(<[i64]>::first).copied().map(any_campaign);
            findings.add(Code::AttemptDiffers, format!("batch:{}", attempt.batch), campaign, problem);
        }
    }
    Ok(())
}

impl Attempt {
    /// What is wrong with the bytes.
    fn problem(&self) -> Result<Option<String>, AuditError> {
        let tx = hash_of(&self.tx, "attempts", "tx")?;
        let hash = keccak256(&self.raw);
        if hash != tx {
            return Ok(Some(format!("the bytes stored as transaction {tx} hash to {hash}")));
        }
        let vault = Address::try_from(self.vault.as_slice())
            .map_err(|_| inconsistent("vaults", "address", self.lane))?;
        let Some(signed) = read_signed(vault, &self.raw) else {
            return Ok(Some(format!("the bytes stored as transaction {tx} are no signed transaction")));
        };
        if signed.sender.as_slice() != self.address || signed.nonce != self.nonce.cast_unsigned() {
            return Ok(Some(format!(
                "transaction {tx} is nonce {} of {}; the ledger has it as nonce {} of lane {}",
                signed.nonce, signed.sender, self.nonce, self.lane,
            )));
        }
        let ours = self.segments()?;
        // What was adopted of a settlement is compared with what the chain has of it.
        if self.adopted || signed.segments.is_empty() || signed.segments == ours {
            return Ok(None);
        }
        let differs = |side: &SignedSegments, other: &SignedSegments| {
            side.iter().find(|(key, value)| other.get(*key) != Some(*value)).map(|(key, _)| *key)
        };
        let place = differs(&signed.segments, &ours).or_else(|| differs(&ours, &signed.segments));
        let (campaign, first_seq) = place.unwrap_or_default();
        Ok(Some(format!(
            "transaction {tx} does not settle what the batch's segments say, from seq {first_seq} of campaign {campaign}"
        )))
    }

    fn segments(&self) -> Result<SignedSegments, AuditError> {
        let [campaigns, firsts] = [&self.campaigns, &self.firsts].map(|list| list.iter().flatten());
        let counts = self.counts.iter().flatten();
        let hashes = self.hashes.iter().flatten();
        campaigns
            .zip(firsts)
            .zip(counts.zip(hashes))
            .map(|((campaign, first), (count, hash))| {
                let hash = hash_of(hash, "segments", "words_hash")?;
                Ok((
                    (campaign.cast_unsigned(), first.cast_unsigned()),
                    (u64::from(count.unsigned_abs()), hash),
                ))
            })
            .collect()
    }
}
