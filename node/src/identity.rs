//! Who wrote: the practice, its nodes, how a node joins, and the signed statements that say so.
//!
//! Signing keys live here, reading keys in `vault`. Nothing here encrypts: what is sealed inside a
//! statement is opaque bytes.

pub mod enrolment;
pub mod node;
pub mod practice;
pub mod roster;
pub mod statement;
pub mod text;

pub use enrolment::{EnrolmentAnswer, EnrolmentError, EnrolmentRequest, Invitation};
pub use node::SigningSecret;
pub use practice::PracticeKey;
pub use roster::{Fact, Roster, Standing};
pub use statement::ControlStatement;
