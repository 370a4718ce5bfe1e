//! Addresses in requests.

use alloy_primitives::Address;
use serde::{Deserialize, Deserializer, de};

/// An address in hexadecimal. One in mixed case must have the checksum of EIP-55: a slip of the finger would pay a
/// stranger.
pub(crate) fn checksummed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    let address: Address = text
        .parse()
        .map_err(|_| de::Error::custom(format!("{text:?} is no address: 0x and 40 hexadecimal digits")))?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let mixed = digits.bytes().any(|byte| byte.is_ascii_lowercase())
        && digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let checksum = address.to_checksum(None);
    if mixed && Some(digits) != checksum.strip_prefix("0x") {
        return Err(de::Error::custom(format!(
            "{text} has a wrong checksum (EIP-55): compare it with where it comes from"
        )));
    }
    Ok(address)
}
