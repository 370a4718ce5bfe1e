//! Keys, and transactions signed with them. A key never shows in debug output or errors.

use std::{fmt, path::PathBuf, str::FromStr};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::{Decodable2718, Encodable2718},
    primitives::{Address, B256, Bytes, TxKind, U256},
    signers::{
        SignerSync,
        local::{PrivateKeySigner, Secp256k1Signer},
    },
};

/// A transaction to be signed: EIP-1559.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxRequest {
    /// The chain.
    pub chain_id: u64,
    /// The account's nonce.
    pub nonce: u64,
    /// The contract; `None` deploys.
    pub to: Option<Address>,
    /// The call's data.
    pub data: Bytes,
    /// The most gas it may use.
    pub gas_limit: u64,
    /// The most a unit of gas may cost, in wei.
    pub max_fee_per_gas: u128,
    /// The tip per unit of gas, in wei.
    pub max_priority_fee_per_gas: u128,
}

impl TxRequest {
    /// What the signed bytes `raw` ask for; `None` if they are none of ours.
    pub fn decode(raw: &[u8]) -> Option<Self> {
        let TxEnvelope::Eip1559(signed) = TxEnvelope::decode_2718_exact(raw).ok()? else { return None };
        let tx = signed.strip_signature();
        Some(Self {
            chain_id: tx.chain_id,
            nonce: tx.nonce,
            to: tx.to.to().copied(),
            data: tx.input,
            gas_limit: tx.gas_limit,
            max_fee_per_gas: tx.max_fee_per_gas,
            max_priority_fee_per_gas: tx.max_priority_fee_per_gas,
        })
    }
}

/// A signed transaction: bytes that may be sent any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTx {
    /// Its hash.
    pub hash: B256,
    /// Its bytes (EIP-2718).
    pub raw: Bytes,
}

/// Something that signs for one account: a local key, or a service that holds one.
pub trait LaneSigner: Send + Sync + fmt::Debug {
    /// The account.
    fn address(&self) -> Address;

    /// Signs a transaction.
    ///
    /// # Errors
    /// If the key cannot be used.
    fn sign(&self, tx: &TxRequest) -> Result<SignedTx, KeyError>;
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The source's text is neither `env:NAME` nor `keystore:PATH`.
    #[error("{0:?} is no source of a key: use env:NAME or keystore:PATH")]
    Source(String),
    /// The environment has no such variable.
    #[error("the environment variable {0} is not set")]
    Missing(String),
    /// The environment variable is no key.
    #[error("the environment variable {0} holds no secp256k1 key (32 bytes in hexadecimal)")]
    Malformed(String),
    /// The keystore cannot be opened.
    #[error("the keystore {path} cannot be opened with the password in {KEYSTORE_PASSWORD}: {reason}")]
    Keystore {
        /// The file.
        path: PathBuf,
        /// Why, without its content.
        reason: String,
    },
    /// The signature could not be made.
    #[error("the key cannot sign: {0}")]
    Sign(String),
}

/// The environment variable that holds the password of keystores.
const KEYSTORE_PASSWORD: &str = "LAUREL_KEYSTORE_PASSWORD";

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// An environment variable with 32 bytes in hexadecimal.
    Env(String),
    /// A file in the Web3 secret storage format, encrypted.
    Keystore(PathBuf),
}

impl FromStr for KeySource {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.split_once(':') {
            // Somebody may have put the key itself here, with or without a scheme: it must not reach a log.
            Some((_, rest)) if looks_like_a_key(rest) => Err(KeyError::Source("…".to_owned())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("keystore", path)) if !path.is_empty() => Ok(Self::Keystore(path.into())),
            _ => Err(KeyError::Source(
                text.split(':').next().filter(|head| head.len() <= 8).unwrap_or("…").to_owned(),
            )),
        }
    }
}

