//! Two and three nodes, well-behaved ones.

#![cfg(test)]

mod hostile;

use super::testing::{Chance, Node, World};
use super::*;
use crate::message::Acknowledgement;

const DATA: [Channel; 4] =
    [Channel::Critical, Channel::Clinical, Channel::Administrative, Channel::Audit];

/// Every node writes some commits in several channels.
fn scribble(world: &mut World, commits: usize) {
    for node in 0..world.nodes.len() {
        for _ in 0..commits {
            let channel = DATA[world.chance.below(4) as usize];
            let count = 1 + world.chance.below(5) as usize;
            world.write(node, channel, count);
        }
    }
}

#[test]
fn two_nodes_end_with_the_same_and_with_one_receipt() {
    for seed in 0..20 {
        let mut world = World::new(seed, 2);
        scribble(&mut world, 30);
        let link = world.connect(0, 1);
        world.settle();
        world.assert_converged();
        assert!(world.links[link].sessions.iter().all(Session::in_sync));
        assert_eq!(world.receipts(link), [1, 1], "seed {seed}");
        let [a, b] = [0, 1].map(|node| world.nodes[node].receipts.values().next().unwrap());
        assert_eq!(a, b);
        assert_eq!(a.frontier, world.nodes[0].ledger.frontier);
        let progress = world.links[link].sessions[0].progress();
        assert_eq!(progress.sent, a.receipt.body.to_listener);
        assert_eq!(progress.received, a.receipt.body.to_dialer);
        let total = progress.sent.entries + progress.received.entries;
        assert_eq!(total, world.nodes[0].ledger.entries.len() as u64);
        assert_eq!(world.links[link].sessions[1].peer_frontier(), a.frontier);
    }
}

#[test]
fn equal_nodes_are_in_sync_after_one_round_trip_and_a_few_hundred_bytes() {
    let mut world = World::new(1, 2);
    scribble(&mut world, 40);
    let link = world.connect(0, 1);
    world.settle();
    world.cut(link);
    let again = world.connect(1, 0);
    world.settle();
    assert!(world.links[again].sessions.iter().all(Session::in_sync));
    assert_eq!(world.links[again].received, [1, 1]);
    assert!(world.bytes(again) < 1000, "{} bytes both ways", world.bytes(again));
    assert_eq!(world.receipts(again), [0, 0]);
}

#[test]
fn critical_entries_go_at_once_against_the_last_receipt() {
    let mut world = World::new(2, 2);
    scribble(&mut world, 10);
    let link = world.connect(0, 1);
    world.settle();
    world.cut(link);
    world.write(0, Channel::Clinical, 1);
    world.write(1, Channel::Clinical, 3);
    world.write(1, Channel::Critical, 2);
    let link = world.connect(0, 1);
    world.settle();
    world.assert_converged();
    let first = |channel| {
        let of = |sent: &&testing::Sent| sent.link == link && sent.lane == Lane::Data(channel);
        world.sent.iter().find(of).unwrap()
    };
    // The listener has heard the dialer's HELLO and nothing more.
    assert_eq!(first(Channel::Critical).after, 1);
}

#[test]
fn what_both_sides_have_added_since_the_receipt_is_known_from_their_hellos() {
    let mut world = World::new(14, 2);
    scribble(&mut world, 10);
    let link = world.connect(0, 1);
    world.settle();
    world.cut(link);
    for node in 0..2 {
        world.write(node, Channel::Critical, 2);
        world.write(node, Channel::Clinical, 3);
    }
    let link = world.connect(0, 1);
    world.settle();
    world.assert_converged();
    let sent = |node| world.sent.iter().filter(move |sent| (sent.link, sent.from) == (link, node));
    // The listener has heard the dialer's HELLO and nothing more; neither says more than a HELLO.
    assert_eq!(sent(1).find(|sent| sent.lane != Lane::Control).unwrap().after, 1);
    for node in 0..2 {
        assert_eq!(sent(node).nth(1).unwrap().lane, Lane::Data(Channel::Critical));
    }
}

#[test]
fn more_logs_than_a_hello_may_name_are_told_after_it() {
    let mut world = World::new(15, 2);
    world.connect(0, 1);
    world.settle();
    world.cut(0);
    for number in 0..=limit::HELLO_HEADS_MAX as u64 {
        for node in 0..2 {
            world.nodes[node].incarnation.0 = (number + 100).to_be_bytes();
            world.write(node, Channel::Clinical, 1);
        }
    }
    let link = world.connect(0, 1);
    world.settle();
    world.assert_converged();
    let sent = |node| world.sent.iter().filter(move |sent| (sent.link, sent.from) == (link, node));
    assert!(sent(0).all(|sent| sent.lane == Lane::Control || sent.after > 1));
    assert_eq!(world.receipts(link), [1, 1]);
}

