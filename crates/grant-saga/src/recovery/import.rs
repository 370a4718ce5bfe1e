//! What the chain has paid that the database does not know: adopted, orphaned, or left to an operator.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;
use chrono::{DateTime, Utc};
use laurel_chain::ChainNode;
use laurel_events::{CampaignId, NewEvent, alert::PAYMENT_NOT_RECOVERED};
use laurel_ledger::{Context, LedgerError, Vault, append, commit, is_acknowledged};
use sqlx::PgConnection;

use super::{
    RecoverError, Recovery,
    settlement::{LogPlace, Read, Settlement, read_settlement},
    store::{Known, insert_orphan, insert_recovered, known_places},
};
use crate::{
    AHEAD_MAX, Lane,
    adoption::{PaidPlace, adopt, runs_of},
    alerts::end_alerts,
    list_lanes,
    requeues::take_out,
    skipping::{lock_queue, move_on},
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

impl Found {
    /// What alerts of it are about.
    pub(super) fn about(&self) -> String {
        format!("campaign:{}/tx:{}", self.campaign, self.tx)
    }
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Grants that the database knew and that had been paid.
    pub adopted: usize,
    /// Payments whose grants are lost.
    pub orphaned: usize,
    /// What could not be explained, and no operator has dealt with before.
    pub found: Vec<Found>,
}

/// What was read of a vault.
struct ReadVault {
    campaigns: BTreeMap<CampaignId, Payments>,
    /// Settlements that paid nothing.
    unpaid: Vec<Settlement>,
}

/// What was read of one campaign.
#[derive(Default)]
struct Payments {
    /// Settlements, and what they paid.
    ours: Vec<(Settlement, Vec<PaidPlace>)>,
    /// The place after the last one that anybody has used.
    end: u64,
    /// What is beyond this one is not ours, whoever signed it.
    end_max: u64,
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
            let read = self.read(vault, &**node, &of_vault, &mut imported).await?;
            if !read.unpaid.is_empty() {
                let mut tx = self.pool.begin().await?;
                for settlement in &read.unpaid {
                    insert_recovered(&mut tx, now, vault.identity.chain_id, settlement).await?;
                }
                commit(tx, "recovery_unpaid").await?;
            }
            for (campaign, payments) in read.campaigns {
                let mut tx = self.pool.begin().await?;
                let events =
                    explain(&mut tx, now, vault.identity.chain_id, campaign, &payments, &mut imported)
                        .await?;
                append(&mut tx, &Context::at(now), &events).await?;
                commit(tx, "recovery_import").await?;
            }
        }
        let mut open = Vec::new();
        for found in imported.found {
            let mut conn = self.pool.acquire().await?;
            if !is_acknowledged(&mut conn, PAYMENT_NOT_RECOVERED, &found.about()).await? {
                open.push(found);
            }
        }
        Ok(Imported { found: open, ..imported })
    }

    /// Reads everything of a vault that is in suspense and not explained, by campaign of ours, and who signed what paid nothing. The
    /// burned places of other campaigns, too, are not given again.
    async fn read(
        &self,
        vault: &Vault,
        node: &dyn ChainNode,
        lanes: &[Lane],
        imported: &mut Imported,
    ) -> Result<ReadVault, RecoverError> {
        let rows = sqlx::query!(
            r#"
            SELECT tx AS "tx!", log_index AS "log_index!", block_hash, paid AS "paid!"
            FROM (
                SELECT tx, log_index, block_number, block_hash, true AS paid FROM open_suspense
                WHERE vault = $1 AND unknown > 0
                UNION ALL SELECT tx, log_index, block_number, block_hash, false FROM unpaid_settlements u
                WHERE vault = $1
                  AND NOT EXISTS (SELECT FROM recovered_txs r WHERE r.chain_id = u.chain_id AND r.tx = u.tx)
            ) s
            ORDER BY block_number, log_index
            "#,
            vault.id.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut campaigns: BTreeMap<CampaignId, Payments> = BTreeMap::new();
        for (number, end) in self.campaigns(vault).await? {
            campaigns.insert(number, Payments { end_max: end + AHEAD_MAX, ..Payments::default() });
        }
        let mut unpaid = Vec::new();
        for row in rows {
            let tx = hash(&row.tx)?;
            let Some(block_hash) = &row.block_hash else { continue };
            let place =
                LogPlace { tx, log_index: row.log_index.cast_unsigned(), block_hash: hash(block_hash)? };
            let Read { campaign, end, ours } =
                read_settlement(node, vault.identity.vault, lanes, place).await?;
            if !row.paid {
                match ours {
                    Ok((settlement, _)) => unpaid.push(settlement),
                    Err(why) => imported.found.push(Found { campaign, tx, why }),
                }
                continue;
            }
            let Some(payments) = campaigns.get_mut(&campaign) else {
                let why = "pays for a campaign that this database does not know".to_owned();
                imported.found.push(Found { campaign, tx, why });
                continue;
            };
            if end > payments.end_max {
                let why = "paid a place far beyond all that are given".to_owned();
                imported.found.push(Found { campaign, tx, why });
                continue;
            }
            payments.end = payments.end.max(end);
            match ours {
                Ok(settlement) => payments.ours.push(settlement),
                Err(why) => imported.found.push(Found { campaign, tx, why }),
            }
        }
        Ok(ReadVault { campaigns, unpaid })
    }

    /// The campaigns of a vault that something was paid or burned of which this database does not know, and up to where it does.
    async fn campaigns(&self, vault: &Vault) -> Result<Vec<(CampaignId, u64)>, RecoverError> {
        let campaigns = sqlx::query!(
            r#"
            SELECT c.id, coalesce(greatest(q.next_seq, q.burned_to), 0) AS "end!"
            FROM campaigns c LEFT JOIN queues q ON q.campaign = c.id
            WHERE c.vault = $1
              AND (EXISTS (SELECT FROM open_suspense s
                           WHERE s.vault = c.vault AND s.on_chain_campaign = c.id AND s.unknown > 0)
                   OR q.burned_to > q.next_seq)
            ORDER BY c.id
            "#,
            vault.id.0,
        );
        let known = campaigns.fetch_all(&self.pool).await?;
        let known = known.into_iter();
        Ok(known
            .filter_map(|row| Some((CampaignId::try_from(row.id).ok()?, row.end.cast_unsigned())))
            .collect())
    }
}

pub(super) fn hash(bytes: &[u8]) -> Result<B256, LedgerError> {
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
            for run in &runs {
                let seqs: Vec<u64> = (run.first_seq..).take(run.words.len()).collect();
                events.extend(end_alerts(conn, campaign, &seqs).await?);
            }
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
