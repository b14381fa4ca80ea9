//! Anything at all in place of FHIR resources.

#![no_main]
carnet_fuzz::decodes!("FHIR resource");
