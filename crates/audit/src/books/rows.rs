//! What the database has of every campaign that a vault of ours pays for.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use laurel_events::{Amount, CampaignId, Event, EventKind, Partition};
use laurel_ledger::{amount_from_sql, cursor_position, read};
use sqlx::{PgConnection, PgPool, types::BigDecimal};

use crate::{
    AuditError,
    error::{inconsistent, no_campaign},
};

/// The stage that posts; what it has not handled yet is final on the chain and not in the books.
pub(crate) const BOOKS_STAGE: &str = "books";

/// Events read at a time.
pub(crate) const EVENTS_MAX: i64 = 1_000;

/// A campaign of a vault: what the vault keeps an account of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) campaign: CampaignId,
    pub(super) chain_id: u64,
    pub(super) vault: Address,
}

/// Everything that is compared, of one moment.
pub(super) struct Snapshot {
    pub(super) vaults: BTreeMap<(u64, Address), VaultRow>,
    pub(super) places: BTreeMap<Place, Books>,
}

/// A pinned vault.
pub(super) struct VaultRow {
    pub(super) deploy_block: u64,
    /// The last block of its chain that is final here.
    pub(super) final_number: Option<u64>,
}

/// What the database has of a campaign.
#[derive(Default)]
pub(super) struct Books {
    /// Its balances and transfers; `None` of a campaign that only the vault knows.
    pub(super) row: Option<Row>,
    /// What was paid without a hold.
    pub(super) suspense: Amount,
    /// What is final and not posted yet.
    pub(super) unposted: Amount,
    /// What the chain took back, and is still posted.
    pub(super) undone: Amount,
}

impl Books {
    /// Whether no money was ever moved: there is nothing that a vault could contradict.
    pub(super) fn is_blank(&self) -> bool {
        let nothing = BigDecimal::from(0);
        let untouched = |row: &Row| {
            [&row.funded, &row.paid, &row.fundings, &row.holds, &row.posts]
                .into_iter()
                .all(|sum| *sum == nothing)
        };
        self.suspense.is_zero() && self.unposted.is_zero() && self.row.as_ref().is_some_and(untouched)
    }
}

/// A campaign's balances, and the sums of its transfers.
pub(crate) struct Row {
    pub(crate) campaign: i64,
    pub(crate) chain_id: i64,
    vault: Vec<u8>,
    pub(crate) funded: BigDecimal,
    pub(crate) available: BigDecimal,
    pub(crate) reserved: BigDecimal,
    pub(crate) paid: BigDecimal,
    pub(crate) returned: BigDecimal,
    pub(crate) overdrawn: BigDecimal,
    pub(crate) fundings: BigDecimal,
    pub(crate) holds: BigDecimal,
    pub(crate) posts: BigDecimal,
    pub(crate) voids: BigDecimal,
    pub(crate) returns: BigDecimal,
}

/// What a campaign's transfers of each kind sum up to.
pub(crate) struct Sums {
    pub(crate) fundings: BigDecimal,
    pub(crate) holds: BigDecimal,
    pub(crate) posts: BigDecimal,
    pub(crate) voids: BigDecimal,
    pub(crate) returns: BigDecimal,
}

impl Row {
    /// The transfers as they are booked.
    pub(super) fn sums(&self) -> Sums {
        Sums {
            fundings: self.fundings.clone(),
            holds: self.holds.clone(),
            posts: self.posts.clone(),
            voids: self.voids.clone(),
            returns: self.returns.clone(),
        }
    }

    /// The balances that are not what these transfers make them, in words.
    pub(crate) fn differing(&self, sums: &Sums) -> Vec<String> {
        let left = &sums.fundings - &sums.holds + &sums.voids - &sums.returns;
        let nothing = BigDecimal::default();
        let (available, overdrawn) = if left < nothing { (nothing, -left) } else { (left, nothing) };
        let expected = [
            ("funded", &self.funded, &sums.fundings + &overdrawn),
            ("available", &self.available, available),
            ("reserved", &self.reserved, &sums.holds - &sums.posts - &sums.voids),
            ("paid", &self.paid, sums.posts.clone()),
            ("returned", &self.returned, sums.returns.clone()),
            ("overdrawn", &self.overdrawn, overdrawn),
        ];
        let differing = expected.into_iter().filter(|(_, balance, sum)| *balance != sum);
        differing
            .map(|(account, balance, sum)| format!("{account} is {balance}, its transfers sum up to {sum}"))
            .collect()
    }
}

/// Reads everything in one snapshot.
pub(super) async fn snapshot(pool: &PgPool) -> Result<Snapshot, AuditError> {
    let mut snapshot = pool.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *snapshot).await?;
    let vaults = vaults(&mut snapshot).await?;
    let mut places = BTreeMap::<Place, Books>::new();
    for row in balances(&mut snapshot).await? {
        let place = Place {
            campaign: CampaignId::try_from(row.campaign).map_err(no_campaign("accounts", row.campaign))?,
            chain_id: row.chain_id.cast_unsigned(),
            vault: address(&row.vault)?,
        };
        places.entry(place).or_default().row = Some(row);
    }
    for (place, amount) in suspense(&mut snapshot).await? {
        places.entry(place).or_default().suspense = amount;
    }
    for (place, (unposted, undone)) in unposted(&mut snapshot).await? {
        let books = places.entry(place).or_default();
        (books.unposted, books.undone) = (unposted, undone);
    }
    snapshot.commit().await?;
    Ok(Snapshot { vaults, places })
}

