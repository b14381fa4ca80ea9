//! What happened to whose record, by whom, why: the events of the audit trail.
//!
//! Pure data. `records` writes them into the audit channel, where they are chained, signed and
//! replicated like everything else, before what they tell of leaves the node.

pub mod event;
pub mod export;

pub use event::{AuditBatch, AuditError, AuditEvent, AuditOutcome};
