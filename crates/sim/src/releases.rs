//! A campaign that its owner closes, and the vault releases with grants under way.

use alloy::sol_types::SolCall;
use laurel_chain::RewardVault;
use laurel_events::CampaignId;
use rand::Rng;

use crate::{dice::Fault, genesis::owner_sends, trouble::Trouble, world::World};

/// How many worlds have a campaign that is released.
pub(crate) const RELEASED_WORLDS: f64 = 0.12;

/// After how many steps, at the most, it is released that was closed.
const CLOSING_MAX: u64 = 80;

/// How long the vault still pays for a campaign that was closed, and more than a block.
const CLOSE_DELAY_MS: i64 = 86_400_000 + 60_000;

impl World<'_> {
    /// The owner closes a campaign, where it is time for that.
    pub(crate) fn close_campaign(&mut self) -> anyhow::Result<()> {
        if !self.shared.dice().on || self.closes_at.take_if(|at| *at <= self.steps).is_none() {
            return Ok(());
        }
        let (chosen, ends) = {
            let mut dice = self.shared.dice();
            dice.count(Fault::CampaignReleased);
            let ends = self.steps + dice.rng.random_range(10..CLOSING_MAX);
            (dice.rng.random_range(0..self.plan.campaigns.len()), ends)
        };
        let campaign = self.plan.campaigns[chosen].id;
        let close = RewardVault::closeCall { campaign: campaign.on_chain() }.abi_encode();
        owner_sends(&self.shared, Some(self.genesis.deployed.vault), close.into())?;
        self.tell(&format!("campaign {campaign} is closed, until {ends}"));
        self.troubles.push((ends, Trouble::Closing(campaign)));
        Ok(())
    }

    /// A day passes, and the vault pays nothing of a closed campaign any more.
    pub(crate) fn release(&mut self, campaign: CampaignId) -> anyhow::Result<()> {
        self.pass(CLOSE_DELAY_MS);
        self.stir();
        self.send_release(campaign)?;
        self.closed.push(campaign);
        Ok(())
    }

    /// A release that came too soon after its closing has failed: the owner does it again. Says whether there was any.
    pub(crate) fn release_again(&mut self) -> anyhow::Result<bool> {
        self.read_chain();
        let mut any = false;
        for campaign in self.closed.clone() {
            if !self.auditor.is_released(campaign) {
                self.pass(CLOSE_DELAY_MS);
                self.send_release(campaign)?;
                any = true;
            }
        }
        Ok(any)
    }

    fn send_release(&self, campaign: CampaignId) -> anyhow::Result<()> {
        let release = RewardVault::releaseCall { campaign: campaign.on_chain() }.abi_encode();
        owner_sends(&self.shared, Some(self.genesis.deployed.vault), release.into())
    }
}
