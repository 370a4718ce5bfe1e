//! Ids. Those that are indexed begin with the time, so that an index grows at its end.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use rand::RngCore;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A text that is no id of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {wanted}")]
pub struct IdError {
    text: String,
    wanted: &'static str,
}

impl IdError {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: text.chars().take(64).collect(), wanted }
    }
}

/// A UUIDv7 (RFC 9562) from the time and the randomness given.
pub fn time_ordered(now: DateTime<Utc>, rng: &mut dyn RngCore) -> Uuid {
    let mut random = [0; 10];
    rng.fill_bytes(&mut random);
    uuid::Builder::from_unix_timestamp_millis(epoch_ms(now), &random).into_uuid()
}

/// The milliseconds since 1970; times before count as 1970.
fn epoch_ms(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id from the time and the randomness given.
            pub fn generate(now: DateTime<Utc>, rng: &mut dyn RngCore) -> Self {
                Self(time_ordered(now, rng))
            }

            /// The id as the database stores it.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError::new(text, stringify!($name)))
            }
        }
    };
}

uuid_id! {
    /// A player, as Laurel knows them. The game server's own name for the player lives in an erasable table.
    PlayerId
}
uuid_id! {
    /// A batch: what one nonce of a lane settles, over all its attempts.
    BatchId
}
uuid_id! {
    /// One signed transaction of a batch.
    AttemptId
}

/// An outcome's natural key: the same for the same (issuer, outcome id), whenever and wherever it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OutcomeKey(Uuid);

impl OutcomeKey {
    /// The key of `outcome_id` as `issuer` of `org` named it.
    ///
    /// A UUIDv8 (RFC 9562): its time is the one inside `outcome_id` where that is a UUIDv7, so that the keys of a game
    /// server that uses those grow with time, and hash bits otherwise. Nothing but the names decides it: an outcome
    /// that comes again with another time must meet its first copy.
    pub fn derive(org: OrgId, issuer: &str, outcome_id: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(org.0.to_be_bytes());
        hash.update((issuer.len() as u64).to_be_bytes());
        hash.update(issuer.as_bytes());
        hash.update(outcome_id.as_bytes());
        let digest = hash.finalize();
        let (head, _) = digest.split_first_chunk::<16>().expect("a SHA-256 digest has 32 bytes");
        let mut bytes = *head;
        if let Some(uuid) = Uuid::try_parse(outcome_id).ok().filter(|uuid| uuid.get_version_num() == 7) {
            bytes[..6].copy_from_slice(&uuid.as_bytes()[..6]);
        }
        Self(Uuid::new_v8(bytes))
    }

    /// The key as the database stores it.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for OutcomeKey {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for OutcomeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! small_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

small_id! {
    /// An organisation: a studio, whose campaigns meet only its own outcomes.
    OrgId
}
small_id! {
    /// A vault on a chain.
    VaultId
}
small_id! {
    /// A lane: one signer on one vault.
    LaneId
}

/// A campaign; the same number on the chain and off it.
///
/// 42 bits of milliseconds and 21 bits of randomness: a database that lost its newest rows does not give an id again
/// that the vault has already opened. Text and JSON are decimal strings, because a double cannot carry 63 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignId(u64);

/// The random bits at the end of a campaign's id.
const CAMPAIGN_RANDOM_BITS: u32 = 21;

impl CampaignId {
    /// A new id from the time and the randomness given.
    pub fn generate(now: DateTime<Utc>, rng: &mut dyn RngCore) -> Self {
        let random = u64::from(rng.next_u32()) & ((1 << CAMPAIGN_RANDOM_BITS) - 1);
        Self((epoch_ms(now) & ((1 << 42) - 1)) << CAMPAIGN_RANDOM_BITS | random)
    }

    /// The id on the chain.
    pub const fn on_chain(self) -> u64 {
        self.0
    }

    /// The id as the database stores it. Ids that we gave are positive; a vault's owner may have opened others.
    pub const fn number(self) -> i64 {
        self.0.cast_signed()
    }
}

impl From<u64> for CampaignId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl TryFrom<i64> for CampaignId {
    type Error = IdError;

    fn try_from(number: i64) -> Result<Self, IdError> {
        u64::try_from(number).map(Self).map_err(|_| IdError::new(&number.to_string(), "CampaignId"))
    }
}

impl fmt::Display for CampaignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for CampaignId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_digits(text).map(Self).ok_or_else(|| IdError::new(text, "CampaignId"))
    }
}

/// A grant: the campaign and the grant's number in it, written `campaign-number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId {
    /// The campaign that pays.
    pub campaign: CampaignId,
    /// Dense per campaign, from 0, in the order of the holds. Not the sequence number on the chain.
    pub number: u64,
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.campaign, self.number)
    }
}

impl FromStr for GrantId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::new(text, "GrantId");
        let (campaign, number) = text.split_once('-').ok_or_else(wrong)?;
        let number =
            parse_digits(number).filter(|number| i64::try_from(*number).is_ok()).ok_or_else(wrong)?;
        Ok(Self { campaign: campaign.parse()?, number })
    }
}

/// Plain digits without sign or leading zero, so that an id has one spelling.
fn parse_digits(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

text_serde!(CampaignId);
text_serde!(GrantId);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn an_outcome_has_one_key_whatever_its_time() {
        let plain = OutcomeKey::derive(OrgId(1), "server", "match-7");
        assert_eq!(plain, OutcomeKey::derive(OrgId(1), "server", "match-7"));
        assert_ne!(plain, OutcomeKey::derive(OrgId(2), "server", "match-7"));
        assert_ne!(OutcomeKey::derive(OrgId(1), "ab", "c"), OutcomeKey::derive(OrgId(1), "a", "bc"));
    }

    #[test]
    fn a_key_takes_its_time_from_a_uuid_v7() {
        let id = "0198c0de-1234-7abc-8def-0123456789ab";
        let key = OutcomeKey::derive(OrgId(1), "server", id);
        assert_eq!(key.uuid().as_bytes()[..6], Uuid::try_parse(id).unwrap().as_bytes()[..6]);
        assert_eq!(key.uuid().get_version_num(), 8);
    }

    #[rstest]
    #[case("12-0", true)]
    #[case("12-00", false)]
    #[case("012-1", false)]
    #[case("12", false)]
    #[case("12--1", false)]
    #[case("18446744073709551616-1", false)]
    #[case("12-9223372036854775808", false)]
    fn a_grant_id_has_one_spelling(#[case] text: &str, #[case] good: bool) {
        let parsed = text.parse::<GrantId>().ok().map(|id| id.to_string());
        assert_eq!(parsed, good.then(|| text.to_owned()));
    }
}
