//! Every bound of the protocol, with its arithmetic.

/// A sealed payload: one change, at most 4 MiB (the largest Synthea attachment is 1.3 MB raw).
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// Entries in one run: at least one signature is kept for every 256 entries.
pub const RUN_ENTRIES_MAX: usize = 256;

/// One frame on a stream: one run with a payload of the greatest size, and its headers.
pub const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (64 << 10);
