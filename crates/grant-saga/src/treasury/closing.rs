//! Campaigns that are over: the vault closes them, releases them a day later, and what is left is withdrawn.
//!
//! ```text
//!   close ──CLOSE_DELAY──► release ──final, and nothing is held any more──► withdraw ──final──► done
//! ```
//!
//! What a transaction withdrew the chain does not say of which campaign. So a withdrawal is noted with its nonce before it is
//! sent, and takes another nonce only when a final block shows that something else has used the first one, or that it failed.

use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolCall,
};
use chrono::{DateTime, TimeDelta};
use laurel_chain::{BlockRef, ChainError, NonceAt, NonceUse, NonceUser, RewardVault, find_nonce_use};
use laurel_events::{Amount, BudgetWithdrawn, CampaignId, alert::CLOSING_FAILED};
use laurel_ledger::{Context, amount_from_sql, amount_to_sql, append, commit};

use super::{Treasury, TreasuryError, rest_after};
use crate::{CallFailed, account::Prepared};

/// How long it takes at least, and at most, until the chain is asked again how far it is; between, a part of the time that is left. A
/// manager who asks again has it asked at once.
const LOOK_MIN: TimeDelta = TimeDelta::seconds(3);
const LOOK_MAX: TimeDelta = TimeDelta::minutes(5);
const LOOKS: i64 = 10;

/// How many blocks are read at the most to find what used a nonce, where nobody keeps their states.
const READ_MAX: u64 = 10_000;

/// A campaign that is to be closed.
struct Closing {
    campaign: CampaignId,
    token: Address,
    failures: u32,
    /// What the books gave back, once the release is final.
    returned: Option<Amount>,
    withdrawal: Option<Withdrawal>,
}

/// A withdrawal that was sent, or may have been.
struct Withdrawal {
    nonce: u64,
    /// Final blocks up to here do not use the nonce.
    since: u64,
    /// All transactions that were signed with it.
    attempts: Vec<B256>,
}

/// What used a nonce.
enum User {
    /// Nothing, as far as blocks are mined.
    Nobody,
    /// A block that may yet be taken back.
    NotFinal,
    /// One of the transactions that were signed with it.
    Ours(B256),
    /// Another one, or one of ours that failed.
    Other(B256),
}

