//! Builds and joins everything: settings, the daemon, and the commands that people and scripts
//! give.
//!
//! A command is a [`request::Request`]. The running node executes it behind its control socket;
//! when none runs, the command line opens the store under its lock and executes the same code.
//!
//! | file | what it does |
//! |---|---|
//! | [`node`] | records and network of one node, in this process |
//! | [`create`] | how a directory becomes a node |
//! | [`daemon`], `logs`, `listening` | the running node |
//! | [`control`], [`report`] | how commands reach it, and what comes back on the way |
//! | [`request`], [`reply`], [`error`], `translate` | the questions, the answers, the failures |
//! | [`commands`] | what each request does |
//! | [`config`] | the settings, and where each came from |
//! | [`doctor`], [`demo`] | looking for trouble; showing what it is for |

pub mod caller;
pub mod commands;
pub mod config;
pub mod control;
pub mod create;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod error;
mod listening;
mod logs;
pub mod node;
pub mod reply;
pub mod report;
pub mod request;
mod translate;
mod upkeep;
