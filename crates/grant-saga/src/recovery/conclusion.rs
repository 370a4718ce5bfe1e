//! The end of a quarantine.

use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{
    Event, NewEvent, OperatorAlertRaised, RecoveryPerformed,
    alert::{PAYMENT_NOT_RECOVERED, PAYMENT_WITHOUT_HOLD},
};
use laurel_ledger::{LedgerError, Quarantine, end_quarantine, raise_alert};
use sqlx::PgConnection;

use super::{Found, RecoverError, Recovery};
use crate::compensation::fail_released;

/// How long grants wait for a wallet from now on, at least: who linked one in the time that is lost has to see that it is gone
/// and link it again.
const WALLET_GRACE: TimeDelta = TimeDelta::days(3);

impl Recovery {
    /// Ends the quarantine. Payouts go on if everything is explained, but for those of chains that were stopped for a settlement that the
    /// journal lacked: only people know whether the key was in good hands. To be called when all that was adopted is posted; the
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
                                  WHERE a.code = $2
                                    AND a.about = format('campaign:%s/tx:0x%s', s.on_chain_campaign, encode(s.tx, 'hex'))))
                   AS "unexplained!"
        "#,
        quarantine.began_at,
        PAYMENT_WITHOUT_HOLD,
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
