//! The commands, one file each or one for each group.

pub mod audit;
pub mod chart;
pub mod completions;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod emergency;
pub mod export;
pub mod import;
pub mod init;
pub mod invite;
pub mod join;
pub mod login;
pub mod node;
pub mod passphrase;
pub mod patient;
pub mod peer;
pub mod practice;
pub mod restore;
pub mod review;
pub mod run;
pub mod staff;
pub mod status;
pub mod sync;
pub mod unlock;
pub mod verify;
