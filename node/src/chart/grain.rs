//! The table of merge rules: for each resource type, how fine the merge is, what counts as a
//! conflict, which section keeps it, and where it names its patient.
//!
//! A type's grain is part of the format: documents written under one grain can't be read under
//! another, so an entry of this table may only change together with a new form of register.

use super::section::Section::{self, Administrative, Clinical, Critical};
use std::fmt::Write as _;

/// How fine the merge of a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// What is edited later: one register for each top-level element.
    Statement,
    /// What is written once and corrected whole: one register for the resource.
    Record,
    /// A note: by element while it is a draft, and its texts as texts that several may write in
    /// at once; signed, it is a record.
    Text,
}

/// How a note is written together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    kind: &'static str,
    /// The codes of `status` under which it is a draft.
    drafts: &'static [&'static str],
    /// The paths to its texts. A step with `*` lies in itself again, as sections do.
    texts: &'static [&'static str],
}

/// What the table says about one type.
pub(crate) struct Rule {
    kind: &'static str,
    /// How fine the merge is.
    pub(crate) grain: Grain,
    /// Whether concurrent edits of *different* elements are a conflict too.
    pub(crate) guarded: bool,
    /// The section of the chart that keeps it.
    pub(crate) section: Section,
    /// Paths to the reference that makes it part of a patient's chart, the best first.
    pub(crate) patient: &'static [&'static str],
}

const STATEMENT: (Grain, bool) = (Grain::Statement, false);
const GUARDED: (Grain, bool) = (Grain::Statement, true);
const RECORD: (Grain, bool) = (Grain::Record, false);
const NOTE: (Grain, bool) = (Grain::Text, true);

/// The types of the grain *text*, sorted. A type belongs here if a clinician's own prose is what
/// it is for, and if its status says that nobody relies on it yet. So not DiagnosticReport (a
/// preliminary result is acted upon), DocumentReference (its text is an attachment), Communication
/// (one sender's words), QuestionnaireResponse (answers, each a statement), and no annotation
/// (`note`): it has one author, who would be quoted with another's words.
const NOTES: [Note; 2] = [
    Note {
        kind: "ClinicalImpression",
        drafts: &["in-progress"],
        texts: &["description", "summary", "text.div"],
    },
    Note {
        kind: "Composition",
        drafts: &["preliminary"],
        texts: &["section*.text.div", "text.div"],
    },
];

impl Note {
    /// Whether a resource with this status can still be written together.
    pub(crate) fn is_draft(&self, status: &str) -> bool {
        self.drafts.contains(&status)
    }

    /// The steps to the texts below an element; none if it holds no text.
    pub(crate) fn texts_of(&self, element: &str) -> Vec<Vec<&'static str>> {
        let steps = self.texts.iter().map(|path| path.split('.').collect::<Vec<_>>());
        steps.filter(|steps| steps[0].trim_end_matches('*') == element).collect()
    }
}

const fn entry(
    kind: &'static str,
    (grain, guarded): (Grain, bool),
    section: Section,
    patient: &'static [&'static str],
) -> Rule {
    Rule { kind, grain, guarded, section, patient }
}

