//! What several endpoints agree on beside blocks: numbers that a quorum has reached, and answers that a quorum gives.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use futures::future::BoxFuture;

use super::Endpoints;
use crate::{ChainError, ChainNode, Fees, NonceAt};

impl Endpoints {
    /// How many transactions an account has sent.
    pub(super) async fn agreed_nonce(&self, account: Address, at: NonceAt) -> Result<u64, ChainError> {
        if self.endpoints.len() == 1 {
            return self.ask(move |node| node.nonce(account, at)).await;
        }
        let (mut nonces, error) = self.answers(move |node| node.nonce(account, at)).await;
        nonces.sort_unstable_by(|one, other| other.cmp(one));
        let place = if at == NonceAt::Pending { 1 } else { self.quorum };
        let nonce = nonces.get(place - 1).copied();
        nonce.ok_or_else(|| error.unwrap_or_else(|| self.no_endpoint()))
    }

    /// What gas costs by the words of a quorum: one endpoint alone can neither make everything dear nor stop it.
    pub(super) async fn agreed_fees(&self) -> Result<Fees, ChainError> {
        let (fees, error) = self.answers(|node| node.fees()).await;
        let base_fee = self.reached_of(fees.iter().map(|fees| fees.base_fee).collect());
        let priority_fee = self.reached_of(fees.iter().map(|fees| fees.priority_fee).collect());
        let fees = base_fee.zip(priority_fee);
        let (base_fee, priority_fee) = fees.ok_or_else(|| error.unwrap_or_else(|| self.no_endpoint()))?;
        Ok(Fees { base_fee, priority_fee })
    }

    /// The highest value that a quorum has reached.
    pub(super) async fn reached<T: Ord + Copy + Send>(
        &self,
        question: impl for<'a> Fn(&'a dyn ChainNode) -> BoxFuture<'a, Result<T, ChainError>> + Send + Sync,
    ) -> Result<T, ChainError> {
        let (values, error) = self.answers(question).await;
        self.reached_of(values).ok_or_else(|| error.unwrap_or_else(|| self.no_endpoint()))
    }

    /// The highest value that a quorum has, or all of those who answer, where they are fewer: nothing stands still for that.
    fn reached_of<T: Ord + Copy>(&self, mut values: Vec<T>) -> Option<T> {
        values.sort_unstable_by(|one, other| other.cmp(one));
        values.get(self.quorum.min(values.len()).saturating_sub(1)).copied()
    }

    /// What a quorum answers. Where there is one endpoint, or a quorum is one, that is the first one's answer.
    pub(super) async fn agreed<T: Ord + Send>(
        &self,
        operation: &'static str,
        question: impl for<'a> Fn(&'a dyn ChainNode) -> BoxFuture<'a, Result<T, ChainError>> + Send + Sync,
    ) -> Result<T, ChainError> {
        if self.quorum == 1 {
            return self.ask(question).await;
        }
        let (answers, error) = self.answers(question).await;
        let mut counts: BTreeMap<T, usize> = BTreeMap::new();
        for answer in answers {
            *counts.entry(answer).or_default() += 1;
        }
        let mut agreed = counts.into_iter().filter(|(_, count)| *count >= self.quorum);
        // Where a quorum is less than half, two may differ.
        match (agreed.next(), agreed.next()) {
            (Some((answer, _)), None) => Ok(answer),
            (Some(_), Some(_)) => Err(ChainError::Undecided { chain_id: self.chain_id, operation }),
            (None, _) => Err(error.unwrap_or(ChainError::Undecided { chain_id: self.chain_id, operation })),
        }
    }

    /// The answers of those that are fit, and the first error.
    async fn answers<T: Send>(
        &self,
        question: impl for<'a> Fn(&'a dyn ChainNode) -> BoxFuture<'a, Result<T, ChainError>> + Send + Sync,
    ) -> (Vec<T>, Option<ChainError>) {
        let (mut answers, mut error) = (Vec::new(), None);
        for (_, answer) in self.ask_all(&self.all_fit(), question).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(told) => _ = error.get_or_insert(told),
            }
        }
        (answers, error)
    }
}
