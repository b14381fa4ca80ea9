//! What kind of information a FHIR resource is, as the role table speaks of it.
//!
//! A hundred and forty-six types are too many for a table that people read; twenty classes are not.
//! A type that stands in no class is [`Class::Other`], which only clinical roles see: what is
//! forgotten here is closed, not open.

/// A class of information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Who the patient is, and the next of kin.
    Demographics,
    /// Allergies and intolerances.
    Allergies,
    /// Warnings on the chart.
    Alerts,
    /// Problems, diagnoses, family history.
    Problems,
    /// Medicines ordered, given and taken.
    Medications,
    /// Immunisations.
    Immunizations,
    /// Vitals and other observations.
    Observations,
    /// Reports of laboratory and imaging, specimens.
    Results,
    /// Orders and tasks.
    Orders,
    /// Procedures done.
    Procedures,
    /// Diet orders.
    Diet,
    /// Notes, documents, messages, questionnaires.
    Notes,
    /// Visits and stays.
    Encounters,
    /// Care plans, goals, care teams.
    Plans,
    /// Appointments and timetables.
    Scheduling,
    /// Insurance.
    Coverage,
    /// Claims, charges, accounts.
    Billing,
    /// Consents.
    Consents,
    /// Organisations, practitioners, places.
    Directory,
    /// Code lists, questionnaires' forms, guidelines: nothing of a patient.
    Knowledge,
    /// Everything else.
    Other,
}

/// Types by class; each type once.
const TYPES: [(Class, &[&str]); 20] = [
    (Class::Demographics, &["Patient", "RelatedPerson", "Person", "Linkage"]),
    (Class::Allergies, &["AllergyIntolerance"]),
    (Class::Alerts, &["Flag", "DetectedIssue", "AdverseEvent"]),
    (Class::Problems, &["Condition", "FamilyMemberHistory"]),
    (
        Class::Medications,
        &[
            "Medication",
            "MedicationAdministration",
            "MedicationDispense",
            "MedicationKnowledge",
            "MedicationRequest",
            "MedicationStatement",
        ],
    ),
    (
        Class::Immunizations,
        &["Immunization", "ImmunizationEvaluation", "ImmunizationRecommendation"],
    ),
    (Class::Observations, &["Observation"]),
    (
        Class::Results,
        &[
            "BodyStructure",
            "DiagnosticReport",
            "ImagingStudy",
            "Media",
            "MolecularSequence",
            "Specimen",
        ],
    ),
    (
        Class::Orders,
        &[
            "CommunicationRequest",
            "Device",
            "DeviceRequest",
            "DeviceUseStatement",
            "RequestGroup",
            "ServiceRequest",
            "SupplyDelivery",
            "SupplyRequest",
            "Task",
            "VisionPrescription",
        ],
    ),
    (Class::Procedures, &["Procedure"]),
    (Class::Diet, &["NutritionOrder"]),
    (
        Class::Notes,
        &[
            "Binary",
            "ClinicalImpression",
            "Communication",
            "Composition",
            "DocumentManifest",
            "DocumentReference",
            "List",
            "QuestionnaireResponse",
            "RiskAssessment",
        ],
    ),
    (Class::Encounters, &["Encounter", "EpisodeOfCare"]),
    (Class::Plans, &["CarePlan", "CareTeam", "Goal"]),
    (Class::Scheduling, &["Appointment", "AppointmentResponse", "Schedule", "Slot"]),
    (
        Class::Coverage,
        &[
            "Coverage",
            "CoverageEligibilityRequest",
            "CoverageEligibilityResponse",
            "EnrollmentRequest",
            "EnrollmentResponse",
        ],
    ),
    (
        Class::Billing,
        &[
            "Account",
            "ChargeItem",
            "Claim",
            "ClaimResponse",
            "Contract",
            "ExplanationOfBenefit",
            "Invoice",
            "PaymentNotice",
            "PaymentReconciliation",
        ],
    ),
    (Class::Consents, &["Consent"]),
    (
        Class::Directory,
        &[
            "Endpoint",
            "HealthcareService",
            "InsurancePlan",
            "Location",
            "Organization",
            "OrganizationAffiliation",
            "Practitioner",
            "PractitionerRole",
        ],
    ),
    (
        Class::Knowledge,
        &[
            "ActivityDefinition",
            "ChargeItemDefinition",
            "CodeSystem",
            "ConceptMap",
            "Library",
            "Measure",
            "NamingSystem",
            "ObservationDefinition",
            "PlanDefinition",
            "Questionnaire",
            "SpecimenDefinition",
            "StructureDefinition",
            "ValueSet",
        ],
    ),
];

impl Class {
    /// Every class, in the order of the table.
    pub const ALL: [Self; 21] = [
        Self::Demographics,
        Self::Allergies,
        Self::Alerts,
        Self::Problems,
        Self::Medications,
        Self::Immunizations,
        Self::Observations,
        Self::Results,
        Self::Orders,
        Self::Procedures,
        Self::Diet,
        Self::Notes,
        Self::Encounters,
        Self::Plans,
        Self::Scheduling,
        Self::Coverage,
        Self::Billing,
        Self::Consents,
        Self::Directory,
        Self::Knowledge,
        Self::Other,
    ];

    /// The class of a resource type.
    pub fn of(kind: &str) -> Self {
        TYPES
            .iter()
            .find(|(_, types)| types.contains(&kind))
            .map_or(Self::Other, |(class, _)| *class)
    }

    /// Its name, in settings and in the table.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Demographics => "demographics",
            Self::Allergies => "allergies",
            Self::Alerts => "alerts",
            Self::Problems => "problems",
            Self::Medications => "medications",
            Self::Immunizations => "immunizations",
            Self::Observations => "observations",
            Self::Results => "results",
            Self::Orders => "orders",
            Self::Procedures => "procedures",
            Self::Diet => "diet",
            Self::Notes => "notes",
            Self::Encounters => "encounters",
            Self::Plans => "plans",
            Self::Scheduling => "scheduling",
            Self::Coverage => "coverage",
            Self::Billing => "billing",
            Self::Consents => "consents",
            Self::Directory => "directory",
            Self::Knowledge => "knowledge",
            Self::Other => "other",
        }
    }

    /// The class of this name.
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.id() == id)
    }

    /// Whether it says nothing of any patient.
    pub const fn is_of_no_patient(self) -> bool {
        matches!(self, Self::Directory | Self::Knowledge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_type_stands_in_one_class_and_each_class_has_its_name() {
        let types: Vec<_> = TYPES.iter().flat_map(|(_, types)| types.iter()).collect();
        assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len());
        for class in Class::ALL {
            assert_eq!(Class::named(class.id()), Some(class));
        }
        assert_eq!(Class::of("NutritionOrder"), Class::Diet);
        assert_eq!(Class::of("ResearchSubject"), Class::Other);
        assert_eq!(Class::of("Nonsense"), Class::Other);
    }
}
