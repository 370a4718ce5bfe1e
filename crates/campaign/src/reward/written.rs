//! Rewards as they are written: every field is read by itself, so that what is wrong is told of where it stands.

use laurel_events::Amount;
use serde::{Deserialize, Deserializer, de};

use super::{ByRank, Fixed, PerUnit, Reward, RewardError, RewardField, payable};

/// A reward of any kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    kind: Kind,
    #[serde(default)]
    amount: Option<Payable>,
    #[serde(default)]
    field: Option<RewardField>,
    #[serde(default)]
    cap: Option<Payable>,
    #[serde(default)]
    amounts: Option<Vec<Payable>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Fixed,
    PerUnit,
    ByRank,
}

/// An amount that a grant can carry.
struct Payable(Amount);

impl<'de> Deserialize<'de> for Payable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        payable(Amount::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

/// Why what is written is no reward.
#[derive(Debug, thiserror::Error)]
pub(super) enum WrittenError {
    /// A field that this kind needs.
    #[error("missing field `{0}`")]
    Missing(&'static str),
    /// A field that this kind does not have.
    #[error("unknown field `{0}` of this kind of reward")]
    Unknown(&'static str),
    /// Each is right, and not all together.
    #[error(transparent)]
    Reward(#[from] RewardError),
}

impl TryFrom<Written> for Reward {
    type Error = WrittenError;

    fn try_from(written: Written) -> Result<Self, WrittenError> {
        let Written { kind, amount, field, cap, amounts } = written;
        let given = [
            ("amount", amount.is_some()),
            ("field", field.is_some()),
            ("cap", cap.is_some()),
            ("amounts", amounts.is_some()),
        ];
        let fields = kind.fields();
        if let Some((name, _)) = given.iter().find(|(name, given)| *given && !fields.contains(name)) {
            return Err(WrittenError::Unknown(name));
        }
        Ok(match kind {
            Kind::Fixed => Self::Fixed(Fixed::new(must("amount", amount)?.0)?),
            Kind::PerUnit => {
                let (field, amount) = (must("field", field)?, must("amount", amount)?);
                Self::PerUnit(PerUnit::new(field, amount.0, must("cap", cap)?.0)?)
            }
            Kind::ByRank => {
                let amounts = must("amounts", amounts)?.into_iter().map(|amount| amount.0);
                Self::ByRank(ByRank::new(amounts.collect())?)
            }
        })
    }
}

impl Kind {
    /// The fields that it has, all of which it needs.
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Fixed => &["amount"],
            Self::PerUnit => &["field", "amount", "cap"],
            Self::ByRank => &["amounts"],
        }
    }
}

fn must<T>(name: &'static str, field: Option<T>) -> Result<T, WrittenError> {
    field.ok_or(WrittenError::Missing(name))
}
