//! Corruptions made by hand, each of which has to be found, and named by what was done and nothing else.

use super::{reports::alerts, settled::Ledger};
use crate::process::output;

#[tokio::test]
async fn nothing_is_found_where_nothing_was_done() {
    let ledger = Ledger::copy().await;
    let report = ledger.assert_found(&[]).await;
    assert_eq!(report["places"], 139);
    assert!(report["settlements"].as_u64().unwrap() >= 2, "{report}");
    assert!(report["chains"][0]["block"].as_u64().unwrap() > 0, "{report}");
}

#[tokio::test]
async fn a_posting_deleted() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger
        .corrupt(
            "DELETE FROM postings WHERE campaign = $1
             AND batch = (SELECT batch FROM postings ORDER BY batch LIMIT 1) RETURNING batch::text",
        )
        .await;
    let report = ledger.assert_found(&[("posting_missing", &format!("batch:{batch}"))]).await;
    let detail = report["findings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("in block") && detail.contains("paid"), "{detail}");
}

#[tokio::test]
async fn a_hold_deleted() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            // One that has a place.
            "DELETE FROM grants WHERE campaign = $1
             AND number = (SELECT n FROM runs, unnest(numbers) AS n WHERE campaign = $1 ORDER BY n LIMIT 1 OFFSET 4)
             RETURNING campaign || '-' || number",
        )
        .await;
    ledger.assert_found(&[("grant_missing", &format!("grant:{grant}"))]).await;
}

/// Whoever sends it again is paid again.
#[tokio::test]
async fn an_outcome_forgotten() {
    let changes = [
        "DELETE FROM outcomes WHERE key = (SELECT outcome FROM grants WHERE campaign = $1 AND number = 3)
         RETURNING (SELECT campaign || '-' || number FROM grants WHERE campaign = $1 AND number = 3)",
        "UPDATE outcomes SET key = gen_random_uuid()
         WHERE key = (SELECT outcome FROM grants WHERE campaign = $1 AND number = 3)
         RETURNING (SELECT campaign || '-' || number FROM grants WHERE campaign = $1 AND number = 3)",
    ];
    for change in changes {
        let mut ledger = Ledger::copy().await;
        let grant = ledger.corrupt(change).await;
        ledger.assert_found(&[("outcome_missing", &format!("grant:{grant}"))]).await;
    }
}

/// One that was declined might be granted then.
#[tokio::test]
async fn an_outcome_forgotten_that_was_declined() {
    let mut ledger = Ledger::copy().await;
    ledger.assert_found(&[]).await;
    let place = ledger
        .corrupt(
            "DELETE FROM outcomes WHERE key = (SELECT outcome FROM declines WHERE campaign = $1 ORDER BY number LIMIT 1)
             RETURNING part || '/' || position || '/' || idx",
        )
        .await;
    let found = ("outcome_missing".to_owned(), format!("journal:{place}"));
    ledger.assert_found_by(&["--full"], &[(&found.0, &found.1)]).await;
    // What is not looked at again is not known to be mended.
    ledger.assert_found_by(&[], &[]).await;
    assert_eq!(alerts(&mut ledger).await, [found]);
}

/// Nobody does anything that leaves no trace.
#[tokio::test]
async fn a_record_of_the_audit_log_deleted() {
    let mut ledger = Ledger::copy().await;
    let place = ledger
        .corrupt(
            "DELETE FROM staff_log WHERE id = (SELECT id FROM staff_log WHERE $1::bigint IS NOT NULL ORDER BY id LIMIT 1)
             RETURNING part || '/' || position || '/' || idx",
        )
        .await;
    ledger.assert_found_by(&["--full"], &[("record_missing", &format!("journal:{place}"))]).await;
}

