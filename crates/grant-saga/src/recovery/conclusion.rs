//! The end of a quarantine.

use alloy::primitives::B256;
use chrono::{DateTime, TimeDelta, Utc};
use laurel_events::{
    CampaignId, Event, NewEvent, OperatorAlertRaised, RecoveryPerformed,
    alert::{PAYMENT_NOT_RECOVERED, PAYMENT_WITHOUT_HOLD},
};
use laurel_ledger::{LedgerError, Quarantine, end_quarantine, raise_alert, stop_for_unknown};
use sqlx::PgConnection;

use super::{Found, RecoverError, Recovery};
use crate::{
    compensation::fail_released,
    skipping::{lock_queue, move_on},
};

/// How long grants wait for a wallet from now on, at least: who linked one in the time that is lost has to see that it is gone
/// and link it again.
const WALLET_GRACE: TimeDelta = TimeDelta::days(3);

/// How many deadlines are moved in one transaction: there may be millions.
const PUT_OFF_MAX: i64 = 10_000;

impl Recovery {
    /// Gives every grant that waits for a wallet some days from now on, at least. In quarantine, before its end.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_off_deadlines(&self, now: DateTime<Utc>) -> Result<(), RecoverError> {
        let until = now + WALLET_GRACE;
        let mut conn = self.pool.acquire().await?;
        let mut waiting = Some((0, 0));
        while let Some(after) = waiting {
            waiting = put_off_waiting(&mut conn, after, until).await?;
        }
        let mut timers = Some(String::new());
        while let Some(after) = timers {
            timers = put_off_timers(&mut conn, &after, until).await?;
        }
        Ok(())
    }

    /// Ends the quarantine, which the caller has locked. Payouts go on if everything is explained, but for those of chains
    /// that were stopped for a settlement that the journal lacked: only people know whether the key was in good hands. To be
    /// called when all that was adopted is posted; the caller appends the events.
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
        events.extend(stop_for_later(conn, now).await?);
        pass_over_burned(conn, now).await?;
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

/// Moves the end of a portion of the grants that wait for a wallet. Returns the last of them.
async fn put_off_waiting(
    conn: &mut PgConnection,
    after: (i64, i64),
    until: DateTime<Utc>,
) -> Result<Option<(i64, i64)>, LedgerError> {
    let moved = sqlx::query!(
        r#"
        WITH portion AS (
            SELECT campaign, number FROM exceptions
            WHERE (campaign, number) > ($1, $2)
              AND state IN ('awaiting_wallet', 'held') AND seq IS NULL AND wallet_until < $3
            ORDER BY campaign, number
            LIMIT $4
        ), moved AS (
            UPDATE exceptions e SET wallet_until = $3 FROM portion p
            WHERE e.campaign = p.campaign AND e.number = p.number
        )
        SELECT campaign, number FROM portion ORDER BY campaign DESC, number DESC LIMIT 1
        "#,
        after.0,
        after.1,
        until,
        PUT_OFF_MAX,
    );
    Ok(moved.fetch_optional(conn).await?.map(|row| (row.campaign, row.number)))
}

/// The same of their timers.
async fn put_off_timers(
    conn: &mut PgConnection,
    after: &str,
    until: DateTime<Utc>,
) -> Result<Option<String>, LedgerError> {
    let moved = sqlx::query_scalar!(
        r#"
        WITH portion AS (
            SELECT subject FROM timers
            WHERE kind = 'WalletDeadlinePassed' AND subject > $1 AND due_at < $2
            ORDER BY subject
            LIMIT $3
        ), moved AS (
            UPDATE timers t SET due_at = $2 FROM portion p
            WHERE t.kind = 'WalletDeadlinePassed' AND t.subject = p.subject
        )
        SELECT subject FROM portion ORDER BY subject DESC LIMIT 1
        "#,
        after,
        until,
        PUT_OFF_MAX,
    );
    Ok(moved.fetch_optional(conn).await?)
}

/// Stops chains that have settlements which this ledger has not signed, later than anything could be paid that was signed
/// before the quarantine. The watcher stops for none in quarantine, and sees each once.
async fn stop_for_later(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Vec<Event>, LedgerError> {
    let unknown = sqlx::query!(
        r#"
        SELECT DISTINCT s.chain_id, s.tx FROM sightings s JOIN quarantine_chains q ON q.chain_id = s.chain_id
        WHERE s.block_number > q.last_block AND s.batch IS NULL
          AND s.facts @? '$[*].log ? (@.kind == "settled")'
        ORDER BY s.chain_id, s.tx
        "#
    );
    let mut events = Vec::new();
    for row in unknown.fetch_all(&mut *conn).await? {
        let tx = B256::try_from(&*row.tx).map_err(|_| LedgerError::Inconsistent {
            table: "sightings",
            column: "tx",
            id: format!("{} bytes", row.tx.len()),
        })?;
        events.extend(stop_for_unknown(conn, now, row.chain_id.cast_unsigned(), tx, "recovery").await?);
    }
    Ok(events)
}

/// Has nobody be given places that were burned, or paid by somebody else, since the payments were compared.
async fn pass_over_burned(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let behind =
        sqlx::query_scalar!("SELECT campaign FROM queues WHERE burned_to > next_seq ORDER BY campaign");
    for campaign in
        behind.fetch_all(&mut *conn).await?.into_iter().filter_map(|id| CampaignId::try_from(id).ok())
    {
        let queue = lock_queue(conn, campaign).await?;
        move_on(conn, now, campaign, &queue, &[], queue.next_seq.max(queue.burned_to), 0).await?;
    }
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