/// Sorted by type, so that it can be searched.
#[rustfmt::skip]
const RULES: [Rule; 146] = [
    entry("Account", STATEMENT, Administrative, &["subject"]),
    entry("ActivityDefinition", RECORD, Clinical, &[]),
    entry("AdverseEvent", RECORD, Clinical, &["subject"]),
    entry("AllergyIntolerance", GUARDED, Critical, &["patient"]),
    entry("Appointment", GUARDED, Administrative, &["participant.actor"]),
    entry("AppointmentResponse", STATEMENT, Administrative, &["actor"]),
    entry("AuditEvent", RECORD, Clinical, &["entity.what"]),
    entry("Basic", RECORD, Clinical, &["subject"]),
    entry("Binary", RECORD, Clinical, &[]),
    entry("BiologicallyDerivedProduct", RECORD, Clinical, &["collection.source"]),
    entry("BodyStructure", STATEMENT, Clinical, &["patient"]),
    entry("Bundle", RECORD, Clinical, &[]),
    entry("CapabilityStatement", RECORD, Clinical, &[]),
    entry("CarePlan", GUARDED, Clinical, &["subject"]),
    entry("CareTeam", STATEMENT, Clinical, &["subject"]),
    entry("CatalogEntry", RECORD, Clinical, &[]),
    entry("ChargeItem", RECORD, Administrative, &["subject"]),
    entry("ChargeItemDefinition", RECORD, Clinical, &[]),
    entry("Claim", RECORD, Administrative, &["patient"]),
    entry("ClaimResponse", RECORD, Administrative, &["patient"]),
    entry("ClinicalImpression", NOTE, Clinical, &["subject"]),
    entry("CodeSystem", RECORD, Clinical, &[]),
    entry("Communication", RECORD, Clinical, &["subject"]),
    entry("CommunicationRequest", GUARDED, Clinical, &["subject"]),
    entry("CompartmentDefinition", RECORD, Clinical, &[]),
    entry("Composition", NOTE, Clinical, &["subject"]),
    entry("ConceptMap", RECORD, Clinical, &[]),
    entry("Condition", GUARDED, Critical, &["subject"]),
    entry("Consent", GUARDED, Clinical, &["patient"]),
    entry("Contract", RECORD, Administrative, &["subject"]),
    entry("Coverage", STATEMENT, Administrative, &["beneficiary", "subscriber", "policyHolder"]),
    entry("CoverageEligibilityRequest", RECORD, Administrative, &["patient"]),
    entry("CoverageEligibilityResponse", RECORD, Administrative, &["patient"]),
    entry("DetectedIssue", GUARDED, Clinical, &["patient"]),
    entry("Device", STATEMENT, Clinical, &["patient"]),
    entry("DeviceDefinition", RECORD, Clinical, &[]),
    entry("DeviceMetric", RECORD, Clinical, &[]),
    entry("DeviceRequest", GUARDED, Clinical, &["subject"]),
    entry("DeviceUseStatement", GUARDED, Clinical, &["subject"]),
    entry("DiagnosticReport", RECORD, Clinical, &["subject"]),
    entry("DocumentManifest", RECORD, Clinical, &["subject"]),
    entry("DocumentReference", RECORD, Clinical, &["subject", "context.sourcePatientInfo"]),
    entry("EffectEvidenceSynthesis", RECORD, Clinical, &[]),
    entry("Encounter", RECORD, Clinical, &["subject"]),
    entry("Endpoint", STATEMENT, Clinical, &[]),
    entry("EnrollmentRequest", RECORD, Administrative, &["candidate"]),
    entry("EnrollmentResponse", RECORD, Administrative, &[]),
    entry("EpisodeOfCare", GUARDED, Clinical, &["patient"]),
    entry("EventDefinition", RECORD, Clinical, &[]),
    entry("Evidence", RECORD, Clinical, &[]),
    entry("EvidenceVariable", RECORD, Clinical, &[]),
    entry("ExampleScenario", RECORD, Clinical, &[]),
    entry("ExplanationOfBenefit", RECORD, Administrative, &["patient"]),
    entry("FamilyMemberHistory", GUARDED, Clinical, &["patient"]),
    entry("Flag", GUARDED, Critical, &["subject"]),
    entry("Goal", GUARDED, Clinical, &["subject"]),
    entry("GraphDefinition", RECORD, Clinical, &[]),
    entry("Group", STATEMENT, Clinical, &[]),
    entry("GuidanceResponse", RECORD, Clinical, &["subject"]),
    entry("HealthcareService", STATEMENT, Clinical, &[]),
    entry("ImagingStudy", RECORD, Clinical, &["subject"]),
    entry("Immunization", RECORD, Critical, &["patient"]),
    entry("ImmunizationEvaluation", RECORD, Clinical, &["patient"]),
    entry("ImmunizationRecommendation", GUARDED, Clinical, &["patient"]),
    entry("ImplementationGuide", RECORD, Clinical, &[]),
    entry("InsurancePlan", STATEMENT, Clinical, &[]),
    entry("Invoice", RECORD, Administrative, &["subject"]),
    entry("Library", RECORD, Clinical, &[]),
    entry("Linkage", RECORD, Critical, &["item.resource"]),
    entry("List", GUARDED, Clinical, &["subject"]),
    entry("Location", STATEMENT, Clinical, &[]),
    entry("Measure", RECORD, Clinical, &[]),
    entry("MeasureReport", RECORD, Clinical, &["subject"]),
    entry("Media", RECORD, Clinical, &["subject"]),
    entry("Medication", RECORD, Critical, &[]),
    entry("MedicationAdministration", RECORD, Critical, &["subject"]),
    entry("MedicationDispense", GUARDED, Critical, &["subject"]),
    entry("MedicationKnowledge", RECORD, Clinical, &[]),
    entry("MedicationRequest", GUARDED, Critical, &["subject"]),
    entry("MedicationStatement", GUARDED, Critical, &["subject"]),
    entry("MedicinalProduct", RECORD, Clinical, &[]),
    entry("MedicinalProductAuthorization", RECORD, Clinical, &[]),
    entry("MedicinalProductContraindication", RECORD, Clinical, &[]),
    entry("MedicinalProductIndication", RECORD, Clinical, &[]),
    entry("MedicinalProductIngredient", RECORD, Clinical, &[]),
    entry("MedicinalProductInteraction", RECORD, Clinical, &[]),
    entry("MedicinalProductManufactured", RECORD, Clinical, &[]),
    entry("MedicinalProductPackaged", RECORD, Clinical, &[]),
    entry("MedicinalProductPharmaceutical", RECORD, Clinical, &[]),
    entry("MedicinalProductUndesirableEffect", RECORD, Clinical, &[]),
    entry("MessageDefinition", RECORD, Clinical, &[]),
    entry("MessageHeader", RECORD, Clinical, &[]),
    entry("MolecularSequence", RECORD, Clinical, &["patient"]),
    entry("NamingSystem", RECORD, Clinical, &[]),
    entry("NutritionOrder", GUARDED, Clinical, &["patient"]),
    entry("Observation", RECORD, Clinical, &["subject"]),
    entry("ObservationDefinition", RECORD, Clinical, &[]),
    entry("OperationDefinition", RECORD, Clinical, &[]),
    entry("OperationOutcome", RECORD, Clinical, &[]),
    entry("Organization", STATEMENT, Clinical, &[]),
    entry("OrganizationAffiliation", STATEMENT, Clinical, &[]),
    entry("Parameters", RECORD, Clinical, &[]),
    entry("Patient", STATEMENT, Critical, &[]),
    entry("PaymentNotice", RECORD, Administrative, &[]),
    entry("PaymentReconciliation", RECORD, Administrative, &[]),
    entry("Person", STATEMENT, Administrative, &["link.target"]),
    entry("PlanDefinition", RECORD, Clinical, &[]),
    entry("Practitioner", STATEMENT, Clinical, &[]),
    entry("PractitionerRole", STATEMENT, Clinical, &[]),
    entry("Procedure", RECORD, Clinical, &["subject"]),
    entry("Provenance", RECORD, Clinical, &["target"]),
    entry("Questionnaire", RECORD, Clinical, &[]),
    entry("QuestionnaireResponse", RECORD, Clinical, &["subject", "source"]),
    entry("RelatedPerson", STATEMENT, Administrative, &["patient"]),
    entry("RequestGroup", GUARDED, Clinical, &["subject"]),
    entry("ResearchDefinition", RECORD, Clinical, &[]),
    entry("ResearchElementDefinition", RECORD, Clinical, &[]),
    entry("ResearchStudy", RECORD, Clinical, &[]),
    entry("ResearchSubject", RECORD, Clinical, &["individual"]),
    entry("RiskAssessment", GUARDED, Clinical, &["subject"]),
    entry("RiskEvidenceSynthesis", RECORD, Clinical, &[]),
    entry("Schedule", STATEMENT, Clinical, &[]),
    entry("SearchParameter", RECORD, Clinical, &[]),
    entry("ServiceRequest", GUARDED, Clinical, &["subject"]),
    entry("Slot", STATEMENT, Clinical, &[]),
    entry("Specimen", RECORD, Clinical, &["subject"]),
    entry("SpecimenDefinition", RECORD, Clinical, &[]),
    entry("StructureDefinition", RECORD, Clinical, &[]),
    entry("StructureMap", RECORD, Clinical, &[]),
    entry("Subscription", RECORD, Clinical, &[]),
    entry("Substance", STATEMENT, Clinical, &[]),
    entry("SubstanceNucleicAcid", RECORD, Clinical, &[]),
    entry("SubstancePolymer", RECORD, Clinical, &[]),
    entry("SubstanceProtein", RECORD, Clinical, &[]),
    entry("SubstanceReferenceInformation", RECORD, Clinical, &[]),
    entry("SubstanceSourceMaterial", RECORD, Clinical, &[]),
    entry("SubstanceSpecification", RECORD, Clinical, &[]),
    entry("SupplyDelivery", RECORD, Clinical, &["patient"]),
    entry("SupplyRequest", GUARDED, Clinical, &["deliverTo", "requester"]),
    entry("Task", GUARDED, Clinical, &["for"]),
    entry("TerminologyCapabilities", RECORD, Clinical, &[]),
    entry("TestReport", RECORD, Clinical, &[]),
    entry("TestScript", RECORD, Clinical, &[]),
    entry("ValueSet", RECORD, Clinical, &[]),
    entry("VerificationResult", RECORD, Clinical, &[]),
    entry("VisionPrescription", GUARDED, Clinical, &["patient"]),
];

