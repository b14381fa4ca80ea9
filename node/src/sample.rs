//! A seeded generator of realistic FHIR patients.
