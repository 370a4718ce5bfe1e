//! Who has ever linked which wallet.

use std::{collections::BTreeMap, time::Duration};

use alloy_primitives::Address;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use laurel_bus::{Stage, StageError};
use laurel_events::{Envelope, Event, EventKind, NewEvent, OrgId, PlayerId};
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

/// Of each organisation, the players who have ever linked one of some wallets.
///
/// # Errors
/// If the database does not answer.
pub async fn own_players_of_wallets(
    conn: &mut PgConnection,
    wallets: &[(OrgId, Address)],
) -> Result<BTreeMap<(OrgId, Address), Vec<PlayerId>>, LedgerError> {
    let orgs: Vec<i32> = wallets.iter().map(|(org, _)| org.0).collect();
    let addresses: Vec<&[u8]> = wallets.iter().map(|(_, wallet)| wallet.as_slice()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT u.at AS "at!", l.player
        FROM unnest($1::integer[], $2::bytea[]) WITH ORDINALITY AS u (org, wallet, at)
        JOIN wallet_links l ON l.wallet = u.wallet
        JOIN players p ON p.id = l.player AND p.org = u.org
        "#,
        &orgs,
        &addresses as &[&[u8]],
    )
    .fetch_all(conn)
    .await?;
    let mut players: BTreeMap<_, Vec<PlayerId>> = BTreeMap::new();
    for row in rows {
        if let Some(of) = usize::try_from(row.at).ok().and_then(|at| wallets.get(at.checked_sub(1)?)) {
            players.entry(*of).or_default().push(row.player.into());
        }
    }
    Ok(players)
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
