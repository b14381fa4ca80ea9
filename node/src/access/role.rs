//! What somebody is in the practice: the roles from which every right follows.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A role. Names on the wire and in files are those of [`Role::id`] and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Physician, clinical officer, midwife: whoever answers for the treatment.
    Physician,
    /// Nurse.
    Nurse,
    /// Medical assistant, health worker.
    MedicalAssistant,
    /// Laboratory and imaging.
    Laboratory,
    /// Pharmacy.
    Pharmacy,
    /// Reception and appointments.
    FrontDesk,
    /// Billing and coding.
    Billing,
    /// Kitchen and diet.
    DietaryAide,
    /// Social worker.
    SocialWorker,
    /// Public-health officer.
    PublicHealth,
    /// Answers for privacy: reads the trail, signs off what must be looked at.
    PrivacyOfficer,
    /// Manages staff, nodes and settings.
    Administrator,
    /// A node that keeps and passes on what it can't read.
    Relay,
    /// A program with an API token.
    Application,
    /// A patient, looking at their own record.
    Patient,
}

/// The text is no role's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no role of that name; `carnet staff roles` lists them")]
pub struct UnknownRole;

impl Role {
    /// Every role, in the order of the table.
    pub const ALL: [Self; 15] = [
        Self::Physician,
        Self::Nurse,
        Self::MedicalAssistant,
        Self::Laboratory,
        Self::Pharmacy,
        Self::FrontDesk,
        Self::Billing,
        Self::DietaryAide,
        Self::SocialWorker,
        Self::PublicHealth,
        Self::PrivacyOfficer,
        Self::Administrator,
        Self::Relay,
        Self::Application,
        Self::Patient,
    ];

    /// Its name for scripts.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Physician => "physician",
            Self::Nurse => "nurse",
            Self::MedicalAssistant => "medical-assistant",
            Self::Laboratory => "laboratory",
            Self::Pharmacy => "pharmacy",
            Self::FrontDesk => "front-desk",
            Self::Billing => "billing",
            Self::DietaryAide => "dietary-aide",
            Self::SocialWorker => "social-worker",
            Self::PublicHealth => "public-health",
            Self::PrivacyOfficer => "privacy-officer",
            Self::Administrator => "administrator",
            Self::Relay => "relay",
            Self::Application => "application",
            Self::Patient => "patient",
        }
    }

    /// Whether a member of staff can have it; the others belong to nodes, programs and patients.
    pub const fn is_for_staff(self) -> bool {
        !matches!(self, Self::Relay | Self::Application | Self::Patient)
    }

    /// Whether it treats patients: these may open an emergency view of any chart.
    pub const fn is_clinical(self) -> bool {
        matches!(
            self,
            Self::Physician
                | Self::Nurse
                | Self::MedicalAssistant
                | Self::Laboratory
                | Self::Pharmacy
        )
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        // What practices call them besides.
        let id = match text {
            "clinician" | "doctor" => "physician",
            "coding" | "billing-and-coding" | "coder" => "billing",
            "public-health-officer" => "public-health",
            "receptionist" => "front-desk",
            other => other,
        };
        Self::ALL.into_iter().find(|role| role.id() == id).ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_is_found_by_its_name_and_its_other_names() {
        for role in Role::ALL {
            assert_eq!(role.id().parse(), Ok(role));
            let json = serde_json::to_string(&role).unwrap();
            assert_eq!(json, format!("\"{}\"", role.id()));
        }
        assert_eq!("clinician".parse(), Ok(Role::Physician));
        assert_eq!("king".parse::<Role>(), Err(UnknownRole));
    }
}
