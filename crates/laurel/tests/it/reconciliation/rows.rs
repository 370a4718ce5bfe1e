//! One row changed, lost or made up in each table that a reconciliation compares.

use super::settled::Ledger;

#[tokio::test]
async fn a_voids_amount_changed() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "UPDATE voids SET amount = amount - 1 WHERE campaign = $1 RETURNING campaign || '-' || number",
        )
        .await;
    ledger.assert_found(&[("void_differs", &format!("grant:{grant}"))]).await;
}

#[tokio::test]
async fn a_fundings_cap_changed() {
    let mut ledger = Ledger::copy().await;
    let campaign = ledger
        .corrupt(
            "UPDATE fundings SET cap = cap + 5, added = added + 5 WHERE campaign = $1 RETURNING campaign::text",
        )
        .await;
    ledger.assert_found(&[("funding_differs", &format!("campaign:{campaign}"))]).await;
}

#[tokio::test]
async fn a_funding_that_no_block_has() {
    let mut ledger = Ledger::copy().await;
    let campaign = ledger
        .corrupt(
            "INSERT INTO fundings (campaign, block_number, log_index, tx, cap, added, recorded_at)
             SELECT campaign, block_number, log_index + 1000, decode(repeat('ab', 32), 'hex'), cap + 7, 7, recorded_at
             FROM fundings WHERE campaign = $1 RETURNING campaign::text",
        )
        .await;
    ledger.assert_found(&[("funding_unfounded", &format!("campaign:{campaign}"))]).await;
}

#[tokio::test]
async fn something_given_back_of_a_campaign_that_goes_on() {
    let mut ledger = Ledger::copy().await;
    let campaign = ledger
        .corrupt(
            "INSERT INTO returns (campaign, turn, tx, amount, recorded_at)
             VALUES ($1, 0, decode(repeat('ab', 32), 'hex'), 5, now()) RETURNING campaign::text",
        )
        .await;
    let about = format!("campaign:{campaign}");
    ledger.assert_found(&[("return_differs", &about), ("balance_differs", &about)]).await;
}

#[tokio::test]
async fn a_posting_that_no_block_has() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger
        .corrupt(
            "INSERT INTO postings (batch, campaign, grants, amount, tx, recorded_at)
             SELECT gen_random_uuid(), campaign, 1, 1000, decode(repeat('ab', 32), 'hex'), recorded_at
             FROM postings WHERE campaign = $1 LIMIT 1 RETURNING batch::text",
        )
        .await;
    // Nor has anybody made that batch.
    let about = format!("batch:{batch}");
    ledger.assert_found(&[("posting_unfounded", &about), ("batch_missing", &about)]).await;
}

#[tokio::test]
async fn a_hold_that_the_books_do_not_count() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "INSERT INTO grants (campaign, number, part, position, idx, outcome, player, amount, rule_version, recorded_at)
             SELECT campaign, (SELECT grants FROM accounts WHERE campaign = $1), part, position, idx + 1000, gen_random_uuid(), player,
                    amount, rule_version, recorded_at
             FROM grants WHERE campaign = $1 AND number = 5 RETURNING campaign || '-' || number || '/' || player",
        )
        .await;
    let (grant, player) = grant.split_once('/').unwrap();
    // Neither the balances nor the player's counter have it, and nobody sent its outcome.
    let campaign = &ledger.settled.campaign;
    let wanted = [
        ("grant_number_twice", &*format!("grant:{grant}")),
        ("outcome_missing", &format!("grant:{grant}")),
        ("balance_differs", &format!("campaign:{campaign}")),
        ("counter_differs", &format!("campaign:{campaign}/player:{player}")),
    ];
    ledger.assert_found(&wanted).await;
}

#[tokio::test]
async fn a_chunk_of_the_journal_deleted() {
    let mut ledger = Ledger::copy().await;
    let place = ledger
        .corrupt(
            "DELETE FROM journal WHERE $1 > 0
             AND (part, position) = (SELECT part, position FROM journal WHERE kind = 'CampaignStateChanged' LIMIT 1)
             RETURNING part || '/' || position",
        )
        .await;
    // What was verified before is only looked at again when everything is.
    ledger.assert_found_by(&["--full"], &[("journal_gap", &format!("journal:{place}"))]).await;
}

#[tokio::test]
async fn an_attempts_bytes_changed() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger
        .corrupt(
            "UPDATE attempts SET raw = set_byte(raw, 100, get_byte(raw, 100) # 1)
             WHERE $1 > 0 AND batch = (SELECT id FROM batches ORDER BY nonce LIMIT 1) RETURNING batch::text",
        )
        .await;
    ledger.assert_found(&[("attempt_differs", &format!("batch:{batch}"))]).await;
}

#[tokio::test]
async fn a_segment_that_is_not_marked_as_posted() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger
        .corrupt(
            "UPDATE segments SET posted_at = NULL WHERE campaign = $1
             AND batch = (SELECT batch FROM postings ORDER BY batch LIMIT 1) RETURNING batch::text",
        )
        .await;
    ledger.assert_found(&[("segment_not_posted", &format!("batch:{batch}"))]).await;
}

#[tokio::test]
async fn a_queue_that_has_given_places_to_nobody() {
    let mut ledger = Ledger::copy().await;
    let place = ledger
        .corrupt(
            "UPDATE queues SET next_seq = next_seq + 3, batched_to = batched_to + 3 WHERE campaign = $1
             RETURNING campaign || '/seq:' || next_seq - 3",
        )
        .await;
    ledger.assert_found(&[("seq_missing", &format!("campaign:{place}"))]).await;
}

#[tokio::test]
async fn a_grant_that_is_given_another_place() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "WITH queue AS (
                 UPDATE queues SET next_seq = next_seq + 1 WHERE campaign = $1 RETURNING next_seq - 1 AS seq)
             INSERT INTO runs (campaign, first_seq, count, numbers, words, queued_at)
             SELECT r.campaign, queue.seq, 1, ARRAY[r.numbers[4]], substring(r.words FROM 97 FOR 32), r.queued_at
             FROM runs r, queue WHERE r.campaign = $1 AND r.first_seq = 0 RETURNING campaign || '-' || numbers[1]",
        )
        .await;
    ledger.assert_found(&[("grant_queued_twice", &format!("grant:{grant}"))]).await;
}

#[tokio::test]
async fn another_code_hash_of_the_vault() {
    let mut ledger = Ledger::copy().await;
    let vault = ledger
        .corrupt(
            "UPDATE vaults SET code_hash = decode(repeat('ab', 32), 'hex') WHERE $1 > 0 RETURNING encode(address, 'hex')",
        )
        .await;
    let vault: alloy::primitives::Address = vault.parse().unwrap();
    ledger.assert_found(&[("vault_code_differs", &format!("vault:{vault}"))]).await;
}
