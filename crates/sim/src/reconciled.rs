//! A world at rest, as the program's own reconciliation sees it.

use std::sync::Arc;

use laurel_audit::{AuditedChain, Code, Request, reconcile};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{chain::SimNode, genesis::CHAIN_ID, world::World};

impl World<'_> {
    /// What a reconciliation of everything finds. What the simulator's auditor accepts it has to accept as well.
    pub(crate) async fn reconcile(&self) -> anyhow::Result<Vec<String>> {
        let node = SimNode::new("the reconciliation's node".to_owned(), self.shared.clone());
        let chain =
            AuditedChain { chain_id: CHAIN_ID, node: Arc::new(node), vault: self.genesis.deployed.vault };
        let mut rng = ChaCha8Rng::seed_from_u64(self.shared.dice().rng.next_u64());
        let pool = &self.database.auditors;
        let made = reconcile(pool, &[chain], &*self.clock, &mut rng, Request::default()).await?;
        // What a restore has lost, and nobody has told again: the payment waits for it, and that is no fault.
        let orphaned = |code| code == Code::PaymentOrphaned && self.restore.is_some();
        let told = made.findings.iter().filter(|finding| !orphaned(finding.code)).map(|finding| {
            format!("reconciliation: {} of {}: {}", finding.code.as_str(), finding.about, finding.detail)
        });
        Ok(told.collect())
    }
}
