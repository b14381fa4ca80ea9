//! A listener that has let a peer in, and a peer that then sends anything at all.
//!
//! The input is a list of frames: a byte for the lane, two for the length, the frame. The ledger
//! answers every question in its poorest form.

#![no_main]

use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::certificate::{
    Capabilities, Certificate, CertificateBody, NodeKeys, Role,
};
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{Channel, HpkeKey, NodeId, PracticeId, TransportKey};
use carnet_sync_protocol::message::{ChannelDigest, Hello, HelloBody, Message, Versions};
use carnet_sync_protocol::session::{
    Config, Input, Lane, Output, PeerVerdict, RefuseReason, Session, Side,
};
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;

const EXPORTER: [u8; 32] = [4; 32];

fuzz_target!(|bytes: &[u8]| {
    let (mut session, peer, hello) = listener();
    let mut inputs = VecDeque::from([
        Input::Connected { exporter: EXPORTER, peer },
        Input::Received { lane: Lane::Control, frame: hello },
    ]);
    let mut rest = bytes;
    loop {
        while let Some(input) = inputs.pop_front() {
            session.handle(0, input);
            answer(&mut session, &mut inputs);
        }
        let Some(([lane, high, low], after)) = rest.split_first_chunk::<3>() else { return };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (frame, after) = after.split_at(length);
        rest = after;
        let lane = Channel::from_number(*lane).map_or(Lane::Control, Lane::Data);
        inputs.push_back(Input::Received { lane, frame: frame.to_vec() });
    }
});

fn listener() -> (Session, TransportKey, Vec<u8>) {
    let practice_key = SigningKey::from_bytes(&[1; 32]);
    let practice = PracticeId(practice_key.verifying_key().to_bytes());
    let certify = |seed: u8| {
        let transport = SigningKey::from_bytes(&[seed; 32]);
        let body = CertificateBody {
            practice,
            keys: NodeKeys {
                entry: NodeId([seed; 32]),
                transport: TransportKey(transport.verifying_key().to_bytes()),
                hpke: HpkeKey([seed; 32]),
            },
            role: Role::Clinic,
            capabilities: Capabilities::default(),
            site: "Site".to_owned(),
            serial: [seed; 8],
            issued_ms: 0,
            expires_ms: 1,
        };
        let certificate = Certificate::issue(body, &practice_key).expect("the body is sound");
        (transport, certificate.into_certificate())
    };
    let (dialer_key, dialer) = certify(2);
    let (transport_key, certificate) = certify(3);
    let peer = dialer.body.keys.transport;
    let digests = Channel::ALL.map(|channel| ChannelDigest { channel, digest: [1; 16] }).to_vec();
    let body = HelloBody {
        versions: Versions::OURS,
        certificate: dialer,
        digests,
        codecs: Vec::new(),
        receipt: None,
        beyond: None,
        time_ms: 0,
    };
    let hello = Hello::new(body, Side::Dialer, &EXPORTER, &dialer_key);
    let session = Session::new(Config {
        practice,
        side: Side::Listener,
        certificate,
        transport_key,
        peer: None,
        codecs: Vec::new(),
        channels: Channel::ALL.to_vec(),
        frontier: Frontier::default(),
        last_receipt: None,
    });
    (session, peer, Message::Hello(Box::new(hello)).to_bytes())
}

fn answer(session: &mut Session, inputs: &mut VecDeque<Input>) {
    loop {
        inputs.push_back(match session.poll() {
            Output::Wait(_) => return,
            Output::Identify(_) => Input::PeerKnown(PeerVerdict::Accepted { last_receipt: None }),
            Output::Load { request, .. } => Input::Loaded { request, runs: Vec::new() },
            Output::FindKnown { request, .. } => Input::Known { request, known: Vec::new() },
            Output::FindWaypoints { request, .. } => {
                Input::Waypoints { request, points: Vec::new() }
            }
            Output::Store { request, runs } => {
                let refused = vec![(runs[0].log(), RefuseReason::Storage)];
                Input::Stored { request, heads: Vec::new(), refused }
            }
            Output::KeepReceipt(_) => Input::ReceiptKept,
            Output::Send { .. } | Output::Event(_) | Output::Close(_) => continue,
        });
    }
}
