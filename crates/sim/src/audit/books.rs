//! What the tables have to say at any time.

use sqlx::PgConnection;

/// Says what does not hold. Each part is a statement about rows that must not be there.
const FINDINGS: &str = r"
    SELECT format('INV 1: grant %s-%s has more than one place', r.campaign, n)
    FROM runs r CROSS JOIN unnest(r.numbers) AS n GROUP BY r.campaign, n HAVING count(*) > 1
UNION ALL
    SELECT format('INV 1: the places of campaign %s have a hole or overlap', campaign)
    FROM (SELECT campaign, first_seq, lag(first_seq + count, 1, 0::bigint) OVER (PARTITION BY campaign ORDER BY first_seq) AS due
          FROM (SELECT campaign, first_seq, count FROM runs
                -- what was burned ahead of the queue
                UNION ALL SELECT campaign, first_seq, count FROM skipped_seqs WHERE NOT $1) p) r
    -- After a recovery places begin behind everything that the chain has seen, and some before that are given later.
    WHERE first_seq < due OR first_seq > due AND NOT $1
UNION ALL
    SELECT format('INV 1: the queue of campaign %s does not end where its places do', q.campaign)
    FROM queues q
    WHERE q.next_seq <> (SELECT coalesce(sum(count), 0) FROM runs r WHERE r.campaign = q.campaign)
                        + (SELECT coalesce(sum(count), 0) FROM skipped_seqs s WHERE s.campaign = q.campaign) AND NOT $1
       OR q.next_seq < (SELECT coalesce(max(first_seq + count), 0) FROM runs r WHERE r.campaign = q.campaign)
UNION ALL
    SELECT format('INV 5: the hold of grant %s-%s was voided, and it has a place', v.campaign, v.number)
    FROM audited_voids v JOIN runs r ON r.campaign = v.campaign AND v.number = ANY (r.numbers)
    WHERE coalesce(v.proof ->> 'kind', '') NOT IN ('cancelled', 'released')
UNION ALL
    SELECT format('INV 5: the hold of grant %s-%s was voided for another amount than it was made for', v.campaign, v.number)
    FROM audited_voids v LEFT JOIN grants g USING (campaign, number) WHERE g.amount IS DISTINCT FROM v.amount
UNION ALL
    SELECT format('INV 6: campaign %s counts %s of player %s on %s, and has granted other', c.campaign, c.grants, c.player, c.period)
    FROM counters c
    CROSS JOIN LATERAL (
        SELECT count(*) AS grants, coalesce(sum(g.amount), 0) AS amount FROM grants g
        LEFT JOIN audited_voids v ON v.campaign = g.campaign AND v.number = g.number
        WHERE g.campaign = c.campaign AND g.player = c.player AND v.number IS NULL
          AND (c.period = '1970-01-01' OR c.period = (
              SELECT (j.recorded_at AT TIME ZONE 'UTC')::date FROM journal j
              WHERE j.part = g.part AND j.position = g.position))
    ) g
    WHERE c.grants <> g.grants OR c.amount <> g.amount
UNION ALL
    SELECT format('INV 6: player %s has more than campaign %s allows', g.player, g.campaign)
    FROM grants g
    LEFT JOIN audited_voids v ON v.campaign = g.campaign AND v.number = g.number
    JOIN campaign_rules r ON r.campaign = g.campaign
    WHERE v.number IS NULL AND (r.grants_per_player IS NOT NULL OR r.amount_per_player IS NOT NULL)
      -- what others were granted before the chain took back that it was void
      AND NOT EXISTS (SELECT FROM voids u WHERE u.campaign = g.campaign AND u.number = g.number AND u.turn > 0)
    GROUP BY g.campaign, g.player, r.grants_per_player, r.amount_per_player
    HAVING count(*) > r.grants_per_player OR sum(g.amount) > r.amount_per_player
UNION ALL
    SELECT format('INV 6: player %s has more of campaign %s than it allows on %s', g.player, g.campaign, g.day)
    FROM (
        SELECT g.campaign, g.number, g.player, (j.recorded_at AT TIME ZONE 'UTC')::date AS day
        FROM grants g JOIN journal j ON j.part = g.part AND j.position = g.position
    ) g
    LEFT JOIN audited_voids v ON v.campaign = g.campaign AND v.number = g.number
    JOIN campaign_rules r ON r.campaign = g.campaign
    WHERE v.number IS NULL AND r.grants_per_player_per_day IS NOT NULL
      AND NOT EXISTS (SELECT FROM voids u WHERE u.campaign = g.campaign AND u.number = g.number AND u.turn > 0)
    GROUP BY g.campaign, g.player, g.day, r.grants_per_player_per_day
    HAVING count(*) > r.grants_per_player_per_day
UNION ALL
    SELECT format('INV 7: an outcome met campaign %s at %s/%s/%s twice', campaign, part, position, idx)
    FROM (SELECT campaign, part, position, idx FROM grants UNION ALL SELECT campaign, part, position, idx FROM declines) d
    GROUP BY campaign, part, position, idx HAVING count(*) > 1
UNION ALL
    SELECT format('INV 7: outcome %s met campaign %s twice', outcome, campaign)
    FROM (SELECT campaign, outcome FROM grants UNION ALL SELECT campaign, outcome FROM declines) d
    GROUP BY campaign, outcome HAVING count(*) > 1
