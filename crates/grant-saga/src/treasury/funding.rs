//! Caps that managers asked for.

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use laurel_chain::{Erc20, RewardVault, funding_call};
use laurel_events::{Amount, CampaignId, alert::FUNDING_FAILED};
use laurel_ledger::{amount_from_sql, amount_to_sql};

use super::{Treasury, TreasuryError, rest_after};
use crate::{CallFailed, account::Prepared};

/// A cap that is not on the chain.
struct Request {
    campaign: CampaignId,
    token: Address,
    cap: Amount,
    failures: u32,
}

impl Treasury {
    pub(super) async fn bring_caps(&self) -> Result<(), TreasuryError> {
        let rows = sqlx::query!(
            r#"
            SELECT f.campaign, f.cap, f.failures, c.token
            FROM funding_requests f JOIN campaigns c ON c.id = f.campaign
            JOIN vaults v ON v.id = c.vault
            JOIN chains h ON h.id = v.chain_id AND h.halted IS NULL
            WHERE c.vault = $1 AND (f.retry_at IS NULL OR f.retry_at <= $2)
            ORDER BY f.requested_at
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
            let request = Request {
                campaign: CampaignId::from(row.campaign.cast_unsigned()),
                token: Address::from_slice(&row.token),
                cap: amount_from_sql(&row.cap, "funding_requests", "cap", row.campaign)?,
                failures: row.failures.unsigned_abs(),
            };
            match self.bring(&request).await {
                Ok(()) => self.cap_brought(request.campaign).await?,
                Err(error) => self.cap_failed(&request, &error).await?,
            }
        }
        self.clear_funding_alerts().await
    }

    async fn cap_brought(&self, campaign: CampaignId) -> Result<(), TreasuryError> {
        sqlx::query!(
            r#"
            UPDATE funding_requests SET failures = 0, error = NULL, retry_at = NULL
            WHERE campaign = $1 AND failures > 0
            "#,
            campaign.number(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes why a request failed and has it rest, unless another cap is asked for by now.
    async fn cap_failed(&self, request: &Request, error: &TreasuryError) -> Result<(), TreasuryError> {
        let &Request { campaign, cap, .. } = request;
        let failures = request.failures.saturating_add(1);
        let rest = rest_after(failures);
        tracing::warn!(campaign.id = %campaign, %error, failures, rest = %rest, "the cap is not on the chain yet");
        let mut tx = self.pool.begin().await?;
        let noted = sqlx::query!(
            r#"
            UPDATE funding_requests SET failures = $3, error = $4, retry_at = $5
            WHERE campaign = $1 AND cap = $2
            "#,
            campaign.number(),
            amount_to_sql(cap),
            failures.cast_signed(),
            error.to_string(),
            self.clock.now() + rest,
        )
        .execute(&mut *tx)
        .await?;
        if noted.rows_affected() == 0 {
            return Ok(());
        }
        self.note_failure(tx, FUNDING_FAILED, campaign, error).await
    }

    async fn clear_funding_alerts(&self) -> Result<(), TreasuryError> {
        let over = sqlx::query_scalar!(
            r#"
            SELECT a.about FROM alerts a
            WHERE a.code = $1 AND NOT EXISTS (
                SELECT FROM funding_requests f WHERE f.failures > 0 AND a.about = 'campaign:' || f.campaign)
            "#,
            FUNDING_FAILED,
        )
        .fetch_all(&self.pool)
        .await?;
        self.clear_alerts(FUNDING_FAILED, over).await
    }

    /// Takes whatever step is missing until the vault has the cap.
    async fn bring(&self, request: &Request) -> Result<(), TreasuryError> {
        let &Request { campaign, token, cap, failures } = request;
        let (account, vault) = (&self.account, self.vault.identity.vault);
        let nonce = account.next_nonce().await?;
        let terms = RewardVault::campaignCall { id: campaign.on_chain() };
        let found = account.ask("campaign", vault, terms).await?;
        let current = U256::from(found.terms.cap);
        if current >= cap.units() {
            return Ok(());
        }
        self.back(request, cap.units() - current, nonce).await?;
        let data =
            funding_call(&*account.node, vault, campaign, token, cap).await.map_err(CallFailed::from)?;
        let nonce = account.next_nonce().await?;
        let call = account.prepare(nonce, "open or raise the cap", vault, data, failures).await?;
        self.send_for_cap(campaign, "cap", call).await
    }

    /// Gives the vault the tokens that it lacks to back `wanted` more, which was found after the nonce was asked for. What is
    /// to be withdrawn backs nothing.
    async fn back(&self, request: &Request, wanted: U256, nonce: u64) -> Result<(), TreasuryError> {
        let &Request { campaign, token, failures, .. } = request;
        let (account, vault) = (&self.account, self.vault.identity.vault);
        let owed = self.owed(token).await?;
        let free = account.ask("uncommitted", vault, RewardVault::uncommittedCall { token }).await?;
        let wanted = wanted + owed;
        let Some(missing) = wanted.checked_sub(free).filter(|missing| !missing.is_zero()) else {
            return Ok(());
        };
        let treasury = account.address();
        let owned = account.ask("balanceOf", token, Erc20::balanceOfCall { owner: treasury }).await?;
        if owned < missing {
            return Err(TreasuryError::TooLittle { treasury, token, owned, wanted: missing });
        }
        let transfer = Erc20::transferCall { to: vault, value: missing };
        let call = account.prepare(nonce, "transfer", token, transfer.abi_encode().into(), failures).await?;
        self.send_for_cap(campaign, "transfer", call).await
    }

    /// Notes a transaction, so that whoever waits for the cap sees it, and sends it.
    async fn send_for_cap(
        &self,
        campaign: CampaignId,
        step: &str,
        call: Prepared,
    ) -> Result<(), TreasuryError> {
        let hash = call.hash();
        sqlx::query!(
            "UPDATE funding_requests SET step = $2, tx = $3, sent_at = $4 WHERE campaign = $1",
            campaign.number(),
            step,
            hash.as_slice(),
            self.clock.now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(self.account.send(call).await?)
    }
}
