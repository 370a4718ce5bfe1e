//! Players' counters, against the grants that were not voided.

use futures::TryStreamExt;
use sqlx::PgConnection;

use crate::{
    AuditError,
    finding::Code,
    snapshot::{Snapshot, any_campaign},
};

/// Compares them. A campaign keeps counters of a kind if its caps need them, or if it has any, as those have whose rules ask for
/// them: of a player with grants it has one then.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let only = snapshot.only();
    let reheld = snapshot.pending.reheld.iter();
    let (campaigns, numbers): (Vec<i64>, Vec<i64>) =
        reheld.map(|grant| (grant.campaign.number(), grant.number.cast_signed())).unzip();
    let Snapshot { conn, findings, known, .. } = snapshot;
    // A grant's day is that on which its outcome was recorded, which the journal knows.
    let mut rows = sqlx::query!(
        r#"
        WITH kept AS (
            SELECT campaign, bool_or(life) AS life, bool_or(day) AS day
            FROM (
                SELECT campaign, period = date '1970-01-01' AS life, period <> date '1970-01-01' AS day FROM counters
                UNION ALL
                SELECT r.campaign, r.grants_per_player IS NOT NULL OR r.amount_per_player IS NOT NULL,
                       r.grants_per_player_per_day IS NOT NULL OR r.amount_per_player_per_day IS NOT NULL
                FROM campaigns c JOIN campaign_rules r ON r.campaign = c.id AND r.version = c.rule_version
            ) k
            WHERE $1::bigint IS NULL OR campaign = $1
            GROUP BY campaign
        ), counted AS (
            SELECT g.campaign, g.player, p.period, count(*) AS grants, sum(g.amount) AS amount
            FROM kept k
            JOIN grants g ON g.campaign = k.campaign
            LEFT JOIN journal j ON k.day AND j.part = g.part AND j.position = g.position
            CROSS JOIN LATERAL (
                SELECT date '1970-01-01' AS period WHERE k.life
                UNION ALL SELECT (j.recorded_at AT TIME ZONE 'UTC')::date WHERE k.day AND j.recorded_at IS NOT NULL
            ) p
            -- A grant that says so was given back, also where the void itself is missing, which was named.
            WHERE NOT EXISTS (SELECT FROM standing_voids v WHERE v.campaign = g.campaign AND v.number = g.number)
              AND NOT EXISTS (SELECT FROM exceptions e
                              WHERE e.campaign = g.campaign AND e.number = g.number AND e.state = 'compensated'
                                AND NOT EXISTS (SELECT FROM unnest($2::bigint[], $3::bigint[]) AS r (campaign, number)
                                                WHERE r.campaign = e.campaign AND r.number = e.number))
            GROUP BY g.campaign, g.player, p.period
        )
        SELECT coalesce(c.campaign, s.campaign) AS "campaign!", coalesce(c.player, s.player) AS "player!",
               coalesce(c.period, s.period) AS "period!", c.grants AS "grants?", c.amount AS "amount?",
               coalesce(s.grants, 0) AS "held!", coalesce(s.amount, 0) AS "sum!"
        FROM (SELECT c.* FROM counters c JOIN kept k ON k.campaign = c.campaign) c
        FULL JOIN counted s ON s.campaign = c.campaign AND s.player = c.player AND s.period = c.period
        WHERE c.grants IS DISTINCT FROM coalesce(s.grants, 0) OR c.amount IS DISTINCT FROM coalesce(s.amount, 0)
        "#,
        only,
        &campaigns,
        &numbers,
    )
    .fetch(&mut **conn as &mut PgConnection);
    while let Some(row) = rows.try_next().await? {
        let campaign = any_campaign(row.campaign);
        // What a hold that is missing or changed would have counted is not known here: it was named.
        let named = known.deltas.get(&campaign).is_some_and(|deltas| deltas.holds != 0_i64)
            || known.missing.iter().any(|(other, _)| *other == campaign);
        if named {
            continue;
        }
        let period = match row.period == chrono::NaiveDate::default() {
            true => "the campaign's life".to_owned(),
            false => format!("the day {}", row.period),
        };
        let counter = row.grants.zip(row.amount).map_or_else(
            || "has no counter".to_owned(),
            |(grants, amount)| format!("has counted {grants} grants of {amount}"),
        );
        let detail =
            format!("for {period} the ledger {counter}; the player's grants are {} of {}", row.held, row.sum);
        let about = format!("campaign:{campaign}/player:{}", row.player);
        findings.add(Code::CounterDiffers, about, Some(campaign), detail);
    }
    Ok(())
}