/// The rule of a type, or nothing if R4 has no such type.
pub(crate) fn rule(kind: &str) -> Option<&'static Rule> {
    RULES.binary_search_by(|rule| rule.kind.cmp(kind)).ok().map(|place| &RULES[place])
}

/// How fine the merge of this type is; a type that R4 doesn't have merges whole.
pub fn grain(kind: &str) -> Grain {
    rule(kind).map_or(Grain::Record, |rule| rule.grain)
}

/// How notes of this type are written together; nothing if it isn't of the grain *text*.
pub(crate) fn note(kind: &str) -> Option<&'static Note> {
    NOTES.binary_search_by(|note| note.kind.cmp(kind)).ok().map(|place| &NOTES[place])
}

/// Whether concurrent edits of different elements of this type are a conflict, because nobody saw
/// the result: a stopped order with a raised dose is no order that anybody gave.
pub fn guarded(kind: &str) -> bool {
    rule(kind).is_some_and(|rule| rule.guarded)
}

/// The text of `docs/merging.md`.
pub fn merging_table() -> String {
    let mut page = String::from(MERGING_HEAD);
    page.push_str("| resource | merges by | a conflict when two sites, apart, edit | section |\n");
    page.push_str("|---|---|---|---|\n");
    for rule in &RULES {
        let (grain, conflict) = match (rule.grain, rule.guarded) {
            (Grain::Record, _) => ("whole resource", "the resource"),
            (Grain::Text, _) => ("text, until signed", "see *notes*"),
            (Grain::Statement, true) => ("element", "it at all"),
            (Grain::Statement, false) => ("element", "the same element"),
        };
        let section = rule.section.as_str();
        writeln!(page, "| {} | {grain} | {conflict} | {section} |", rule.kind)
            .expect("a string takes all that is written to it");
    }
    page.push_str(MERGING_NOTES);
    page.push_str("| note | a draft while `status` is | its texts |\n|---|---|---|\n");
    for note in &NOTES {
        let code = |codes: &[&str]| codes.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>();
        let (drafts, texts) = (code(note.drafts).join(", "), code(note.texts).join(", "));
        writeln!(page, "| {} | {drafts} | {texts} |", note.kind)
            .expect("a string takes all that is written to it");
    }
    page
}

