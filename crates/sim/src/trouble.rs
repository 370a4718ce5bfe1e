//! What happens to a world beside its own work: blocks, reorganisations, fees, pauses, jumps of clocks, and their ends.

use std::sync::atomic::Ordering::Relaxed;

use alloy::{
    primitives::{Address, Bytes},
    sol_types::SolCall,
};
use chrono::TimeDelta;
use laurel_campaign::Move;
use laurel_chain::RewardVault;
use laurel_events::CampaignId;
use rand::Rng;

use crate::{
    chain::QUIET_BASE_FEE,
    clients::Request,
    dice::Fault,
    genesis::{FussyToken, contract_wallet, owner_sends},
    owner::owner,
    world::{REPLICAS, World},
};

/// Something that lasts until it is ended.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    Fees,
    VaultPaused,
    Refusing(Address),
    WalletRefuses(Address),
    Clock(usize, TimeDelta),
    Campaign(CampaignId),
    Closing(CampaignId),
    Mistake,
    HoursToCome,
}

impl Trouble {
    /// Whether it lasts when everything else goes well already: a program is mended and a token's list changed last. Until then
    /// settlements become final that a stage cannot handle, and places are burned.
    const fn is_stubborn(&self) -> bool {
        matches!(self, Self::Refusing(_) | Self::Mistake)
    }
}

/// How many steps a trouble lasts, at the most.
const LASTS_MAX: u64 = 60;

/// How many transactions of the pool get into a block, of those that could.
const MINED_SHARE: f64 = 0.85;