/// What was found before a comparison failed is told all the same.
#[tokio::test]
async fn a_chunk_that_nobody_can_read_hides_nothing_else() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger
        .corrupt(
            "DELETE FROM postings WHERE campaign = $1
             AND batch = (SELECT batch FROM postings ORDER BY batch LIMIT 1) RETURNING batch::text",
        )
        .await;
    ledger
        .corrupt(
            "UPDATE journal SET payload = 'unreadable', digest = sha256('unreadable')
             WHERE kind = 'GameOutcomeRecorded' AND $1 > 0
               AND (part, position) IN (SELECT part, position FROM journal WHERE kind = 'GameOutcomeRecorded' LIMIT 1)
             RETURNING kind",
        )
        .await;
    let failed = output(ledger.laurel(&["audit", "reconcile", "--full"])).await;
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    let raised: Vec<(String, String)> =
        sqlx::query_as("SELECT code, about FROM alerts WHERE code = 'posting_missing'")
            .fetch_all(&mut ledger.conn)
            .await
            .unwrap();
    assert_eq!(raised, [("posting_missing".to_owned(), format!("batch:{batch}"))]);
}

#[tokio::test]
async fn an_outcome_granted_twice() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "UPDATE grants SET outcome = (SELECT outcome FROM grants WHERE campaign = $1 AND number = 3)
             WHERE campaign = $1 AND number = 7 RETURNING campaign || '-' || number",
        )
        .await;
    ledger.assert_found(&[("outcome_granted_twice", &format!("grant:{grant}"))]).await;
}

#[tokio::test]
async fn a_cursor_beyond_the_journal() {
    let mut ledger = Ledger::copy().await;
    let stage = ledger
        .corrupt(
            "UPDATE cursors c SET next = h.next + 1 FROM heads h
             WHERE c.part = h.part AND c.stage = 'campaign' AND c.part = ($1::bigint % 16)::smallint
             RETURNING c.stage || '/' || c.part",
        )
        .await;
    ledger.assert_found(&[("cursor_beyond_journal", &format!("stage:{stage}"))]).await;
}

/// A change of the wallet of a player who has a grant.
macro_rules! wallet {
    ($change:literal) => {
        concat!(
            "UPDATE wallets SET ",
            $change,
            " WHERE player = (SELECT player FROM grants WHERE campaign = $1 AND number = 3) RETURNING player::text"
        )
    };
}

/// Whoever has that one gets what the player earns from then on.
#[tokio::test]
async fn a_wallet_that_the_player_did_not_prove() {
    let changes = [
        wallet!("address = decode(repeat('ab', 20), 'hex')"),
        // As if the player had linked another.
        wallet!("address = decode(repeat('ab', 20), 'hex'), version = version + 1"),
        // As if none had been linked.
        wallet!("address = NULL, kind = NULL, linked_at = NULL"),
        // A key is not asked again before it is paid, a contract is.
        wallet!("kind = 'contract'"),
        // Of one who has linked none.
        "UPDATE wallets SET address = decode(repeat('ab', 20), 'hex'), kind = 'key', version = 1, linked_at = now()
         WHERE player IN (SELECT player FROM grants WHERE campaign = $1) AND address IS NULL RETURNING player::text",
    ];
    for change in changes {
        let mut ledger = Ledger::copy().await;
        let player = ledger.corrupt(change).await;
        ledger.assert_found(&[("wallet_differs", &format!("player:{player}"))]).await;
    }
}

/// With the link in the journal that would tell, which was verified long ago.
#[tokio::test]
async fn a_wallet_replaced_with_what_the_player_proved() {
    let mut ledger = Ledger::copy().await;
    ledger.assert_found(&[]).await;
    ledger.corrupt(wallet!("address = decode(repeat('ab', 20), 'hex')")).await;
    let chunk = ledger
        .corrupt(
            "UPDATE journal SET payload = convert_to(regexp_replace(convert_from(payload, 'UTF8'),
                 '\"wallet\":\"0x[0-9a-f]{40}\"', '\"wallet\":\"0x' || repeat('ab', 20) || '\"'), 'UTF8')
             WHERE kind = 'WalletLinked' AND convert_from(payload, 'UTF8') LIKE
                 '%' || (SELECT player FROM grants WHERE campaign = $1 AND number = 3) || '%'
             RETURNING part || '/' || position",
        )
        .await;
    ledger.assert_found(&[("journal_digest_differs", &format!("journal:{chunk}"))]).await;
}

