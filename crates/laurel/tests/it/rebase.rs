//! The chain takes back what was final: an operator has the ledger follow it, and the same grants are paid once.

mod branches;
mod taken_back;

use std::time::Duration;

use alloy::primitives::U256;
use laurel_devnet::chain_control::ChainControl;
use laurel_events::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::{sleep, timeout};

use crate::{
    histories::assert_histories,
    process::{Running, output},
    recovery::{alerts, reconciled},
    rest::Rest,
    world::{REWARD, World, free_port},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// So many players earn grants, each as many.
const PLAYERS: usize = 3;
const GRANTS_EACH: u64 = 4;

/// More blocks than anything unfinished stands in: those that the chain keeps.
const BLOCKS_BETWEEN: u64 = 5;

/// A world in which everything is paid, final and complete.
struct Paid {
    world: World,
    rest: Rest,
    campaign: String,
    replica: Option<Running>,
}

impl Paid {
    async fn start() -> Self {
        Self::with_cap("1000000").await
    }

    /// With that cap, and blocks between it and the payments.
    async fn with_cap(cap: &str) -> Self {
        let world = World::start().await;
        let port = free_port();
        let replica = Some(world.start_all(port));
        let rest = Rest::new(&format!("http://127.0.0.1:{port}"));
        let campaign = world.campaign(&rest, cap).await;
        let story = Self { world, rest, campaign, replica };
        for player in 0..PLAYERS {
            story.rest.player(&name(player), story.world.chain_id).await;
        }
        story
    }

    /// Everybody wins, and everything is paid.
    async fn pay(&self) {
        let at = SystemClock.now();
        let outcomes: Vec<Value> = (0..PLAYERS)
            .flat_map(|player| (0..GRANTS_EACH).map(move |match_number| (player, match_number)))
            .map(|(player, number)| {
                json!({ "outcome_id": format!("{player}-{number}"), "game": "quiz", "player_id": name(player),
                        "score": 90, "occurred_at": at })
            })
            .collect();
        self.rest.must(Method::POST, "/outcomes", Some(json!({ "outcomes": outcomes }))).await;
        self.until_complete().await;
    }

    fn control(&self) -> ChainControl {
        ChainControl::new(self.world.rpc_url.clone()).unwrap()
    }

    fn pool(&self) -> &PgPool {
        self.world.database.pool()
    }

    /// Blocks that the chain keeps follow what there is.
    async fn bury(&self) {
        self.control().mine(BLOCKS_BETWEEN).await.unwrap();
    }

    /// The chain forgets every block from `number` on.
    async fn forget_from(&self, number: i64) {
        let control = self.control();
        let head = control.block_number().await.unwrap();
        // A block may be made meanwhile; some below are kept for that.
        control.reorg(head + 2 - number.cast_unsigned()).await.unwrap();
    }

    /// The block of the first settlement.
    async fn first_settled(&self) -> i64 {
        sqlx::query_scalar("SELECT min(block_number) FROM batches WHERE state = 'confirmed'")
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// Waits until the watcher has seen it.
    async fn until_halted(&self) {
        let halted = async {
            while !alerts(&self.rest).await.contains(&"chain_halted".to_owned()) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, halted).await.expect("the chain is halted");
    }

    /// Waits until the stages that a rebase waits for have read everything.
    async fn until_read(&self) {
        let behind = "SELECT count(*) FROM heads h
                      CROSS JOIN (VALUES ('books'), ('settlements'), ('grant-saga')) AS s (stage)
                      LEFT JOIN cursors c ON c.stage = s.stage AND c.part = h.part WHERE coalesce(c.next, 0) < h.next";
        let read = async {
            while sqlx::query_scalar::<_, i64>(behind).fetch_one(self.pool()).await.unwrap() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, read).await.expect("nothing more is written");
    }

    /// `laurel chain rebase --json` with these arguments; its exit code and what it says.
    async fn rebase(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.world.laurel(self.rest.port(), &["chain", "rebase", "--json"]);
        command.args(arguments);
        let output = output(command).await;
        let said = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
        (output.status.code(), said)
    }

    /// Every grant is complete, as the API has it.
    async fn until_complete(&self) {
        let all = (PLAYERS as u64 * GRANTS_EACH * REWARD).to_string();
        let statistics = self
            .rest
            .until(&format!("/campaigns/{}/statistics", self.campaign), |statistics| {
                statistics["paid"] == *all && statistics["completed"] == PLAYERS as u64 * GRANTS_EACH
            })
            .await;
        assert_eq!(statistics["reserved"], "0", "{statistics}");
        assert_eq!(statistics["grants"], PLAYERS as u64 * GRANTS_EACH, "{statistics}");
    }

    /// Waits until every wallet has what its player earned: the chain is asked.
    async fn until_paid_again(&self) {
        let paid = async {
            for player in 0..PLAYERS {
                while self.world.balance(Rest::wallet(&name(player))).await
                    != U256::from(GRANTS_EACH * REWARD)
                {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        timeout(PATIENCE, paid).await.expect("everything is paid again");
    }

    /// Everything is paid once, and every account of it agrees.
    async fn assert_settled(&self) {
        self.until_paid_again().await;
        self.until_complete().await;
        // What is paid may still be on its way to be final; nothing is paid after it.
        self.bury().await;
        let all_final = async {
            let open = "SELECT count(*) FROM batches WHERE state IN ('submitted', 'mined')";
            while sqlx::query_scalar::<_, i64>(open).fetch_one(self.pool()).await.unwrap() > 0 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, all_final).await.expect("every batch is final");
        self.until_complete().await;
        for player in 0..PLAYERS {
            let has = self.world.balance(Rest::wallet(&name(player))).await;
            assert_eq!(has, U256::from(GRANTS_EACH * REWARD), "player {player}");
        }
        let port = self.rest.port();
        self.world.assert_books_balance(port).await;
        assert_eq!(reconciled(&self.world, port).await, Default::default());
        assert_histories(self.pool()).await;
        assert_eq!(alerts(&self.rest).await, Vec::<String>::new());
        let seqs: i64 =
            sqlx::query_scalar("SELECT next_seq FROM queues").fetch_one(self.pool()).await.unwrap();
        assert_eq!(seqs.cast_unsigned(), PLAYERS as u64 * GRANTS_EACH, "nothing was given another place");
    }

    async fn end(mut self) {
        if let Some(replica) = self.replica.take() {
            assert_eq!(replica.terminate().await, Some(0));
        }
    }
}

fn name(player: usize) -> String {
    format!("player-{player}")
}
