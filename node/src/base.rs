//! What every other module may use: time and chance, private data, atomic files. Knows nothing of the rest.

pub mod environment;
pub mod file;
pub mod private;