#[tokio::test]
async fn a_funding_deleted() {
    let mut ledger = Ledger::copy().await;
    let campaign = ledger.corrupt("DELETE FROM fundings WHERE campaign = $1 RETURNING campaign::text").await;
    ledger.assert_found(&[("funding_missing", &format!("campaign:{campaign}"))]).await;
}

#[tokio::test]
async fn a_failed_grant_whose_hold_nobody_will_void() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "WITH failed AS (UPDATE exceptions SET state = 'failed' WHERE campaign = $1 AND state = 'compensated'
                             RETURNING player)
             DELETE FROM voids WHERE campaign = $1
             RETURNING campaign || '-' || number || ' campaign:' || campaign || '/player:' || (SELECT player FROM failed)",
        )
        .await;
    let (grant, player) = grant.split_once(' ').unwrap();
    let (campaign, _) = player.split_once('/').unwrap();
    // The balance is that of a hold that was given back.
    let expected = [
        ("void_missing", &*format!("grant:{grant}")),
        ("balance_differs", campaign),
        ("counter_differs", player),
    ];
    ledger.assert_found(&expected).await;
}

#[tokio::test]
async fn a_void_deleted() {
    let mut ledger = Ledger::copy().await;
    let grant =
        ledger.corrupt("DELETE FROM voids WHERE campaign = $1 RETURNING campaign || '-' || number").await;
    ledger.assert_found(&[("void_missing", &format!("grant:{grant}"))]).await;
}

#[tokio::test]
async fn a_holds_amount_changed() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "UPDATE grants SET amount = amount + 1 WHERE campaign = $1
             AND number = (SELECT n FROM runs, unnest(numbers) AS n WHERE campaign = $1 ORDER BY n LIMIT 1 OFFSET 5)
             RETURNING campaign || '-' || number",
        )
        .await;
    let report = ledger.assert_found(&[("grant_amount_differs", &format!("grant:{grant}"))]).await;
    let detail = report["findings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("1001") && detail.contains("1000") && detail.contains("in block"), "{detail}");
}

/// A posting says less than the settlement. Returns its batch.
pub(super) const OTHER_AMOUNT: &str = "UPDATE postings SET amount = amount - 1000 WHERE campaign = $1
    AND batch = (SELECT max(batch::text) FROM postings)::uuid RETURNING batch::text";

#[tokio::test]
async fn a_postings_amount_changed() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger.corrupt(OTHER_AMOUNT).await;
    ledger.assert_found(&[("posting_differs", &format!("batch:{batch}"))]).await;
}

#[tokio::test]
async fn a_balance_changed() {
    let mut ledger = Ledger::copy().await;
    let campaign = ledger
        .corrupt(
            "UPDATE accounts SET available = available - 7, paid = paid + 7 WHERE campaign = $1
             RETURNING campaign::text",
        )
        .await;
    ledger.assert_found(&[("balance_differs", &format!("campaign:{campaign}"))]).await;
}

#[tokio::test]
async fn a_paid_grant_marked_failed() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "INSERT INTO exceptions (campaign, number, state, reason, player, chain_id, amount, updated_at)
             SELECT campaign, number, 'failed', 'wallet_deadline', player, 31337, amount, recorded_at
             FROM grants
             WHERE campaign = $1
               AND number = (SELECT n FROM runs, unnest(numbers) AS n WHERE campaign = $1 ORDER BY n LIMIT 1 OFFSET 6)
             RETURNING campaign || '-' || number",
        )
        .await;
    let about = format!("grant:{grant}");
    let report = ledger.assert_found(&[("paid_grant_failed", &about), ("void_missing", &about)]).await;
    assert_eq!(report["findings"][0]["severity"], "critical");
}

#[tokio::test]
async fn a_batch_row_lost() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger
        .corrupt(
            "DELETE FROM batches WHERE $1 > 0 AND id = (SELECT id FROM batches ORDER BY nonce LIMIT 1) RETURNING id::text",
        )
        .await;
    ledger.assert_found(&[("batch_missing", &format!("batch:{batch}"))]).await;
}

