//! Settlements of our lanes that the ledger had lost: what a recovery made of them.
//!
//! ```text
//!   a log's words and bits ──┬── adopted: a batch has these places, with the chain's words
//!                            ├── orphaned: nobody has them yet, which is told
//!                            └── neither: as good as from outside
//! ```

use std::collections::HashMap;

use alloy::primitives::{B256, U256, keccak256};
use bigdecimal::BigDecimal;
use futures::TryStreamExt;
use laurel_chain::PaidMask;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    AuditError,
    error::inconsistent,
    finding::{Code, Findings},
    pending::Pending,
    snapshot::{Snapshot, any_campaign, hash_of},
};

/// A log of such a settlement, as the chain has it.
struct Row {
    chain_id: i64,
    block_number: i64,
    block_hash: Vec<u8>,
    tx: Vec<u8>,
    log_index: i32,
    campaign: i64,
    first_seq: i64,
    total: BigDecimal,
    words: Vec<u8>,
    paid: Vec<u8>,
}

/// A part of a log that became a batch.
struct Adoption {
    batch: Uuid,
    first_seq: i64,
    amount: BigDecimal,
    count: Option<i32>,
    words_hash: Option<Vec<u8>>,
    state: Option<String>,
    block_hash: Option<Vec<u8>>,
}

/// A place of a log that waits for its grant.
struct Orphan {
    seq: i64,
    word: Vec<u8>,
    amount: BigDecimal,
}

/// By chain, transaction and log.
type ByLog<T> = HashMap<(i64, Vec<u8>, i32), Vec<T>>;

/// Compares them all.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let adoptions = adoptions(snapshot.conn).await?;
    let orphans = orphans(snapshot.conn).await?;
    let (chains, blocks, only) = (snapshot.chains(), snapshot.blocks(), snapshot.only());
    let Snapshot { conn, findings, pending, .. } = snapshot;
    let mut rows = sqlx::query_as!(
        Row,
        r#"
        SELECT s.chain_id, s.block_number, s.block_hash, s.tx, s.log_index, s.campaign, s.first_seq, s.total, s.words, s.paid
        FROM unnest($1::bigint[], $2::bigint[]) AS f (chain_id, number)
        JOIN audit_settlements s ON s.chain_id = f.chain_id AND s.block_number <= f.number
        JOIN recovered_txs r ON r.chain_id = s.chain_id AND r.tx = s.tx
        JOIN vaults v ON v.chain_id = s.chain_id AND v.address = s.vault
        JOIN lanes l ON l.vault = v.id AND l.address = s.sender
        WHERE $3::bigint IS NULL OR s.campaign = $3
        ORDER BY s.chain_id, s.block_number, s.log_index
        "#,
        &chains,
        &blocks,
        only,
    )
    .fetch(&mut **conn as &mut PgConnection);
    while let Some(row) = rows.try_next().await? {
        let log = (row.chain_id, row.tx.clone(), row.log_index);
        let adopted = adoptions.get(&log).map_or(&[][..], Vec::as_slice);
        let orphaned = orphans.get(&log).map_or(&[][..], Vec::as_slice);
        row.compare(adopted, orphaned, findings, pending)?;
    }
    Ok(())
}

async fn adoptions(conn: &mut PgConnection) -> Result<ByLog<Adoption>, AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT a.chain_id, a.tx, a.log_index, a.batch, a.first_seq, a.amount, s.count AS "count?",
               s.words_hash AS "words_hash?", b.state AS "state?", b.block_hash
        FROM adoptions a
        LEFT JOIN segments s ON s.batch = a.batch AND s.campaign = a.campaign AND s.first_seq = a.first_seq
        LEFT JOIN batches b ON b.id = a.batch AND b.mined_tx = a.tx
        "#,
    )
    .fetch_all(conn)
    .await?;
    let mut by_log = ByLog::new();
    for row in rows {
        let log = (row.chain_id, row.tx, row.log_index);
        by_log.entry(log).or_default().push(Adoption {
            batch: row.batch,
            first_seq: row.first_seq,
            amount: row.amount,
            count: row.count,
            words_hash: row.words_hash,
            state: row.state,
            block_hash: row.block_hash,
        });
    }
    Ok(by_log)
}

