//! A recipient whom the token refuses: the others are paid, the place is burned on the chain, and only then is the hold given
//! back. A wallet that is accepted again does not bring the grant back.

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use chrono::{DateTime, Utc};
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    process::Running,
    rest::Rest,
    world::{REWARD, World, free_port},
};

#[allow(missing_docs, reason = "generated from a contract that is documented there")]
mod fussy {
    alloy::sol!(
        #[sol(all_derives)]
        FussyToken,
        "../../contracts/artifacts/FussyToken.json"
    );
}
use fussy::FussyToken;

/// The campaign's cap, and what the vault has behind it.
const CAP: u64 = 100_000;

/// So long is a place tried that is refused. It is tried again after 15 s first.
const GIVE_UP_REFUSED_MS: u64 = 2_000;

async fn win(rest: &Rest, player: &str, at: DateTime<Utc>) -> Value {
    let outcome = json!({
        "outcome_id": format!("match-of-{player}"), "game": "quiz", "player_id": player, "score": 90,
        "occurred_at": at,
    });
    rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": [outcome] }))).await
}

async fn refuse(world: &World, account: Address, refused: bool) {
    let call = FussyToken::refuseCall { account, refused };
    world.sends(0, world.token, call.abi_encode()).await;
}

#[tokio::test]
async fn who_refuses_is_cancelled_on_the_chain_and_everybody_else_is_paid() {
    let mut world = World::start().await;
    world.token = world.deploys(FussyToken::BYTECODE.to_vec()).await;
    let mint = FussyToken::mintCall { to: world.vault, amount: U256::from(CAP) };
    world.sends(0, world.token, mint.abi_encode()).await;
    let port = free_port();
    let mut serving = world.laurel(port, &["all"]);
    serving.env("LAUREL_CHAINS__0__GIVE_UP_REFUSED_MS", GIVE_UP_REFUSED_MS.to_string());
    let serving = Running::start(serving, &world.folder.path().join("laurel.log"));
    let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
    let campaign = world.campaign(&rest, &CAP.to_string()).await;
    let calm = rest.player("calm", world.chain_id).await;
    let refusing = rest.player("refusing", world.chain_id).await;
    refuse(&world, refusing, true).await;
    let at = SystemClock.now();
    win(&rest, "refusing", at).await;
    win(&rest, "calm", at).await;

    let statistics = format!("/campaigns/{campaign}/statistics");
    let paid = U256::from(REWARD).to_string();
    let meanwhile = rest.until(&statistics, |statistics| statistics["paid"] == *paid).await;
    assert_eq!(world.balance(calm).await, U256::from(REWARD), "nobody waits for whom a token refuses");
    assert_eq!(
        (&meanwhile["reserved"], &meanwhile["compensated"]),
        (&json!(paid), &json!(0)),
        "not given back yet"
    );

    let after = rest.until(&statistics, |statistics| statistics["compensated"] == 1).await;
    assert_eq!(after["reserved"], "0");
    assert_eq!(after["available"], U256::from(CAP - REWARD).to_string());
    let grants =
        rest.must(Method::GET, &format!("/grants?player_id=refusing&campaign_id={campaign}"), None).await;
    let states: Vec<&Value> =
        grants["items"].as_array().unwrap().iter().map(|grant| &grant["state"]).collect();
    assert_eq!(states, ["compensated"]);
    world.assert_books_balance(port).await;
    world.assert_reconciled(port).await;

    refuse(&world, refusing, false).await;
    for player in ["refusing", "calm"] {
        assert_eq!(win(&rest, player, at).await["duplicates"], 1, "whose outcome is known is granted once");
    }
    assert_eq!(world.balance(refusing).await, U256::ZERO);
    assert_eq!(serving.terminate().await, Some(0));
}