fn address(bytes: &[u8]) -> Result<Address, AuditError> {
    Address::try_from(bytes).map_err(|_| inconsistent("vaults", "address", "a vault"))
}

async fn vaults(conn: &mut PgConnection) -> Result<BTreeMap<(u64, Address), VaultRow>, AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT v.chain_id, v.address, v.deploy_block, h.final_number
        FROM vaults v JOIN chains h ON h.id = v.chain_id
        "#,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let vault = VaultRow {
                deploy_block: row.deploy_block.cast_unsigned(),
                final_number: row.final_number.map(i64::cast_unsigned),
            };
            Ok(((row.chain_id.cast_unsigned(), address(&row.address)?), vault))
        })
        .collect()
}

pub(crate) async fn balances(conn: &mut PgConnection) -> Result<Vec<Row>, AuditError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT a.campaign, v.chain_id, v.address AS vault, a.funded, a.available, a.reserved, a.paid, a.returned,
               a.overdrawn,
               (SELECT coalesce(sum(added), 0) FROM fundings t WHERE t.campaign = a.campaign) AS "fundings!",
               (SELECT coalesce(sum(amount), 0) FROM grants t WHERE t.campaign = a.campaign) AS "holds!",
               (SELECT coalesce(sum(amount), 0) FROM postings t WHERE t.campaign = a.campaign) AS "posts!",
               (SELECT coalesce(sum(amount), 0) FROM voids t WHERE t.campaign = a.campaign) AS "voids!",
               (SELECT coalesce(sum(amount), 0) FROM returns t WHERE t.campaign = a.campaign) AS "returns!"
        FROM accounts a
        JOIN campaigns c ON c.id = a.campaign
        JOIN vaults v ON v.id = c.vault
        "#,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// What was paid without a hold; also of campaigns that only the vault knows, and of vaults that pay for others' campaigns.
async fn suspense(conn: &mut PgConnection) -> Result<Vec<(Place, Amount)>, AuditError> {
    let rows = sqlx::query!(
        r#"
        SELECT v.chain_id, v.address, s.on_chain_campaign AS "on_chain_campaign!", sum(s.open) AS "amount!"
        FROM open_suspense s JOIN vaults v ON v.id = s.vault
        GROUP BY v.chain_id, v.address, s.on_chain_campaign
        "#,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let id = &row.on_chain_campaign;
            let campaign = amount_from_sql(id, "suspense", "on_chain_campaign", id)?;
            let campaign = u64::try_from(campaign.units())
                .map_err(|_| inconsistent("suspense", "on_chain_campaign", id))?;
            let amount = amount_from_sql(&row.amount, "suspense", "amount", campaign)?;
            let (chain_id, vault) = (row.chain_id.cast_unsigned(), address(&row.address)?);
            Ok((Place { campaign: CampaignId::from(campaign), chain_id, vault }, amount))
        })
        .collect()
}

/// What confirmed settlements paid, and what the chain took back, that the books have not handled yet.
async fn unposted(conn: &mut PgConnection) -> Result<BTreeMap<Place, (Amount, Amount)>, AuditError> {
    let heads = sqlx::query!("SELECT part, next FROM heads").fetch_all(&mut *conn).await?;
    let heads: BTreeMap<i16, i64> = heads.into_iter().map(|row| (row.part, row.next)).collect();
    let adopted = sqlx::query_scalar!("SELECT DISTINCT batch FROM adoptions").fetch_all(&mut *conn).await?;
    let mut sums = BTreeMap::<Place, (Amount, Amount)>::new();
    for partition in Partition::all() {
        let head = heads.get(&partition.number()).copied().unwrap_or(0);
        let mut from = cursor_position(conn, BOOKS_STAGE, partition).await?;
        while from < head {
            let kinds = [EventKind::BlockchainTxConfirmed, EventKind::BlockchainTxUndone];
            let (events, next) = read(conn, partition, from, head, &kinds, EVENTS_MAX).await?;
            for envelope in events {
                let (sighting, segments, undone) = match envelope.event {
                    Event::BlockchainTxConfirmed(event) => (event.sighting, event.segments, false),
                    Event::BlockchainTxUndone(event) => (event.sighting, event.segments, true),
                    _ => continue,
                };
                // What was adopted is in suspense until it is posted.
                if sighting.batch.is_some_and(|batch| adopted.contains(&batch.uuid())) {
                    continue;
                }
                let (chain_id, vault) = (sighting.chain_id, sighting.vault);
                for segment in segments.iter().filter(|segment| !segment.total.is_zero()) {
                    let sums = sums.entry(Place { campaign: segment.campaign, chain_id, vault }).or_default();
                    let sum = if undone { &mut sums.1 } else { &mut sums.0 };
                    *sum = sum.plus(segment.total)?;
                }
            }
            from = next;
        }
    }
    Ok(sums)
}