const MERGING_HEAD: &str = "\
# How charts merge

This page is generated from the table in `node/src/chart/grain.rs`; a test fails when it is not
current. It answers one question for each resource type: two sites edited the same resource while
they could not reach each other; what happens when they meet again?

- Nothing that was written is lost. Where a person has to decide, every value is kept and shown,
  with its author, site and time, until somebody decides, whatever else is edited meanwhile.
- Equal values are no conflict.
- *by element*: each top-level element (`status`, `dosageInstruction`) is a register of its own. A
  choice such as `value[x]` is one register, and so is an element with its `_sibling`.
- *whole resource*: the resource is one register.
- *it at all*: edits of different elements are a conflict too, because nobody saw the outcome. One
  site stops an order, the other raises its dose: neither ordered \"stopped, at the higher dose\".
- For every type, deleting on one side and editing on the other is a conflict, and until it is
  decided the resource stays visible. So is moving it to another chart on one side and editing it
  on the other.
- Two sites that put the same id apart into different charts or sections (one with a security
  label, one without) have made one resource in two places. Unless both say the same, that is a
  conflict of the whole resource: both are shown, the restricted one first, and who chooses one
  moves the other there.
- The section is where the resource lies when it has a patient. The security labels R and V send
  any resource to the restricted section; what belongs to no patient is a document of its own.

