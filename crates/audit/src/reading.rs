//! A chain, read once more and apart from the watcher: nothing is believed that does not hash to a checked header.
//!
//! Headers name their parents, so the last block's hash vouches for every header before it, and a header's bloom says
//! which blocks have no log of a vault. The others are read whole and hashed against the header's roots.

use std::collections::BTreeMap;

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable},
    eips::Decodable2718,
    primitives::{Address, B256, BloomInput, Bytes, Log, U256},
    sol_types::{SolCall, SolEvent},
};
use futures::{StreamExt, TryStreamExt, stream};
use laurel_chain::{Block, BlockContent, BlockRef, ChainError, ChainNode, PaidMask, RewardVault, words_hash};
use laurel_events::Amount;

/// Headers that are asked for at once: enough to hide a node's distance, few enough for a public one.
const HEADERS_AT_ONCE: usize = 8;

/// A segment that a vault settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettledLog {
    pub(crate) campaign: u64,
    pub(crate) first_seq: u64,
    pub(crate) total: Amount,
    pub(crate) words_hash: B256,
    /// From the transaction's data; they hash to `words_hash`. None where that is not to be found in the data as we read it, which
    /// nothing of ours is.
    pub(crate) words: Vec<B256>,
    pub(crate) paid: Vec<U256>,
    pub(crate) sender: Address,
    pub(crate) nonce: u64,
}

impl SettledLog {
    /// How many bits it set.
    pub(crate) fn paid_count(&self) -> u64 {
        PaidMask::new(self.first_seq, self.paid.clone()).count()
    }
}

/// What a vault logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Logged {
    Settled(SettledLog),
    /// A campaign has a cap.
    Capped {
        campaign: u64,
        token: Address,
        cap: Amount,
    },
    /// Bits were burned without a payment.
    Cancelled {
        campaign: u64,
        word: u64,
        mask: U256,
    },
    /// A campaign was released: nothing is paid of it any more.
    Released {
        campaign: u64,
    },
}

/// A vault's log and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadLog {
    pub(crate) vault: Address,
    pub(crate) tx: B256,
    /// In the block.
    pub(crate) log_index: u32,
    pub(crate) logged: Logged,
}

/// A block and what the vaults logged in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadBlock {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) logs: Vec<ReadLog>,
}

/// Reads the blocks `from..=to`, each the child of the one before; the first one that of `parent`, where there is one.
pub(crate) async fn read_blocks(
    node: &dyn ChainNode,
    vaults: &[Address],
    from: u64,
    to: u64,
    parent: Option<B256>,
) -> Result<Vec<ReadBlock>, ChainError> {
    let blocks: Vec<Block> = stream::iter(from..=to)
        .map(|number| async move {
            let block = node.block(BlockRef::Number(number)).await?;
            block.ok_or_else(|| ChainError::Untrue(format!("it lacks block {number} of its own chain")))
        })
        .buffered(HEADERS_AT_ONCE)
        .try_collect()
        .await?;
    let mut before = parent;
    let mut read = Vec::with_capacity(blocks.len());
    for block in blocks {
        let number = block.header.number;
        if before.is_some_and(|before| before != block.header.parent_hash) {
            return Err(ChainError::Untrue(format!("block {number} is no child of the block before it")));
        }
        before = Some(block.hash);
        let logs = read_logs(node, &block, vaults).await?;
        read.push(ReadBlock { number, hash: block.hash, logs });
    }
    Ok(read)
}

