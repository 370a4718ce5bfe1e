//! What people who work here do and read, kept where auditors find it.
//!
//! ```text
//!   a change ──► its transaction: what changes ──► record ──► commit           both or neither
//!   a read ───► answer made ──► records of all that are read now, one transaction ──► answer sent
//! ```

mod reads;

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use laurel_events::{CampaignId, OrgId, Subject};
use laurel_ledger::{Context, Deed, StaffRecord, record_staff};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use self::reads::{ReadLog, keep_read};
use crate::{ApiState, Principal, Problem};

/// Which request it is, and from where it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What the OpenAPI document calls the operation.
    pub action: &'static str,
    /// The address that it came from, where it is known.
    pub address: Option<IpAddr>,
    /// Its id.
    pub request_id: String,
}

/// A change that somebody makes.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    about: Subject,
    /// Whose auditors see it, where that is not whoever changes it.
    org: Option<OrgId>,
    before: Option<Value>,
    after: Option<Value>,
}

impl Change {
    /// A change of `kind:id`. An event of this subject may be appended by the same transaction, and no other one.
    pub(crate) fn of(kind: &str, id: impl std::fmt::Display) -> Self {
        Self { about: Subject::new(kind, id), org: None, before: None, after: None }
    }

    /// A change of a campaign.
    pub(crate) fn of_campaign(id: CampaignId) -> Self {
        Self::of("campaign", id)
    }

    /// The same, of what is an organisation's, whoever changes it.
    pub(crate) fn of_org(self, org: Option<OrgId>) -> Self {
        Self { org, ..self }
    }

    /// The same, of what was like that before.
    pub(crate) fn before(self, before: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self { before: Some(shown(before)?), ..self })
    }

    /// The same, of what is like that now.
    pub(crate) fn after(self, after: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self { after: Some(shown(after)?), ..self })
    }
}

fn shown(what: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(what).map_err(|error| Problem::internal(&error.to_string()))
}

/// Keeps a change of somebody who works here; of anybody else there is nothing to keep. It is what the transaction does last.
pub(crate) async fn keep_change(
    conn: &mut PgConnection,
    state: &ApiState,
    now: DateTime<Utc>,
    principal: &Principal,
    change: Change,
) -> Result<(), Problem> {
    // What is as it was before was not changed.
    let is_none = change.before.is_some() && change.before == change.after;
    if !principal.is_staff() || is_none {
        return Ok(());
    }
    let Change { about, org, before, after } = change;
    let record = principal.record(about, Deed::Acted { before, after });
    let record = StaffRecord { org: org.or(record.org), ..record };
    let context = Context { now, request_id: record.request_id.clone(), trace: None };
    Ok(record_staff(conn, &context, &mut state.rng().await, vec![record]).await?)
}

/// Keeps that somebody signed in, or tried to and was locked out.
pub(crate) async fn keep_sign_in(
    conn: &mut PgConnection,
    state: &ApiState,
    now: DateTime<Utc>,
    origin: &Origin,
    staff: &crate::auth::SigningIn,
    after: &'static str,
) -> Result<(), Problem> {
    let record = StaffRecord {
        org: Some(staff.org_id),
        subject: staff.id.to_string(),
        role: staff.role.to_string(),
        address: origin.address,
        request_id: Some(origin.request_id.clone()),
        action: origin.action.to_owned(),
        about: about_staff(staff.id),
        deed: Deed::Acted { before: None, after: Some(Value::from(after)) },
    };
    let context = Context { now, request_id: record.request_id.clone(), trace: None };
    Ok(record_staff(conn, &context, &mut state.rng().await, vec![record]).await?)
}

/// Somebody who works here, as the subject of what is done to them.
fn about_staff(id: Uuid) -> Subject {
    Subject::new("staff", id)
}

impl Principal {
    fn record(&self, about: Subject, deed: Deed) -> StaffRecord {
        StaffRecord {
            org: Some(self.org),
            subject: self.subject.clone(),
            role: self.role_name().to_owned(),
            address: self.origin.address,
            request_id: Some(self.origin.request_id.clone()),
            action: self.origin.action.to_owned(),
            about,
            deed,
        }
    }
}
