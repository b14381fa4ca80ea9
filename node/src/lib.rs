//! A Carnet node: a practice's charts, kept, sealed, merged and reconciled with its peers.
//!
//! | layer | modules | may import |
//! |---|---|---|
//! | 6 | `service` | everything |
//! | 4 | `sync`, `sample` | `records` and plain types below; `sample` only chart's types |
//! | 3 | `records` | all below |
//! | 2 | `store` | `base`, ids, `vault::Sealed` as a type |
//! | 1 | `vault`, `access` -> `identity`; `chart` | `base`; `identity` below the others; siblings never |
//! | 0 | `base` | the standard library, ids from `sync-protocol` |

pub mod access;
pub mod audit;
pub mod base;
pub mod chart;
pub mod identity;
pub mod records;
pub mod sample;
pub mod service;
pub mod store;
pub mod sync;
pub mod vault;
