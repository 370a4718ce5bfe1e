//! What the chain says, and whether the books say the same.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, Log, U256},
    sol,
    sol_types::{SolCall, SolEvent},
};
use sqlx::{PgConnection, Row};

use super::{Auditor, Payment, PlaceId, Release};
use crate::chain::{Sealed, SimChain};

sol! {
    struct Part {
        uint64 campaign;
        uint64 firstSeq;
        uint256[] grants;
    }
    function settle(uint64 deadline, Part[] segments, bytes32 seal) external returns (uint256[][] paid);
    event BatchSettled(uint64 indexed campaign, uint64 indexed firstSeq, bytes32 indexed seal, uint256 count, uint256 total, bytes32 grantsHash, uint256[] paid);
    event GrantsCancelled(uint64 indexed campaign, uint64 indexed word, uint256 mask);
    event CampaignReleased(uint64 indexed campaign, uint96 spent, uint96 released);
    event Transfer(address indexed from, address indexed to, uint256 value);
}

/// A segment of calldata: where it begins, and its words.
pub(super) type Segments = Vec<(PlaceId, Vec<U256>)>;

/// The segments of a settlement's calldata; `None` if it is none.
pub(super) fn segments(data: &[u8]) -> Option<Segments> {
    let call = settleCall::abi_decode(data).ok()?;
    Some(call.segments.into_iter().map(|part| ((part.campaign, part.firstSeq), part.grants)).collect())
}

impl Auditor {
    /// Reads the blocks that have become final.
    pub(crate) fn read_chain(&mut self, chain: &SimChain) {
        let mut findings = Vec::new();
        while self.read_to < chain.final_number() {
            self.read_to += 1;
            if let Some(sealed) = chain.canonical(self.read_to) {
                self.read_block(sealed, &mut findings);
            }
        }
        self.seen.extend(findings);
    }

    fn read_block(&mut self, sealed: &Sealed, findings: &mut Vec<String>) {
        for (tx, receipt) in sealed.txs.iter().zip(&sealed.receipts) {
            if !receipt.receipt.status() {
                continue;
            }
            self.read_cancels(sealed.block.header.number, receipt.receipt.logs(), findings);
            let Some(words) = segments(&tx.tx.input) else { continue };
            let words: BTreeMap<PlaceId, U256> = words
                .into_iter()
                .flat_map(|((campaign, first), words)| {
                    words.into_iter().zip(first..).map(move |(word, seq)| ((campaign, seq), word))
                })
                .collect();
            let mut transfers: Vec<Transfer> = Vec::new();
            for log in receipt.receipt.logs() {
                if let Ok(transfer) = Transfer::decode_log(log)
                    && transfer.from == self.vault
                {
                    transfers.push(transfer.data);
                } else if log.address == self.vault
                    && let Some(settled) = settled(log)
                {
                    let block = sealed.block.header.number;
                    self.read_segment(block, &settled, &words, std::mem::take(&mut transfers), findings);
                }
            }
        }
    }

    /// A place is burned once, and never paid then, nor is any of a campaign that was released.
    fn read_cancels(&mut self, block: u64, logs: &[Log], findings: &mut Vec<String>) {
        let ours = || logs.iter().filter(|log| log.address == self.vault);
        for released in ours().filter_map(|log| CampaignReleased::decode_log(log).ok()) {
            let amount = U256::from(released.released);
            self.released.insert(released.campaign, Release { block, amount });
        }
        for cancelled in ours().filter_map(|log| GrantsCancelled::decode_log(log).ok()) {
            for bit in bits(cancelled.mask) {
                let place = (cancelled.campaign, cancelled.word * 256 + bit);
                let again = self.cancelled.insert(place, block).is_some();
                if again || self.paid.contains_key(&place) {
                    findings.push(format!("INV 1: {place:?} was burned in block {block}, and before"));
                }
            }
        }
    }

