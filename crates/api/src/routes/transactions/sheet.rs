//! Transactions as the rows of an export.

use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use laurel_events::{Amount, AttemptId, BatchId, OrgId};
use laurel_ledger::LedgerError;
use laurel_views::list_transactions;
use serde::Serialize;
use sqlx::PgConnection;

use super::{out::TransactionOut, query::TransactionQuery};
use crate::export::Source;

/// How many are read together.
const PAGE: i64 = 4_000;

/// A transaction as a row.
#[derive(Serialize)]
pub(crate) struct TransactionRow {
    tx: B256,
    attempt: AttemptId,
    batch: BatchId,
    chain_id: u64,
    vault: String,
    from: String,
    nonce: u64,
    number: u32,
    kind: &'static str,
    state: String,
    grants: u32,
    gas_limit: u64,
    max_fee_per_gas: Amount,
    gas_used: Option<u64>,
    effective_gas_price: Option<Amount>,
    fee: Option<Amount>,
    block: Option<u64>,
    signed_at: DateTime<Utc>,
}

/// All transactions that a query asks for.
pub(super) struct TransactionSource {
    org: OrgId,
    query: TransactionQuery,
    after: Option<AttemptId>,
    over: bool,
}

impl TransactionSource {
    pub(super) const fn new(org: OrgId, query: TransactionQuery, after: Option<AttemptId>) -> Self {
        Self { org, query, after, over: false }
    }
}

impl Source for TransactionSource {
    type Row = TransactionRow;

    const WHAT: &'static str = "transactions";

    const NAMES: &'static [&'static str] = &[
        "tx",
        "attempt",
        "batch",
        "chain_id",
        "vault",
        "from",
        "nonce",
        "number",
        "kind",
        "state",
        "grants",
        "gas_limit",
        "max_fee_per_gas",
        "gas_used",
        "effective_gas_price",
        "fee",
        "block",
        "signed_at",
    ];

    async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<TransactionRow>>, LedgerError> {
        // What it asks for was seen to be good before it began.
        let Some(filter) = self.query.filter(self.after).ok().filter(|_| !self.over) else { return Ok(None) };
        let page = list_transactions(conn, self.org, &filter, PAGE).await?;
        (self.over, self.after) = (page.next.is_none(), page.next);
        Ok(Some(page.transactions.into_iter().map(|view| TransactionOut::from(view).row()).collect()))
    }
}

impl TransactionOut {
    fn row(self) -> TransactionRow {
        TransactionRow {
            tx: self.tx,
            attempt: self.attempt,
            batch: self.batch,
            chain_id: self.chain_id,
            vault: self.vault,
            from: self.from,
            nonce: self.nonce,
            number: self.number,
            kind: self.kind,
            state: self.state,
            grants: self.grants,
            gas_limit: self.gas_limit,
            max_fee_per_gas: self.max_fee_per_gas,
            gas_used: self.gas_used,
            effective_gas_price: self.effective_gas_price,
            fee: self.fee,
            block: self.block,
            signed_at: self.signed_at,
        }
    }
}