#[test]
fn control_goes_before_data() {
    let mut world = World::new(3, 2);
    scribble(&mut world, 10);
    world.connect(0, 1);
    world.settle();
    let from_first = || world.sent.iter().filter(|sent| sent.from == 0);
    let control = from_first().position(|sent| sent.lane == Lane::Data(Channel::Control)).unwrap();
    let data = from_first().position(|sent| sent.lane == Lane::Data(Channel::Critical)).unwrap();
    assert!(control < data);
    // At least the acknowledgement of the control entries came between.
    let after = |place: usize| from_first().nth(place).unwrap().after;
    assert!(after(data) > after(control));
}

#[test]
fn a_link_cut_at_any_point_loses_nothing_and_repeats_nothing_acknowledged() {
    for seed in 0..60 {
        let mut world = World::new(seed, 2);
        scribble(&mut world, 40);
        for _ in 0..12 {
            let link = world.connect(seed as usize % 2, 1 - seed as usize % 2);
            let steps = world.chance.below(120) as usize;
            world.run(steps);
            if world.chance.below(3) == 0 {
                scribble(&mut world, 1);
            }
            world.cut(link);
        }
        let link = world.connect(0, 1);
        world.settle();
        world.assert_converged();
        assert!(world.links[link].sessions.iter().all(Session::in_sync), "seed {seed}");
        let total: usize = world.nodes[0].ledger.entries.len();
        assert_eq!(world.nodes[1].ledger.entries.len(), total);
    }
}

#[test]
fn entries_of_a_third_node_are_passed_on() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3);
        scribble(&mut world, 15);
        // The first and the third never meet, and only dial.
        let links = [world.connect(0, 1), world.connect(2, 1)];
        world.run(200);
        scribble(&mut world, 5);
        world.settle();
        world.assert_converged();
        for link in links {
            assert!(world.links[link].sessions.iter().all(Session::in_sync), "seed {seed}");
        }
    }
}

#[test]
fn three_nodes_in_a_ring_with_cuts_converge() {
    for seed in 100..130 {
        let mut world = World::new(seed, 3);
        scribble(&mut world, 15);
        let mut links = [(0, 1), (1, 2), (2, 0)];
        let mut open: Vec<usize> = links.iter().map(|(a, b)| world.connect(*a, *b)).collect();
        for _ in 0..10 {
            let steps = world.chance.below(150) as usize;
            world.run(steps);
            let which = world.chance.below(3) as usize;
            world.cut(open[which]);
            scribble(&mut world, 1);
            links[which] = (links[which].1, links[which].0);
            open[which] = world.connect(links[which].0, links[which].1);
        }
        world.settle();
        world.assert_converged();
        for link in open {
            assert!(world.links[link].sessions.iter().all(Session::in_sync), "seed {seed}");
            assert_eq!(world.links[link].closed, [None, None]);
        }
    }
}

#[test]
fn what_is_written_while_connected_flows_at_once() {
    let mut world = World::new(4, 2);
    scribble(&mut world, 5);
    let link = world.connect(0, 1);
    world.settle();
    let before = world.sent.len();
    let time = world.now;
    world.write(0, Channel::Critical, 1);
    world.run(2);
    assert!(world.nodes[1].ledger.frontier == world.nodes[0].ledger.frontier);
    assert!(world.now - time < 100);
    world.settle();
    let traffic = &world.sent[before..];
    assert_eq!(traffic[0].lane, Lane::Data(Channel::Critical));
    // The run, its acknowledgement, and a receipt once the link has rested.
    assert_eq!(traffic.len(), 4);
    assert_eq!(world.receipts(link), [2, 2]);
    assert!(world.now - time >= 1000, "the receipt waited");
}

#[test]
fn a_receipt_that_somebody_waits_for_does_not_rest_on_either_side() {
    for waiting in [0, 1] {
        let mut world = World::new(3, 2);
        let link = world.connect(0, 1);
        world.write(0, Channel::Critical, 1);
        world.settle();
        let (signed, time) = (world.receipts(link), world.now);
        world.write(0, Channel::Critical, 1);
        // Delivered and acknowledged; the receipt rests.
        world.run(3);
        assert_eq!(world.receipts(link), signed);
        world.feed(link, waiting, Input::SignNow);
        world.settle();
        assert_eq!(world.receipts(link), [signed[0] + 1, signed[1] + 1]);
        assert!(world.now - time < 1000, "the receipt waited {} ms", world.now - time);
    }
}

