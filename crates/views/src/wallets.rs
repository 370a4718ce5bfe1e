//! Who has ever linked which wallet.

use std::time::Duration;

use alloy_primitives::Address;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{Envelope, Event, EventKind, NewEvent, PlayerId};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::GATHER;

/// Notes every wallet that a player links.
#[derive(Clone, Copy, Debug, Default)]
pub struct WalletLinksStage;

/// The stage's name.
pub(crate) const NAME: &str = "wallet-links";

/// Its table.
pub(crate) const TABLES: &[&str] = &["wallet_links"];

#[async_trait]
impl Stage for WalletLinksStage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn gathers_for(&self) -> Duration {
        GATHER
    }

    fn kinds(&self) -> &'static [EventKind] {
        &[EventKind::WalletLinked]
    }

    async fn handle(
        &self,
        conn: &mut PgConnection,
        _now: DateTime<Utc>,
        events: &[Envelope],
    ) -> Result<Vec<NewEvent>, StageError> {
        let links: Vec<_> = events
            .iter()
            .filter_map(|envelope| match &envelope.event {
                Event::WalletLinked(linked) => Some((linked, envelope.recorded_at)),
                _ => None,
            })
            .collect();
        let wallets: Vec<Vec<u8>> = links.iter().map(|(linked, _)| linked.wallet.to_vec()).collect();
        let players: Vec<Uuid> = links.iter().map(|(linked, _)| linked.player.uuid()).collect();
        let chains: Vec<i64> = links.iter().map(|(linked, _)| linked.chain_id.cast_signed()).collect();
        let versions: Vec<i32> = links.iter().map(|(linked, _)| linked.version).collect();
        let times: Vec<DateTime<Utc>> = links.iter().map(|(_, at)| *at).collect();
        sqlx::query!(
            r#"
            INSERT INTO wallet_links (wallet, player, chain_id, version, linked_at)
            SELECT * FROM unnest($1::bytea[], $2::uuid[], $3::bigint[], $4::integer[], $5::timestamptz[])
            ON CONFLICT DO NOTHING
            "#,
            &wallets,
            &players,
            &chains,
            &versions,
            &times,
        )
        .execute(conn)
        .await?;
        Ok(Vec::new())
    }
}

/// The players who have ever linked the wallet, of whatever organisation.
///
/// # Errors
/// If the database does not answer.
pub async fn players_of_wallet(
    conn: &mut PgConnection,
    wallet: Address,
) -> Result<Vec<PlayerId>, LedgerError> {
    let players = sqlx::query_scalar!(
        "SELECT DISTINCT player FROM wallet_links WHERE wallet = $1 ORDER BY player",
        wallet.as_slice(),
    );
    Ok(players.fetch_all(conn).await?.into_iter().map(PlayerId::from).collect())
}