/// Whether a text has as many hexadecimal digits as half a key, or more, and nothing else: neither a variable nor a
/// file is called that.
fn looks_like_a_key(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl KeySource {
    /// Loads the key; `environment` looks a variable up.
    ///
    /// # Errors
    /// If there is none.
    pub fn load(&self, environment: impl Fn(&str) -> Option<String>) -> Result<LocalKey, KeyError> {
        match self {
            Self::Env(name) => {
                let text = environment(name).ok_or_else(|| KeyError::Missing(name.clone()))?;
                LocalKey::from_hex(text.trim()).ok_or_else(|| KeyError::Malformed(name.clone()))
            }
            Self::Keystore(path) => {
                let password = environment(KEYSTORE_PASSWORD)
                    .ok_or_else(|| KeyError::Missing(KEYSTORE_PASSWORD.to_owned()))?;
                let signer = PrivateKeySigner::decrypt_keystore(path, password)
                    .map_err(|error| KeyError::Keystore { path: path.clone(), reason: error.to_string() })?;
                Ok(LocalKey::from_signer(signer))
            }
        }
    }
}

/// A key in this process's memory; signs with libsecp256k1.
#[derive(Clone)]
pub struct LocalKey {
    signer: Secp256k1Signer,
}

impl LocalKey {
    /// The key that `text` spells in hexadecimal, with or without 0x.
    pub fn from_hex(text: &str) -> Option<Self> {
        text.parse::<PrivateKeySigner>().ok().map(Self::from_signer)
    }

    fn from_signer(signer: PrivateKeySigner) -> Self {
        Self { signer: signer.into_secp256k1() }
    }

    /// Signs a message as wallets do (EIP-191).
    ///
    /// # Errors
    /// If the key cannot be used.
    pub fn sign_message(&self, message: &[u8]) -> Result<Bytes, KeyError> {
        let signature =
            self.signer.sign_message_sync(message).map_err(|error| KeyError::Sign(error.to_string()))?;
        Ok(signature.as_bytes().into())
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalKey").field(&self.address()).finish()
    }
}

impl LaneSigner for LocalKey {
    fn address(&self) -> Address {
        alloy::signers::Signer::address(&self.signer)
    }

    fn sign(&self, tx: &TxRequest) -> Result<SignedTx, KeyError> {
        let tx = TxEip1559 {
            chain_id: tx.chain_id,
            nonce: tx.nonce,
            gas_limit: tx.gas_limit,
            max_fee_per_gas: tx.max_fee_per_gas,
            max_priority_fee_per_gas: tx.max_priority_fee_per_gas,
            to: tx.to.map_or(TxKind::Create, TxKind::Call),
            value: U256::ZERO,
            access_list: Default::default(),
            input: tx.data.clone(),
        };
        let signature = self
            .signer
            .sign_hash_sync(&tx.signature_hash())
            .map_err(|error| KeyError::Sign(error.to_string()))?;
        let signed = tx.into_signed(signature);
        let hash = *signed.hash();
        Ok(SignedTx { hash, raw: TxEnvelope::from(signed).encoded_2718().into() })
    }
}

#[cfg(test)]
mod tests {
    use alloy::consensus::transaction::SignerRecoverable;

    use super::*;

    const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn the_signature_recovers_to_the_account() {
        let key = LocalKey::from_hex(KEY).unwrap();
        let tx = TxRequest {
            chain_id: 31_337,
            nonce: 7,
            to: Some(Address::repeat_byte(1)),
            data: Bytes::from_static(b"data"),
            gas_limit: 21_000,
            max_fee_per_gas: 2,
            max_priority_fee_per_gas: 1,
        };
        let signed = key.sign(&tx).unwrap();
        let decoded = TxEnvelope::decode_2718(&mut signed.raw.as_ref()).unwrap();
        assert_eq!(decoded.recover_signer().unwrap(), key.address());
        assert_eq!(*decoded.tx_hash(), signed.hash);
        assert_eq!(TxRequest::decode(&signed.raw), Some(tx));
        assert_eq!(TxRequest::decode(&signed.raw[1..]), None);
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = LocalKey::from_hex(KEY).unwrap();
        assert!(!format!("{key:?}").contains(&KEY[..8]));
        let error = KEY.parse::<KeySource>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&KEY[..8]));
        let error = KeySource::Env("NAME".into()).load(|_| Some(KEY[1..].to_owned())).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&KEY[1..8]));
    }

    #[test]
    fn an_encrypted_keystore_opens_with_its_password_only() {
        let folder = tempfile::tempdir().unwrap();
        let key: PrivateKeySigner = KEY.parse().unwrap();
        let mut rng = alloy::signers::k256::elliptic_curve::rand_core::OsRng;
        let (_, name) =
            PrivateKeySigner::encrypt_keystore(folder.path(), &mut rng, key.to_bytes(), "right", None)
                .unwrap();
        let source: KeySource = format!("keystore:{}", folder.path().join(name).display()).parse().unwrap();
        let loaded = source.load(|_| Some("right".to_owned())).unwrap();
        assert_eq!(LaneSigner::address(&loaded), key.address());
        assert!(matches!(source.load(|_| Some("wrong".to_owned())), Err(KeyError::Keystore { .. })));
        assert!(matches!(source.load(|_| None), Err(KeyError::Missing(_))));
    }
}