    /// A hold of a grant that has a place is given back when a final block has burned it, or released its campaign, and not before.
    pub(super) async fn voids(&self, conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT v.campaign, v.number, r.first_seq + array_position(r.numbers, v.number) - 1
             FROM audited_voids v JOIN runs r ON r.campaign = v.campaign AND v.number = ANY (r.numbers)",
        )
        .fetch_all(&mut *conn)
        .await?;
        let mut findings = Vec::new();
        for row in rows {
            let (campaign, number, seq): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let place = (u64::try_from(campaign)?, u64::try_from(seq)?);
            if !self.cancelled.contains_key(&place) && !self.released.contains_key(&place.0) {
                findings.push(format!(
                    "INV 5: the hold of grant {campaign}-{number} was voided, and its place is not burned on the final chain"
                ));
            }
        }
        Ok(findings)
    }

    /// The k-th bit that a segment set is the k-th transfer before its log.
    fn read_segment(
        &mut self,
        block: u64,
        settled: &BatchSettled,
        words: &BTreeMap<PlaceId, U256>,
        transfers: Vec<Transfer>,
        findings: &mut Vec<String>,
    ) {
        let base = settled.firstSeq & !0xff;
        let seqs: Vec<u64> = settled
            .paid
            .iter()
            .zip(0_u64..)
            .flat_map(|(mask, at)| bits(*mask).map(move |bit| base + 256 * at + bit))
            .collect();
        if seqs.len() != transfers.len() {
            findings.push(format!(
                "INV 4: block {block} set {} bits with {} transfers",
                seqs.len(),
                transfers.len()
            ));
        }
        for (seq, transfer) in seqs.into_iter().zip(transfers) {
            let place = (settled.campaign, seq);
            let word = words.get(&place).copied().unwrap_or_default();
            let expected = (U256::from_be_slice(transfer.to.as_slice()) << 96) | transfer.value;
            if word != expected {
                findings.push(format!("INV 4: block {block} paid {place:?} otherwise than its word says"));
            }
            if !self.recipients.contains(&transfer.to) {
                self.recipients.push(transfer.to);
            }
            let payment = Payment { recipient: transfer.to, amount: transfer.value, block };
            if self.cancelled.contains_key(&place) {
                findings.push(format!("INV 1: {place:?} was paid in block {block}, and burned before"));
            }
            if self.released.contains_key(&settled.campaign) {
                findings.push(format!(
                    "INV 1: {place:?} was paid in block {block}, and its campaign released before"
                ));
            }
            if self.paid.insert(place, payment).is_some() {
                findings.push(format!("INV 1: {place:?} was paid again in block {block}"));
            }
        }
    }

    /// Postings never run ahead of the chain, and at rest are what it paid.
    pub(super) async fn chain_and_books(
        &self,
        conn: &mut PgConnection,
        at_rest: bool,
    ) -> anyhow::Result<Vec<String>> {
        let mut findings = Vec::new();
        let rows = sqlx::query(
            "SELECT a.campaign, a.paid::text, (a.funded - a.overdrawn)::text, coalesce(c.final_number, 0) AS final_number,
                    CASE WHEN $1 THEN (SELECT count(*) FROM open_suspense WHERE unknown > 0 AND $2)
                         ELSE (SELECT count(*) FROM suspense) END AS suspense,
                    -- payments whose grants are lost with what was set back
                    (SELECT coalesce(sum(amount), 0)::text FROM orphans o
                     WHERE o.campaign = a.campaign AND o.number IS NULL) AS orphans
             FROM accounts a CROSS JOIN chains c ORDER BY a.campaign",
        )
        .bind(self.restored || self.taken_back)
        .bind(at_rest)
        .fetch_all(&mut *conn)
        .await?;
        for row in rows {
            let campaign: i64 = row.get(0);
            let (posted, cap): (U256, U256) =
                (row.get::<String, _>(1).parse()?, row.get::<String, _>(2).parse()?);
            let known = u64::try_from(row.get::<i64, _>(3))?;
            let of_campaign = || self.paid.iter().filter(|((id, _), _)| i64::try_from(*id) == Ok(campaign));
            let settled: U256 = of_campaign()
                .filter(|(_, payment)| payment.block <= known)
                .map(|(_, payment)| payment.amount)
                .sum();
            let orphans: U256 = row.get::<String, _>(5).parse()?;
            if posted > settled || (at_rest && posted + orphans != settled) {
                findings.push(format!(
                    "INV 4: campaign {campaign}: {posted} are posted, and {settled} paid up to block {known}"
                ));
            }
            let all: U256 = of_campaign().map(|(_, payment)| payment.amount).sum();
            if all > cap && !cap.is_zero() {
                findings.push(format!("INV 6: campaign {campaign} paid {all}, and has {cap}"));
            }
            if row.get::<i64, _>(4) != 0 {
                findings.push("INV 4: there are payments that nobody explains".to_owned());
            }
        }
        Ok(findings)
    }

    /// Whatever was signed says what the places' words are, and all attempts of a nonce say the same.
    pub(super) async fn words(&self, conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
        let mut findings = Vec::new();
        let mut places: BTreeMap<PlaceId, U256> = BTreeMap::new();
        for row in sqlx::query("SELECT campaign, first_seq, words FROM runs").fetch_all(&mut *conn).await? {
            let (campaign, first): (i64, i64) = (row.get(0), row.get(1));
            let words: Vec<u8> = row.get(2);
            for (word, seq) in words.chunks(32).zip(first..) {
                places.insert((u64::try_from(campaign)?, u64::try_from(seq)?), U256::from_be_slice(word));
            }
        }
        for row in sqlx::query("SELECT campaign, seq, word FROM orphans WHERE number IS NULL")
            .fetch_all(&mut *conn)
            .await?
        {
            let place = (u64::try_from(row.get::<i64, _>(0))?, u64::try_from(row.get::<i64, _>(1))?);
            if places.insert(place, U256::from_be_slice(row.get(2))).is_some() || !self.restored {
                findings.push(format!("INV 1: {place:?} is an orphan and a grant's"));
            }
        }
        for (place, payment) in &self.paid {
            let expected = (U256::from_be_slice(payment.recipient.as_slice()) << 96) | payment.amount;
            if places.get(place) != Some(&expected) {
                findings.push(format!("INV 1: {place:?} was paid by another word than was given to it"));
            }
        }
        let mut batches: BTreeMap<String, Segments> = BTreeMap::new();
        let attempts = sqlx::query(
            // What was adopted holds the words of all that the transaction was to settle; what it paid is compared above.
            "SELECT a.batch::text, a.raw FROM attempts a JOIN batches b ON b.id = a.batch WHERE NOT b.adopted
             ORDER BY a.batch, a.id",
        )
        .fetch_all(&mut *conn)
        .await?;
        for row in attempts {
            let (batch, raw): (String, Vec<u8>) = (row.get(0), row.get(1));
            let Some(tx) = crate::chain::PoolTx::decode(&raw.into()) else {
                findings.push(format!("INV 10: batch {batch} has an attempt that cannot be read"));
                continue;
            };
            if tx.tx.input.is_empty() {
                continue;
            }
            let found = segments(&tx.tx.input).unwrap_or_default();
            for ((campaign, first), words) in &found {
                for (word, seq) in words.iter().zip(*first..) {
                    // A word of zero is a hole: it pays nobody.
                    if !word.is_zero() && places.get(&(*campaign, seq)) != Some(word) {
                        findings.push(format!("INV 10: batch {batch} pays {campaign}/{seq} by another word"));
                    }
                }
            }
            if batches.entry(batch.clone()).or_insert_with(|| found.clone()) != &found {
                findings.push(format!("INV 10: attempts of batch {batch} differ"));
            }
        }
        Ok(findings)
    }

    /// Nothing that was paid waits to be sent again.
    pub(super) async fn sent_again(&self, conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
        let rows: Vec<(i64, i64, i32)> =
            sqlx::query_as("SELECT campaign, first_seq, count FROM requeues").fetch_all(&mut *conn).await?;
        let mut findings = Vec::new();
        for (campaign, first, count) in rows {
            let (campaign, first) = (u64::try_from(campaign)?, u64::try_from(first)?);
            for seq in first..first + u64::from(count.unsigned_abs()) {
                if self.payment((campaign, seq)).is_some() {
                    findings.push(format!("INV 8: {campaign}/{seq} was paid, and waits to be sent again"));
                }
            }
        }
        Ok(findings)
    }

    /// What the final chain paid for a place.
    pub(super) fn payment(&self, place: PlaceId) -> Option<(Address, U256)> {
        self.paid.get(&place).map(|payment| (payment.recipient, payment.amount))
    }
}

/// The bits that are set.
fn bits(mask: U256) -> impl Iterator<Item = u64> {
    (0..256_u64).filter(move |bit| mask.bit(usize::try_from(*bit).unwrap_or(0)))
}

fn settled(log: &Log) -> Option<BatchSettled> {
    let topics = log.topics();
    (topics.first() == Some(&B256::from(BatchSettled::SIGNATURE_HASH)))
        .then(|| BatchSettled::decode_log(log).ok().map(|log| log.data))
        .flatten()
}
