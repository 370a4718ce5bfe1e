//! What came of outcomes: grants, transactions, books and balances.

use alloy_primitives::B256;
use laurel_api::Role;
use laurel_events::{CampaignId, Clock};
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, address, outcome};

/// A campaign that granted 5 units to `p-1`, and declined the next outcome.
async fn granted(world: &World) -> String {
    world.player("p-1").await;
    let campaign = world.active_campaign(100).await;
    world.post_outcomes(&[outcome("o-1", "p-1", 12), outcome("o-2", "p-1", 3)]).await;
    world.decide().await;
    campaign
}

/// Puts the grant into a transaction, as the saga would.
pub(crate) async fn submitted(world: &World, campaign: &str) -> B256 {
    let campaign: CampaignId = campaign.parse().unwrap();
    let (batch, tx, now) = (Uuid::from_u128(1), B256::repeat_byte(0x77), world.clock.now());
    let mut word = address("wallet").to_vec();
    word.extend([0; 11]);
    word.push(5);
    for statement in [
        sqlx::query("INSERT INTO queues (campaign, vault, next_seq, batched_to) VALUES ($1, $2, 1, 1)")
            .bind(campaign.number())
            .bind(world.vault.0),
        sqlx::query(
            "INSERT INTO runs (campaign, first_seq, count, numbers, words, first_number, queued_at)
             VALUES ($1, 0, 1, '{0}', $2, 0, $3)",
        )
        .bind(campaign.number())
        .bind(word)
        .bind(now),
        sqlx::query(
            "INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at)
             SELECT $1, id, 0, 'submitted', 1, 1, $2 FROM lanes",
        )
        .bind(batch)
        .bind(now),
        sqlx::query(
            "INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash) VALUES ($1, $2, 0, 1, 5, $3)",
        )
        .bind(batch)
        .bind(campaign.number())
        .bind(B256::ZERO.as_slice()),
        sqlx::query(
            "INSERT INTO attempts (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas,
                                   signed_at, chain_time)
             VALUES ($1, $1, 0, false, $2, '', 100000, 2000000000, 1, $3, 0)",
        )
        .bind(batch)
        .bind(tx.to_vec())
        .bind(now),
    ] {
        assert_eq!(statement.execute(world.pool()).await.unwrap().rows_affected(), 1);
    }
    tx
}

#[tokio::test]
async fn a_grant_is_shown_with_its_way() {
    let world = World::new().await;
    let campaign = granted(&world).await;
    let line = format!("GET /v1/grants/{campaign}-0");
    let grant = world.call(Role::Auditor, &line).send().await.ok();
    assert_eq!((&grant["state"], &grant["wallet"]), (&json!("requested"), &json!(null)));
    submitted(&world, &campaign).await;
    let grant = world.call(Role::GameServer, &line).send().await.ok();
    insta::assert_json_snapshot!("grant", grant, {
        ".id" => "[id]", ".campaign_id" => "[campaign]", ".outcome_key" => "[outcome]", ".player" => "[player]",
        ".timeline[].request_id" => "[request]",
    });
    let none = world.call(Role::Auditor, &format!("GET /v1/grants/{campaign}-1"));
    none.refused(404, "not_found", "grant").await;
}

#[tokio::test]
async fn a_transaction_is_listed_and_shown_with_its_grants() {
    let world = World::new().await;
    let campaign = granted(&world).await;
    let tx = submitted(&world, &campaign).await;
    let one = world.call(Role::Auditor, &format!("GET /v1/transactions/{tx}")).send().await.ok();
    assert_eq!(one["grant_ids"], json!([format!("{campaign}-0")]));
    insta::assert_json_snapshot!("transaction", one, { ".grant_ids" => "[grants]" });
    for (path, count) in [
        ("/v1/transactions", 1),
        ("/v1/transactions?state=submitted", 1),
        ("/v1/transactions?state=confirmed", 0),
        ("/v1/transactions?chain_id=31337", 1),
        ("/v1/transactions?chain_id=1", 0),
        ("/v1/transactions?chain_id=18446744073709551615", 0),
        ("/v1/transactions?cursor=00000000-0000-0000-0000-000000000001", 0),
        (&format!("/v1/transactions?campaign_id={campaign}"), 1),
        ("/v1/transactions?replacement=true", 0),
        ("/v1/transactions?signed_from=2030-01-01T00:00:00Z", 0),
        ("/v1/transactions?block_min=1", 0),
    ] {
        let found = world.call(Role::Manager, &format!("GET {path}")).send().await.ok();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{path}");
    }
    let totals = world.call(Role::Auditor, "GET /v1/transactions/totals?state=submitted").send().await.ok();
    let nothing_yet = json!({ "transactions": 1, "final_transactions": 0, "gas_used": 0, "fees": "0" });
    assert_eq!(totals, nothing_yet);
    let foreign = world.anonymous(&format!("GET /v1/transactions/{tx}")).by(Role::Auditor, "other", "x");
    foreign.refused(404, "not_found", "transaction").await;
}

#[tokio::test]
async fn a_campaigns_books_counts_and_movements() {
    let world = World::new().await;
    let campaign = granted(&world).await;
    let stats = world.call(Role::Manager, &format!("GET /v1/campaigns/{campaign}/statistics")).send().await;
    insta::assert_json_snapshot!("statistics", stats.ok());
    let ledger = world.call(Role::Auditor, &format!("GET /v1/campaigns/{campaign}/ledger")).send().await;
    insta::assert_json_snapshot!("ledger", ledger.ok(), { ".items[].reference" => "[reference]" });
    let declines = world.call(Role::Auditor, &format!("GET /v1/campaigns/{campaign}/declines")).send().await;
    insta::assert_json_snapshot!("declines", declines.ok(), { ".items[].outcome_key" => "[outcome]" });
}

#[tokio::test]
async fn a_players_grants_and_tokens() {
    let world = World::new().await;
    let campaign = granted(&world).await;
    let grants = world.call(Role::GameServer, "GET /v1/players/p-1/grants").send().await.ok();
    assert_eq!(grants["items"][0]["id"], format!("{campaign}-0"));
    assert_eq!(grants["items"][0]["player_id"], "p-1");
    let tokens =
        world.anonymous("GET /v1/players/p-1/tokens").by(Role::Player, "default", "p-1").send().await;
    insta::assert_json_snapshot!("tokens", tokens.ok());
}