#[tokio::test]
async fn a_word_changed() {
    let mut ledger = Ledger::copy().await;
    // The last byte of the first recipient.
    let grant = ledger
        .corrupt(
            "UPDATE runs SET words = set_byte(words, 19, get_byte(words, 19) # 1)
             WHERE campaign = $1 AND first_seq = 0 RETURNING campaign || '-' || numbers[1]",
        )
        .await;
    let report = ledger.assert_found(&[("word_differs", &format!("grant:{grant}"))]).await;
    assert_eq!(report["findings"][0]["severity"], "critical");
}

#[tokio::test]
async fn a_words_amount_changed() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "UPDATE runs SET words = set_byte(words, 31, get_byte(words, 31) # 1)
             WHERE campaign = $1 AND first_seq = 0 RETURNING campaign || '-' || numbers[1]",
        )
        .await;
    ledger.assert_found(&[("word_differs", &format!("grant:{grant}"))]).await;
}

#[tokio::test]
async fn a_counter_changed() {
    let mut ledger = Ledger::copy().await;
    let player = ledger
        .corrupt(
            "UPDATE counters SET grants = grants + 1 WHERE campaign = $1 AND period = date '1970-01-01'
             AND player = (SELECT max(player::text) FROM counters WHERE grants > 0)::uuid RETURNING player::text",
        )
        .await;
    let about = format!("campaign:{}/player:{player}", ledger.settled.campaign);
    let report = ledger.assert_found(&[("counter_differs", &about)]).await;
    let detail = report["findings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("the campaign's life"), "{detail}");
}

#[tokio::test]
async fn a_counter_of_a_day_deleted() {
    let mut ledger = Ledger::copy().await;
    let player = ledger
        .corrupt(
            "DELETE FROM counters WHERE campaign = $1 AND period > date '1970-01-01'
             AND player = (SELECT max(player::text) FROM counters WHERE grants > 0)::uuid RETURNING player::text",
        )
        .await;
    let about = format!("campaign:{}/player:{player}", ledger.settled.campaign);
    ledger.assert_found(&[("counter_differs", &about)]).await;
}

#[tokio::test]
async fn every_counter_deleted() {
    let mut ledger = Ledger::copy().await;
    let players = ledger
        .corrupt(
            "WITH gone AS (DELETE FROM counters WHERE campaign = $1 RETURNING player, grants)
             SELECT string_agg(DISTINCT player::text, ' ') FROM gone WHERE grants > 0",
        )
        .await;
    let campaign = &ledger.settled.campaign;
    let abouts: Vec<String> =
        players.split(' ').map(|player| format!("campaign:{campaign}/player:{player}")).collect();
    let wanted: Vec<(&str, &str)> = abouts.iter().map(|about| ("counter_differs", about.as_str())).collect();
    ledger.assert_found(&wanted).await;
}

#[tokio::test]
async fn an_attempt_hidden() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger
        .corrupt(
            "DELETE FROM attempts WHERE $1 > 0 AND batch = (SELECT id FROM batches ORDER BY nonce LIMIT 1)
             RETURNING batch::text",
        )
        .await;
    ledger.assert_found(&[("attempt_missing", &format!("batch:{batch}"))]).await;
}

#[tokio::test]
async fn a_seq_given_twice() {
    let mut ledger = Ledger::copy().await;
    // The grant that never had a place is given one that another has.
    let grant = ledger
        .corrupt(
            "INSERT INTO runs (campaign, first_seq, count, numbers, words, queued_at)
             SELECT r.campaign, 3, 1, ARRAY[v.number], substring(r.words FROM 97 FOR 32), r.queued_at
             FROM runs r JOIN voids v ON v.campaign = r.campaign WHERE r.campaign = $1 AND r.first_seq = 0
             RETURNING campaign || '-' || numbers[1]",
        )
        .await;
    ledger.assert_found(&[("seq_given_twice", &format!("grant:{grant}"))]).await;
}

#[tokio::test]
async fn a_foreign_vault() {
    let mut ledger = Ledger::copy().await;
    let campaign = ledger
        .corrupt(
            "WITH foreign_vault AS (
                 INSERT INTO vaults (chain_id, address, code_hash, deploy_block)
                 SELECT chain_id, decode(repeat('42', 20), 'hex'), code_hash, deploy_block FROM vaults RETURNING id)
             UPDATE campaigns SET vault = foreign_vault.id FROM foreign_vault WHERE campaigns.id = $1
             RETURNING campaigns.id::text",
        )
        .await;
    let vault = "vault:0x4242424242424242424242424242424242424242";
    ledger
        .assert_found(&[("foreign_vault", &format!("campaign:{campaign}")), ("foreign_vault", vault)])
        .await;
}

