//! Places that need no node: a function that is given bytes.

use super::{Outcome, Place, told};
use crate::bombs::node::zeros;
use carnet_node::audit::{AuditBatch, AuditEvent, AuditOutcome};
use carnet_node::base::environment::Environment;
use carnet_node::identity::EnrolmentAnswer;
use carnet_node::identity::statement::EpochKind;
use carnet_node::identity::text::to_text;
use carnet_node::records::compact::opener;
use carnet_node::records::import::{Import, Source};
use carnet_node::store::ledger::{Opening, Pack};
use carnet_node::vault::block::Block;
use carnet_node::vault::sealed::seal_frame;
use carnet_node::vault::{self, EpochKey, KeyBook, PackPlace};
use carnet_simulations::practice::Node;
use carnet_sync_protocol::entry::{Codec, Header, HybridTime};
use carnet_sync_protocol::id::{
    Author, Channel, DocumentId, EntryId, EpochId, Incarnation, LogId, NodeId, PracticeId,
};
use carnet_sync_protocol::wire;
use std::io::Write;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The zstd codec without a dictionary.
const PLAIN: Codec = Codec(17);

const fn place(name: &'static str, mib: u64, size_max: u64, set_off: fn(u64) -> Outcome) -> Place {
    Place { name, bytes_max: mib * MIB, size_max, set_off }
}

/// All of them.
pub(super) const PLACES: [Place; 19] = [
    place("a sealed payload", 64, 2 * GIB, |size| payload(zstd_frame(size, true)?)),
    place("a sealed payload that hides its size", 64, 2 * GIB, |size| {
        payload(zstd_frame(size, false)?)
    }),
    place("a sealed payload in two frames", 64, 2 * GIB, |size| {
        payload([zstd_frame(16 << 10, true)?, zstd_frame(size, true)?].concat())
    }),
    place("a joint run's block", 64, 2 * GIB, |size| block(zstd_frame(size, true)?)),
    place("a joint run's block that hides its size", 64, 2 * GIB, |size| {
        block(zstd_frame(size, false)?)
    }),
    // A byte for an item of a list that takes twenty-five.
    place("a joint run's block of empty nonces", 64, 8 * MIB, |size| {
        let mut bytes = vec![0; 7];
        bytes.extend_from_slice(&wire::encode(&size));
        bytes.resize(bytes.len() + size as usize, 0);
        block(zstd::bulk::compress(&bytes, 3)?)
    }),
    place("a pack", 64, 2 * GIB, |size| pack(zstd_frame(size, true)?)),
    place("a pack that hides its size", 64, 2 * GIB, |size| pack(zstd_frame(size, false)?)),
    // A byte for an item of a list that takes twenty-four, or a name of thirty-two; no more is
    // unpacked.
    place("a pack of empty changes", 64, 2 * MIB, |size| {
        let none = || vec![0_u32; size as usize];
        let folded = (none(), [0_u32; 0], [0_u8; 0], none(), [0_u8; 0]);
        pack_of(&wire::encode(&(vec![1_u64; size as usize], folded)))
    }),
    place("a pack of changes that name others", 64, 4 * MIB, |size| {
        let names = size as u32 - 1;
        let named =
            (vec![1_u32, names], vec![1_u32; names as usize], [0_u8; 0], [0_u32; 2], [0_u8; 0]);
        pack_of(&wire::encode(&([1_u64; 2].as_slice(), named)))
    }),
    place("a body in the index", 80, 2 * GIB, |size| {
        let frame = zstd_frame(size, true)?;
        Ok(told(|| vault::unpack(&frame, 64 << 20)))
    }),
    // A byte for an item of a list; no more fits into a payload, or an answer's file.
    place("an audit batch of empty texts", 64, 2 * MIB, audit),
    place("an enrolment answer of empty runs", 160, 8 * MIB, answer),
    place("an import of white space", 320, 2 * GIB, |size| import("", " ", "1", size)),
    place("an import of numbers", 320, 2 * GIB, |size| import("[", "0,", "0]", size)),
    place("an import of objects", 320, 2 * GIB, |size| import("[", "{\"\":0},", "0]", size)),
    place("an import of nested objects", 320, 2 * GIB, |size| {
        let deep = format!("{}0{},", "{\"\":".repeat(120), "}".repeat(120));
        import("[", &deep, "0]", size)
    }),
    place("an import of lines", 320, 2 * GIB, |size| {
        import("{\"resourceType\":\"Basic\"}\n", "1\n", "", size)
    }),
    place("an import of resources", 320, 2 * GIB, |size| {
        import("", "{\"resourceType\":\"Basic\"}\n", "", size)
    }),
];

/// A zstd frame of so many zeros, which says how many, or does not.
fn zstd_frame(size: u64, says: bool) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3)?;
    if says {
        encoder.set_pledged_src_size(Some(size))?;
        encoder.include_contentsize(true)?;
    }
    std::io::copy(&mut zeros(size), &mut encoder)?;
    encoder.finish()
}

