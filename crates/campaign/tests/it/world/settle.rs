//! What the saga and the watcher would have written about settlements.

use alloy_primitives::{Address, B256, U256};
use laurel_chain::{GrantWord, words_hash};
use laurel_events::{
    Amount, BatchId, BlockchainTxConfirmed, CampaignId, GameOutcomeRecorded, GrantId, SettledSegment,
    Sighting, TokenGrantFailed, VoidProof,
};
use laurel_ledger::{GrantRow, find_grant};
use sqlx::Row;
use uuid::Uuid;

use super::{CHAIN, VAULT, World};

impl World {
    pub(crate) async fn grant(&self, campaign: CampaignId, number: u64) -> GrantRow {
        let mut conn = self.pool().acquire().await.unwrap();
        find_grant(&mut conn, GrantId { campaign, number }).await.unwrap().unwrap()
    }

    /// Gives grants the next places of their campaign and puts them into a batch of their own.
    pub(crate) async fn batch(&self, batch: u128, campaign: CampaignId, numbers: &[u64]) -> SettledSegment {
        let first_seq = self.next_seq(campaign).await;
        let mut words = Vec::new();
        for number in numbers {
            let amount = self.grant(campaign, *number).await.amount;
            words.push(GrantWord::new(Address::repeat_byte(0xaa), amount).unwrap().encode());
        }
        let total = words.iter().map(|word| GrantWord::decode(*word).unwrap().amount()).sum();
        let settled = SettledSegment {
            log_index: u32::try_from(first_seq).unwrap(),
            campaign,
            first_seq,
            count: numbers.len() as u32,
            total,
            words_hash: words_hash(&words),
            paid: mask(first_seq, first_seq..first_seq + numbers.len() as u64),
        };
        self.insert_batch(batch, &settled, numbers, &words.concat()).await;
        settled
    }

    async fn next_seq(&self, campaign: CampaignId) -> u64 {
        let next: i64 =
            sqlx::query("SELECT coalesce(max(first_seq + count), 0) FROM runs WHERE campaign = $1")
                .bind(campaign.number())
                .fetch_one(self.pool())
                .await
                .unwrap()
                .get(0);
        next.cast_unsigned()
    }

    async fn insert_batch(&self, batch: u128, settled: &SettledSegment, numbers: &[u64], words: &[u8]) {
        let numbers: Vec<i64> = numbers.iter().map(|number| number.cast_signed()).collect();
        sqlx::query(
            "INSERT INTO runs (campaign, first_seq, count, numbers, words, queued_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(settled.campaign.number())
        .bind(settled.first_seq.cast_signed())
        .bind(settled.count.cast_signed())
        .bind(&numbers)
        .bind(words)
        .bind(self.now())
        .execute(self.pool())
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO lanes (vault, address, state, next_nonce)
             SELECT id, decode(repeat('bb', 20), 'hex'), 'active', 0 FROM vaults
             ON CONFLICT DO NOTHING",
        )
        .execute(self.pool())
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at)
             SELECT $1, l.id, (SELECT count(*) FROM batches), 'mined', 1, $2, $3 FROM lanes l
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(Uuid::from_u128(batch))
        .bind(settled.count.cast_signed())
        .bind(self.now())
        .execute(self.pool())
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash)
             VALUES ($1, $2, $3, $4, $5::numeric, $6)",
        )
        .bind(Uuid::from_u128(batch))
        .bind(settled.campaign.number())
        .bind(settled.first_seq.cast_signed())
        .bind(settled.count.cast_signed())
        .bind(settled.total.to_string().parse::<bigdecimal::BigDecimal>().unwrap())
        .bind(settled.words_hash.as_slice())
        .execute(self.pool())
        .await
        .unwrap();
    }

    /// A settlement is final, and the books hear of it.
    pub(crate) async fn confirm(&mut self, confirmed: BlockchainTxConfirmed) {
        self.append(&[confirmed.into()]).await;
        self.keep_books().await;
    }

    /// A grant fails without ever having had a place, and the books hear of it.
    pub(crate) async fn fail(&mut self, campaign: CampaignId, number: u64) {
        let failed = self.failure(campaign, number).await;
        self.append(&[failed.into()]).await;
        self.keep_books().await;
    }

    /// The only grant of an outcome fails.
    pub(crate) async fn fail_grant_of(&mut self, outcome: &GameOutcomeRecorded) {
        let grant = sqlx::query("SELECT campaign, number FROM grants WHERE outcome = $1")
            .bind(outcome.outcome.uuid())
            .fetch_one(self.pool())
            .await
            .unwrap();
        let campaign = CampaignId::try_from(grant.get::<i64, _>(0)).unwrap();
        self.fail(campaign, grant.get::<i64, _>(1).cast_unsigned()).await;
    }

    pub(crate) async fn failure(&self, campaign: CampaignId, number: u64) -> TokenGrantFailed {
        let grant = self.grant(campaign, number).await;
        TokenGrantFailed {
            grant: grant.id,
            player: grant.player,
            amount: grant.amount,
            reason: "wallet_deadline_passed".to_owned(),
            proof: VoidProof::NeverQueued,
        }
    }

    /// Sets the books back to the beginning of the journal: everything is handled again.
    pub(crate) async fn rewind_books(&self) {
        sqlx::query("UPDATE cursors SET next = 0 WHERE stage = 'books'").execute(self.pool()).await.unwrap();
    }
}

/// A final settlement of what the segments say.
pub(crate) fn confirmed(batch: Option<u128>, segments: Vec<SettledSegment>) -> BlockchainTxConfirmed {
    let tx = B256::with_last_byte(batch.map_or(99, |batch| batch as u8));
    BlockchainTxConfirmed {
        sighting: Sighting {
            chain_id: CHAIN,
            vault: VAULT,
            transition: 1,
            tx,
            batch: batch.map(|batch| BatchId::from(Uuid::from_u128(batch))),
            block_number: 12,
            block_hash: B256::repeat_byte(12),
        },
        gas_used: 21_000,
        effective_gas_price: Amount::from(1_u64),
        segments,
    }
}

/// The bitmap words from that of `first_seq`, with the bits of `seqs` set.
pub(crate) fn mask(first_seq: u64, seqs: impl IntoIterator<Item = u64>) -> Vec<U256> {
    let mut words = Vec::new();
    for seq in seqs {
        let index = ((seq >> 8) - (first_seq >> 8)) as usize;
        words.resize(words.len().max(index + 1), U256::ZERO);
        words[index].set_bit((seq & 0xff) as usize, true);
    }
    words
}
