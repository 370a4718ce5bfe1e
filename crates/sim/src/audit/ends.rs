//! What everything has to have come to, when nothing moves any more.

use std::collections::BTreeMap;

use alloy::primitives::U256;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};

use super::Auditor;

/// The journal's hashes, and that nothing was left unread.
pub(super) async fn journal(conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT format('INV 9: chunk %s/%s does not hash to its digest', part, position) FROM journal
         WHERE digest <> sha256(payload)
         UNION ALL
         SELECT format('INV 2: letter %s of stage %s is %s: %s', id, stage, state, error) FROM dead_letters
         WHERE state IN ('dead', 'blocked', 'retrying')
         UNION ALL
         SELECT format('INV 2: alert %s about %s lasts: %s', code, about, detail) FROM alerts
         WHERE code IN ('stage_halted', 'chain_halted', 'nonce_used_elsewhere')",
    )
    .fetch_all(&mut *conn)
    .await?)
}

/// Every accepted outcome has met every campaign that plays its game, once.
pub(super) async fn outcomes(conn: &mut PgConnection, told: usize) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "WITH recorded AS (
             SELECT line::json -> 'data' ->> 'outcome' AS outcome, line::json -> 'data' ->> 'game' AS game
             FROM journal CROSS JOIN regexp_split_to_table(convert_from(payload, 'UTF8'), E'\\n') AS line
             WHERE kind = 'GameOutcomeRecorded' AND line <> ''
         ), met AS (
             SELECT campaign, outcome::text FROM grants UNION ALL SELECT campaign, outcome::text FROM declines
         )
         SELECT format('INV 2: outcome %s and campaign %s met %s times', r.outcome, c.id, count(m.outcome))
         FROM recorded r JOIN campaigns c ON r.game = ANY (c.games)
         LEFT JOIN met m ON m.campaign = c.id AND m.outcome = r.outcome
         GROUP BY r.outcome, c.id
         -- a campaign that has ended plays no more
         HAVING count(m.outcome) > 1 OR count(m.outcome) = 0 AND c.state NOT IN ('ended', 'closed')
         UNION ALL
         SELECT format('INV 2: grant %s was completed %s times', line::json -> 'data' ->> 'grant',
                       sum(CASE kind WHEN 'TokenGrantCompleted' THEN 1 ELSE -1 END))
         FROM journal CROSS JOIN regexp_split_to_table(convert_from(payload, 'UTF8'), E'\\n') AS line
         WHERE kind IN ('TokenGrantCompleted', 'TokenGrantReopened') AND line <> ''
         GROUP BY line::json -> 'data' ->> 'grant'
         HAVING sum(CASE kind WHEN 'TokenGrantCompleted' THEN 1 ELSE -1 END) NOT IN (0, 1)
         UNION ALL
         SELECT format('INV 2: %s outcomes were told, and %s are known', $1::bigint, count(*))
         FROM outcomes HAVING count(*) <> $1::bigint",
    )
    .bind(i64::try_from(told)?)
    .fetch_all(&mut *conn)
    .await?)
}

/// Nobody waits beyond a deadline.
pub(super) async fn deadlines(conn: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT format('INV 2: grant %s-%s still waits for a wallet that was to come until %s', campaign, number, wallet_until)
         FROM exceptions WHERE state = 'awaiting_wallet' AND wallet_until < $1",
    )
    .bind(now)
    .fetch_all(&mut *conn)
    .await?)
}

