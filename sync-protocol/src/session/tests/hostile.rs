//! Peers that lie: each lie ends the session, and nothing that came with it is stored.

#![cfg(test)]

use super::super::testing::{Chance, Node, World, practice};
use super::super::*;
use crate::certificate::Certificate;
use crate::entry::{Codec, Run};
use crate::id::{EntryId, PracticeId};
use crate::message::{ChannelDigest, Hello, HelloBody, Versions};
use crate::receipt::ReceiptBody;
use ed25519_dalek::SigningKey;

const EXPORTER: [u8; 32] = [4; 32];

fn drain(session: &mut Session) -> Vec<Output> {
    let mut outputs = Vec::new();
    loop {
        match session.poll() {
            Output::Wait(_) => return outputs,
            output => outputs.push(output),
        }
    }
}

fn hello_body(node: &Node) -> HelloBody {
    HelloBody {
        versions: Versions::OURS,
        certificate: node.certificate.clone(),
        digests: Channel::ALL
            .iter()
            .map(|channel| ChannelDigest::of(&node.ledger.frontier, *channel))
            .collect(),
        codecs: vec![Codec(16)],
        receipt: None,
        beyond: None,
        time_ms: 5,
    }
}

fn hello(node: &Node) -> Vec<u8> {
    signed(hello_body(node), Side::Dialer, &EXPORTER, &node.transport)
}

fn signed(body: HelloBody, side: Side, exporter: &[u8; 32], key: &SigningKey) -> Vec<u8> {
    Message::Hello(Box::new(Hello::new(body, side, exporter, key))).to_bytes()
}

/// A listener that TLS has told who dials.
fn listener(dialer: &Node) -> (Node, Session) {
    let mut node = Node::new(2);
    node.certify(std::slice::from_ref(&dialer.certificate));
    let mut session = node.session(Side::Listener, None);
    session.handle(0, Input::Connected { exporter: EXPORTER, peer: dialer.transport_key() });
    assert_eq!(drain(&mut session), [], "the listener spoke first");
    (node, session)
}

/// A listener that has let the dialer in and has heard its empty frontier.
fn open(dialer: &Node) -> (Node, Session) {
    let (node, mut session) = listener(dialer);
    send(&mut session, Lane::Control, hello(dialer));
    session.handle(0, Input::PeerKnown(PeerVerdict::Accepted { last_receipt: None }));
    let frontier = Message::Frontier { base: None, logs: Vec::new(), last: true };
    session.handle(0, Input::Received { lane: Lane::Control, frame: frontier.to_bytes() });
    assert!(!drain(&mut session).is_empty());
    assert!(session.peer().is_some());
    (node, session)
}

fn send(session: &mut Session, lane: Lane, frame: Vec<u8>) -> Vec<Output> {
    session.handle(0, Input::Received { lane, frame });
    drain(session)
}

/// The session has ended for this reason, with nothing else said or stored.
fn assert_ended(outputs: &[Output], violation: Violation) {
    assert_eq!(outputs, [Output::Close(CloseReason::Violation(violation))]);
}

fn run_of(node: &Node, channel: Channel) -> Run {
    let payloads = vec![(Codec(16), vec![1; 50]), (Codec(16), vec![2; 50])];
    node.commit(channel, payloads).into_run()
}

#[test]
fn a_hello_of_another_connection_side_key_or_practice_is_refused() {
    let dialer = Node::new(1);
    let body = || hello_body(&dialer);
    let other = SigningKey::from_bytes(&[77; 32]);
    let replayed = signed(body(), Side::Dialer, &[5; 32], &dialer.transport);
    let reflected = signed(body(), Side::Listener, &EXPORTER, &dialer.transport);
    let forged = signed(body(), Side::Dialer, &EXPORTER, &other);
    for frame in [replayed, reflected, forged] {
        let (_, mut session) = listener(&dialer);
        assert_ended(&send(&mut session, Lane::Control, frame), Violation::Signature);
        assert_eq!(send(&mut session, Lane::Control, hello(&dialer)), [], "it is over");
    }

    let mut stolen = body();
    stolen.certificate = Node::new(3).certificate;
    let frame = signed(stolen, Side::Dialer, &EXPORTER, &dialer.transport);
    let (_, mut session) = listener(&dialer);
    assert_ended(&send(&mut session, Lane::Control, frame), Violation::Transport);

    let mut foreign = body();
    foreign.certificate.body.practice = PracticeId(other.verifying_key().to_bytes());
    foreign.certificate =
        Certificate::issue(foreign.certificate.body, &other).unwrap().into_certificate();
    let frame = signed(foreign, Side::Dialer, &EXPORTER, &dialer.transport);
    let (_, mut session) = listener(&dialer);
    assert_ended(&send(&mut session, Lane::Control, frame), Violation::Practice);

    let mut promoted = body();
    promoted.certificate.body.capabilities.admit = true;
    let frame = signed(promoted, Side::Dialer, &EXPORTER, &dialer.transport);
    let (_, mut session) = listener(&dialer);
    assert_ended(&send(&mut session, Lane::Control, frame), Violation::Signature);
}

