//! What can be asked about staff, emergencies and the audit trail.

use super::Secret;
use serde::{Deserialize, Serialize};

/// About those who work here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StaffRequest {
    /// Lists them.
    List,
    /// Adds somebody.
    Add {
        /// The user id.
        id: String,
        /// The rest.
        change: StaffChange,
    },
    /// Changes somebody.
    Change {
        /// The user id.
        id: String,
        /// What is given is changed.
        change: StaffChange,
    },
    /// Sets somebody's password and lets them in again, by the practice's recovery code.
    Reset {
        /// The user id.
        id: String,
        /// The new password.
        password: Secret,
        /// The recovery code; without it an administrator asks.
        code: Option<Secret>,
    },
    /// Says whether the operator may open charts though there is an administrator.
    OperatorCharts {
        /// Whether.
        allow: bool,
    },
}

/// What is said of a member of staff.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StaffChange {
    /// The name that others see.
    pub name: Option<String>,
    /// Role ids.
    pub roles: Option<Vec<String>>,
    /// Sites; everywhere if empty.
    pub sites: Option<Vec<String>>,
    /// The password.
    pub password: Option<Secret>,
    /// Suspended or not.
    pub suspended: Option<bool>,
    /// Whether their password may unlock nodes.
    pub may_unlock: Option<bool>,
    /// The id of their Practitioner resource.
    pub practitioner: Option<String>,
}

/// About the audit trail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditRequest {
    /// Hands out events, one item each.
    List(AuditFilter),
    /// Who has seen one patient's record, one item each.
    Seen {
        /// The patient's id.
        patient: String,
    },
    /// Checks the trail.
    Verify,
}

/// Which events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AuditFilter {
    /// About this patient.
    pub patient: Option<String>,
    /// By this actor.
    pub staff: Option<String>,
    /// This action.
    pub action: Option<String>,
    /// From this day or instant on.
    pub since: Option<String>,
    /// Before this day or instant.
    pub until: Option<String>,
    /// `json`, `fhir` or `csv`.
    pub form: String,
}

/// About sessions, PINs and API tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginRequest {
    /// Opens a session for who asks.
    Login,
    /// Ends a session.
    Logout {
        /// Its token.
        session: Secret,
    },
    /// Chooses the asker's PIN on this device.
    SetPin {
        /// The PIN.
        pin: Secret,
    },
    /// Takes the place of whoever has the session.
    Switch {
        /// Its token.
        session: Secret,
        /// The user id of who takes it over.
        id: String,
        /// Their PIN.
        pin: Secret,
    },
    /// Makes an API token.
    AddToken {
        /// Its id.
        id: String,
        /// What it is for.
        name: String,
        /// SMART scopes.
        scopes: Vec<String>,
        /// The patient to whom `patient/` scopes are bound.
        patient: Option<String>,
        /// For how many days.
        days: u32,
    },
    /// Ends an API token.
    RevokeToken {
        /// Its id.
        id: String,
    },
    /// Lists the API tokens.
    ListTokens,
    /// Lets somebody try again who was locked on this device.
    UnlockLogin {
        /// The user id.
        id: String,
    },
}