/// How far a grant has come, as the tables tell it.
const GRANTS: &str = "
    SELECT g.campaign, g.number, g.amount::text, r.seq, e.state, e.reason, v.number IS NOT NULL AS void, s.state AS shown,
           c.count AS completed, array_to_string(q.halted, ', '), rq.setbacks
    FROM grants g
    LEFT JOIN LATERAL (
        SELECT r.first_seq + array_position(r.numbers, g.number) - 1 AS seq FROM runs r
        WHERE r.campaign = g.campaign AND g.number = ANY (r.numbers)
    ) r ON true
    LEFT JOIN exceptions e ON e.campaign = g.campaign AND e.number = g.number
    LEFT JOIN audited_voids v ON v.campaign = g.campaign AND v.number = g.number
    LEFT JOIN grant_states s ON s.campaign = g.campaign AND s.number = g.number
    LEFT JOIN queues q ON q.campaign = g.campaign
    LEFT JOIN requeues rq ON rq.campaign = g.campaign AND r.seq BETWEEN rq.first_seq AND rq.first_seq + rq.count - 1
    LEFT JOIN (
        SELECT line::json -> 'data' ->> 'grant' AS id, sum(CASE kind WHEN 'TokenGrantCompleted' THEN 1 ELSE -1 END) AS count
        FROM journal CROSS JOIN regexp_split_to_table(convert_from(payload, 'UTF8'), E'\\n') AS line
        WHERE kind IN ('TokenGrantCompleted', 'TokenGrantReopened') AND line <> '' GROUP BY 1
    ) c ON c.id = g.campaign || '-' || g.number
    ORDER BY g.campaign, g.number";

impl Auditor {
    /// Nothing is signed in quarantine.
    pub(super) async fn quarantine(&mut self, conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
        let now: Option<(String, i64)> = sqlx::query_as(
            "SELECT epoch::text, (SELECT count(*) FROM attempts a JOIN batches b ON b.id = a.batch WHERE NOT b.adopted)
             FROM quarantine",
        )
        .fetch_optional(&mut *conn)
        .await?;
        let (Some((epoch, signed)), Some((was, before))) = (&now, &self.quarantine) else {
            self.quarantine = now;
            return Ok(Vec::new());
        };
        if epoch == was && signed > before {
            return Ok(vec![format!("INV 5: {} transactions were signed in quarantine", signed - before)]);
        }
        self.quarantine = now;
        Ok(Vec::new())
    }

    /// What has come to an end stays there, unless the chain takes back the block that ended it.
    pub(super) async fn terminal(&mut self, conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
        let ended: BTreeMap<String, i64> = sqlx::query_as(
            "SELECT format('batch %s is %s', id, state), coalesce(block_number, 0) FROM batches
             WHERE state IN ('confirmed', 'reverted')
             UNION ALL
             -- the block of a proof is known to the chain alone
             SELECT format('grant %s-%s is %s', campaign, number, state), CASE WHEN seq IS NULL THEN 0 ELSE $1 END
             FROM exceptions WHERE state IN ('failed', 'compensated')",
        )
        .bind(i64::MAX)
        .fetch_all(&mut *conn)
        .await?
        .into_iter()
        .collect();
        // A grant that failed may still be compensated.
        let lost = self.ended.keys().filter(|was| {
            !ended.contains_key(*was)
                && !was
                    .strip_suffix("failed")
                    .is_some_and(|grant| ended.contains_key(&format!("{grant}compensated")))
        });
        let findings = lost.map(|was| format!("INV 8: {was} no more")).collect();
        self.ended = ended;
        Ok(findings)
    }

