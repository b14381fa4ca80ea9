//! Every bound of the protocol, with its arithmetic.

/// A sealed payload: one change, at most 4 MiB (the largest Synthea attachment is 1.3 MB raw).
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// Entries in one run: at least one signature is kept for every 256 entries.
pub const RUN_ENTRIES_MAX: usize = 256;

/// One frame on a data lane: one run with a payload of the greatest size, and its headers
/// (256 items of at most 82 bytes and a head of 153 bytes are 21 KiB).
pub const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (64 << 10);

/// One frame on the control lane: a frontier part of 8,192 logs with a head each (82 bytes) is
/// 656 KiB; logs with several heads are spread over more parts.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1 << 20;

/// Heads that a HELLO may name: of 7 channels and four authors, and some more.
pub const HELLO_HEADS_MAX: usize = 32;

/// A HELLO: a certificate under a node's grant (about 800 bytes with names), digests, codecs, and
/// 32 heads of one log each (84 bytes, 2.7 KiB together).
pub const HELLO_BYTES_MAX: usize = 6 << 10;

/// A site's name, in bytes of UTF-8.
pub const SITE_BYTES_MAX: usize = 64;

/// Cuts in one revocation: 7 channels and 146 incarnations.
pub const CUTS_MAX: usize = 1024;

/// Payload codecs that a HELLO may name.
pub const CODECS_MAX: usize = 32;

/// Heads of one log: a fork's eighth branch is the last that is kept.
pub const HEADS_MAX: usize = 8;

/// Logs in one part of a frontier; a part ends earlier when [`FRONTIER_PART_HEADS_MAX`] is reached.
pub const FRONTIER_PART_LOGS_MAX: usize = 8192;

/// Heads in one part of a frontier: 16,384 of 43 bytes and 8,192 logs of 43 bytes are 1,032 KiB at
/// the very worst, so the part is cut at three quarters of that.
pub const FRONTIER_PART_HEADS_MAX: usize = 12_288;

/// Logs that a session knows of: 7 channels of 9,362 authors.
pub const LOGS_MAX: usize = 65_536;

/// Waypoints of one log: 64 exponential steps on each of 8 branches.
pub const WAYPOINTS_MAX: usize = 64 * HEADS_MAX;

/// Points of one log that a session remembers as held by both sides.
pub const KNOWN_POINTS_MAX: usize = 64;

/// Bytes of a lane that may be on their way unacknowledged when more is loaded to be sent.
pub const WINDOW_BYTES: usize = 1 << 20;

/// Bytes of a lane that a peer may have on their way: its window, and what it loads while that is
/// not full, [`LOAD_BYTES`] or one frame.
pub const UNDER_WAY_BYTES_MAX: usize = WINDOW_BYTES + FRAME_BYTES_MAX;

/// Bytes after which a run is closed. A run is the least that can be acknowledged, so this is what
/// a link that breaks loses of a log, and what must pass between two breaks for anything to be
/// gained: 13 s at 20 kbit/s.
pub const RUN_BYTES: usize = 32 << 10;

/// Bytes that a session asks its own ledger for at once; one run may be larger.
pub const LOAD_BYTES: usize = 256 << 10;

/// Bytes of frames that may arrive before the peer is known: a window's worth on two lanes.
pub const EARLY_BYTES_MAX: usize = 2 * UNDER_WAY_BYTES_MAX;

/// Frames that may arrive before the peer is known.
pub const EARLY_FRAMES_MAX: usize = 4096;

/// Heads in one question to the own ledger.
pub const QUESTION_HEADS_MAX: usize = 1024;

/// Questions to the own ledger that a peer's messages may keep open: a whole frontier's 65,536
/// logs with 8 heads each, by 1,024, and as many again.
pub const QUESTIONS_MAX: usize = 1024;

/// Runs that wait for the own ledger to store them; a window of small runs is fewer.
pub const STORES_MAX: usize = 8192;

/// Addresses that a join's answer may name, for all peers together.
pub const ADDRESSES_MAX: usize = 64;

/// An address in text form.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// A whole join message: a certificate and 64 peers with an address of 256 bytes each are 27 KiB.
pub const JOIN_BYTES_MAX: usize = 32 << 10;

/// How long the HELLOs may take: two minutes, on a line that is up 30 seconds in every 60.
pub const HELLO_WAIT_MS: u64 = 120_000;

/// How long a link rests before what has moved since the last receipt gets the next one: a busy
/// link spends two frames of 400 bytes on receipts in this time.
pub const RECEIPT_REST_MS: u64 = 5_000;

/// How long the dialer waits after the listener could not sign, because more had moved.
pub const RECEIPT_RETRY_MS: u64 = 500;
