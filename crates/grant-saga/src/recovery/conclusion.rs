//! The end of a quarantine.

use alloy::primitives::B256;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{
    Event, NewEvent, OperatorAlertRaised, RecoveryPerformed,
    alert::{PAYMENT_ALERTS, PAYMENT_NOT_RECOVERED, UNKNOWN_SETTLEMENT},
};
use laurel_ledger::{
    LedgerError, Quarantine, Stop, clear_alert, end_quarantine, has_alert, raise_alert, resume_payouts,
};
use sqlx::PgConnection;

use super::{Found, RecoverError, Recovery};
use crate::compensation::fail_released;

/// How long grants wait for a wallet from now on, at least: who linked one in the time that is lost has to see that it is gone
/// and link it again.
const WALLET_GRACE: TimeDelta = TimeDelta::days(3);

impl Recovery {
    /// Ends the quarantine. Payouts go on if everything is explained. To be called when all that was adopted is posted; the
    /// caller appends the events.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn conclude(
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        quarantine: &Quarantine,
        found: &[Found],
    ) -> Result<(RecoveryPerformed, Vec<NewEvent>), RecoverError> {
        let performed = count(conn, quarantine).await?;
        let explained = performed.unexplained == 0 && found.is_empty();
        let mut events: Vec<Event> = Vec::new();
        for found in found {
            let alert = OperatorAlertRaised {
                code: PAYMENT_NOT_RECOVERED.to_owned(),
                about: found.about(),
                detail: format!("transaction {} {}", found.tx, found.why),
            };
            events.extend(raise_alert(conn, now, alert).await?.map(Event::from));
        }
        events.extend(clear_chains(conn).await?);
        put_off_deadlines(conn, now + WALLET_GRACE).await?;
        events.extend(end_quarantine(conn, now, quarantine.epoch, explained).await?);
        let mut events: Vec<NewEvent> = events.into_iter().map(NewEvent::from).collect();
        // Only now: in quarantine nothing fails.
        events.extend(fail_all_released(conn, now).await?);
        events.push(performed.clone().into());
        Ok((performed, events))
    }
}

async fn count(conn: &mut PgConnection, quarantine: &Quarantine) -> Result<RecoveryPerformed, LedgerError> {
    let row = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM recovered_txs WHERE recovered_at >= $1) AS "settlements!",
               (SELECT coalesce(sum(grants), 0)::bigint FROM batches WHERE adopted AND created_at >= $1) AS "adopted!",
               (SELECT count(*) FROM orphans WHERE number IS NULL) AS "orphans!",
               (SELECT count(*) FROM open_suspense s
                WHERE unknown > 0
                  AND NOT EXISTS (SELECT FROM acknowledgements a
                                  WHERE a.code = ANY ($2)
                                    AND a.about = format('campaign:%s/tx:0x%s', s.on_chain_campaign, encode(s.tx, 'hex'))))
                   AS "unexplained!"
        "#,
        quarantine.began_at,
        &PAYMENT_ALERTS.map(str::to_owned),
    )
    .fetch_one(conn)
    .await?;
    Ok(RecoveryPerformed {
        epoch: quarantine.epoch,
        reason: quarantine.reason.clone(),
        settlements: row.settlements.cast_unsigned(),
        adopted: row.adopted.cast_unsigned(),
        orphans: row.orphans.cast_unsigned(),
        unexplained: row.unexplained.cast_unsigned(),
    })
}

/// Takes back what was said of settlements that are explained now, and has chains go on that were stopped for such alone.
async fn clear_chains(conn: &mut PgConnection) -> Result<Vec<Event>, LedgerError> {
    let explained = sqlx::query!(
        r#"
        SELECT chain_id AS "chain_id!", tx AS "tx!" FROM open_suspense
        GROUP BY chain_id, tx HAVING max(unknown) = 0
        UNION SELECT chain_id, tx FROM unpaid_settlements JOIN recovered_txs USING (chain_id, tx)
        ORDER BY 1, 2
        "#
    );
    let mut events = Vec::new();
    for row in explained.fetch_all(&mut *conn).await? {
        let Ok(tx) = B256::try_from(row.tx.as_slice()) else { continue };
        let about = format!("chain:{}/tx:{tx}", row.chain_id);
        events.extend(clear_alert(conn, UNKNOWN_SETTLEMENT, &about).await?.map(Event::from));
    }
    let stopped = sqlx::query_scalar!(
        "SELECT about FROM stops WHERE reason = $1 AND about LIKE 'chain:%' ORDER BY about",
        UNKNOWN_SETTLEMENT
    );
    for about in stopped.fetch_all(&mut *conn).await? {
        let chain: Option<u64> = about.strip_prefix("chain:").and_then(|id| id.parse().ok());
        let Some(chain) = chain else { continue };
        if !has_alert(conn, UNKNOWN_SETTLEMENT, &format!("chain:{chain}/")).await? {
            events.extend(resume_payouts(conn, Stop::Chain(chain)).await?.unwrap_or_default());
        }
    }
    Ok(events)
}

/// Gives every grant that waits for a wallet until `until` at least.
async fn put_off_deadlines(conn: &mut PgConnection, until: DateTime<Utc>) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE exceptions SET wallet_until = $1
        WHERE state IN ('awaiting_wallet', 'held') AND seq IS NULL AND wallet_until < $1
        "#,
        until
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("UPDATE timers SET due_at = $1 WHERE kind = 'WalletDeadlinePassed' AND due_at < $1", until)
        .execute(conn)
        .await?;
    Ok(())
}

/// Fails what was never paid of campaigns that were released meanwhile.
async fn fail_all_released(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, RecoverError> {
    let released =
        sqlx::query_scalar!("SELECT campaign FROM queues WHERE released_tx IS NOT NULL ORDER BY campaign");
    let released = released.fetch_all(&mut *conn).await?;
    let released: Vec<_> = released.into_iter().filter_map(|number| number.try_into().ok()).collect();
    Ok(fail_released(conn, now, None, &released).await?)
}