#[tokio::test]
async fn an_attempt_hidden_that_no_block_has() {
    let mut ledger = Ledger::copy().await;
    // The journal tells of another transaction of the first batch.
    let batch = ledger
        .corrupt(
            r#"WITH told AS (
                 SELECT j.*, regexp_replace(convert_from(payload, 'UTF8'), '"tx":"0x[0-9a-f]{4}', '"tx":"0xdead') AS text
                 FROM journal j WHERE $1 > 0 AND kind = 'BlockchainTxSubmitted' AND entries = 1
                 ORDER BY part, position LIMIT 1
               ), moved AS (
                 UPDATE heads h SET next = h.next + 1 FROM told WHERE h.part = told.part RETURNING h.next - 1 AS at
               )
               INSERT INTO journal (part, position, kind, version, entries, recorded_at, payload, digest)
               SELECT part, at, kind, version, 1, recorded_at, convert_to(text, 'UTF8'), sha256(convert_to(text, 'UTF8'))
               FROM told, moved
               RETURNING substring(convert_from(payload, 'UTF8') FROM '"batch":"([0-9a-f-]{36})"')"#,
        )
        .await;
    ledger.assert_found(&[("attempt_missing", &format!("batch:{batch}"))]).await;
}

#[tokio::test]
async fn a_batch_that_the_chain_paid_marked_reverted() {
    let mut ledger = Ledger::copy().await;
    let batch = ledger
        .corrupt(
            "UPDATE batches SET state = 'reverted' WHERE $1 > 0 AND id = (SELECT id FROM batches ORDER BY nonce LIMIT 1)
             RETURNING id::text",
        )
        .await;
    ledger.assert_found(&[("batch_differs", &format!("batch:{batch}"))]).await;
}

#[tokio::test]
async fn a_batch_that_no_block_has_marked_reverted() {
    let mut ledger = Ledger::copy().await;
    // Signed for nobody's place and never sent: the lane's next nonce.
    let batch = ledger
        .corrupt(
            "WITH copied AS (
                 INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at, mined_tx, block_number,
                                      block_hash, gas_used, effective_gas_price)
                 SELECT gen_random_uuid(), b.lane, l.next_nonce, 'reverted', b.deadline, 0, b.created_at,
                        decode(repeat('ab', 32), 'hex'), b.block_number, b.block_hash, 1, 1
                 FROM batches b JOIN lanes l ON l.id = b.lane WHERE $1 > 0 ORDER BY b.nonce LIMIT 1
                 RETURNING id, lane)
             UPDATE lanes SET next_nonce = next_nonce + 1 FROM copied WHERE lanes.id = copied.lane
             RETURNING copied.id::text || '/' || lanes.id",
        )
        .await;
    let (batch, lane) = batch.split_once('/').unwrap();
    let about = format!("batch:{batch}");
    // It has no bytes either, and the chain has not counted its nonce.
    let wanted = [
        ("batch_not_on_chain", &*about),
        ("attempt_missing", &about),
        ("lane_nonce_differs", &format!("lane:{lane}")),
    ];
    ledger.assert_found(&wanted).await;
}