async fn orphans(conn: &mut PgConnection) -> Result<ByLog<Orphan>, AuditError> {
    let rows = sqlx::query!(
        "SELECT chain_id, tx, log_index, seq, word, amount FROM orphans WHERE number IS NULL ORDER BY seq"
    )
    .fetch_all(conn)
    .await?;
    let mut by_log = ByLog::new();
    for row in rows {
        let log = (row.chain_id, row.tx, row.log_index);
        by_log.entry(log).or_default().push(Orphan { seq: row.seq, word: row.word, amount: row.amount });
    }
    Ok(by_log)
}

impl Row {
    fn compare(
        &self,
        adopted: &[Adoption],
        orphaned: &[Orphan],
        findings: &mut Findings,
        pending: &Pending,
    ) -> Result<(), AuditError> {
        let tx = hash_of(&self.tx, "audit_settlements", "tx")?;
        let campaign = any_campaign(self.campaign);
        let place = format!("transaction {tx} in block {}, which was recovered,", self.block_number);
        let mask = self.mask()?;
        for part in adopted {
            let about = format!("batch:{}", part.batch);
            if !self.has(part, &mask) {
                let detail = format!(
                    "{place} did not pay what the batch has of campaign {campaign} from seq {}",
                    part.first_seq
                );
                findings.add(Code::SegmentDiffers, about.clone(), Some(campaign), detail);
            }
            let confirmed = part.state.as_deref() == Some("confirmed")
                && part.block_hash.as_ref() == Some(&self.block_hash);
            if !confirmed && !pending.unsettled.contains(&tx) {
                let state = part.state.as_deref().unwrap_or("not of this transaction");
                let detail = format!("{place} paid it; the ledger has it as {state}");
                findings.add(Code::BatchDiffers, about, Some(campaign), detail);
            }
        }
        let mut explained: BigDecimal = adopted.iter().map(|part| &part.amount).sum();
        for orphan in
            orphaned.iter().filter(|orphan| self.paid_word(orphan.seq, &mask) == Some(&orphan.word[..]))
        {
            explained += &orphan.amount;
            let detail = format!(
                "{place} paid {} for seq {}; its grant is lost, and the payment waits for the same outcome",
                orphan.amount, orphan.seq,
            );
            let about = format!("campaign:{campaign}/seq:{}", orphan.seq);
            findings.add(Code::PaymentOrphaned, about, Some(campaign), detail);
        }
        if explained != self.total {
            let detail = format!(
                "{place} paid {}, log {}; batches and lost grants explain {explained} of it",
                self.total, self.log_index,
            );
            let about = format!("campaign:{campaign}/tx:{tx}");
            findings.add(Code::SettlementFromOutside, about, Some(campaign), detail);
        }
        Ok(())
    }

    fn mask(&self) -> Result<PaidMask, AuditError> {
        let bits: Option<Vec<U256>> = self.paid.chunks(32).map(U256::try_from_be_slice).collect();
        let bits = bits.ok_or_else(|| inconsistent("audit_settlements", "paid", self.first_seq))?;
        Ok(PaidMask::new(self.first_seq.cast_unsigned(), bits))
    }

    /// The word that was paid for a place.
    fn paid_word(&self, seq: i64, mask: &PaidMask) -> Option<&[u8]> {
        let at = usize::try_from(seq - self.first_seq).ok()?;
        self.words.chunks(32).nth(at).filter(|_| mask.contains(seq.cast_unsigned()))
    }

    /// Whether all of that was paid, with the words that the batch has.
    fn has(&self, part: &Adoption, mask: &PaidMask) -> bool {
        let Some(count) = part.count else { return false };
        let words: Option<Vec<&[u8]>> = (part.first_seq..part.first_seq + i64::from(count))
            .map(|seq| self.paid_word(seq, mask))
            .collect();
        let hash: Option<B256> = words.map(|words| keccak256(words.concat()));
        hash.is_some_and(|hash| part.words_hash.as_deref() == Some(hash.as_slice()))
    }
}
