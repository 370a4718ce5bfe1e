//! What the vault's owner does, beside Laurel: burns places, raises caps.

use alloy::{
    primitives::{Address, U256, aliases::U96},
    sol_types::SolCall,
};
use anyhow::Context;
use laurel_chain::{LaneSigner, RewardVault};
use laurel_events::CampaignId;
use rand::Rng;

use crate::{
    dice::Fault,
    genesis::{key, owner_sends},
    world::World,
};

/// From which place on it burns some, at the most: some are not given yet.
const BURNED_FROM_MAX: u64 = 24;

/// How many places it burns at once, at the most.
const BURNED_MAX: u32 = 6;

/// By how much it raises a cap, at the most.
const RAISED_MAX: u64 = 1_500;

/// Who moves the world's own transactions, which are never lost: nobody sends them again.
pub(crate) fn owner() -> Address {
    key(0).address()
}

impl World<'_> {
    /// Burns places of a campaign, whatever became of them.
    pub(crate) fn burn_some(&self, campaign: CampaignId) -> anyhow::Result<()> {
        let (from, count) = {
            let mut dice = self.shared.dice();
            dice.count(Fault::OwnerBurned);
            (dice.rng.random_range(0..BURNED_FROM_MAX), dice.rng.random_range(1..=BURNED_MAX))
        };
        let mask = U256::from((1_u64 << count) - 1) << from;
        let cancel = RewardVault::cancelCall { campaign: campaign.on_chain(), word: 0, mask };
        self.tell(&format!("the owner burns {count} places of campaign {campaign} from {from} on"));
        owner_sends(&self.shared, Some(self.genesis.deployed.vault), cancel.abi_encode().into())
    }

    /// Raises a campaign's cap.
    pub(crate) fn raise_a_cap(&mut self, campaign: usize) -> anyhow::Result<()> {
        let more = {
            let mut dice = self.shared.dice();
            dice.count(Fault::CapRaised);
            dice.rng.random_range(1..=RAISED_MAX)
        };
        let planned = &mut self.plan.campaigns[campaign];
        planned.cap += more;
        let (id, cap) = (planned.id, planned.cap);
        self.raise_cap(id, cap)
    }

    /// A campaign of chance, of those that there are.
    pub(crate) fn any_campaign(&self) -> usize {
        self.shared.dice().rng.random_range(0..self.plan.campaigns.len())
    }

    /// Raises the caps of campaigns that have less than was granted or paid of them: where players were paid for what is told in
    /// another way since a restore, or where the chain took back what was final. Says whether there was any.
    pub(crate) async fn cover_caps(&mut self) -> anyhow::Result<bool> {
        let lacking: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT a.campaign, coalesce((SELECT sum(amount) FROM orphans o WHERE o.campaign = a.campaign AND o.number IS NULL), 0)::text,
                    CASE WHEN overdrawn > 0 THEN funded ELSE 0 END::text
             FROM accounts a ORDER BY a.campaign",
        )
        .fetch_all(&self.database.outside)
        .await?;
        let mut any = false;
        for (campaign, orphans, needed) in lacking {
            let id = CampaignId::try_from(campaign)?;
            let planned = self.plan.campaigns.iter().find(|planned| planned.id == id);
            let planned = planned.context("a campaign")?.cap;
            let cap = needed.parse::<u64>()?.max(planned + orphans.parse::<u64>()?);
            if cap > planned.max(self.raised.get(&id).copied().unwrap_or(0)) {
                self.raise_cap(id, cap)?;
                any = true;
            }
        }
        Ok(any)
    }

    fn raise_cap(&mut self, campaign: CampaignId, cap: u64) -> anyhow::Result<()> {
        self.raised.insert(campaign, cap);
        self.tell(&format!("the cap of {campaign} is raised to {cap}"));
        let raise = RewardVault::raiseCapCall { campaign: campaign.on_chain(), cap: U96::from(cap) };
        owner_sends(&self.shared, Some(self.genesis.deployed.vault), raise.abi_encode().into())
    }
}