#[test]
fn only_the_pinned_key_may_answer() {
    let (dialer, other) = (Node::new(1), Node::new(3));
    let mut session = dialer.session(Side::Dialer, Some(&Node::new(2)));
    session.handle(0, Input::Connected { exporter: EXPORTER, peer: other.transport_key() });
    assert_ended(&drain(&mut session), Violation::Pinned);
}

#[test]
fn without_a_common_version_the_session_ends_before_anything_is_asked() {
    let dialer = Node::new(1);
    let mut body = hello_body(&dialer);
    body.versions = Versions { min: 2, max: 9 };
    let frame = signed(body, Side::Dialer, &EXPORTER, &dialer.transport);
    let (_, mut session) = listener(&dialer);
    let outputs = send(&mut session, Lane::Control, frame);
    assert_eq!(outputs, [Output::Close(CloseReason::Version)]);

    // Also when the newer HELLO has another shape: its kind, 7 to 9, and what nobody here knows.
    let (_, mut session) = listener(&dialer);
    let outputs = send(&mut session, Lane::Control, vec![0, 7, 9, 0xff, 0xff, 0xff]);
    assert_eq!(outputs, [Output::Close(CloseReason::Version)]);
}

#[test]
fn a_refused_peer_hears_nothing() {
    let dialer = Node::new(1);
    let (_, mut session) = listener(&dialer);
    assert!(matches!(send(&mut session, Lane::Control, hello(&dialer))[..], [Output::Identify(_)]));
    session.handle(0, Input::PeerKnown(PeerVerdict::Refused(Refusal::Revoked)));
    let refused = Output::Close(CloseReason::Refused(Refusal::Revoked));
    assert_eq!(drain(&mut session), [refused]);
}

#[test]
fn nothing_may_come_before_the_hello_or_the_verdict() {
    let dialer = Node::new(1);
    let run = run_of(&dialer, Channel::Critical).to_bytes();
    let (_, mut session) = listener(&dialer);
    let outputs = send(&mut session, Lane::Data(Channel::Critical), run.clone());
    assert_ended(&outputs, Violation::Order);

    let (_, mut session) = listener(&dialer);
    send(&mut session, Lane::Control, hello(&dialer));
    let outputs = send(&mut session, Lane::Data(Channel::Critical), run);
    assert_ended(&outputs, Violation::Order);

    let (_, mut session) = listener(&dialer);
    let goodbye = Message::Goodbye(Farewell::Done).to_bytes();
    assert_ended(&send(&mut session, Lane::Control, goodbye), Violation::Order);

    let (_, mut session) = open(&dialer);
    assert_ended(&send(&mut session, Lane::Control, hello(&dialer)), Violation::Order);
}

#[test]
fn what_is_put_aside_before_the_peer_is_known_is_bounded() {
    let dialer = Node::new(1);
    let mut session = dialer.session(Side::Dialer, None);
    let peer = Node::new(2).transport_key();
    session.handle(0, Input::Connected { exporter: EXPORTER, peer });
    drain(&mut session);
    let mut bytes = 0;
    let outputs = loop {
        let outputs = send(&mut session, Lane::Data(Channel::Critical), vec![0; 1 << 20]);
        bytes += 1 << 20;
        if !outputs.is_empty() {
            break outputs;
        }
    };
    assert_ended(&outputs, Violation::Window);
    assert!(bytes <= limit::EARLY_BYTES_MAX + (1 << 20));
}

#[test]
fn forged_and_foreign_runs_are_not_stored() {
    let dialer = Node::new(1);
    let lane = Lane::Data(Channel::Critical);
    let honest = run_of(&dialer, Channel::Critical);

    let mut altered = honest.clone();
    altered.items[0].payload[0] ^= 1;
    let mut renamed = honest.clone();
    renamed.log.author.node = Node::new(3).certificate.node();
    let mut moved = honest.clone();
    moved.log.channel = Channel::Critical;
    moved.first_sequence = 2;
    moved.previous = EntryId([3; 32]);
    for run in [altered, renamed, moved] {
        let (_, mut session) = open(&dialer);
        assert_ended(&send(&mut session, lane, run.to_bytes()), Violation::Signature);
    }

    let (_, mut session) = open(&dialer);
    let elsewhere = run_of(&dialer, Channel::Clinical).to_bytes();
    assert_ended(&send(&mut session, lane, elsewhere), Violation::Channel);

    let (_, mut session) = open(&dialer);
    let outputs = send(&mut session, lane, honest.to_bytes());
    assert!(matches!(outputs[..], [Output::Store { .. }]), "the honest run passes");
}