impl Treasury {
    pub(super) async fn close_campaigns(&self) -> Result<(), TreasuryError> {
        let rows = sqlx::query!(
            r#"
            SELECT k.campaign, k.failures, k.nonce, k.since_block, k.attempts, c.token, r.amount AS "returned?"
            FROM closings k
            JOIN campaigns c ON c.id = k.campaign
            JOIN vaults v ON v.id = c.vault
            JOIN chains h ON h.id = v.chain_id AND h.halted IS NULL
            LEFT JOIN LATERAL (SELECT amount, turn FROM returns t WHERE t.campaign = k.campaign
                               ORDER BY turn DESC LIMIT 1) r ON r.turn % 2 = 0
            WHERE c.vault = $1 AND k.withdrawn_at IS NULL AND (k.retry_at IS NULL OR k.retry_at <= $2)
              AND (k.look_at IS NULL OR k.look_at <= $2)
            ORDER BY k.requested_at
            "#,
            self.vault.id.0,
            self.clock.now(),
        )
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            if !self.holds_lease().await? {
                return Ok(());
            }
            let returned = row.returned.as_ref();
            let returned = returned.map(|units| amount_from_sql(units, "returns", "amount", row.campaign));
            let withdrawal = row.nonce.zip(row.since_block).map(|(nonce, since)| Withdrawal {
                nonce: nonce.cast_unsigned(),
                since: since.cast_unsigned(),
                attempts: row.attempts.iter().map(|hash| B256::from_slice(hash)).collect(),
            });
            let closing = Closing {
                campaign: CampaignId::from(row.campaign.cast_unsigned()),
                token: Address::from_slice(&row.token),
                failures: row.failures.unsigned_abs(),
                returned: returned.transpose()?,
                withdrawal,
            };
            match self.close(&closing).await {
                Ok(rest) => self.closing_went_on(closing.campaign, rest).await?,
                Err(error) => self.closing_failed(&closing, &error).await?,
            }
        }
        self.clear_closing_alerts().await
    }

    /// Notes that nothing is wrong with a closing, and when to look again.
    async fn closing_went_on(&self, campaign: CampaignId, rest: TimeDelta) -> Result<(), TreasuryError> {
        sqlx::query!(
            "UPDATE closings SET failures = 0, error = NULL, retry_at = NULL, look_at = $2 WHERE campaign = $1",
            campaign.number(),
            self.clock.now() + rest,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes why a closing does not go on, and has it rest.
    async fn closing_failed(&self, closing: &Closing, error: &TreasuryError) -> Result<(), TreasuryError> {
        let failures = closing.failures.saturating_add(1);
        let rest = rest_after(failures);
        tracing::warn!(campaign.id = %closing.campaign, %error, failures, rest = %rest, "the closing does not go on yet");
        let mut tx = self.pool.begin().await?;
        sqlx::query!(
            "UPDATE closings SET failures = $2, error = $3, retry_at = $4 WHERE campaign = $1",
            closing.campaign.number(),
            failures.cast_signed(),
            error.to_string(),
            self.clock.now() + rest,
        )
        .execute(&mut *tx)
        .await?;
        self.note_failure(tx, CLOSING_FAILED, closing.campaign, error).await
    }

    async fn clear_closing_alerts(&self) -> Result<(), TreasuryError> {
        let over = sqlx::query_scalar!(
            r#"
            SELECT a.about FROM alerts a
            WHERE a.code = $1 AND NOT EXISTS (
                SELECT FROM closings k WHERE k.failures > 0 AND a.about = 'campaign:' || k.campaign)
            "#,
            CLOSING_FAILED,
        )
        .fetch_all(&self.pool)
        .await?;
        self.clear_alerts(CLOSING_FAILED, over).await
    }

    /// Takes the next step, if it can be taken. Says when it makes sense to look again.
    async fn close(&self, closing: &Closing) -> Result<TimeDelta, TreasuryError> {
        let (account, vault) = (&self.account, self.vault.identity.vault);
        let campaign = closing.campaign.on_chain();
        if let Some(returned) = closing.returned {
            return self.withdraw(closing, returned).await;
        }
        let nonce = account.next_nonce().await?;
        let found = account.ask("campaign", vault, RewardVault::campaignCall { id: campaign }).await?;
        let closes_at = found.closesAt.to::<u64>();
        let (step, data) = if closes_at == 0 {
            ("close", RewardVault::closeCall { campaign }.abi_encode())
        } else {
            self.note_closes_at(closing.campaign, closes_at).await?;
            let now = account.node.chain_time().await.map_err(CallFailed::from)?;
            let left = closes_at.saturating_sub(now);
            if left > 0 {
                return Ok(TimeDelta::seconds(left.cast_signed() / LOOKS).clamp(LOOK_MIN, LOOK_MAX));
            }
            if account.ask("released", vault, RewardVault::releasedCall { campaign }).await? {
                return Ok(LOOK_MIN);
            }
            ("release", RewardVault::releaseCall { campaign }.abi_encode())
        };
        let call = account.prepare(nonce, step, vault, data.into(), closing.failures).await?;
        self.note_sent(closing.campaign, step, &call).await?;
        account.send(call).await?;
        Ok(LOOK_MIN)
    }

    async fn note_closes_at(&self, campaign: CampaignId, closes_at: u64) -> Result<(), TreasuryError> {
        let closes_at = DateTime::from_timestamp_secs(closes_at.cast_signed())
            .ok_or_else(|| CallFailed::from(ChainError::Untrue("closesAt is no time".to_owned())))?;
        sqlx::query!(
            "UPDATE closings SET closes_at = $2 WHERE campaign = $1 AND closes_at IS DISTINCT FROM $2",
            campaign.number(),
            closes_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn note_sent(
        &self,
        campaign: CampaignId,
        step: &str,
        call: &Prepared,
    ) -> Result<(), TreasuryError> {
        let hash = call.hash();
        sqlx::query!(
            "UPDATE closings SET step = $2, tx = $3, sent_at = $4 WHERE campaign = $1",
            campaign.number(),
            step,
            hash.as_slice(),
            self.clock.now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Withdraws exactly what the books gave back, once.
    async fn withdraw(&self, closing: &Closing, amount: Amount) -> Result<TimeDelta, TreasuryError> {
        let &Closing { campaign, token, failures, .. } = closing;
        if amount.is_zero() {
            self.note_withdrawn(campaign, amount, None).await?;
            return Ok(LOOK_MIN);
        }
        let (account, vault) = (&self.account, self.vault.identity.vault);
        let last_final = self.last_final().await?;
        let mut nonce = None;
        if let Some(withdrawal) = &closing.withdrawal {
            match self.user_of(withdrawal, last_final).await? {
                User::Nobody => nonce = Some(withdrawal.nonce),
                User::NotFinal => {
                    self.note_unused(campaign, last_final).await?;
                    return Ok(LOOK_MIN);
                }
                User::Ours(tx) => {
                    self.note_withdrawn(campaign, amount, Some(tx)).await?;
                    return Ok(LOOK_MIN);
                }
                User::Other(tx) => {
                    tracing::warn!(campaign.id = %campaign, %tx, nonce = withdrawal.nonce, "it did not withdraw: once more");
                    self.forget_withdrawal(campaign).await?;
                }
            }
        }
        let nonce = match nonce {
            Some(nonce) => nonce,
            None => account.next_nonce().await?,
        };
        let call = RewardVault::withdrawCall { token, to: account.address(), amount: amount.units() };
        let call = account.prepare(nonce, "withdraw", vault, call.abi_encode().into(), failures).await?;
        let hash = call.hash();
        sqlx::query!(
            r#"
            UPDATE closings
            SET step = 'withdraw', tx = $2, sent_at = $3, nonce = $4, since_block = coalesce(since_block, $5),
                attempts = attempts || $2::bytea
            WHERE campaign = $1
            "#,
            campaign.number(),
            hash.as_slice(),
            self.clock.now(),
            nonce.cast_signed(),
            last_final.cast_signed(),
        )
        .execute(&self.pool)
        .await?;
        account.send(call).await?;
        Ok(LOOK_MIN)
    }

    /// What has used the nonce of a withdrawal, as far as blocks up to `last_final` show.
    async fn user_of(&self, withdrawal: &Withdrawal, last_final: u64) -> Result<User, TreasuryError> {
        let (node, account) = (&*self.account.node, self.account.address());
        let Withdrawal { nonce, since, .. } = *withdrawal;
        if node.nonce(account, NonceAt::Latest).await.map_err(CallFailed::from)? <= nonce {
            return Ok(User::Nobody);
        }
        let blocks = since + 1..=last_final;
        let used = find_nonce_use(node, account, nonce, blocks, READ_MAX).await.map_err(CallFailed::from)?;
        let NonceUse::By(user) = used else { return Ok(User::NotFinal) };
        let paid = withdrawal.attempts.contains(&user.tx) && self.succeeded(&user).await?;
        Ok(if paid { User::Ours(user.tx) } else { User::Other(user.tx) })
    }

    /// Whether a transaction in a block did what it was for.
    async fn succeeded(&self, user: &NonceUser) -> Result<bool, TreasuryError> {
        let node = &self.account.node;
        let block = node.block(BlockRef::Hash(user.block_hash)).await.map_err(CallFailed::from)?;
        let block = block.ok_or_else(|| {
            CallFailed::from(ChainError::Untrue(format!(
                "there is no block {}, which was final",
                user.block_hash
            )))
        })?;
        let content = node.content(&block).await.map_err(CallFailed::from)?;
        Ok(content.receipts.iter().any(|receipt| receipt.tx == user.tx && receipt.receipt.status()))
    }

    /// The last block that this ledger takes for final.
    async fn last_final(&self) -> Result<u64, TreasuryError> {
        let number = sqlx::query_scalar!(
            r#"SELECT coalesce(final_number, 0) AS "number!" FROM chains WHERE id = $1"#,
            self.vault.identity.chain_id.cast_signed(),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(number.cast_unsigned())
    }

    async fn note_unused(&self, campaign: CampaignId, last_final: u64) -> Result<(), TreasuryError> {
        sqlx::query!(
            "UPDATE closings SET since_block = $2 WHERE campaign = $1 AND since_block < $2",
            campaign.number(),
            last_final.cast_signed(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn forget_withdrawal(&self, campaign: CampaignId) -> Result<(), TreasuryError> {
        sqlx::query!(
            "UPDATE closings SET nonce = NULL, since_block = NULL, attempts = '{}' WHERE campaign = $1",
            campaign.number(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn note_withdrawn(
        &self,
        campaign: CampaignId,
        amount: Amount,
        by: Option<B256>,
    ) -> Result<(), TreasuryError> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let noted = sqlx::query!(
            r#"
            UPDATE closings SET withdrawn = $2, withdrawn_tx = $3, withdrawn_at = $4
            WHERE campaign = $1 AND withdrawn_at IS NULL
            "#,
            campaign.number(),
            amount_to_sql(amount),
            by.as_ref().map(B256::as_slice),
            now,
        )
        .execute(&mut *tx)
        .await?;
        if noted.rows_affected() == 1 {
            let withdrawn = BudgetWithdrawn { campaign, amount, to: self.account.address(), tx: by };
            append(&mut tx, &Context::at(now), &[withdrawn.into()]).await?;
        }
        commit(tx, "budget_withdrawn").await?;
        Ok(())
    }

    /// What the vault has of a token that is to be withdrawn.
    ///
    /// # Errors
    /// [`TreasuryError::Withdrawing`] while nobody can say.
    pub(super) async fn owed(&self, token: Address) -> Result<U256, TreasuryError> {
        let rows = sqlx::query!(
            r#"
            SELECT k.campaign, coalesce(k.step = 'release', false) AS "releases!", k.nonce IS NOT NULL AS "withdraws!",
                   r.amount AS "returned?"
            FROM closings k
            JOIN campaigns c ON c.id = k.campaign
            LEFT JOIN LATERAL (SELECT amount, turn FROM returns t WHERE t.campaign = k.campaign
                               ORDER BY turn DESC LIMIT 1) r ON r.turn % 2 = 0
            WHERE c.vault = $1 AND c.token = $2 AND k.withdrawn_at IS NULL
            "#,
            self.vault.id.0,
            token.as_slice(),
        )
        .fetch_all(&self.pool)
        .await?;
        let mut owed = U256::ZERO;
        for row in rows {
            match row.returned {
                _ if row.withdraws => return Err(TreasuryError::Withdrawing),
                Some(units) => {
                    owed += amount_from_sql(&units, "returns", "amount", row.campaign)?.units();
                }
                None if row.releases => return Err(TreasuryError::Withdrawing),
                None => {}
            }
        }
        Ok(owed)
    }
}