";

const MERGING_NOTES: &str = "
## Notes

A note in draft is written together. Its texts (the narratives that people read) are kept apart
from the element in which they stand, which is their *frame*.

- Two sites type into one text: all that both typed is there, word for word. Whole words and tags
  are exchanged, never letters of them. Where their words meet in a phrase that neither wrote
  (\"5 mg\" became \"10 mg\" here and \"5 g\" there, and now it reads \"10 g\"), or what both typed
  alike stands there twice, that is a conflict too: the merged text is shown, with both versions,
  and a person keeps one of them, or what stands there.
- A text belongs to its section: the one with the same id or, if sections have none, the same code
  and title. A new section beside typing in another merges, also if sections change places.
- A conflict of the element, with both versions of it: both sites change the sections, or one takes
  away or renames the section in which the other types.
- A conflict of the note (*it at all*): one site types or changes the sections, the other changes
  anything else of it, its title or its author. Changes of other elements are guarded like those
  of an order.
- Signed (any `status` not listed below), a note is a record: one register with all its words.
  Signing while another site writes is a conflict that shows the signed note as its signer saw it
  and what was written meanwhile; the note that is shown is the signed one. So is signing twice,
  differently. Who chooses the late edit has the draft again. An amendment is a whole new version.
- A narrative of more than 65,536 characters, and what is typed after a million characters in one
  draft, merges with its frame, as one value.

In a path, `section*` means sections in sections too.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_finds_every_type() {
        assert!(RULES.windows(2).all(|pair| pair[0].kind < pair[1].kind));
        assert!(RULES.iter().all(|entry| rule(entry.kind).is_some_and(|r| r.kind == entry.kind)));
        assert!(rule("SubscriptionStatus").is_none() && rule("patient").is_none());
        assert!(RULES.iter().map(|entry| entry.kind).eq(crate::base::fhir::RESOURCE_TYPES));
    }

    #[test]
    fn orders_and_allergies_are_guarded_and_observations_merge_whole() {
        for kind in ["MedicationRequest", "AllergyIntolerance", "Condition", "ServiceRequest"] {
            assert!(grain(kind) == Grain::Statement && guarded(kind), "{kind}");
        }
        assert!(grain("Patient") == Grain::Statement && !guarded("Patient"));
        assert_eq!(grain("Observation"), Grain::Record);
        assert!(grain("Composition") == Grain::Text && guarded("Composition"));
    }

    #[test]
    fn the_page_of_merge_rules_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/merging.md");
        let page = std::fs::read_to_string(path).expect("docs/merging.md is there");
        assert!(
            page == merging_table(),
            "docs/merging.md is not what the table says: run `cargo test -p carnet-node \
             chart::grain -- --ignored` to write it anew, and commit it"
        );
    }

    #[test]
    #[ignore = "writes docs/merging.md from the table"]
    fn write_the_page_of_merge_rules() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/merging.md");
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
        std::fs::write(path, merging_table()).unwrap();
    }
}
