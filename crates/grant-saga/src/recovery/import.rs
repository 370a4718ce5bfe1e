//! What the chain has paid that the database does not know: adopted, orphaned, or left to an operator.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy::primitives::B256;
use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use laurel_chain::{ChainNode, GrantWord};
use laurel_events::{Amount, CampaignId, NewEvent};
use laurel_ledger::{ChainPlace, Context, LedgerError, Vault, amount_to_sql, append, find_given_places};
use sqlx::PgConnection;

use super::{
    RecoverError, Recovery,
    settlement::{LogPlace, Read, Settlement, read_settlement},
};
use crate::{
    Lane,
    adoption::{PaidPlace, adopt, runs_of},
    compensation::failed_among,
    list_lanes,
    requeues::{requeue, take_out},
};

/// Something that an operator has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The campaign, as the chain numbers it.
    pub campaign: CampaignId,
    /// The transaction.
    pub tx: B256,
    /// What is wrong with it.
    pub why: String,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Grants that the database knew and that had been paid.
    pub adopted: usize,
    /// Payments whose grants are lost.
    pub orphaned: usize,
    /// What could not be explained.
    pub found: Vec<Found>,
}

/// What was read of one campaign.
#[derive(Default)]
struct Payments {
    /// Settlements, and what they paid.
    ours: Vec<(Settlement, Vec<PaidPlace>)>,
    /// The place after the last one that anybody has used.
    end: u64,
}

impl Recovery {
    /// Explains what is in suspense, as far as the chain does. To be called when nothing more of what was signed before can
    /// be paid, and all that was paid is booked.
    ///
    /// # Errors
    /// If database or chain do not answer. Campaigns before that are done.
    pub async fn import(&self, now: DateTime<Utc>) -> Result<Imported, RecoverError> {
        let lanes = list_lanes(&mut *self.pool.acquire().await?).await?;
        let mut imported = Imported::default();
        for (vault, node) in &self.chains {
            let of_vault: Vec<Lane> = lanes.iter().filter(|lane| lane.vault == vault.id).cloned().collect();
            let campaigns = self.read(vault, &**node, &of_vault, &mut imported).await?;
            for (campaign, payments) in campaigns {
                let mut tx = self.pool.begin().await?;
                let events =
                    explain(&mut tx, now, vault.identity.chain_id, campaign, &payments, &mut imported)
                        .await?;
                append(&mut tx, &Context::at(now), &events).await?;
                tx.commit().await?;
            }
        }
        Ok(imported)
    }