UNION ALL
    SELECT format('INV 7: %s outcomes are known, and %s recorded', o.count, j.count)
    FROM (SELECT count(*) FROM outcomes) o,
         (SELECT coalesce(sum(entries), 0) AS count FROM journal WHERE kind = 'GameOutcomeRecorded') j
    WHERE o.count <> j.count
UNION ALL
    SELECT format('INV 9: partition %s holds %s chunks, and its head is at %s', h.part, j.count, h.next)
    FROM heads h CROSS JOIN LATERAL (SELECT count(*) FROM journal j WHERE j.part = h.part) j
    WHERE h.next <> j.count
UNION ALL
    SELECT format('INV 4: stage %s went on without %s at %s/%s/%s, which is final', stage, kind, part, position, idx)
    FROM dead_letters
    WHERE stage = 'books' AND kind <> 'TokenGrantFailed'
       OR stage = 'settlements' AND kind NOT IN ('BlockchainTxMined', 'BlockchainTxReorged')
UNION ALL
    SELECT format('INV 9: stage %s has read to %s of partition %s, which ends at %s', c.stage, c.next, c.part, h.next)
    FROM cursors c JOIN heads h USING (part) WHERE c.next > h.next
";

/// The balances of every campaign, which have to follow from its transfers after each commit.
const BALANCES: &str = r"
    SELECT format('INV 3: the balances of campaign %s are not what its transfers make them', a.campaign)
    FROM accounts a
    CROSS JOIN LATERAL (SELECT coalesce(sum(added), 0) AS sum FROM fundings f WHERE f.campaign = a.campaign) f
    CROSS JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS sum, count(*) AS count FROM grants g
                        WHERE g.campaign = a.campaign) g
    CROSS JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS sum FROM postings p WHERE p.campaign = a.campaign) p
    CROSS JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS sum FROM voids v WHERE v.campaign = a.campaign) v
    CROSS JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS sum FROM returns r WHERE r.campaign = a.campaign) r
    WHERE a.funded - a.overdrawn <> f.sum OR a.paid <> p.sum OR a.reserved <> g.sum - p.sum - v.sum
       OR a.returned <> r.sum OR a.available - a.overdrawn <> f.sum - g.sum + v.sum - r.sum OR a.grants <> g.count
";

/// Where each place is that was given, unless its grant has come to an end without payment: it waits in one place, or is in a batch
/// that may yet pay or burn it, or one has paid it. Only where the chain took back what was final is it in several.
const PLACES: &str = r"
    SELECT format('INV 11: place %s/%s of grant %s waits %s times, is in %s batches under way, and %s times paid',
                  p.campaign, p.seq, p.number, coalesce(l.waits, 0), coalesce(l.under_way, 0), coalesce(l.paid, 0))
    FROM (SELECT r.campaign, r.first_seq + i - 1 AS seq, r.numbers[i] AS number
          FROM runs r CROSS JOIN LATERAL generate_subscripts(r.numbers, 1) AS i) p
    LEFT JOIN (
        SELECT campaign, seq, count(*) FILTER (WHERE at = 'waits') AS waits,
               count(*) FILTER (WHERE at = 'under way') AS under_way, count(*) FILTER (WHERE at = 'paid') AS paid
        FROM (
            SELECT campaign, generate_series(batched_to, next_seq - 1) AS seq, 'waits' AS at FROM queues
            UNION ALL
            SELECT campaign, generate_series(first_seq, first_seq + count - 1), 'waits' FROM requeues
            UNION ALL
            SELECT s.campaign, x.seq, CASE WHEN b.state = 'confirmed' THEN 'paid' ELSE 'under way' END
            FROM segments s JOIN batches b ON b.id = s.batch
            CROSS JOIN LATERAL generate_series(s.first_seq, s.first_seq + s.count - 1) AS x (seq)
            WHERE b.state <> 'reverted' AND x.seq <> ALL (s.holes) AND x.seq <> ALL (s.unpaid)
            UNION ALL
            SELECT c.campaign, c.seq, 'under way' FROM cancels c JOIN batches b ON b.id = c.batch
            WHERE b.state IN ('submitted', 'mined')
        ) l GROUP BY campaign, seq
    ) l USING (campaign, seq)
    LEFT JOIN exceptions e ON e.campaign = p.campaign AND e.number = p.number AND e.state IN ('failed', 'compensated')
    WHERE coalesce(l.waits, 0) > 1 OR l.waits > 0 AND l.under_way + l.paid > 0 OR l.paid > 1
       OR e.number IS NULL AND l.campaign IS NULL
       OR l.under_way + l.paid > 1 AND NOT $1
";

/// Places that are lost, or in several places at once.
pub(super) async fn places(conn: &mut PgConnection, taken_back: bool) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar(PLACES).bind(taken_back).fetch_all(&mut *conn).await?)
}

/// Balances that are not what they have to be.
pub(super) async fn balances(conn: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar(BALANCES).fetch_all(&mut *conn).await?)
}

/// What is not as it has to be.
pub(super) async fn findings(conn: &mut PgConnection, restored: bool) -> anyhow::Result<Vec<String>> {
    Ok(sqlx::query_scalar(FINDINGS).bind(restored).fetch_all(&mut *conn).await?)
}
