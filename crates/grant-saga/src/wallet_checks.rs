//! Asking contract wallets again before they are paid (EIP-1271).
//!
//! A stage may not ask a chain, so it holds the grants of contract wallets for `wallet_check`. The checker asks the
//! contract outside of any transaction and then settles what it heard in one: the wallet is kept as it was asked about,
//! the grants are locked as they are held, and either they get their places or another reason. Whoever comes late finds
//! another wallet, or grants that are held no more, and changes nothing.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use laurel_bus::{StageError, Wakes};
use laurel_chain::{ChainError, ChainNode};
use laurel_events::{Clock, EventKind, NewEvent, PlayerId, TokenGrantHeld};
use laurel_ledger::{Context, LedgerError, acquire_lease, answered, append, commit, reserved_addresses};
use laurel_players::{WalletProof, ask_contract, keep_wallets, wallet_proof};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    exceptions::{Awaiting, RESERVED_RECIPIENT, WALLET_CHECK, WALLET_REFUSED, lock_awaiting, set_held},
    seats::seat_waiting,
};

/// How many wallets are asked between two looks at the lease: at 100 ms each, a third of its time.
const PLAYERS_MAX: i64 = 50;

/// How long a round may take before it is given up: all its wallets from a node that answers no sooner than it must.
const STEP_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a replica may go without renewing: one that died is replaced within seconds.
const LEASE: TimeDelta = TimeDelta::seconds(15);

/// How long to rest when there is nothing to ask and no wake came.
const POLL: Duration = Duration::from_secs(1);

/// Why wallets were not asked, or what they said was not settled.
#[derive(Debug, thiserror::Error)]
pub enum WalletCheckError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The grants cannot get places.
    #[error(transparent)]
    Seats(#[from] StageError),
}

impl From<sqlx::Error> for WalletCheckError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// Asks the contract wallets of one chain.
#[derive(Debug)]
pub struct WalletChecker {
    chain_id: u64,
    node: Arc<dyn ChainNode>,
    pool: PgPool,
    clock: Arc<dyn Clock>,
    wakes: Wakes,
    holder: String,
    /// The last player who was looked at: one whose wallet cannot be asked must not keep the others waiting.
    after: Uuid,
}

impl WalletChecker {
    /// A checker of the wallets on `node`'s chain, under the name `holder`, which no other replica has.
    pub fn new(
        chain_id: u64,
        node: Arc<dyn ChainNode>,
        pool: PgPool,
        clock: Arc<dyn Clock>,
        wakes: Wakes,
        holder: String,
    ) -> Self {
        Self { chain_id, node, pool, clock, wakes, holder, after: Uuid::nil() }
    }

    /// Asks until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let wake = self.wakes.subscribe(&[EventKind::TokenGrantHeld]).await;
        while !shutdown.is_cancelled() {
            match answered(STEP_TIMEOUT, self.round()).await {
                Ok(settled) if settled > 0 => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(chain.id = self.chain_id, error = ?error, "wallets will be asked again");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(POLL) => {}
                () = wake.notified() => {}
            }
        }
    }

    /// Asks some of the wallets whose grants are held for it. Returns for how many players that settled something.
    ///
    /// # Errors
    /// If the database or the chain does not answer. The wallet that could not be asked comes again after the others.
    pub async fn round(&mut self) -> Result<usize, WalletCheckError> {
        let players = self.players().await?;
        let mut settled = 0;
        for player in players {
            self.after = player.uuid();
            settled += usize::from(self.check(player).await?);
        }
        Ok(settled)
    }

    /// The next players with grants to check; none while another replica has the lease.
    async fn players(&mut self) -> Result<Vec<PlayerId>, WalletCheckError> {
        let mut conn = self.pool.acquire().await?;
        let name = format!("wallet-checks:{}", self.chain_id);
        if !acquire_lease(&mut conn, self.clock.now(), &name, &self.holder, LEASE).await? {
            return Ok(Vec::new());
        }
        let players = sqlx::query_scalar!(
            r#"
            SELECT DISTINCT player FROM exceptions
            WHERE chain_id = $1 AND state = 'held' AND reason = 'wallet_check' AND seq IS NULL AND player > $2
            ORDER BY player
            LIMIT $3
            "#,
            self.chain_id.cast_signed(),
            self.after,
            PLAYERS_MAX,
        )
        .fetch_all(&mut *conn)
        .await?;
        if players.is_empty() {
            self.after = Uuid::nil();
        }
        Ok(players.into_iter().map(PlayerId::from).collect())
    }

    /// Asks one player's wallet and settles the answer. Says whether that changed anything.
    async fn check(&self, player: PlayerId) -> Result<bool, WalletCheckError> {
        let mut conn = self.pool.acquire().await?;
        let proof = wallet_proof(&mut conn, self.chain_id, player).await?;
        drop(conn);
        // Another kind of wallet by now: the event of its link is on its way to the stage.
        let Some(proof) = proof else { return Ok(false) };
        let WalletProof { address, hash, signature, .. } = &proof;
        let accepted = ask_contract(&*self.node, self.chain_id, *address, *hash, signature).await?;
        let mut tx = self.pool.begin().await?;
        let events = self.settle(&mut tx, player, &proof, accepted).await;
        // Rolled back at once: a transaction that is only dropped keeps its locks for a while.
        match events {
            Ok(ref events) if !events.is_empty() => commit(tx, "wallet_check").await?,
            _ => tx.rollback().await?,
        }
        let events = events?;
        self.wakes.committed(events.iter().map(|new| new.event.kind())).await;
        Ok(!events.is_empty())
    }

    async fn settle(
        &self,
        conn: &mut PgConnection,
        player: PlayerId,
        proof: &WalletProof,
        accepted: bool,
    ) -> Result<Vec<NewEvent>, WalletCheckError> {
        let now = self.clock.now();
        let kept = keep_wallets(conn, self.chain_id, &[player]).await?;
        if kept.get(&player).is_none_or(|wallet| wallet.version != proof.version) {
            return Ok(Vec::new());
        }
        let mut awaiting = lock_awaiting(conn, player, self.chain_id).await?;
        awaiting.retain(|awaiting| awaiting.reason.as_deref() == Some(WALLET_CHECK));
        if awaiting.is_empty() {
            return Ok(Vec::new());
        }
        let reserved = reserved_addresses(conn, self.chain_id, &[proof.address]).await?;
        let events: Vec<NewEvent> = if !accepted {
            tracing::info!(player.id = %player, wallet = %proof.address, "a contract wallet refuses its signature");
            self.hold(conn, &awaiting, WALLET_REFUSED).await?
        } else if !reserved.is_empty() {
            self.hold(conn, &awaiting, RESERVED_RECIPIENT).await?
        } else {
            seat_waiting(conn, now, None, proof.address, &awaiting).await?
        };
        append(conn, &Context::at(now), &events).await?;
        Ok(events)
    }

    async fn hold(
        &self,
        conn: &mut PgConnection,
        awaiting: &[Awaiting],
        reason: &str,
    ) -> Result<Vec<NewEvent>, LedgerError> {
        let grants: Vec<_> = awaiting.iter().map(|awaiting| awaiting.grant).collect();
        set_held(conn, self.clock.now(), &grants, reason).await?;
        Ok(grants
            .into_iter()
            .map(|grant| TokenGrantHeld { grant, reason: reason.to_owned() }.into())
            .collect())
    }
}
