//! Where the chain and the ledger part.

use std::collections::HashMap;

use laurel_chain::{BlockRef, ChainError, FinalBlock};
use laurel_ledger::{LedgerError, list_vaults};
use sqlx::PgConnection;

use super::{Rebase, RebaseError, lost};
use crate::{
    BlockId,
    store::{Taken, View, hash, load_view, read_sightings},
};

/// What a rebase would do.
#[derive(Clone, Debug)]
pub struct RebasePlan {
    /// The last block that is final here.
    pub from: BlockId,
    /// The last one that the chain still has, of those that we know.
    pub to: BlockId,
    /// Why the chain is halted.
    pub reason: String,
    /// What is undone.
    pub lost: lost::Lost,
    /// The view that it was made for.
    pub(super) view: View,
}

impl Rebase {
    /// Looks where the chain and the ledger part, and what was final above that.
    ///
    /// # Errors
    /// If the chain is not halted, or nothing differs, or what is in common is not final for a quorum, or database or chain do
    /// not answer.
    pub async fn plan(&self) -> Result<RebasePlan, RebaseError> {
        let chain_id = self.chain_id;
        // First of all: whoever contradicts the quorum is not asked any more.
        let last_final = self.node.last_final(self.finality).await?;
        let mut conn = self.pool.acquire().await?;
        let view = load_view(&mut conn, chain_id, false).await?;
        let Some(reason) = view.halted.clone() else { return Err(RebaseError::NotHalted(chain_id)) };
        let Some(from) = view.last_final() else { return Err(RebaseError::NotHalted(chain_id)) };
        if self.has(last_final, &from).await? {
            return Err(RebaseError::NothingDiffers { number: from.number, hash: from.hash });
        }
        let vaults = list_vaults(&mut conn, chain_id).await?;
        let first = vaults.iter().map(|vault| vault.identity.deploy_block).min().unwrap_or(0);
        let known = known_blocks(&mut conn, chain_id, from.number).await?;
        let common = self.last_common(last_final, &known).await?.unwrap_or(first.saturating_sub(1));
        if last_final.is_none_or(|told| told.number < common) {
            return Err(RebaseError::NotFinal { common, last_final: last_final.map(|told| told.number) });
        }
        let lacks = || ChainError::Untrue(format!("the node lacks block {common}, and has a later one"));
        let block = self.node.block(BlockRef::Number(common)).await?.ok_or_else(lacks)?;
        let to = BlockId { number: common, hash: block.hash, parent: block.header.parent_hash };
        let vaults: HashMap<_, _> = vaults.into_iter().map(|vault| (vault.id.0, vault)).collect();
        let span = (common + 1, i64::MAX.cast_unsigned());
        let seen = read_sightings(&mut conn, chain_id, span, &vaults, Taken::Final).await?;
        if let Some(tx) = lost::recovered_among(&mut conn, chain_id, &seen, common).await? {
            return Err(RebaseError::Recovered(tx));
        }
        let displaced = lost::displaced(&mut conn, chain_id, common, &seen).await?;
        Ok(RebasePlan { from, to, reason, lost: lost::Lost::of(&seen, displaced.len()), view })
    }

    /// Whether the chain has that block at its height. Of what a quorum calls final a quorum says so: a node that is behind lacks it, and
    /// proves nothing. Beyond that the chain may have grown shorter.
    pub(super) async fn has(
        &self,
        last_final: Option<FinalBlock>,
        block: &BlockId,
    ) -> Result<bool, ChainError> {
        let number = block.number;
        if last_final.is_none_or(|last| last.number < number) {
            let there = self.node.block(BlockRef::Number(number)).await?;
            return Ok(there.is_some_and(|there| there.hash == block.hash));
        }
        let there = self.node.final_at(self.finality, number).await?;
        let there = there.ok_or_else(|| {
            ChainError::Untrue(format!("the node lacks block {number}, and a later one is final"))
        })?;
        Ok(there.hash == block.hash)
    }

    /// The last of these blocks, in ascending order, that the chain has: it has all before it then.
    async fn last_common(
        &self,
        last_final: Option<FinalBlock>,
        known: &[BlockId],
    ) -> Result<Option<u64>, ChainError> {
        let (mut there, mut gone) = (0, known.len());
        while there < gone {
            let middle = there + (gone - there) / 2;
            if self.has(last_final, &known[middle]).await? {
                there = middle + 1;
            } else {
                gone = middle;
            }
        }
        Ok(there.checked_sub(1).map(|index| known[index].number))
    }
}

/// The final blocks below `from` that something of ours was in.
async fn known_blocks(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
) -> Result<Vec<BlockId>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT block_number AS "number!", block_hash AS "hash!" FROM (
            SELECT block_number, block_hash FROM sightings WHERE chain_id = $1 AND final
            UNION
            SELECT b.block_number, b.block_hash
            FROM batches b JOIN lanes l ON l.id = b.lane JOIN vaults v ON v.id = l.vault
            WHERE v.chain_id = $1 AND b.state IN ('confirmed', 'reverted')
        ) k
        WHERE block_number < $2
        ORDER BY block_number
        "#,
        chain_id.cast_signed(),
        from.cast_signed(),
    );
    let rows = rows.fetch_all(conn).await?;
    let block = |number: i64, bytes: &[u8]| {
        Ok(BlockId {
            number: number.cast_unsigned(),
            hash: hash(bytes, "sightings", "block_hash")?,
            parent: Default::default(),
        })
    };
    rows.iter().map(|row| block(row.number, &row.hash)).collect()
}