async fn read_logs(
    node: &dyn ChainNode,
    block: &Block,
    vaults: &[Address],
) -> Result<Vec<ReadLog>, ChainError> {
    let blooms = |vault: &Address| block.header.logs_bloom.contains_input(BloomInput::Raw(vault.as_slice()));
    if !vaults.iter().any(blooms) {
        return Ok(Vec::new());
    }
    // Of several nodes the next one is asked where one has not what the header proves.
    let BlockContent { receipts, transactions } = node.content(block).await?;
    let mut logs = Vec::new();
    let mut first_log = 0;
    for (receipt, transaction) in receipts.iter().zip(&transactions) {
        for vault in vaults {
            let read = read_transaction(*vault, receipt.tx, receipt.receipt.logs(), first_log, transaction)?;
            logs.extend(read);
        }
        first_log += receipt.receipt.logs().len();
    }
    logs.sort_by_key(|log| log.log_index);
    Ok(logs)
}

fn read_transaction(
    vault: Address,
    tx: B256,
    logs: &[Log],
    first_log: usize,
    transaction: &Bytes,
) -> Result<Vec<ReadLog>, ChainError> {
    let mut calldata = None;
    let mut read = Vec::new();
    for (index, log) in logs.iter().enumerate().filter(|(_, log)| log.address == vault) {
        let Some(topic) = log.topics().first() else { continue };
        let untrue =
            |error| ChainError::Untrue(format!("a log of vault {vault} in {tx} cannot be read: {error}"));
        let logged = match *topic {
            RewardVault::BatchSettled::SIGNATURE_HASH => {
                let event = RewardVault::BatchSettled::decode_log(log).map_err(untrue)?.data;
                let sent = match &mut calldata {
                    Some(sent) => sent,
                    None => calldata.insert(Sent::decode(vault, tx, transaction)?),
                };
                Logged::Settled(sent.next(event))
            }
            RewardVault::CampaignOpened::SIGNATURE_HASH => {
                let event = RewardVault::CampaignOpened::decode_log(log).map_err(untrue)?.data;
                capped(event.campaign, event.terms.token, U256::from(event.terms.cap))
            }
            RewardVault::CampaignChanged::SIGNATURE_HASH => {
                let event = RewardVault::CampaignChanged::decode_log(log).map_err(untrue)?.data;
                capped(event.campaign, event.terms.token, U256::from(event.terms.cap))
            }
            RewardVault::GrantsCancelled::SIGNATURE_HASH => {
                let event = RewardVault::GrantsCancelled::decode_log(log).map_err(untrue)?.data;
                Logged::Cancelled { campaign: event.campaign, word: event.word, mask: event.mask }
            }
            RewardVault::CampaignReleased::SIGNATURE_HASH => {
                let event = RewardVault::CampaignReleased::decode_log(log).map_err(untrue)?.data;
                Logged::Released { campaign: event.campaign }
            }
            _ => continue,
        };
        let log_index = u32::try_from(first_log + index).unwrap_or(u32::MAX);
        read.push(ReadLog { vault, tx, log_index, logged });
    }
    Ok(read)
}

fn capped(campaign: u64, token: Address, cap: U256) -> Logged {
    Logged::Capped { campaign, token, cap: Amount::new(cap) }
}

/// A settlement as it was sent. Operators have no code, so its data is the transaction's own, and its segments come in the
/// order of their logs. Whoever else has an operator's key may write data that the contract reads and we do not.
#[derive(Debug)]
struct Sent {
    sender: Address,
    nonce: u64,
    segments: std::vec::IntoIter<laurel_chain::Segment>,
}

impl Sent {
    fn decode(vault: Address, tx: B256, transaction: &Bytes) -> Result<Self, ChainError> {
        let untrue = |what: &str| ChainError::Untrue(format!("settlement {tx} of vault {vault}: {what}"));
        let envelope = TxEnvelope::decode_2718(&mut transaction.as_ref())
            .map_err(|_| untrue("the transaction cannot be read"))?;
        let sender = envelope.recover_signer().map_err(|_| untrue("nobody signed it"))?;
        let call = RewardVault::settleCall::abi_decode(envelope.input());
        let segments = call.ok().filter(|_| envelope.to() == Some(vault)).map(|call| call.segments);
        Ok(Self { sender, nonce: envelope.nonce(), segments: segments.unwrap_or_default().into_iter() })
    }