    /// Reads everything of a vault that is in suspense and not explained, by campaign of ours. The burned places of other
    /// campaigns, too, are not given again.
    async fn read(
        &self,
        vault: &Vault,
        node: &dyn ChainNode,
        lanes: &[Lane],
        imported: &mut Imported,
    ) -> Result<BTreeMap<CampaignId, Payments>, RecoverError> {
        let rows = sqlx::query!(
            r#"
            SELECT s.tx AS "tx!", s.log_index AS "log_index!", s.block_number, s.block_hash,
                   s.on_chain_campaign AS "on_chain_campaign!"
            FROM open_suspense s
            WHERE s.vault = $1 AND s.unknown > 0
            ORDER BY s.block_number, s.log_index
            "#,
            vault.id.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut campaigns: BTreeMap<CampaignId, Payments> = BTreeMap::new();
        for number in self.campaigns(vault).await? {
            campaigns.insert(number, Payments::default());
        }
        for row in rows {
            let tx = hash(&row.tx)?;
            let (Some(block_number), Some(block_hash)) = (row.block_number, &row.block_hash) else {
                continue;
            };
            let place = LogPlace {
                tx,
                log_index: row.log_index.cast_unsigned(),
                block_number: block_number.cast_unsigned(),
                block_hash: hash(block_hash)?,
            };
            let Read { campaign, end, ours } =
                read_settlement(node, vault.identity.vault, lanes, place).await?;
            let Some(payments) = campaigns.get_mut(&campaign) else {
                let why = "pays for a campaign that this database does not know".to_owned();
                imported.found.push(Found { campaign, tx, why });
                continue;
            };
            payments.end = payments.end.max(end);
            match ours {
                Ok(settlement) => payments.ours.push(settlement),
                Err(why) => imported.found.push(Found { campaign, tx, why }),
            }
        }
        Ok(campaigns)
    }

    /// The campaigns of a vault that something was paid or burned of which this database does not know.
    async fn campaigns(&self, vault: &Vault) -> Result<Vec<CampaignId>, RecoverError> {
        let numbers = sqlx::query_scalar!(
            r#"
            SELECT c.id FROM campaigns c
            WHERE c.vault = $1
              AND (EXISTS (SELECT FROM open_suspense s
                           WHERE s.vault = c.vault AND s.on_chain_campaign = c.id AND s.unknown > 0)
                   OR EXISTS (SELECT FROM queues q WHERE q.campaign = c.id AND q.burned_to > q.next_seq))
            ORDER BY c.id
            "#,
            vault.id.0,
        );
        let numbers = numbers.fetch_all(&self.pool).await?;
        Ok(numbers.into_iter().filter_map(|number| CampaignId::try_from(number).ok()).collect())
    }
}

fn hash(bytes: &[u8]) -> Result<B256, LedgerError> {
    let wrong = |_| LedgerError::Inconsistent {
        table: "suspense",
        column: "tx",
        id: format!("{} bytes", bytes.len()),
    };
    B256::try_from(bytes).map_err(wrong)
}

/// Explains what was paid of one campaign, and moves its queue past everything that the chain has seen.
async fn explain(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    chain_id: u64,
    campaign: CampaignId,
    payments: &Payments,
    imported: &mut Imported,
) -> Result<Vec<NewEvent>, RecoverError> {
    let queue = lock_queue(conn, campaign).await?;
    let mut events = Vec::new();
    let mut paid = BTreeSet::new();
    let mut end = queue.next_seq.max(queue.burned_to).max(payments.end);
    let mut orphans = 0;
    for (settlement, places) in by_tx(&payments.ours) {
        insert_recovered(conn, now, chain_id, settlement).await?;
        let known = known_places(conn, campaign, &places).await?;
        let mut adopted = Vec::new();
        for place in &places {
            end = end.max(place.seq + 1);
            match known.get(&place.seq) {
                Some(Known::Open(word)) if *word == place.word => {
                    paid.insert(place.seq);
                    adopted.push(*place);
                }
                // Of a settlement that was explained in part before.
                Some(Known::Paid(by)) if *by == settlement.tx => {}
                None => orphans += insert_orphan(conn, chain_id, settlement.tx, campaign, place).await?,
                Some(known) => imported.found.push(Found {
                    campaign,
                    tx: settlement.tx,
                    why: format!("paid place {}, {}", place.seq, known.trouble()),
                }),
            }
        }
        if !adopted.is_empty() {
            let runs = runs_of(campaign, &adopted);
            let told = adopt(conn, now, chain_id, settlement.tx, &runs).await?;
            events.extend(told.into_iter().map(NewEvent::from));
        }
        imported.adopted += adopted.len();
    }
    imported.orphaned += orphans;
    let paid: Vec<u64> = paid.into_iter().collect();
    take_out(conn, campaign, &paid).await?;
    move_on(conn, now, campaign, &queue, &paid, end, orphans).await?;
    Ok(events)
}

/// The settlements, each once, with all that its logs paid in order.
fn by_tx(ours: &[(Settlement, Vec<PaidPlace>)]) -> Vec<(&Settlement, Vec<PaidPlace>)> {
    let mut by_tx: Vec<(&Settlement, Vec<PaidPlace>)> = Vec::new();
    for (settlement, places) in ours {
        match by_tx.iter_mut().find(|(known, _)| known.tx == settlement.tx) {
            Some((_, all)) => all.extend(places),
            None => by_tx.push((settlement, places.clone())),
        }
    }
    for (_, places) in &mut by_tx {
        places.sort_unstable_by_key(|place| place.seq);
    }
    by_tx
}

struct Queue {
    next_seq: u64,
    batched_to: u64,
    burned_to: u64,
}

/// The campaign's queue, which begins here if it has none.
async fn lock_queue(conn: &mut PgConnection, campaign: CampaignId) -> Result<Queue, LedgerError> {
    sqlx::query!(
        "INSERT INTO queues (campaign, vault) SELECT id, vault FROM campaigns WHERE id = $1 ON CONFLICT DO NOTHING",
        campaign.number(),
    )
    .execute(&mut *conn)
    .await?;
    let row = sqlx::query!(
        "SELECT next_seq, batched_to, burned_to FROM queues WHERE campaign = $1 FOR UPDATE",
        campaign.number(),
    )
    .fetch_one(conn)
    .await?;
    Ok(Queue {
        next_seq: row.next_seq.cast_unsigned(),
        batched_to: row.batched_to.cast_unsigned(),
        burned_to: row.burned_to.cast_unsigned(),
    })
}

/// What the database knows of a place.
enum Known {
    /// It was given with this word, and its grant is neither paid nor failed.
    Open(B256),
    /// A settlement that was recovered paid it.
    Paid(B256),
    Failed,
}

impl Known {
    const fn trouble(&self) -> &'static str {
        match self {
            Self::Open(_) => "which has another word here",
            Self::Paid(_) => "which another settlement has paid",
            Self::Failed => "whose grant has failed here",
        }
    }
}