/// One more hold, as the campaign's stage makes it; `$1` is the campaign. Its outcome is that of another grant, in another place.
macro_rules! one_more_hold {
    ($then:literal) => {
        concat!(
            "WITH one AS (SELECT * FROM grants WHERE campaign = $1 AND number = 5),
             held AS (
                 INSERT INTO grants (campaign, number, part, position, idx, outcome, player, amount, rule_version, recorded_at)
                 SELECT campaign, (SELECT grants FROM accounts WHERE campaign = $1), part, position, idx + 1000, gen_random_uuid(), player,
                        amount, rule_version, recorded_at
                 FROM one RETURNING *),
             accepted AS (
                 INSERT INTO outcomes (key, org, digest, part, position, idx)
                 SELECT held.outcome, o.org, o.digest, held.part, held.position, held.idx
                 FROM held, one JOIN outcomes o ON o.key = one.outcome),
             booked AS (
                 UPDATE accounts a SET grants = a.grants + 1, reserved = a.reserved + held.amount,
                        available = a.available - held.amount
                 FROM held WHERE a.campaign = held.campaign),
             counted AS (
                 UPDATE counters c SET grants = c.grants + 1, amount = c.amount + held.amount FROM held
                 WHERE c.campaign = held.campaign AND c.player = held.player
                   AND c.period IN (date '1970-01-01', (held.recorded_at AT TIME ZONE 'UTC')::date)) ",
            $then
        )
    };
}

/// Its hold was given back because it never had a place; whoever has one may be paid yet.
#[tokio::test]
async fn a_place_given_to_a_grant_whose_hold_was_voided() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(
            "WITH gone AS (SELECT * FROM exceptions WHERE campaign = $1 AND state = 'compensated'),
             queue AS (
                 UPDATE queues q SET next_seq = next_seq + 1 FROM gone
                 WHERE q.campaign = gone.campaign RETURNING next_seq - 1 AS seq)
             INSERT INTO runs (campaign, first_seq, count, numbers, words, queued_at)
             SELECT r.campaign, queue.seq, 1, ARRAY[gone.number], substring(r.words FOR 32), r.queued_at
             FROM runs r, gone, queue WHERE r.campaign = gone.campaign AND r.first_seq = 0
             RETURNING campaign || '-' || numbers[1]",
        )
        .await;
    ledger.assert_found(&[("void_unproven", &format!("grant:{grant}"))]).await;
}

/// As if the chain had not paid what the ledger has as completed. What was read is no evidence: read again, nothing is found.
#[tokio::test]
async fn what_was_read_of_the_chain_changed() {
    let mut ledger = Ledger::copy().await;
    ledger.assert_found(&[]).await;
    let batch = ledger
        .corrupt(
            "UPDATE audit_settlements a SET paid = set_bit(a.paid, 31 * 8 + 3, 0), paid_count = a.paid_count - 1
             FROM attempts t WHERE a.campaign = $1 AND a.first_seq <= 3 AND a.first_seq + a.count > 3 AND t.tx = a.tx
             RETURNING t.batch::text",
        )
        .await;
    let campaign = &ledger.settled.campaign;
    let grant: i64 = sqlx::query_scalar(
        "SELECT numbers[4 - first_seq] FROM runs WHERE first_seq <= 3 AND first_seq + count > 3",
    )
    .fetch_one(&mut ledger.conn)
    .await
    .unwrap();
    let wanted = [
        ("completed_not_paid", &*format!("grant:{campaign}-{grant}")),
        ("posting_differs", &format!("batch:{batch}")),
    ];
    ledger.assert_found(&wanted).await;
    ledger.assert_found_by(&["--full"], &[]).await;
}

#[tokio::test]
async fn a_request_lost_after_its_hold() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger.corrupt(one_more_hold!("SELECT campaign || '-' || number FROM held")).await;
    ledger.assert_found(&[("grant_stranded", &format!("grant:{grant}"))]).await;
}

#[tokio::test]
async fn a_place_lost_after_it_was_given() {
    let mut ledger = Ledger::copy().await;
    let grant = ledger
        .corrupt(one_more_hold!(
            ", queue AS (
                 UPDATE queues q SET next_seq = next_seq + 1, batched_to = batched_to + 1 FROM held
                 WHERE q.campaign = held.campaign RETURNING next_seq - 1 AS seq)
             INSERT INTO runs (campaign, first_seq, count, numbers, words, queued_at)
             SELECT r.campaign, queue.seq, 1, ARRAY[held.number], substring(r.words FOR 32), r.queued_at
             FROM runs r, held, queue WHERE r.campaign = held.campaign AND r.first_seq = 0
             RETURNING campaign || '-' || numbers[1]"
        ))
        .await;
    ledger.assert_found(&[("place_stranded", &format!("grant:{grant}"))]).await;
}