    /// The segment of the next log.
    fn next(&mut self, event: RewardVault::BatchSettled) -> SettledLog {
        let words = self.segments.next().and_then(|segment| {
            let words: Vec<B256> = segment.grants.iter().map(|word| B256::from(*word)).collect();
            let fits = (segment.campaign, segment.firstSeq) == (event.campaign, event.firstSeq)
                && U256::from(words.len()) == event.count
                && words_hash(&words) == event.grantsHash;
            fits.then_some(words)
        });
        SettledLog {
            campaign: event.campaign,
            first_seq: event.firstSeq,
            total: Amount::new(event.total),
            words_hash: event.grantsHash,
            words: words.unwrap_or_default(),
            paid: event.paid,
            sender: self.sender,
            nonce: self.nonce,
        }
    }
}

/// Segments by campaign and first place: how many words, and their hash.
pub(crate) type SignedSegments = BTreeMap<(u64, u64), (u64, B256)>;

/// What a stored transaction of ours would settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) sender: Address,
    pub(crate) nonce: u64,
    /// Empty of what settles nothing.
    pub(crate) segments: SignedSegments,
}

/// Reads a signed transaction; `None` if it is none.
pub(crate) fn read_signed(vault: Address, raw: &[u8]) -> Option<Signed> {
    let envelope = TxEnvelope::decode_2718(&mut &*raw).ok()?;
    let sender = envelope.recover_signer().ok()?;
    let call = RewardVault::settleCall::abi_decode(envelope.input()).ok();
    let segments = call.filter(|_| envelope.to() == Some(vault)).map_or_else(BTreeMap::new, |call| {
        let segments = call.segments.into_iter().map(|segment| {
            let words: Vec<B256> = segment.grants.iter().map(|word| B256::from(*word)).collect();
            ((segment.campaign, segment.firstSeq), (words.len() as u64, words_hash(&words)))
        });
        segments.collect()
    });
    Some(Signed { sender, nonce: envelope.nonce(), segments })
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolValue as _;
    use laurel_chain::{LaneSigner as _, LocalKey, TxRequest};
    use laurel_devnet::dev_keys::DEV_KEYS;

    use super::*;

    /// It is in the blocks for good: whoever could not read it would never compare the chain again.
    #[test]
    fn a_settlement_whose_data_cannot_be_read_is_one_without_words() {
        let vault = Address::repeat_byte(7);
        let key = LocalKey::from_hex(DEV_KEYS[3].secret).unwrap();
        let event = RewardVault::BatchSettled {
            campaign: 9,
            firstSeq: 5,
            count: U256::from(1),
            total: U256::from(1_000),
            grantsHash: B256::repeat_byte(1),
            paid: vec![U256::from(1 << 5)],
            seal: B256::ZERO,
        };
        let log = Log { address: vault, data: event.encode_log_data() };
        for (to, data) in [
            (vault, Bytes::from_static(b"no settlement")),
            (vault, Bytes::from(U256::MAX.abi_encode())),
            (Address::repeat_byte(8), Bytes::new()),
        ] {
            let request = TxRequest {
                chain_id: 1,
                nonce: 4,
                to: Some(to),
                data,
                gas_limit: 100_000,
                max_fee_per_gas: 2,
                max_priority_fee_per_gas: 1,
            };
            let sent = key.sign(&request).unwrap();
            let read = read_transaction(vault, sent.hash, std::slice::from_ref(&log), 3, &sent.raw).unwrap();
            let [ReadLog { log_index: 3, logged: Logged::Settled(settled), .. }] = &read[..] else {
                panic!("{read:?}")
            };
            assert_eq!((settled.campaign, settled.first_seq, settled.paid_count()), (9, 5, 1));
            assert_eq!((settled.sender, settled.nonce, settled.words.len()), (key.address(), 4, 0));
        }
    }
}
