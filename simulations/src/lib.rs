//! What attacks are made of: changes taken apart and put together wrongly, and entries that a
//! node's own keys have signed.
//!
//! Simulations, tests and fuzz targets share it. It is no part of the product.

pub mod chance;
pub mod chunk;
pub mod decoders;
pub mod forger;
pub mod mutation;
pub mod poison;
pub mod practice;