#[test]
fn both_branches_of_a_forked_log_survive_everywhere() {
    for seed in 0..30 {
        let mut world = World::new(seed, 3);
        world.connect(0, 1);
        world.connect(0, 2);
        world.write(1, Channel::Critical, 1 + seed as usize % 9);
        for _ in 0..seed % 7 {
            world.write(1, Channel::Critical, 3);
        }
        world.settle();
        world.cut(0);
        world.cut(1);
        // The third machine is set up from a copy of the second's disk.
        let mut clone = Node::new(2);
        clone.ledger = world.nodes[1].ledger.clone();
        world.nodes[2] = clone;
        // Waypoints tell only about where a log forked: what lies before that may travel again.
        let log = world.nodes[1].log(Channel::Critical);
        world.forget_acknowledgements_of(&log);
        for _ in 0..1 + seed % 5 {
            world.write(1, Channel::Critical, 2);
        }
        for _ in 0..1 + seed % 3 {
            world.write(2, Channel::Critical, 3);
        }
        world.connect(0, 1);
        world.connect(2, 0);
        world.settle();
        world.assert_converged();
        assert_eq!(world.nodes[0].ledger.frontier.heads(&log).len(), 2, "seed {seed}");
    }
}

#[test]
fn a_node_restored_from_an_old_copy_gets_its_own_entries_back() {
    let mut world = World::new(6, 2);
    scribble(&mut world, 10);
    let old = world.nodes[0].ledger.clone();
    scribble(&mut world, 10);
    let link = world.connect(0, 1);
    world.settle();
    world.cut(link);
    world.nodes[0].ledger = old;
    // The directory's receipts may be newer than its ledger: the session must notice.
    let link = world.connect(1, 0);
    // The world's rule on repeated entries does not hold for who has lost them.
    world.forget_acknowledgements();
    world.settle();
    world.assert_converged();
    assert!(world.links[link].sessions.iter().all(Session::in_sync));
}

#[test]
fn a_certificate_that_comes_late_does_not_leave_its_node_behind() {
    // The second node publishes the third's certificate, and only the first published the second's:
    // control logs depend on each other in an order that the log ids do not show.
    for seed in 0..8_u8 {
        let mut world = World::new(u64::from(seed), 2);
        let third = Node::new(40 + seed);
        world.nodes[0].certify(std::slice::from_ref(&third.certificate));
        let own = third.certificate.clone();
        let mut third = third;
        third.ledger = world.nodes[0].ledger.clone();
        third.certify(&[own]);
        let mut chance = Chance(9);
        third.write(Channel::Critical, 3, &mut chance);
        world.nodes[0].ledger = third.ledger.clone();
        let link = world.connect(0, 1);
        world.settle();
        world.assert_converged();
        assert!(world.links[link].sessions.iter().all(Session::in_sync));
    }
}

#[test]
fn a_refused_log_holds_up_no_other_and_is_not_sent_again() {
    let mut world = World::new(7, 2);
    // A stranger's log that the first holds, by some mistake, and that nobody has certified.
    let mut stranger = Node::new(60);
    stranger.write(Channel::Critical, 4, &mut Chance(1));
    let log = stranger.log(Channel::Critical);
    world.nodes[0].ledger.certified.insert(stranger.certificate.node());
    for id in stranger.ledger.path(stranger.ledger.frontier.heads(&log)[0].id) {
        world.nodes[0].ledger.entries.insert(id, stranger.ledger.entries[&id].clone());
    }
    world.nodes[0].ledger.signatures.extend(stranger.ledger.signatures.clone());
    world.nodes[0].ledger.frontier.set(log, stranger.ledger.frontier.heads(&log).to_vec());
    scribble(&mut world, 10);
    let link = world.connect(0, 1);
    world.settle();
    let refusals = world.links[link].events[0]
        .iter()
        .filter(|event| matches!(event, Event::Refused { by_us: false, .. }))
        .count();
    assert_eq!(refusals, 1);
    assert!(world.links[link].sessions.iter().all(Session::in_sync));
    assert!(world.nodes[1].ledger.frontier.heads(&log).is_empty());
    assert_eq!(world.receipts(link), [1, 1]);
    let held = world.nodes[0].ledger.frontier.0.len();
    assert_eq!(world.nodes[1].ledger.frontier.0.len(), held - 1);
}

