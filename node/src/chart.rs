//! Charts: FHIR R4 resources in Automerge documents.
//!
//! A [`Document`] keeps the resources of one section of a chart as registers that merge by the
//! table in [`grain`](self::grain()). It is written by [`Edit`]s, each write being one Automerge
//! change, and it takes the changes of other nodes, which are never trusted. What two sites said
//! apart from each other is kept and listed as [`Conflict`]s until somebody decides.
//!
//! Invariants: this module is the sole user of Automerge; it does no input or output and knows no
//! key, no clock and no chance; what it shows depends on the set of changes, never on their order
//! of arrival; and no change of a peer can panic it.

mod change;
mod conflict;
mod document;
mod fold;
mod grain;
mod hostile;
mod json;
mod narrative;
mod phrase;
mod register;
mod resource;
mod section;
mod splice;

pub use change::Brief;
pub use conflict::ConflictKind;
pub use document::{
    Applied, ChangeHash, ChartError, Choice, Conflict, ConflictValue, Document, Edit, Incoming,
    Inspected, Version, View, Written, inspect,
};
pub use fold::{FOLDED_MAX, Folded};
pub use grain::{Grain, grain, guarded, merging_table};
pub use hostile::Refusal;
pub use json::{VALUES_MAX, canonical, parse_json, parse_json_within, values_in};
pub use register::WHOLE;
pub use resource::{Resource, ResourceError, ResourceKey, is_resource_id, is_resource_type};
pub use section::{
    CONFIDENTIALITY, Home, Section, VOLUME_BYTES_MAX, VOLUME_RESOURCES_MAX, home, is_restricted,
    patient_id, patient_in, section_of,
};
