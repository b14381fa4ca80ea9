//! The tables of `log.db`.

use crate::store::migration::Schema;

pub(super) const SCHEMA: Schema =
    Schema { application: 0x6361_726c, steps: &[FIRST, SECOND], counted: "entries" };

/// Logs, documents and epochs are long ids that many entries share, so that entries name them by
/// a number. Ids of entries are found by their first 8 bytes, which keeps the index small.
const FIRST: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE logs (
    log INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    node BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    UNIQUE (channel, node, incarnation)
);
CREATE TABLE branches (
    branch INTEGER PRIMARY KEY,
    log INTEGER NOT NULL REFERENCES logs,
    parent INTEGER REFERENCES branches,
    first INTEGER NOT NULL
);
CREATE TABLE documents (document INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE entries (
    arrival INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    branch INTEGER NOT NULL REFERENCES branches,
    sequence INTEGER NOT NULL,
    document INTEGER REFERENCES documents,
    epoch INTEGER REFERENCES epochs,
    codec INTEGER NOT NULL,
    time INTEGER NOT NULL,
    nonce BLOB,
    signature BLOB,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX entries_by_branch ON entries (branch, sequence);
CREATE INDEX entries_by_id ON entries (substr(id, 1, 8));
CREATE INDEX entries_by_document ON entries (document, arrival) WHERE document IS NOT NULL;
CREATE TABLE peers (
    transport BLOB PRIMARY KEY,
    node BLOB,
    site TEXT NOT NULL,
    addresses TEXT NOT NULL,
    origin INTEGER NOT NULL,
    last_sync INTEGER
) WITHOUT ROWID;
CREATE TABLE peer_frontiers (transport BLOB PRIMARY KEY, frontier BLOB NOT NULL);
CREATE TABLE receipts (
    receipt INTEGER PRIMARY KEY,
    transport BLOB NOT NULL,
    id BLOB NOT NULL,
    time INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (transport, id)
);
CREATE TABLE grants (id BLOB PRIMARY KEY, node BLOB NOT NULL, time INTEGER NOT NULL) WITHOUT ROWID;
";

/// Packs ([`super::packs`]): what `entries.pack` names has the payload of the entry, and in
/// `entries.payload` stands how long that is. The document is none for entries of no document; the
/// hash is that of the bytes, for whoever can't open them.
const SECOND: &str = "
ALTER TABLE entries ADD COLUMN pack INTEGER;
CREATE TABLE packs (
    pack INTEGER PRIMARY KEY,
    document INTEGER,
    epoch INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL
);
";

/// Lets a file of the first schema be read as if it were one of the second.
pub(super) const FIRST_AS_SECOND: &str = "
CREATE TEMP VIEW entries AS SELECT e.*, NULL AS pack FROM main.entries e;
CREATE TEMP TABLE packs (pack, document, epoch, entries, hash, bytes);
";
