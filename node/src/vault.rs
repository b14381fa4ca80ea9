//! Seals and opens; keeps the reading keys.