impl World<'_> {
    /// Something happens that nobody of ours does.
    pub(crate) fn happen(&mut self) -> anyhow::Result<()> {
        let roll = self.shared.dice().rng.random_range(0..100);
        match roll {
            0..60 => self.block(),
            60..72 => self.reorganise(),
            72..78 => self.forget_one(),
            _ => self.trouble()?,
        }
        self.end_troubles(false)
    }

    /// A block is made.
    pub(crate) fn block(&mut self) {
        let time = self.block_time();
        let mut dice = self.shared.dice();
        let mut chain = self.shared.chain();
        chain.mine_shuffled(time, &mut dice.rng, MINED_SHARE);
        let (number, txs) = (chain.head().block.header.number, chain.head().txs.len());
        drop((dice, chain));
        self.tell(&format!("block {number} with {txs}"));
        self.stir_by_block();
    }

    fn reorganise(&mut self) {
        let unfinal = self.shared.chain().unfinal();
        if unfinal == 0 || !self.shared.dice().strikes(Fault::Reorganised, 0.5) {
            return self.block();
        }
        let time = self.block_time();
        let mut dice = self.shared.dice();
        let mut chain = self.shared.chain();
        let depth = dice.rng.random_range(1..=unfinal);
        let careless = dice.rng.random_bool(0.5);
        let mut lost = 0;
        let owner = owner();
        let removed = chain.unwind(depth, &mut |tx| {
            let loses = careless && tx.from != owner && dice.rng.random_bool(0.5);
            lost += u64::from(loses);
            loses
        });
        for _ in 0..lost {
            dice.count(Fault::ReorganisedAway);
        }
        for _ in 0..=removed {
            chain.mine_shuffled(time, &mut dice.rng, MINED_SHARE);
        }
        let number = chain.head().block.header.number;
        drop((dice, chain));
        self.tell(&format!("{removed} blocks are replaced up to {number}, {lost} transactions lost"));
        self.stir_by_block();
    }

    /// The network forgets a transaction.
    fn forget_one(&mut self) {
        let mut dice = self.shared.dice();
        let mut chain = self.shared.chain();
        let owner = owner();
        let waiting: Vec<_> = chain.pool.all().filter(|tx| tx.from != owner).map(|tx| tx.hash).collect();
        if !waiting.is_empty() && dice.strikes(Fault::TxDropped, 0.7) {
            let chosen = waiting[dice.rng.random_range(0..waiting.len())];
            chain.pool.drop_one(chosen);
            drop((dice, chain));
            self.tell(&format!("{chosen} is forgotten"));
        }
    }

    /// Some trouble begins.
    fn trouble(&mut self) -> anyhow::Result<()> {
        let (kind, ends) = {
            let mut dice = self.shared.dice();
            let ends = self.steps + dice.rng.random_range(5..LASTS_MAX);
            (dice.rng.random_range(0..12), ends)
        };
        let struck = |fault, chance| self.shared.dice().strikes(fault, chance);
        let vault = self.genesis.deployed.vault;
        let began = match kind {
            0 if struck(Fault::FeesSpike, 0.5) => {
                let factor = self.shared.dice().rng.random_range(3..600);
                self.shared.chain().base_fee = QUIET_BASE_FEE * factor;
                Trouble::Fees
            }
            1 if struck(Fault::VaultPaused, 0.3) => {
                owner_sends(&self.shared, Some(vault), RewardVault::pauseCall {}.abi_encode().into())?;
                Trouble::VaultPaused
            }
            // A token that refuses its holder's transfers refuses everybody.
            2 if struck(Fault::TokenPaused, 0.3) => self.refuse(vault, true)?,
            3 if struck(Fault::RecipientRefused, 0.4) => {
                let number = self.shared.dice().rng.random_range(0..self.auditor.recipients().len().max(1));
                let Some(recipient) = self.auditor.recipients().get(number).copied() else { return Ok(()) };
                self.refuse(recipient, true)?
            }
            4 if struck(Fault::WalletRefuses, 0.5) => {
                let wallet = contract_wallet(self.shared.dice().rng.random_range(0..2));
                owner_sends(&self.shared, Some(wallet), Bytes::new())?;
                Trouble::WalletRefuses(wallet)
            }
            5 if struck(Fault::ClockJumps, 0.7) => {
                let replica = self.shared.dice().rng.random_range(0..REPLICAS);
                let by = TimeDelta::milliseconds(self.shared.dice().rng.random_range(-8_000..15_000));
                self.replicas[replica].clock.off.advance(by);
                Trouble::Clock(replica, by)
            }
            6 if struck(Fault::CampaignPaused, 0.3) => {
                let campaign = self.plan.campaigns[self.any_campaign()].id;
                self.plan.requests.push_front(Request::Campaign { campaign, action: Move::Pause });
                Trouble::Campaign(campaign)
            }
            7 if struck(Fault::HoursPass, 0.05) => {
                self.hours_pass();
                return Ok(());
            }
            8 if self.mistake.load(Relaxed) == 0 && self.shared.dice().rng.random_bool(0.5) => {
                self.mistake.store(self.shared.dice().rng.random_range(1..u64::MAX), Relaxed);
                Trouble::Mistake
            }
            10 if self.shared.dice().rng.random_bool(0.5) => {
                return self.burn_some(self.plan.campaigns[self.any_campaign()].id);
            }
            11 if self.shared.dice().rng.random_bool(0.3) => return self.raise_a_cap(self.any_campaign()),
            9 if struck(Fault::Retold, 0.5) => {
                self.plan.requests.push_front(Request::Retell);
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.tell(&format!("trouble until {ends}: {began:?}"));
        self.troubles.push((ends, began));
        Ok(())
    }

    fn hours_pass(&mut self) {
        self.pass(4_000_000);
        self.stir();
        self.tell("hours pass");
    }

    pub(crate) fn refuse(&self, account: Address, refused: bool) -> anyhow::Result<Trouble> {
        let call = FussyToken::refuseCall { account, refused }.abi_encode();
        owner_sends(&self.shared, Some(self.genesis.fussy), call.into())?;
        Ok(Trouble::Refusing(account))
    }

    /// Ends what outlasts the others, at rest. Says whether there was any.
    pub(crate) fn end_stubborn(&mut self) -> anyhow::Result<bool> {
        let mut any = false;
        for (ends, trouble) in &mut self.troubles {
            if trouble.is_stubborn() {
                (*ends, any) = (0, true);
            }
        }
        self.end_troubles(false)?;
        Ok(any)
    }

    /// Ends what has lasted long enough, or everything but what is stubborn.
    pub(crate) fn end_troubles(&mut self, all: bool) -> anyhow::Result<()> {
        let (over, lasting) = std::mem::take(&mut self.troubles)
            .into_iter()
            .partition(|(ends, trouble)| *ends <= self.steps || all && !trouble.is_stubborn());
        self.troubles = lasting;
        let over: Vec<(u64, Trouble)> = over;
        for (_, trouble) in over {
            self.tell(&format!("it ends: {trouble:?}"));
            let vault = self.genesis.deployed.vault;
            match trouble {
                Trouble::Fees => self.shared.chain().base_fee = QUIET_BASE_FEE,
                Trouble::VaultPaused => {
                    owner_sends(&self.shared, Some(vault), RewardVault::unpauseCall {}.abi_encode().into())?;
                }
                Trouble::Refusing(account) => {
                    self.refuse(account, false)?;
                }
                Trouble::WalletRefuses(wallet) => owner_sends(&self.shared, Some(wallet), Bytes::new())?,
                Trouble::HoursToCome => self.hours_pass(),
                Trouble::Closing(campaign) => self.release(campaign)?,
                Trouble::Mistake => {
                    self.mistake.store(0, Relaxed);
                    self.plan.requests.push_back(Request::Redrive);
                }
                Trouble::Clock(replica, by) => self.replicas[replica].clock.off.advance(-by),
                Trouble::Campaign(campaign) => {
                    self.plan.requests.push_front(Request::Campaign { campaign, action: Move::Resume });
                }
            }
        }
        Ok(())
    }
}
