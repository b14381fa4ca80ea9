//! The sole owner of SQLite.