#[test]
fn frames_beyond_their_bounds_are_refused_unread() {
    let dialer = Node::new(1);
    for lane in [Lane::Control, Lane::Data(Channel::Clinical)] {
        let (_, mut session) = open(&dialer);
        let frame = vec![0; lane.frame_bytes_max() + 1];
        assert_ended(&send(&mut session, lane, frame), Violation::FrameLength);
    }
    let (_, mut session) = listener(&dialer);
    let long = vec![0; limit::HELLO_BYTES_MAX + 1];
    assert_ended(&send(&mut session, Lane::Control, long), Violation::FrameLength);
}

#[test]
fn who_does_not_wait_for_acknowledgements_is_stopped() {
    let dialer = Node::new(1);
    let (_, mut session) = open(&dialer);
    let payload = vec![(Codec(16), vec![9; 500_000])];
    let frame = dialer.commit(Channel::Clinical, payload).into_run().to_bytes();
    let mut stores = 0;
    let outputs = loop {
        let outputs = send(&mut session, Lane::Data(Channel::Clinical), frame.clone());
        if !matches!(outputs[..], [Output::Store { .. }]) {
            break outputs;
        }
        stores += 1;
    };
    assert_ended(&outputs, Violation::Window);
    assert_eq!(stores, (limit::WINDOW_BYTES + limit::FRAME_BYTES_MAX) / frame.len());
}

#[test]
fn a_frontier_has_bounds_and_comes_once() {
    let dialer = Node::new(1);
    let log = dialer.log(Channel::Audit);
    let head = |sequence: u64| Head { sequence, id: EntryId([sequence as u8; 32]) };
    let lies: [(Vec<Head>, Violation); 4] = [
        (Vec::new(), Violation::FrontierLength),
        (vec![head(2), head(1)], Violation::FrontierLength),
        (vec![head(0)], Violation::FrontierLength),
        ((1..=9).map(head).collect(), Violation::FrontierLength),
    ];
    for (heads, violation) in lies {
        let (_, mut session) = open(&dialer);
        let message = Message::Holding(vec![(log, heads)]);
        assert_ended(&send(&mut session, Lane::Control, message.to_bytes()), violation);
    }
    let (_, mut session) = open(&dialer);
    let again = Message::Frontier { base: None, logs: Vec::new(), last: true }.to_bytes();
    assert_ended(&send(&mut session, Lane::Control, again), Violation::Order);
}

#[test]
fn what_a_hello_names_beyond_its_receipt_has_bounds() {
    let dialer = Node::new(1);
    let log = dialer.log(Channel::Audit);
    let heads = |number: u8| -> Vec<Head> {
        (1..=number).map(|n| Head { sequence: n.into(), id: EntryId([n; 32]) }).collect()
    };
    let receipt = Some(crate::id::ReceiptId([9; 32]));
    let many: LogHeads = (0..5).map(|_| (log, heads(7))).collect();
    for (receipt, beyond, refused) in [
        (receipt, many.clone(), true),
        (None, vec![(log, heads(1))], true),
        (receipt, many[..4].to_vec(), false),
    ] {
        let (_, mut session) = listener(&dialer);
        let body = HelloBody { receipt, beyond: Some(beyond), ..hello_body(&dialer) };
        let frame = signed(body, Side::Dialer, &EXPORTER, &dialer.transport);
        let outputs = send(&mut session, Lane::Control, frame);
        if refused {
            assert_ended(&outputs, Violation::FrontierLength);
        } else {
            assert!(matches!(outputs[..], [Output::Identify(_)]), "a receipt not kept here");
        }
    }
    // With a receipt that both have kept, what is named must be as in any frontier.
    let mut world = World::new(16, 2);
    world.connect(0, 1);
    world.settle();
    let [dialer, node] = &world.nodes[..] else { unreachable!("there are two") };
    let kept = node.receipts.values().next().unwrap();
    for (beyond, refused) in [(vec![(log, heads(1))], false), (vec![(log, Vec::new())], true)] {
        let mut session = node.session(Side::Listener, None);
        session.handle(0, Input::Connected { exporter: EXPORTER, peer: dialer.transport_key() });
        let mut body =
            HelloBody { receipt: Some(kept.id()), beyond: Some(beyond), ..hello_body(dialer) };
        body.digests[usize::from(Channel::Audit.number())].digest = [1; 16];
        let frame = signed(body, Side::Dialer, &EXPORTER, &dialer.transport);
        send(&mut session, Lane::Control, frame);
        let last_receipt = Some(Box::new(kept.clone()));
        session.handle(0, Input::PeerKnown(PeerVerdict::Accepted { last_receipt }));
        if refused {
            let ended = CloseReason::Violation(Violation::FrontierLength);
            assert!(drain(&mut session).contains(&Output::Close(ended)));
        } else {
            let named = session.peer_frontier().heads(&log).to_vec();
            assert_eq!(named, heads(1));
        }
    }
}

