//! carnet-tests
