//! The events that follow from what was seen.

use laurel_chain::VaultLog;
use laurel_events::{
    BlockchainTxConfirmed, BlockchainTxMined, BlockchainTxReorged, BlockchainTxReverted, BlockchainTxUndone,
    CampaignFunded, CampaignFundingUndone, CampaignId, CampaignReleaseUndone, CampaignReleased, Event,
    GrantsCancelUndone, GrantsCancelled, NewEvent, Sighting,
};

use crate::{
    BlockId,
    facts::{Fact, IndexedLog, settled_segments},
    store::Seen,
};

/// One of our transactions is in a block that was added.
pub(crate) fn mined(chain_id: u64, fact: &Fact, block: &BlockId, transition: u64) -> Option<NewEvent> {
    fact.batch?;
    let sighting = sighted(chain_id, fact, block, transition);
    Some(BlockchainTxMined { sighting }.into())
}

fn sighted(chain_id: u64, fact: &Fact, block: &BlockId, transition: u64) -> Sighting {
    Sighting {
        chain_id,
        vault: fact.vault.identity.vault,
        transition,
        tx: fact.tx,
        batch: fact.batch,
        block_number: block.number,
        block_hash: block.hash,
    }
}

/// What a block that was added has burned, told before it is final, which is a bug that a simulation plants.
#[cfg(feature = "faults")]
pub(crate) fn burned(chain_id: u64, fact: &Fact, block: &BlockId, transition: u64) -> Vec<NewEvent> {
    let sighting = sighted(chain_id, fact, block, transition);
    let burned = fact.logs.iter().filter(|indexed| matches!(indexed.log, VaultLog::Cancelled { .. }));
    burned.filter_map(|indexed| of_campaign(&sighting, indexed)).map(NewEvent::from).collect()
}

/// One of our transactions was in a block that was removed.
pub(crate) fn reorged(seen: Seen, transition: u64) -> Option<NewEvent> {
    seen.sighting.batch?;
    let sighting = Sighting { transition, ..seen.sighting };
    Some(BlockchainTxReorged { sighting }.into())
}

/// What a transaction in a final block tells. Strangers' settlements are told as well: the books have to know.
pub(crate) fn finals(seen: Seen, transition: u64) -> Vec<Event> {
    let sighting = Sighting { transition, ..seen.sighting };
    let mut events: Vec<Event> =
        seen.logs.iter().filter_map(|indexed| of_campaign(&sighting, indexed)).collect();
    let segments = settled_segments(&seen.logs);
    let (gas_used, effective_gas_price) = (seen.gas_used, seen.effective_gas_price);
    if !seen.succeeded || seen.empty {
        events.push(BlockchainTxReverted { sighting, gas_used, effective_gas_price }.into());
    } else if sighting.batch.is_some() || !segments.is_empty() {
        events.push(BlockchainTxConfirmed { sighting, gas_used, effective_gas_price, segments }.into());
    }
    events
}

/// What is no more of a transaction in a block that was final, the last fact first.
pub(crate) fn undone(seen: Seen, transition: u64) -> Vec<Event> {
    let undo = |event: Event| {
        Some(match event {
            Event::CampaignFunded(undone) => CampaignFundingUndone { undone }.into(),
            Event::GrantsCancelled(undone) => GrantsCancelUndone { undone }.into(),
            Event::CampaignReleased(undone) => CampaignReleaseUndone { undone }.into(),
            Event::BlockchainTxReverted(BlockchainTxReverted { sighting, .. }) => {
                BlockchainTxUndone { sighting, segments: Vec::new() }.into()
            }
            Event::BlockchainTxConfirmed(BlockchainTxConfirmed { sighting, segments, .. }) => {
                BlockchainTxUndone { sighting, segments }.into()
            }
            _ => return None,
        })
    };
    finals(seen, transition).into_iter().rev().filter_map(undo).collect()
}

/// What a log tells of a campaign beside settlements.
fn of_campaign(sighting: &Sighting, indexed: &IndexedLog) -> Option<Event> {
    let Sighting { chain_id, vault, tx, block_number, .. } = *sighting;
    let log_index = indexed.index;
    Some(match &indexed.log {
        VaultLog::Capped { campaign, token, cap } => CampaignFunded {
            campaign: CampaignId::from(*campaign),
            chain_id,
            vault,
            token: *token,
            cap: *cap,
            tx,
            block_number,
            log_index,
        }
        .into(),
        VaultLog::Cancelled { campaign, word, mask } => GrantsCancelled {
            campaign: CampaignId::from(*campaign),
            chain_id,
            vault,
            word: *word,
            mask: *mask,
            tx,
            block_number,
            log_index,
        }
        .into(),
        VaultLog::Released { campaign, spent, released } => CampaignReleased {
            campaign: CampaignId::from(*campaign),
            chain_id,
            vault,
            spent: *spent,
            released: *released,
            tx,
            block_number,
            log_index,
        }
        .into(),
        VaultLog::Settled { .. } | VaultLog::Refused { .. } => return None,
    })
}
