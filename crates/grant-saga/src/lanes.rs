//! Lanes: a signer on a vault, leased to one replica at a time.

use alloy::primitives::Address;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{LaneId, VaultId};
use laurel_ledger::LedgerError;
use sqlx::PgConnection;

/// Whether a lane sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum LaneState {
    /// It sends.
    Active,
    /// Its fees or its gas money do not suffice. What it has under way is seen to, and it goes on when they do.
    Parked,
    /// Something happened on it that we did not do.
    Halted,
    /// It gets no more batches; those it has are seen to.
    Retired,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its number.
    pub id: LaneId,
    /// Its vault.
    pub vault: VaultId,
    /// Its account.
    pub address: Address,
    /// Whether it sends.
    pub state: LaneState,
    /// Why it does not.
    pub reason: Option<String>,
    /// Where its key comes from, if it was added later: the configuration names the others.
    pub key_source: Option<String>,
    /// The nonce that its next batch gets.
    pub next_nonce: u64,
    /// Who has it leased.
    pub holder: Option<String>,
    /// Until when.
    pub lease_until: Option<DateTime<Utc>>,
    /// How many batches of it are not final yet.
    pub open_batches: u64,
}

/// Registers a lane, unless it is known; a new one begins at the account's nonce on the chain. `key_source` says where those
/// who drive it find its key, unless their configuration names it.
///
/// # Errors
/// If the database does not answer.
pub async fn register_lane(
    conn: &mut PgConnection,
    vault: VaultId,
    address: Address,
    key_source: Option<&str>,
    chain_nonce: u64,
) -> Result<LaneId, LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO lanes (vault, address, state, key_source, next_nonce) VALUES ($1, $2, 'active', $3, $4)
        ON CONFLICT DO NOTHING
        "#,
        vault.0,
        address.as_slice(),
        key_source,
        chain_nonce.cast_signed(),
    )
    .execute(&mut *conn)
    .await?;
    let id = sqlx::query_scalar!(
        "SELECT id FROM lanes WHERE vault = $1 AND address = $2",
        vault.0,
        address.as_slice()
    )
    .fetch_one(conn)
    .await?;
    Ok(LaneId(id))
}

/// All lanes.
///
/// # Errors
/// If a row is inconsistent or the database does not answer.
pub async fn list_lanes(conn: &mut PgConnection) -> Result<Vec<Lane>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT l.id, l.vault, l.address, l.state AS "state: LaneState", l.reason, l.key_source, l.next_nonce, l.holder,
               l.lease_until,
               (SELECT count(*) FROM batches b WHERE b.lane = l.id AND b.state IN ('submitted', 'mined')) AS "open!"
        FROM lanes l
        ORDER BY l.id
        "#,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let wrong = |column| LedgerError::Inconsistent { table: "lanes", column, id: row.id.to_string() };
            Ok(Lane {
                id: LaneId(row.id),
                vault: VaultId(row.vault),
                address: Address::try_from(row.address.as_slice()).map_err(|_| wrong("address"))?,
                state: row.state,
                reason: row.reason,
                key_source: row.key_source,
                next_nonce: u64::try_from(row.next_nonce).map_err(|_| wrong("next_nonce"))?,
                holder: row.holder,
                lease_until: row.lease_until,
                open_batches: row.open.unsigned_abs(),
            })
        })
        .collect()
}

/// What the holder of a lane's lease knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Whether it signs batches; one that does not is still seen to.
    pub(crate) state: LaneState,
    /// Rises whenever the holder changes; whatever a former holder does finds it moved.
    pub(crate) fence: i64,
    /// The nonce that the next batch gets.
    pub(crate) next_nonce: u64,
}

/// Takes or renews the lease of a lane that is not halted; `None` while somebody else has it.
pub(crate) async fn lease_lane(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    lane: LaneId,
    holder: &str,
    lifetime: TimeDelta,
) -> Result<Option<Lease>, LedgerError> {
    let row = sqlx::query!(
        r#"
        UPDATE lanes
        SET holder = $2, lease_until = $4,
            fence = CASE WHEN holder = $2 THEN fence ELSE fence + 1 END
        WHERE id = $1 AND state <> 'halted' AND (holder IS NULL OR holder = $2 OR lease_until <= $3)
        RETURNING state AS "state: LaneState", fence, next_nonce
        "#,
        lane.0,
        holder,
        now,
        now + lifetime,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Lease {
        state: row.state,
        fence: row.fence,
        next_nonce: row.next_nonce.cast_unsigned(),
    }))
}

/// Renews the lease of whoever has it still.
pub(crate) async fn renew_lease(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    lane: LaneId,
    holder: &str,
    lifetime: TimeDelta,
) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE lanes SET lease_until = $3 WHERE id = $1 AND holder = $2",
        lane.0,
        holder,
        now + lifetime
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Parks an active lane, or halts any. Says whether the lease still counts; if not, nothing was changed.
pub(crate) async fn stop_lane(
    conn: &mut PgConnection,
    lane: LaneId,
    lease: Lease,
    state: LaneState,
    reason: &str,
) -> Result<bool, LedgerError> {
    let stopped = sqlx::query!(
        r#"
        UPDATE lanes
        SET state = CASE WHEN state = 'active' OR $3 = 'halted' THEN $3 ELSE state END,
            reason = CASE WHEN state = 'active' OR $3 = 'halted' AND state <> 'halted' THEN $4 ELSE reason END
        WHERE id = $1 AND fence = $2
        "#,
        lane.0,
        lease.fence,
        state as LaneState,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(stopped.rows_affected() == 1)
}

/// Has a parked lane go on. Says whether it does.
pub(crate) async fn unpark_lane(
    conn: &mut PgConnection,
    lane: LaneId,
    lease: Lease,
) -> Result<bool, LedgerError> {
    let active = sqlx::query!(
        "UPDATE lanes SET state = 'active', reason = NULL WHERE id = $1 AND fence = $2 AND state = 'parked'",
        lane.0,
        lease.fence,
    )
    .execute(conn)
    .await?;
    Ok(active.rows_affected() == 1)
}
