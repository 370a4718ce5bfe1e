//! Which counters a campaign keeps of its players, and how they stay true when that changes.
//!
//! A counter is a row while it is kept, and no row while it is not: one that comes to be needed is added up from the
//! grants that there are, and one that is needed no more goes. Everything here happens while the campaign's books are
//! locked, so no grant and no void comes in between.

use laurel_events::{CampaignId, TokenGrantFailed};
use laurel_ledger::{LedgerError, amount_to_sql};
use sqlx::PgConnection;

use crate::{Caps, rule::Rule};

/// The counters that a campaign keeps of each player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// That of the campaign's whole life.
    pub(crate) life: bool,
    /// That of each day on which outcomes were recorded.
    pub(crate) day: bool,
}

impl Kept {
    /// Every counter.
    pub(crate) const ALL: Self = Self { life: true, day: true };
    /// No counter.
    pub(crate) const NONE: Self = Self { life: false, day: false };

    /// What caps and rule need.
    pub(crate) fn of(caps: &Caps, rule: &Rule) -> Self {
        Self { life: caps.need_life() || rule.reads_player(), day: caps.need_day() }
    }

    /// How many counters count one grant.
    const fn rows(self) -> u64 {
        self.life as u64 + self.day as u64
    }
}

/// Makes the counters that a campaign comes to keep, from its grants, and drops those that it keeps no more.
pub(crate) async fn change_kept(
    conn: &mut PgConnection,
    campaign: CampaignId,
    before: Kept,
    after: Kept,
) -> Result<(), LedgerError> {
    match (before.life, after.life) {
        (false, true) => count_lives(conn, campaign).await?,
        (true, false) => drop_counters(conn, campaign, true).await?,
        _ => {}
    }
    match (before.day, after.day) {
        (false, true) => count_days(conn, campaign).await,
        (true, false) => drop_counters(conn, campaign, false).await,
        _ => Ok(()),
    }
}

async fn count_lives(conn: &mut PgConnection, campaign: CampaignId) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO counters (campaign, player, period, grants, amount)
        SELECT g.campaign, g.player, date '1970-01-01', count(*), sum(g.amount)
        FROM grants g
        WHERE g.campaign = $1
          AND NOT EXISTS (SELECT FROM standing_voids v WHERE v.campaign = g.campaign AND v.number = g.number)
        GROUP BY g.campaign, g.player
        "#,
        campaign.number(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn count_days(conn: &mut PgConnection, campaign: CampaignId) -> Result<(), LedgerError> {
    // A grant is recorded when it is decided; its day is that on which its outcome was recorded.
    sqlx::query!(
        r#"
        INSERT INTO counters (campaign, player, period, grants, amount)
        SELECT g.campaign, g.player, (j.recorded_at AT TIME ZONE 'UTC')::date, count(*), sum(g.amount)
        FROM grants g
        JOIN journal j ON j.part = g.part AND j.position = g.position
        WHERE g.campaign = $1
          AND NOT EXISTS (SELECT FROM standing_voids v WHERE v.campaign = g.campaign AND v.number = g.number)
        GROUP BY g.campaign, g.player, (j.recorded_at AT TIME ZONE 'UTC')::date
        "#,
        campaign.number(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn drop_counters(conn: &mut PgConnection, campaign: CampaignId, life: bool) -> Result<(), LedgerError> {
    sqlx::query!(
        "DELETE FROM counters WHERE campaign = $1 AND (period = date '1970-01-01') = $2",
        campaign.number(),
        life,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a voided grant back to its player's counters: the whole life's, and that of the day on which the outcome was
/// recorded. A counter that is kept must be there and must hold what is given back.
pub(crate) async fn give_back_counters(
    conn: &mut PgConnection,
    failed: &TokenGrantFailed,
    kept: Kept,
) -> Result<(), LedgerError> {
    let given = sqlx::query!(
        r#"
        UPDATE counters c
        SET grants = c.grants - 1, amount = c.amount - $4
        FROM grants g JOIN journal j ON j.part = g.part AND j.position = g.position
        WHERE g.campaign = $1 AND g.number = $2
          AND c.campaign = $1 AND c.player = $3
          AND c.period IN ('1970-01-01', (j.recorded_at AT TIME ZONE 'UTC')::date)
        "#,
        failed.grant.campaign.number(),
        failed.grant.number.cast_signed(),
        failed.player.uuid(),
        amount_to_sql(failed.amount),
    )
    .execute(conn)
    .await?;
    let (wanted, touched) = (kept.rows(), given.rows_affected());
    if wanted == touched {
        Ok(())
    } else {
        Err(LedgerError::RowCount { operation: "give a grant back to its counters", wanted, touched })
    }
}

/// Counts grants again that were given back; a counter that is kept since then begins with them. What was granted to their players
/// meanwhile stays: the cap of the row is what it has come to then.
pub(crate) async fn take_counters_again(
    conn: &mut PgConnection,
    campaign: CampaignId,
    grants: &[i64],
    kept: Kept,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO counters AS c (campaign, player, period, grants, amount)
        SELECT g.campaign, g.player, p.period, count(*), sum(g.amount)
        FROM grants g JOIN journal j ON j.part = g.part AND j.position = g.position
        CROSS JOIN LATERAL (SELECT date '1970-01-01' AS period WHERE $3
                            UNION ALL
                            SELECT (j.recorded_at AT TIME ZONE 'UTC')::date WHERE $4) p
        WHERE g.campaign = $1 AND g.number = ANY ($2)
        GROUP BY g.campaign, g.player, p.period
        ON CONFLICT (campaign, player, period) DO UPDATE
        SET grants = c.grants + EXCLUDED.grants, amount = c.amount + EXCLUDED.amount,
            grants_max = CASE WHEN c.grants_max IS NOT NULL THEN greatest(c.grants_max, c.grants + EXCLUDED.grants) END,
            amount_max = CASE WHEN c.amount_max IS NOT NULL THEN greatest(c.amount_max, c.amount + EXCLUDED.amount) END
        "#,
        campaign.number(),
        grants,
        kept.life,
        kept.day,
    )
    .execute(conn)
    .await?;
    Ok(())
}
