//! What the tests stand on.

use alloy_primitives::{Address, B256};
use chrono::{DateTime, Utc};
use laurel_devnet::testing::TestDatabase;
use laurel_events::{
    Amount, CampaignId, Clock, EventId, GrantId, MockClock, OutcomeKey, Partition, PlayerId,
};
use laurel_ledger::{Funding, Hold, MIGRATOR, VaultIdentity, fund, open_account, pin_vault};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

pub(crate) async fn database() -> TestDatabase {
    TestDatabase::create(&MIGRATOR).await
}

pub(crate) fn now() -> DateTime<Utc> {
    MockClock::default().now()
}

pub(crate) fn identity() -> VaultIdentity {
    VaultIdentity {
        chain_id: 31_337,
        genesis_hash: B256::repeat_byte(1),
        vault: Address::repeat_byte(2),
        code_hash: B256::repeat_byte(3),
        deploy_block: 1,
    }
}

/// A campaign with empty books.
pub(crate) async fn campaign(conn: &mut PgConnection, number: u64) -> CampaignId {
    let vault = pin_vault(conn, &identity()).await.unwrap();
    let id = CampaignId::from(number);
    sqlx::query(
        "INSERT INTO campaigns (id, org, vault, token, name, games, state, wallet_deadline_hours, rule_version,
                                version, created_at)
         VALUES ($1, 1, $2, $3, 'c', '{quiz}', 'active', 1, 1, 1, $4)",
    )
    .bind(id.number())
    .bind(vault.id.0)
    .bind(Address::repeat_byte(9).as_slice())
    .bind(now())
    .execute(&mut *conn)
    .await
    .unwrap();
    open_account(conn, id).await.unwrap();
    id
}

/// A campaign with money.
pub(crate) async fn funded_campaign(pool: &PgPool, number: u64, cap: u64) -> CampaignId {
    let mut tx = pool.begin().await.unwrap();
    let id = campaign(&mut tx, number).await;
    fund(&mut tx, now(), &funding(id, cap, 0)).await.unwrap();
    tx.commit().await.unwrap();
    id
}

pub(crate) fn funding(campaign: CampaignId, cap: u64, log_index: u32) -> Funding {
    Funding { campaign, block_number: 7, log_index, tx: B256::repeat_byte(7), cap: Amount::from(cap) }
}

pub(crate) fn hold_of(campaign: CampaignId, number: u64, amount: u64) -> Hold {
    Hold {
        grant: GrantId { campaign, number },
        cause: EventId { partition: Partition::new(0).unwrap(), offset: number.cast_signed(), index: 0 },
        outcome: OutcomeKey::from(Uuid::from_u128(u128::from(number))),
        player: PlayerId::from(Uuid::from_u128(5)),
        amount: Amount::from(amount),
        rule_version: 1,
    }
}
