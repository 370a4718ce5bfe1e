//! The settlements are in no block any more.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{GRANTS_EACH, PATIENCE, PLAYERS, Paid};
use crate::{process::Running, world::REWARD};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_chain_forgot_is_paid_again_with_the_same_places() {
    let story = Paid::start().await;
    story.bury().await;
    story.pay().await;
    let (code, said) = story.rebase(&[]).await;
    assert_eq!(code, Some(1), "nothing is halted: {said}");
    story.forget_from(story.first_settled().await).await;
    story.until_halted().await;

    let (code, said) = story.rebase(&["--resume"]).await;
    assert_eq!(code, Some(1), "our final block is gone: {said}");
    let (code, said) = story.rebase(&["--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    let grants = PLAYERS as u64 * GRANTS_EACH;
    assert_eq!(said["undone"]["grants"], grants, "{said}");
    assert_eq!(said["undone"]["amount"], (grants * REWARD).to_string(), "{said}");
    assert_eq!(said["undone"]["fundings"], 0, "{said}");
    story.until_complete().await;

    let (code, said) = story.rebase(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    story.assert_settled().await;
    let undone: i64 = sqlx::query_scalar("SELECT count(*) FROM postings WHERE turn = 1")
        .fetch_one(story.pool())
        .await
        .unwrap();
    assert!(undone > 0, "what was paid first was taken back");
    let transfers = format!("/campaigns/{}/ledger", story.campaign);
    let listed = story.rest.must(reqwest::Method::GET, &transfers, None).await;
    let kinds: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"post_undone"), "{kinds:?}");
    let (code, said) = story.rebase(&[]).await;
    assert_eq!(code, Some(1), "it is over: {said}");
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebase_that_was_killed_goes_on_and_what_is_too_old_is_signed_anew() {
    let mut story = Paid::start().await;
    story.bury().await;
    story.pay().await;
    story.forget_from(story.first_settled().await).await;
    story.until_halted().await;
    story.until_read().await;
    story.replica.take().unwrap().kill_9().await;

    let log = story.world.folder.path().join("rebase.log");
    let rebase = Running::start(story.world.laurel(story.rest.port(), &["chain", "rebase"]), &log);
    let begun = async {
        let open = "SELECT count(*) FROM rebases WHERE ended_at IS NULL";
        while sqlx::query_scalar::<_, i64>(open).fetch_one(story.pool()).await.unwrap() == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, begun).await.expect("it begins without the roles, which have read everything");
    rebase.kill_9().await;
    story.world.let_deadlines_pass().await;
    story.replica = Some(story.world.start_all(story.rest.port()));

    let (code, said) = story.rebase(&["--dry-run"]).await;
    assert_eq!((code, &said["dry_run"]), (Some(0), &json!(true)), "{said}");
    let (code, said) = story.rebase(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    story.assert_settled().await;
    let anew: i64 = sqlx::query_scalar("SELECT count(*) FROM batches WHERE state = 'reverted'")
        .fetch_one(story.pool())
        .await
        .unwrap();
    assert!(anew > 0, "nonces whose settlements were too old were filled");
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_that_the_chain_forgot_halts_the_campaign_until_it_is_there_again() {
    let story = Paid::with_cap("3000").await;
    story.bury().await;
    let fund = format!("/campaigns/{}/fund", story.campaign);
    story.rest.must(reqwest::Method::POST, &fund, Some(json!({ "cap": "20000" }))).await;
    let statistics = format!("/campaigns/{}/statistics", story.campaign);
    story.rest.until(&statistics, |statistics| statistics["funded"] == "20000").await;
    let raised: i64 =
        sqlx::query_scalar("SELECT max(block_number) FROM fundings").fetch_one(story.pool()).await.unwrap();
    story.pay().await;
    story.forget_from(raised).await;
    story.until_halted().await;
    let (code, said) = story.rebase(&[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said["undone"]["fundings"], 1, "{said}");

    // Of 20,000 there were 12,000 granted: the vault has 3,000.
    let short = story.rest.until(&statistics, |statistics| statistics["funded"] == "12000").await;
    assert_eq!((&short["available"], &short["reserved"]), (&json!("0"), &json!("12000")), "{short}");
    assert!(crate::recovery::alerts(&story.rest).await.contains(&"budget_short".to_owned()));
    story.rest.must(reqwest::Method::POST, &fund, Some(json!({ "cap": "20001" }))).await;
    story.rest.until(&statistics, |statistics| statistics["funded"] == "20001").await;
    story.assert_settled().await;
    story.end().await;
}
