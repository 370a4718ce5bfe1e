//! A wallet that is a contract (EIP-1271), for tests of whoever asks one.

/// The deployment code of a contract wallet, in hexadecimal: 42 bytes of code, assembled by hand.
///
/// - `isValidSignature(hash, signature)` accepts any hash with the signature [`CONTRACT_WALLET_SIGNATURE`], and answers
///   zeros to any other.
/// - A call without data makes it refuse everything, the next one accept again.
///
/// ```text
///   if calldatasize == 0 { refusing = !refusing; stop }          36 15 6021 57  …  5b 6000 54 15 6000 55 00
///   good = calldata[0x64..0x84] == 0x42 && !refusing             6064 35 6042 14 6000 54 15 16
///   return good * 0x1626ba7e << 224                              631626ba7e 02 60e0 1b 6000 52 6020 6000 f3
/// ```
pub const CONTRACT_WALLET: &str = concat!(
    "602a80600b6000396000f3",
    "36156021576064356042146000541516631626ba7e0260e01b60005260206000f35b6000541560005500",
);

/// The signature that the contract wallet accepts: 32 bytes, the number 0x42.
pub const CONTRACT_WALLET_SIGNATURE: [u8; 32] = {
    let mut signature = [0; 32];
    signature[31] = 0x42;
    signature
};