async fn known_places(
    conn: &mut PgConnection,
    campaign: CampaignId,
    places: &[PaidPlace],
) -> Result<HashMap<u64, Known>, LedgerError> {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(HashMap::new()) };
    let count = u32::try_from(last.seq - first.seq + 1).unwrap_or(u32::MAX);
    let given = find_given_places(conn, campaign, first.seq, count).await?;
    let failed = failed_among(conn, campaign, &given).await?;
    let seqs: Vec<i64> = given.iter().map(|place| place.seq.cast_signed()).collect();
    let adopted = sqlx::query!(
        r#"
        SELECT p.seq AS "seq!", a.tx FROM unnest($2::bigint[]) AS p (seq)
        JOIN adoptions a ON a.campaign = $1
        JOIN segments s ON s.batch = a.batch AND s.campaign = a.campaign AND s.first_seq = a.first_seq
                       AND s.first_seq <= p.seq AND s.first_seq + s.count > p.seq
        "#,
        campaign.number(),
        &seqs,
    );
    let mut paid = HashMap::new();
    for row in adopted.fetch_all(conn).await? {
        paid.insert(row.seq.cast_unsigned(), hash(&row.tx)?);
    }
    let known = |place: &ChainPlace| match paid.get(&place.seq) {
        _ if failed.contains(&place.seq) => Known::Failed,
        Some(by) => Known::Paid(*by),
        None => Known::Open(place.word),
    };
    Ok(given.iter().map(|place| (place.seq, known(place))).collect())
}

async fn insert_recovered(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    chain_id: u64,
    settlement: &Settlement,
) -> Result<(), LedgerError> {
    let Settlement { request, block, .. } = settlement;
    sqlx::query!(
        r#"
        INSERT INTO recovered_txs
            (chain_id, tx, lane, nonce, deadline, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas,
             block_number, block_hash, block_time, gas_used, effective_gas_price, recovered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        ON CONFLICT DO NOTHING
        "#,
        chain_id.cast_signed(),
        settlement.tx.as_slice(),
        settlement.lane.0,
        request.nonce.cast_signed(),
        settlement.deadline.cast_signed(),
        settlement.raw.as_ref(),
        request.gas_limit.cast_signed(),
        amount_to_sql(Amount::from(request.max_fee_per_gas)),
        amount_to_sql(Amount::from(request.max_priority_fee_per_gas)),
        block.header.number.cast_signed(),
        block.hash.as_slice(),
        block.header.timestamp.cast_signed(),
        settlement.gas_used.cast_signed(),
        amount_to_sql(Amount::from(settlement.effective_gas_price)),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes a payment whose grant is lost. Returns 1 unless it was noted before.
async fn insert_orphan(
    conn: &mut PgConnection,
    chain_id: u64,
    tx: B256,
    campaign: CampaignId,
    place: &PaidPlace,
) -> Result<usize, LedgerError> {
    let amount: BigDecimal =
        amount_to_sql(GrantWord::decode(place.word).map_or(Amount::ZERO, GrantWord::amount));
    let inserted = sqlx::query!(
        r#"
        INSERT INTO orphans (campaign, seq, word, chain_id, tx, log_index, amount) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT DO NOTHING
        "#,
        campaign.number(),
        place.seq.cast_signed(),
        place.word.as_slice(),
        chain_id.cast_signed(),
        tx.as_slice(),
        place.log_index.cast_signed(),
        amount,
    )
    .execute(conn)
    .await?;
    Ok(usize::try_from(inserted.rows_affected()).unwrap_or(0))
}

/// Has places be given from `end` on. What waited in the queue and was not paid goes again by itself: behind it are places that
/// were never given.
async fn move_on(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    campaign: CampaignId,
    queue: &Queue,
    paid: &[u64],
    end: u64,
    orphans: usize,
) -> Result<(), LedgerError> {
    let waiting = u32::try_from(queue.next_seq - queue.batched_to).unwrap_or(u32::MAX);
    let given = find_given_places(conn, campaign, queue.batched_to, waiting).await?;
    let open = given.iter().map(|place| place.seq).filter(|seq| !paid.contains(seq));
    requeue(conn, campaign, open, now, 0).await?;
    sqlx::query!(
        "UPDATE queues SET next_seq = $2, batched_to = $2, orphans = orphans + $3 WHERE campaign = $1",
        campaign.number(),
        end.cast_signed(),
        orphans as i64,
    )
    .execute(conn)
    .await?;
    Ok(())
}
