//! Everything that is decoded from a peer or a file: no panic, and one encoding for each value.

#![no_main]

use carnet_sync_protocol::certificate::{Certificate, Revocation};
use carnet_sync_protocol::entry::Run;
use carnet_sync_protocol::id::PracticeId;
use carnet_sync_protocol::message::{JoinAnswer, JoinRequest, Message};
use carnet_sync_protocol::receipt::Receipt;
use carnet_sync_protocol::wire;
use libfuzzer_sys::fuzz_target;

const PRACTICE: PracticeId = PracticeId([7; 32]);

fuzz_target!(|bytes: &[u8]| {
    if let Ok(run) = Run::from_bytes(bytes) {
        assert_eq!(run.to_bytes(), bytes);
        assert!(run.head(PRACTICE).is_some());
        // Nobody has the key, so nothing verifies.
        assert!(run.verify(PRACTICE).is_err());
    }
    if let Ok(message) = Message::from_bytes(bytes) {
        assert_eq!(message.to_bytes(), bytes);
    }
    if let Ok(request) = JoinRequest::from_bytes(bytes) {
        assert_eq!(request.to_bytes(), bytes);
    }
    if let Ok(answer) = JoinAnswer::from_bytes(bytes) {
        assert_eq!(answer.to_bytes(), bytes);
    }
    if let Ok(certificate) = wire::decode::<Certificate>(bytes) {
        assert!(certificate.verify(PRACTICE).is_err());
    }
    if let Ok(revocation) = wire::decode::<Revocation>(bytes) {
        assert!(revocation.verify(PRACTICE).is_err());
    }
    if let Ok(receipt) = wire::decode::<Receipt>(bytes) {
        assert!(receipt.verify(PRACTICE).is_err());
    }
});