#[test]
fn naming_logs_without_end_is_stopped() {
    let dialer = Node::new(1);
    let (_, mut session) = open(&dialer);
    let mut number = 0_u64;
    let outputs = loop {
        let mut logs = Vec::new();
        for _ in 0..8192 {
            number += 1;
            let mut log = dialer.log(Channel::Audit);
            log.author.incarnation.0 = number.to_be_bytes();
            logs.push((log, vec![Head { sequence: 5, id: EntryId([1; 32]) }]));
        }
        let outputs = send(&mut session, Lane::Control, Message::Holding(logs).to_bytes());
        if !outputs.is_empty() {
            break outputs;
        }
        assert!(number <= limit::LOGS_MAX as u64);
    };
    assert_ended(&outputs, Violation::FrontierLength);
}

#[test]
fn asking_without_end_is_stopped() {
    let dialer = Node::new(1);
    let (node, mut session) = open(&dialer);
    let log = node.log(Channel::Control);
    let points = vec![Head { sequence: 1, id: EntryId([1; 32]) }];
    let frame = Message::Waypoints { log, points }.to_bytes();
    for _ in 0..=limit::QUESTIONS_MAX {
        let outputs = send(&mut session, Lane::Control, frame.clone());
        if let [Output::Close(reason)] = outputs[..] {
            assert_eq!(reason, CloseReason::Violation(Violation::Requests));
            return;
        }
    }
    panic!("the questions had no end");
}

#[test]
fn a_receipt_must_be_the_peers_own_and_true() {
    let dialer = Node::new(1);
    let (node, mut session) = open(&dialer);
    let body = ReceiptBody {
        practice: practice(),
        dialer: dialer.certificate.node(),
        listener: node.certificate.node(),
        dialer_before: [0; 32],
        listener_before: [0; 32],
        after: [0; 32],
        to_listener: Moved { entries: 1_000_000, bytes: 1 },
        to_dialer: Moved::default(),
        time_ms: 1,
    };
    let propose = |body: &ReceiptBody, side, key: &SigningKey| {
        let signature = body.sign(side, key);
        Message::Propose { body: Box::new(body.clone()), signature }.to_bytes()
    };
    // Untrue: declined, not signed.
    let frame = propose(&body, Side::Dialer, &dialer.transport);
    let decline = Message::Decline { id: body.id() }.to_bytes();
    let said = Output::Send { lane: Lane::Control, frame: decline };
    assert_eq!(send(&mut session, Lane::Control, frame), [said]);

    let forged = propose(&body, Side::Dialer, &node.transport);
    let (_, mut session) = open(&dialer);
    assert_ended(&send(&mut session, Lane::Control, forged), Violation::Signature);

    let others = ReceiptBody { dialer: Node::new(3).certificate.node(), ..body.clone() };
    let frame = propose(&others, Side::Dialer, &dialer.transport);
    let (_, mut session) = open(&dialer);
    assert_ended(&send(&mut session, Lane::Control, frame), Violation::Receipt);

    let accept = Message::Accept { id: body.id(), signature: body.sign(Side::Dialer, &dialer.key) };
    let (_, mut session) = open(&dialer);
    assert_ended(&send(&mut session, Lane::Control, accept.to_bytes()), Violation::Receipt);
}

#[test]
fn damaged_frames_never_panic_and_never_store_what_nobody_signed() {
    // Every frame of a real session, with bits flipped, cut short, or on another lane.
    for seed in 0..150 {
        let mut world = World::new(seed, 2);
        for _ in 0..5 {
            world.write(0, Channel::Critical, 2);
            world.write(1, Channel::Clinical, 2);
        }
        let written = [world.nodes[0].ledger.clone(), world.nodes[1].ledger.clone()];
        world.damage = Some(Chance(seed ^ 0x5eed));
        let link = world.connect(0, 1);
        world.run(10_000);
        for node in &world.nodes {
            for (id, entry) in &node.ledger.entries {
                let origin = written.iter().find_map(|ledger| ledger.entries.get(id));
                assert_eq!(origin, Some(entry), "an entry that nobody wrote");
            }
        }
        let ended = world.links[link]
            .closed
            .iter()
            .any(|reason| matches!(reason, Some(CloseReason::Violation(_) | CloseReason::Version)));
        assert!(ended, "seed {seed}: the damage went unnoticed");
    }
}
