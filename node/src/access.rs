//! Who may do what. Every read and write of a chart asks for a [`Permit`], and only this module
//! makes one.
//!
//! | file | what it holds |
//! |---|---|
//! | [`role`], [`class`], [`policy`] | the role table: who, what kind of information, what right |
//! | [`permit`] | the decision, as a thing that is carried to the door |
//! | [`consent`] | what the patient has said about it |
//! | [`statement`], [`roster`] | who works here: signed statements, folded to a state |
//! | [`scope`] | what an API token may do |
//! | [`session`], [`throttle`] | how long somebody stays logged in, how often they may try |
//! | [`notifiable`] | the conditions that public health must be told of |
//!
//! Pure: no clock, no disk, no keys. A reinstated person's late writings stay marked: somebody
//! looks at them and signs them off.

pub mod class;
pub mod consent;
pub mod notifiable;
pub mod permit;
pub mod policy;
pub mod role;
pub mod roster;
pub mod scope;
pub mod session;
pub mod statement;
pub mod throttle;

pub use class::Class;
pub use permit::{Action, Actor, Denial, Permit, Purpose, Subject, operator_permit};
pub use policy::Tightening;
pub use role::Role;
pub use roster::StaffRoster;
