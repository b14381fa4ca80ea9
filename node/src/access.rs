//! Who may do what. Every read and write of a chart asks for a [`Permit`], and only this module
//! makes one.

pub mod permit;

pub use permit::{Action, Actor, Permit, Purpose, operator_permit};
