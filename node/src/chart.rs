//! FHIR resources as registers in Automerge documents.
