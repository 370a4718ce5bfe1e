//! The new branch pays in its own way.

use alloy::{consensus::TxEnvelope, eips::eip2718::Decodable2718 as _};
use laurel_chain::{ChainNode as _, HttpNode, LaneSigner as _, LocalKey, TxRequest};
use laurel_devnet::dev_keys::DEV_KEYS;
use sqlx::Row as _;

use super::Paid;

/// Gives the chain what lanes have signed, lowest nonces first, each as `made` makes it.
async fn send_again(story: &Paid, made: impl Fn(&TxRequest) -> Option<(Vec<u8>, [u8; 32])>) {
    let node = HttpNode::new(&story.world.rpc_url).unwrap();
    let signed = sqlx::query(
        "SELECT a.id, a.batch, a.raw FROM attempts a JOIN batches b ON b.id = a.batch ORDER BY b.nonce",
    )
    .fetch_all(story.pool())
    .await
    .unwrap();
    for row in signed {
        let raw: Vec<u8> = row.get("raw");
        let Some((other, hash)) = made(&TxRequest::decode(&raw).unwrap()) else {
            node.send(raw.into()).await.unwrap();
            continue;
        };
        sqlx::query(
            "INSERT INTO attempts (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas,
                                   signed_at, chain_time)
             SELECT gen_random_uuid(), batch, 1, false, $2, $3, gas_limit, max_fee_per_gas + 1, max_priority_fee_per_gas,
                    signed_at, chain_time
             FROM attempts WHERE id = $1",
        )
        .bind(row.get::<uuid::Uuid, _>("id"))
        .bind(&hash[..])
        .bind(&other)
        .execute(story.pool())
        .await
        .unwrap();
        node.send(other.into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_transactions_in_other_blocks_are_booked_there() {
    let story = Paid::start().await;
    story.bury().await;
    story.pay().await;
    story.forget_from(story.first_settled().await).await;
    send_again(&story, |_| None).await;
    story.until_paid_again().await;
    story.until_halted().await;
    let (code, said) = story.rebase(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    story.assert_settled().await;
    let signed: i64 = sqlx::query_scalar("SELECT count(*) FROM attempts WHERE number > 0")
        .fetch_one(story.pool())
        .await
        .unwrap();
    assert_eq!(signed, 0, "nothing had to be signed for it");
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_attempt_of_a_nonce_pays_there() {
    let story = Paid::start().await;
    story.bury().await;
    story.pay().await;
    story.forget_from(story.first_settled().await).await;
    let lanes = [1, 2].map(|lane| LocalKey::from_hex(DEV_KEYS[lane].secret).unwrap());
    let lane_of = |raw: &TxRequest, lane: &LocalKey| {
        let signed = lane.sign(raw).unwrap();
        TxEnvelope::decode_2718_exact(&signed.raw).unwrap();
        signed
    };
    let signed_by: Vec<(Vec<u8>, usize)> = {
        let rows = sqlx::query("SELECT a.raw, l.address FROM attempts a JOIN batches b ON b.id = a.batch JOIN lanes l ON l.id = b.lane")
            .fetch_all(story.pool())
            .await
            .unwrap();
        let lane =
            |address: Vec<u8>| lanes.iter().position(|lane| lane.address().as_slice() == address).unwrap();
        rows.into_iter().map(|row| (row.get("raw"), lane(row.get("address")))).collect()
    };
    send_again(&story, |request| {
        let by =
            signed_by.iter().find(|(raw, _)| TxRequest::decode(raw).as_ref() == Some(request)).unwrap().1;
        let dearer = TxRequest { max_fee_per_gas: request.max_fee_per_gas + 1, ..request.clone() };
        let signed = lane_of(&dearer, &lanes[by]);
        Some((signed.raw.to_vec(), signed.hash.0))
    })
    .await;
    story.until_paid_again().await;
    story.until_halted().await;
    let (code, said) = story.rebase(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    story.assert_settled().await;
    let other: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM batches b JOIN attempts a ON a.tx = b.mined_tx WHERE b.state = 'confirmed' AND a.number = 1",
    )
    .fetch_one(story.pool())
    .await
    .unwrap();
    assert!(other > 0, "the other attempts are what the chain has");
    story.end().await;
}