#[test]
fn channels_that_one_side_does_not_carry_stay_out() {
    let mut world = World::new(8, 2);
    world.nodes[1].channels = vec![Channel::Control, Channel::Critical];
    scribble(&mut world, 20);
    let link = world.connect(0, 1);
    world.settle();
    assert!(world.links[link].sessions.iter().all(Session::in_sync));
    let lanes: Vec<Lane> = world.sent.iter().map(|sent| sent.lane).collect();
    assert!(lanes.contains(&Lane::Data(Channel::Critical)));
    assert!(!lanes.contains(&Lane::Data(Channel::Clinical)));
    assert_eq!(world.receipts(link), [1, 1]);
}

#[test]
fn a_frontier_of_many_logs_goes_in_parts() {
    let mut world = World::new(9, 2);
    // Cut right after the frontier: the heads are made up, so nothing can be loaded for them.
    let mut frontier = world.nodes[0].ledger.frontier.clone();
    for number in 0..10_000_u64 {
        let mut log = world.nodes[0].log(Channel::Audit);
        log.author.incarnation.0 = number.to_be_bytes();
        let head = Head { sequence: 1, id: crate::id::EntryId([number as u8; 32]) };
        frontier.set(log, vec![head]);
    }
    world.nodes[0].ledger.frontier = frontier.clone();
    let link = world.connect(1, 0);
    while world.links[link].sessions[1].peer().is_none() {
        assert!(!world.run(1));
    }
    let parts = world.sent.iter().filter(|sent| sent.from == 1 && sent.bytes > 10_000);
    assert_eq!(parts.count(), 2);
    while !world.links[link].events[0]
        .iter()
        .any(|event| *event == Event::PeerFrontier(frontier.clone()))
    {
        assert!(!world.run(1));
    }
}

#[test]
fn finish_takes_leave() {
    let mut world = World::new(10, 2);
    let link = world.connect(0, 1);
    world.settle();
    world.feed(link, 0, Input::Finish);
    world.settle();
    assert_eq!(world.links[link].closed[0], Some(CloseReason::Finished));
    assert_eq!(world.links[link].closed[1], Some(CloseReason::PeerFinished(Farewell::Done)));
}

#[test]
fn silence_instead_of_hello_ends_the_session() {
    let node = Node::new(1);
    let mut session = node.session(Side::Listener, None);
    let peer = node.transport_key();
    session.handle(0, Input::Connected { exporter: [0; 32], peer });
    let Output::Wait(Some(deadline)) = session.poll() else { panic!("the listener spoke first") };
    session.handle(deadline, Input::Tick);
    assert_eq!(session.poll(), Output::Close(CloseReason::Timeout));
}

#[test]
fn an_acknowledgement_frees_the_window() {
    let mut world = World::new(11, 2);
    // More than a window in one channel: it can only arrive if acknowledgements make room.
    for _ in 0..40 {
        let payload = vec![(crate::entry::Codec(16), vec![5; 100_000])];
        let run = world.nodes[0].commit(Channel::Clinical, payload);
        world.nodes[0].ledger.append(&run).unwrap();
    }
    let link = world.connect(0, 1);
    world.settle();
    world.assert_converged();
    let mut out = 0_usize;
    let mut most = 0;
    for sent in world.sent.iter().filter(|sent| sent.link == link) {
        if sent.lane == Lane::Data(Channel::Clinical) {
            out += 1;
        } else if sent.from == 1 && sent.bytes < 100 {
            out = out.saturating_sub(1);
        }
        most = most.max(out);
    }
    assert!((5..=16).contains(&most), "{most} runs were on their way at once");
}

#[test]
fn an_acknowledgement_of_nothing_is_a_violation() {
    let mut world = World::new(12, 2);
    let link = world.connect(0, 1);
    world.settle();
    let ack = Acknowledgement {
        log: world.nodes[0].log(Channel::Critical),
        last: Head { sequence: 1, id: crate::id::EntryId([1; 32]) },
        refused: None,
    };
    let frame = Message::Acknowledge(vec![ack]).to_bytes();
    world.links[link].sessions[0].handle(0, Input::Received { lane: Lane::Control, frame });
    let closed = Output::Close(CloseReason::Violation(Violation::Acknowledgement));
    assert_eq!(world.links[link].sessions[0].poll(), closed);
}
