//! The events that follow from what was seen.

use laurel_chain::VaultLog;
use laurel_events::{
    BlockchainTxConfirmed, BlockchainTxMined, BlockchainTxReorged, BlockchainTxReverted, CampaignFunded,
    CampaignId, Event, NewEvent, Sighting,
};

use crate::{
    BlockId,
    facts::{Fact, settled_segments},
    store::Seen,
};

/// One of our transactions is in a block that was added.
pub(crate) fn mined(chain_id: u64, fact: &Fact, block: &BlockId, transition: u64) -> Option<NewEvent> {
    fact.batch?;
    let sighting = Sighting {
        chain_id,
        vault: fact.vault.identity.vault,
        transition,
        tx: fact.tx,
        batch: fact.batch,
        block_number: block.number,
        block_hash: block.hash,
    };
    Some(BlockchainTxMined { sighting }.into())
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
    let mut events: Vec<Event> = seen
        .logs
        .iter()
        .filter_map(|indexed| match &indexed.log {
            VaultLog::Capped { campaign, token, cap } => Some(CampaignFunded {
                campaign: CampaignId::from(*campaign),
                chain_id: sighting.chain_id,
                vault: sighting.vault,
                token: *token,
                cap: *cap,
                tx: sighting.tx,
                block_number: sighting.block_number,
                log_index: indexed.index,
            }),
            _ => None,
        })
        .map(Event::from)
        .collect();
    let segments = settled_segments(&seen.logs);
    let (gas_used, effective_gas_price) = (seen.gas_used, seen.effective_gas_price);
    if !seen.succeeded || seen.empty {
        events.push(BlockchainTxReverted { sighting, gas_used, effective_gas_price }.into());
    } else if sighting.batch.is_some() || !segments.is_empty() {
        events.push(BlockchainTxConfirmed { sighting, gas_used, effective_gas_price, segments }.into());
    }
    events
}