fn payload(frame: Vec<u8>) -> Outcome {
    let (environment, _) = Environment::seeded(1, 0);
    let key = EpochKey::generate(&environment);
    let author = Author { node: NodeId([2; 32]), incarnation: Incarnation([3; 8]) };
    let header = Header {
        practice: PracticeId([1; 32]),
        log: LogId { channel: Channel::Clinical, author },
        sequence: 4,
        previous: EntryId::ZERO,
        document: DocumentId([5; 16]),
        epoch: EpochId([6; 16]),
        codec: PLAIN,
        nonce: [7; 24],
        time: HybridTime(0),
        payload_length: 0,
        payload_hash: [0; 32],
    };
    // The four bytes that begin every frame are left out of a payload.
    let payload = seal_frame(&key, &header, &frame[4..]);
    let done = told(|| vault::open(&key, &header, &payload));
    // What is sound is opened as before.
    let sealed = vault::seal(&key, &header, b"sound")?;
    let sound = Header { nonce: sealed.nonce, ..header };
    must("what is sound is opened", vault::open(&key, &sound, &sealed.payload)? == b"sound")?;
    must("a bomb is refused", done.refused.is_some())?;
    Ok(done)
}

fn block(frame: Vec<u8>) -> Outcome {
    let done = told(|| Block::unpack(&frame));
    must("a bomb is refused", done.refused.is_some())?;
    Ok(done)
}

/// A pack whose contents compress as those of any other do.
fn pack_of(contents: &[u8]) -> Outcome {
    pack(zstd::bulk::compress(contents, 3)?)
}

/// A pack that somebody sealed who has the key and the disk.
fn pack(frame: Vec<u8>) -> Outcome {
    let node = Node::found(1).map_err(|error| error.to_string())?;
    let roster = node.records.roster();
    let unlocked = node.unlocked().map_err(|error| error.to_string())?;
    let book = KeyBook::read(roster, unlocked.hpke());
    let (epoch, key) = book.current(roster, EpochKind::General).ok_or("there is no epoch")?;
    let (practice, document) = (node.records.practice(), DocumentId([5; 16]));
    let place = PackPlace { practice, epoch, document };
    let bytes = vault::seal_pack_frame(key, &place, frame, false);
    let opener = opener(practice, book.clone());
    let pack = Pack { document, epoch, bytes };
    Ok(told(|| match opener.open(&pack) {
        Opening::Open(_) => Ok(()),
        Opening::NoKey => Err("its key is missing"),
        Opening::Damaged => Err("damaged"),
    }))
}

fn audit(size: u64) -> Outcome {
    let event = AuditEvent {
        time_ms: 1,
        clock_trusted: true,
        actor: "awa".into(),
        roles: vec![String::new(); size as usize],
        action: "read".into(),
        purpose: "TREAT".into(),
        patient: None,
        subject: None,
        outcome: AuditOutcome::Done,
        detail: String::new(),
        count: 1,
        consents: Vec::new(),
    };
    let payload = AuditBatch { events: vec![event] }.to_payload();
    Ok(told(|| AuditBatch::from_payload(&payload)))
}

fn answer(size: u64) -> Outcome {
    let mut a = Node::found(1).map_err(|error| error.to_string())?;
    let (b, _) = a.join(2, "Kolda").map_err(|error| error.to_string())?;
    let answer = EnrolmentAnswer {
        certificate: b.records.own_certificate()?.clone(),
        practice_name: "Casamance".into(),
        peers: Vec::new(),
        runs: vec![Vec::new(); size as usize],
    };
    let text = to_text("carnet-answer-1-", &wire::encode(&answer));
    let keys = *b.records.keyring().keys();
    drop(answer);
    Ok(told(|| EnrolmentAnswer::from_text(&text, &keys)))
}

/// A gzipped file that begins and ends so, with as many pieces between as make it so long.
fn import(begin: &str, piece: &str, end: &str, size: u64) -> Outcome {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(begin.as_bytes())?;
    let block = piece.repeat(((64 << 10).min(size as usize) / piece.len()).max(1));
    for _ in 0..size / block.len() as u64 {
        gzip.write_all(block.as_bytes())?;
    }
    gzip.write_all(end.as_bytes())?;
    let bytes = gzip.finish()?;
    let sound = br#"{"resourceType":"Patient","id":"p"}"#.to_vec();
    let mut import = Import::new(vec![
        Source::bytes("bomb".into(), bytes),
        Source::bytes("sound".into(), sound),
    ]);
    let mut told = told(|| Ok::<_, String>(import.read()));
    // The bomb was refused, and the next file is open; or the bomb itself is.
    must("the next file is read", import.is_open())?;
    let refused = import.into_report().failures.pop();
    told.refused = refused.map(|failure| failure.reason);
    Ok(told)
}

/// What has to hold after a bomb as before it.
pub(super) fn must(what: &str, holds: bool) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("it does not hold: {what}")) }
}
