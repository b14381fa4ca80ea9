//! What every other module may use: time and chance, private data, atomic files, the types of FHIR. Knows nothing of the rest.

pub mod environment;
pub mod fhir;
pub mod file;
pub mod private;
