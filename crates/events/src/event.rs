//! All kinds of events as one type.

use std::{fmt, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{Subject, kinds::*};

/// What every event's data can tell of itself.
pub trait Payload: Serialize + DeserializeOwned {
    /// The version of the data's schema. A field may be added under the same version, never removed or re-typed.
    const VERSION: i16;

    /// What the event is about; decides its partition.
    fn subject(&self) -> Subject;

    /// The idempotency key among events of its kind: the same fact has the same key, however often it is told.
    fn key(&self) -> String;
}

/// A name that is no kind of event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of event that this version knows")]
pub struct UnknownKind(String);

macro_rules! events {
    ($($module:ident::$name:ident),+ $(,)?) => {
        /// A kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $(#[doc = concat!("[`", stringify!($name), "`](crate::", stringify!($name), ")")] $name,)+
        }

        /// An event of any kind.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $(#[doc = concat!("See [`", stringify!($name), "`](crate::", stringify!($name), ").")] $name($module::$name),)+
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name that the journal stores.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// The version of the data that this build writes.
            pub const fn version(self) -> i16 {
                match self { $(Self::$name => <$module::$name as Payload>::VERSION),+ }
            }
        }

        impl FromStr for EventKind {
            type Err = UnknownKind;

            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                match text {
                    $(stringify!($name) => Ok(Self::$name),)+
                    _ => Err(UnknownKind(text.to_owned())),
                }
            }
        }

        impl Event {
            /// Its kind.
            pub const fn kind(&self) -> EventKind {
                match self { $(Self::$name(_) => EventKind::$name),+ }
            }

            /// What it is about; decides its partition.
            pub fn subject(&self) -> Subject {
                match self { $(Self::$name(data) => data.subject()),+ }
            }

            /// Its idempotency key among events of its kind.
            pub fn key(&self) -> String {
                match self { $(Self::$name(data) => data.key()),+ }
            }

            /// The event of `kind` whose data is the JSON text `data`.
            ///
            /// # Errors
            /// If `data` is not what `kind` demands.
            pub fn decode(kind: EventKind, data: &[u8]) -> serde_json::Result<Self> {
                match kind { $(EventKind::$name => serde_json::from_slice(data).map(Self::$name)),+ }
            }

            /// The event of `kind` whose data is `data`.
            pub(crate) fn from_data(kind: EventKind, data: &RawValue) -> serde_json::Result<Self> {
                match kind { $(EventKind::$name => serde_json::from_str(data.get()).map(Self::$name)),+ }
            }
        }

        impl Serialize for Event {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$name(data) => data.serialize(serializer)),+ }
            }
        }

        $(impl From<$module::$name> for Event {
            fn from(data: $module::$name) -> Self {
                Self::$name(data)
            }
        })+
    };
}

events! {
    outcome::GameOutcomeRecorded,
    outcome::RewardDeclined,
    grant::TokenGrantRequested,
    grant::TokenGrantAwaitingWallet,
    grant::TokenGrantHeld,
    grant::TokenGrantStarted,
    grant::TokenGrantCompleted,
    grant::TokenGrantReopened,
    grant::TokenGrantFailed,
    tx::BlockchainTxSubmitted,
    tx::BlockchainTxReplaced,
    tx::BlockchainTxMined,
    tx::BlockchainTxReorged,
    tx::BlockchainTxConfirmed,
    tx::BlockchainTxReverted,
    tx::BlockchainTxUndone,
    budget::BudgetFunded,
    budget::BudgetUnfunded,
    budget::BudgetReserved,
    budget::BudgetPosted,
    budget::BudgetReleased,
    budget::BudgetUnposted,
    budget::BudgetReheld,
    budget::BudgetReturned,
    budget::BudgetReclaimed,
    budget::BudgetWithdrawn,
    budget::BudgetNoticed,
    campaign::CampaignCreated,
    campaign::CampaignChanged,
    campaign::CampaignStateChanged,
    campaign::CampaignDue,
    campaign::CampaignPlayersListed,
    campaign::CampaignFunded,
    campaign::CampaignReleased,
    campaign::GrantsCancelled,
    campaign::CampaignFundingUndone,
    campaign::GrantsCancelUndone,
    campaign::CampaignReleaseUndone,
    player::PlayerRegistered,
    player::WalletLinked,
    player::WalletDeadlinePassed,
    player::PlayerErased,
    staff::StaffActed,
    staff::PersonalDataRead,
    operator::OperatorAlertRaised,
    operator::OperatorAlertCleared,
    operator::RecoveryPerformed,
    operator::ChainRebased,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
