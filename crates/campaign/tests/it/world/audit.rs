//! An auditor that adds up the transfers itself and knows nothing of the balances.

use std::collections::BTreeMap;

use bigdecimal::BigDecimal;
use sqlx::Row;

use super::World;

impl World {
    /// Ends a test: INV 3 holds for every campaign, no event was set aside, and every counter is true.
    pub(crate) async fn finish(self) {
        self.audit().await;
        assert_eq!(self.number("SELECT count(*) FROM dead_letters").await, 0, "an event was set aside");
    }

    pub(crate) async fn audit(&self) {
        self.audit_money().await;
        self.audit_numbers().await;
        self.audit_counters().await;
    }

    /// INV 3, from the transfers: available + reserved + paid + returned = funded, and each is what moved there.
    async fn audit_money(&self) {
        let rows = sqlx::query(
            "SELECT a.campaign, a.funded, a.available, a.reserved, a.paid, a.returned, a.overdrawn,
                    coalesce((SELECT sum(added) FROM fundings f WHERE f.campaign = a.campaign), 0) AS fundings,
                    coalesce((SELECT sum(amount) FROM grants g WHERE g.campaign = a.campaign), 0) AS holds,
                    coalesce((SELECT sum(amount) FROM postings p WHERE p.campaign = a.campaign), 0) AS postings,
                    coalesce((SELECT sum(amount) FROM voids v WHERE v.campaign = a.campaign), 0) AS voids,
                    coalesce((SELECT sum(amount) FROM returns r WHERE r.campaign = a.campaign), 0) AS returns
             FROM accounts a",
        )
        .fetch_all(self.pool())
        .await
        .unwrap();
        for row in rows {
            let of = |column: &str| row.get::<BigDecimal, _>(column);
            let campaign: i64 = row.get("campaign");
            let sum = of("available") + of("reserved") + of("paid") + of("returned");
            assert_eq!(sum, of("funded"), "INV 3: campaign {campaign}");
            assert_eq!(of("funded") - of("overdrawn"), of("fundings"), "campaign {campaign}: funded");
            assert_eq!(
                of("available") - of("overdrawn"),
                of("fundings") - of("holds") + of("voids") - of("returns"),
                "campaign {campaign}: available"
            );
            assert_eq!(
                of("reserved"),
                of("holds") - of("postings") - of("voids"),
                "campaign {campaign}: reserved"
            );
            assert_eq!(of("paid"), of("postings"), "campaign {campaign}: paid");
            assert_eq!(of("returned"), of("returns"), "campaign {campaign}: returned");
            for column in ["available", "reserved", "paid", "returned", "overdrawn"] {
                assert!(of(column) >= 0, "campaign {campaign}: {column}");
            }
        }
    }

    /// Grants and declines are numbered densely, and no outcome has both from one campaign (INV 2).
    async fn audit_numbers(&self) {
        for query in [
            "SELECT count(*) FROM accounts a
             WHERE a.grants <> (SELECT count(*) FROM grants g WHERE g.campaign = a.campaign)
                OR a.grants <> (SELECT coalesce(max(number) + 1, 0) FROM grants g WHERE g.campaign = a.campaign)",
            "SELECT count(*) FROM accounts a
             WHERE a.declines <> (SELECT count(*) FROM declines d WHERE d.campaign = a.campaign)
                OR a.declines <> (SELECT coalesce(max(number) + 1, 0) FROM declines d WHERE d.campaign = a.campaign)",
            "SELECT count(*) FROM grants g JOIN declines d USING (campaign, outcome)",
            "SELECT count(*) FROM (SELECT FROM grants GROUP BY campaign, outcome HAVING count(*) > 1) g",
            "SELECT count(*) FROM (SELECT FROM declines GROUP BY campaign, outcome HAVING count(*) > 1) d",
        ] {
            assert_eq!(self.number(query).await, 0, "{query}");
        }
    }

    /// A counter says what the grants that were not voided add up to, by the day on which the outcome was recorded.
    async fn audit_counters(&self) {
        let used = self.used().await;
        let rows =
            sqlx::query("SELECT campaign, player::text, period::text, grants, amount::text FROM counters")
                .fetch_all(self.pool())
                .await
                .unwrap();
        for row in rows {
            let key = (row.get::<i64, _>(0), row.get::<String, _>(1), row.get::<String, _>(2));
            let counted = (row.get::<i64, _>(3), row.get::<String, _>(4));
            let expected = used.get(&key).cloned().unwrap_or((0, "0".to_owned()));
            assert_eq!(counted, expected, "counter {key:?}");
        }
    }

    /// What each player has got of each campaign, in its whole life (1970-01-01) and on each day.
    pub(crate) async fn used(&self) -> BTreeMap<(i64, String, String), (i64, String)> {
        let rows = sqlx::query(
            "SELECT g.campaign, g.player::text, p.period::text, count(*), sum(g.amount)::text
             FROM grants g
             JOIN journal j USING (part, position)
             CROSS JOIN LATERAL (VALUES (date '1970-01-01'), ((j.recorded_at AT TIME ZONE 'UTC')::date)) p (period)
             WHERE NOT EXISTS (SELECT FROM standing_voids v WHERE v.campaign = g.campaign AND v.number = g.number)
             GROUP BY g.campaign, g.player, p.period",
        )
        .fetch_all(self.pool())
        .await
        .unwrap();
        rows.iter().map(|row| ((row.get(0), row.get(1), row.get(2)), (row.get(3), row.get(4)))).collect()
    }
}