    /// Every grant is paid and completed, or was given up without payment, or waits for a wallet.
    pub(super) async fn ends(&self, conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
        let mut findings = Vec::new();
        let mut paid_places = 0_usize;
        for row in sqlx::query(GRANTS).fetch_all(&mut *conn).await? {
            let (campaign, number): (i64, i64) = (row.get(0), row.get(1));
            let amount: U256 = row.get::<String, _>(2).parse()?;
            let seq: Option<i64> = row.get(3);
            let state: Option<String> = row.get(4);
            let (void, shown): (bool, Option<String>) = (row.get(6), row.get(7));
            let completed: Option<i64> = row.get(8);
            let place =
                seq.map(|seq| Ok::<_, anyhow::Error>((u64::try_from(campaign)?, u64::try_from(seq)?)));
            let paid = place.transpose()?.and_then(|place| self.payment(place));
            paid_places += usize::from(paid.is_some());
            let waits = matches!(state.as_deref(), Some("awaiting_wallet" | "held"));
            let fate = match (paid, void, completed) {
                (Some((_, paid)), false, Some(1)) if paid == amount => "completed",
                (None, true, None | Some(0)) => "compensated",
                (None, false, None | Some(0)) if waits && seq.is_none() => {
                    state.as_deref().unwrap_or_default()
                }
                (paid, ..) => {
                    findings.push(format!(
                        "INV 2: grant {campaign}-{number} of {amount} (place {seq:?}, {state:?}, {:?}): paid {paid:?}, void {void}, \
                         completed {completed:?} times, shown as {shown:?}, its queue halted {:?}, set back {:?} times",
                        row.get::<Option<String>, _>(5),
                        row.get::<Option<String>, _>(9),
                        row.get::<Option<i32>, _>(10),
                    ));
                    continue;
                }
            };
            if shown.as_deref() != Some(fate) {
                findings.push(format!("INV 2: grant {campaign}-{number} is {fate}, and shown as {shown:?}"));
            }
        }
        let orphans: i64 = sqlx::query_scalar("SELECT count(*) FROM orphans WHERE number IS NULL")
            .fetch_one(&mut *conn)
            .await?;
        if paid_places + usize::try_from(orphans)? != self.paid.len() {
            findings.push(format!(
                "INV 1: {} places were paid, of which {paid_places} are grants'",
                self.paid.len()
            ));
        }
        findings.extend(self.stats(&mut *conn).await?);
        findings.extend(self.closed(&mut *conn).await?);
        Ok(findings)
    }

    /// What the vault released was given back to the last unit, and nothing else was.
    async fn closed(&self, conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
        let rows: Vec<(i64, String, String, bool)> = sqlx::query_as(
            "SELECT a.campaign, c.state, a.returned::text, a.overdrawn > 0
             FROM accounts a JOIN campaigns c ON c.id = a.campaign",
        )
        .fetch_all(conn)
        .await?;
        let mut findings = Vec::new();
        for (campaign, state, returned, overdrawn) in rows {
            let released = self.released.get(&campaign.cast_unsigned()).map(|release| &release.amount);
            let due = released.map_or_else(|| "0".to_owned(), U256::to_string);
            if !overdrawn && (returned != due || released.is_some() != (state == "closed")) {
                findings.push(format!(
                    "INV 3: the vault released {due} of campaign {campaign}, which is {state} and was given back {returned}"
                ));
            }
        }
        Ok(findings)
    }

    /// The view of a campaign's steps counts what happened.
    async fn stats(&self, conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
        let mut counted: BTreeMap<(i64, &str), (i64, i64)> = BTreeMap::new();
        let rows = sqlx::query(
            "SELECT a.campaign, a.grants, (SELECT coalesce(sum(grants), 0)::bigint FROM postings p WHERE p.campaign = a.campaign),
                    (SELECT count FROM campaign_stats s WHERE s.campaign = a.campaign AND fact = 'TokenGrantRequested'),
                    (SELECT sum(CASE fact WHEN 'TokenGrantCompleted' THEN count ELSE -count END)::bigint FROM campaign_stats s
                     WHERE s.campaign = a.campaign AND fact IN ('TokenGrantCompleted', 'TokenGrantReopened'))
             FROM accounts a",
        )
        .fetch_all(&mut *conn)
        .await?;
        for row in rows {
            let campaign = row.get(0);
            counted.insert((campaign, "requested"), (row.get(1), row.get::<Option<i64>, _>(3).unwrap_or(0)));
            counted.insert((campaign, "completed"), (row.get(2), row.get::<Option<i64>, _>(4).unwrap_or(0)));
        }
        let wrong = counted.into_iter().filter(|(_, (real, shown))| real != shown);
        Ok(wrong
            .map(|((campaign, what), (real, shown))| {
                format!("INV 2: {real} grants of campaign {campaign} were {what}, and {shown} are shown")
            })
            .collect())
    }
}
