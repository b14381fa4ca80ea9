//! Whole nodes on loopback, over real QUIC.

#![cfg(test)]

use super::endpoint::Endpoint;
use super::enrol;
use super::error::SyncError;
use super::schedule::{Chance, Race};
use super::testing::{Memory, Node, key, transport};
use super::tls::Purpose;
use super::{PeerAddress, PeerOutcome};
use crate::base::environment::Environment;
use crate::base::private::Private;
use carnet_sync_protocol::certificate::NodeKeys;
use carnet_sync_protocol::id::{Channel, HpkeKey, NodeId, PracticeId};
use carnet_sync_protocol::message::{JoinAnswer, JoinBody, JoinRefusal, JoinRequest};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

async fn sync_one(node: &Node) -> PeerOutcome {
    let mut outcomes = node.network.sync_now(None, PATIENCE).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(15), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn notes(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("note {number}").into_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_wrote_apart_hold_the_same_and_a_receipt_of_it() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.replica.write(Channel::Control, &notes(3));
    one.replica.write(Channel::Clinical, &notes(300)[..256]);
    two.replica.write(Channel::Critical, &notes(5));
    one.network.add_peer(two.address());
    let outcome = sync_one(&one).await;
    assert_eq!(outcome.error, None);
    assert!(outcome.in_sync);
    assert_eq!((outcome.entries_sent, outcome.entries_received), (259, 5));
    assert!(outcome.bytes_sent > 2_000 && outcome.bytes_received > 500);
    assert_eq!(outcome.site.as_deref(), Some("site 2"));
    assert_eq!(one.replica.digest(), two.replica.digest());
    until("the receipt is kept", || two.replica.receipts().len() == 1).await;
    let receipt = one.replica.receipts().remove(0);
    assert_eq!(outcome.receipt, Some(receipt.id()));
    assert_eq!(receipt.receipt.verify(one.replica.practice()), Ok(()));

    let again = sync_one(&one).await;
    assert_eq!((again.entries_sent, again.entries_received), (0, 0));
    assert_eq!(again.receipt, outcome.receipt);
    assert!(again.seconds < 1.0 && again.bytes_sent < 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_puts_itself_on_record_is_receipted_without_the_usual_rest() {
    // The record may pass the receipt that it is about: the link sends what it hears of first.
    let delays = [Duration::ZERO, Duration::from_millis(200)];
    for (dialer_records, delay) in [true, false].into_iter().flat_map(|d| delays.map(|ms| (d, ms)))
    {
        let (one, two) = (Node::start(1).await, Node::start(2).await);
        one.replica.write(Channel::Critical, &notes(2));
        one.network.add_peer(two.address());
        assert!(sync_one(&one).await.in_sync);
        if dialer_records { &one } else { &two }.replica.record_the_sync(delay);
        two.replica.write(Channel::Critical, &notes(1));
        // Whoever has to wait for the rest of five seconds runs out of patience.
        let mut outcomes = one.network.sync_now(None, Duration::from_secs(4)).await;
        let outcome = outcomes.remove(0);
        assert_eq!((outcome.error, outcome.in_sync), (None, true));
        assert_eq!((one.replica.entries(), two.replica.entries()), (4, 4));
        let receipt = one.replica.receipts().remove(0);
        assert_eq!(receipt.frontier.digest_all(), one.replica.digest());
        assert_eq!(outcome.receipt, Some(receipt.id()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_while_connected_arrives_at_once() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.replica.write(Channel::Control, &notes(1));
    one.network.add_peer(two.address());
    sync_one(&one).await;
    let began = Instant::now();
    two.replica.write(Channel::Critical, &notes(1));
    one.replica.write(Channel::Clinical, &notes(2));
    until("both arrive", || one.replica.entries() == 4 && two.replica.entries() == 4).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    let outcome = sync_one(&one).await;
    assert_eq!((outcome.entries_sent, outcome.entries_received), (2, 1), "all is accounted for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_payload_and_an_urgent_note_both_arrive() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.replica.write(Channel::Clinical, &[vec![7; 3 << 20]]);
    one.replica.write(Channel::Clinical, &[vec![8; 4 << 20]]);
    one.replica.write(Channel::Control, &notes(1));
    two.network.add_peer(one.address());
    let outcome = sync_one(&two).await;
    assert_eq!(outcome.error, None);
    assert_eq!(one.replica.digest(), two.replica.digest());
    assert!(outcome.bytes_received > 7 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_pass_through_a_node_in_the_middle() {
    let (first, middle, last) =
        (Node::start_with(Memory::new(1, 1), 1, None).await, Node::start(2).await, {
            Node::start_with(Memory::new(1, 3), 3, None).await
        });
    first.network.add_peer(middle.address());
    last.network.add_peer(middle.address());
    first.replica.write(Channel::Critical, &notes(10));
    last.replica.write(Channel::Restricted, &notes(20));
    middle.replica.write(Channel::Control, &notes(1));
    until("all hold all", || {
        [&first, &middle, &last].iter().all(|node| node.replica.entries() == 31)
    })
    .await;
    assert_eq!(first.replica.digest(), last.replica.digest());
    let twice: u64 = [&first, &middle, &last].iter().map(|node| node.replica.twice()).sum();
    assert_eq!(twice, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_the_pinned_peer_or_not_of_the_practice_gets_nothing() {
    let one = Node::start(1).await;
    one.replica.write(Channel::Control, &notes(1));
    let two = Node::start(2).await;
    let pinned = PeerAddress { transport: transport(9), ..two.address() };
    one.network.add_peer(pinned);
    let outcome = sync_one(&one).await;
    assert!(matches!(outcome.error, Some(SyncError::WrongKey { .. })), "{outcome:?}");
    one.network.remove_peer(&transport(9));

    let foreign = Node::start_with(Memory::new(7, 3), 3, None).await;
    foreign.network.add_peer(one.address());
    let outcome = sync_one(&foreign).await;
    assert!(outcome.error.as_ref().is_some_and(SyncError::is_refusal), "{outcome:?}");
    assert_eq!((outcome.entries_received, foreign.replica.entries()), (0, 0));
    assert!(one.network.status().is_empty());

    one.replica.ban(2);
    two.network.add_peer(one.address());
    let outcome = sync_one(&two).await;
    assert!(
        matches!(outcome.error, Some(SyncError::Refused(_) | SyncError::RefusedByPeer(_))),
        "{outcome:?}"
    );
    assert_eq!(two.replica.entries(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_at_any_moment_lose_nothing_and_repeat_nothing() {
    let one = Node::start(1).await;
    for _ in 0..1_000 {
        one.replica.write(Channel::Clinical, &[vec![1; 500], vec![2; 500]]);
    }
    let mut replica = Memory::new(1, 2);
    replica.store_slowly(Duration::from_millis(20));
    for crash in 0..5 {
        let before = replica.entries();
        let two = Node::start_with(replica.clone(), 2, None).await;
        two.network.add_peer(one.address());
        until("more arrives", || two.replica.entries() > before).await;
        sleep(Duration::from_millis(crash * 7)).await;
        replica = two.crash().await;
    }
    assert!(replica.entries() < 2_000, "it was cut in the middle");
    replica.store_slowly(Duration::ZERO);
    let two = Node::start_with(replica, 2, None).await;
    two.network.add_peer(one.address());
    assert_eq!(sync_one(&two).await.error, None);
    assert_eq!((two.replica.entries(), two.replica.twice()), (2_000, 0));
    assert_eq!(one.replica.digest(), two.replica.digest());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_comes_back_is_found_again_without_being_asked() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.network.add_peer(two.address());
    one.replica.write(Channel::Control, &notes(1));
    sync_one(&one).await;
    let listen = two.network.listening();
    let replica = two.crash().await;
    one.replica.write(Channel::Control, &notes(1));
    sleep(Duration::from_secs(1)).await;
    let two = Node::start_with(replica, 2, listen).await;
    until("the second note arrives", || two.replica.entries() == 2).await;
    let status = one.network.status();
    assert!(status.len() == 1 && status[0].connected && status[0].dialed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_dial_each_other_keep_one_link() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.replica.write(Channel::Control, &notes(1));
    one.network.add_peer(two.address());
    two.network.add_peer(one.address());
    let (here, there) = tokio::join!(sync_one(&one), sync_one(&two));
    assert_eq!((here.error, there.error), (None, None));
    sleep(Duration::from_millis(500)).await;
    let (here, there) = (one.network.status().remove(0), two.network.status().remove(0));
    assert!(here.connected && there.connected);
    assert_ne!(here.dialed, there.dialed, "it is the same link");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_bye_is_noticed_and_an_absent_peer_is_reported() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.replica.write(Channel::Control, &notes(1));
    one.network.add_peer(two.address());
    sync_one(&one).await;
    timeout(Duration::from_secs(5), two.network.shutdown()).await.unwrap();
    until("the link is gone", || !one.network.status()[0].connected).await;
    let outcomes = one.network.sync_now(None, Duration::from_secs(2)).await;
    assert!(outcomes[0].error.is_some() && !outcomes[0].in_sync);
    assert!(outcomes[0].receipt.is_some(), "the last proof stays");
    timeout(Duration::from_secs(5), one.network.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_say_nothing_or_too_much_do_not_keep_peers_out() {
    let one = Node::start(1).await;
    one.replica.write(Channel::Control, &notes(1));
    let (environment, _) = Environment::seeded(5, 0);
    let stranger = Endpoint::open(&environment, &Private::new([5; 32]), None).unwrap();
    let address = one.address();
    let mut idle = Vec::new();
    for number in 0..40 {
        let race = Race::new(Chance::new([number; 32]));
        let dialed =
            stranger.dial(address.transport, &address.addresses, Purpose::Session, race).await;
        let link = dialed.unwrap().connection;
        let (mut send, _receive) = link.open_bi().await.unwrap();
        // A HELLO is announced and comes a byte at a time; or never ends.
        let length: u32 = if number == 39 { u32::MAX } else { 1_000 };
        send.write_all(&length.to_be_bytes()).await.unwrap();
        send.write_all(&[0]).await.unwrap();
        idle.push((link, send));
    }
    let (last, _) = idle.last().unwrap();
    timeout(Duration::from_secs(5), last.closed()).await.expect("a false length is cut off");
    let (first, _) = idle.first().unwrap();
    timeout(Duration::from_secs(5), first.closed()).await.expect("the oldest gives way");
    let two = Node::start_with(Memory::new(1, 2), 2, None).await;
    two.network.add_peer(one.address());
    assert_eq!(sync_one(&two).await.error, None);
    assert_eq!(two.replica.entries(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_is_answered_on_its_own_connection_and_not_too_often() {
    let one = Node::start(1).await;
    let address = one.address();
    let request = |exporter: [u8; 32]| {
        let entry = key(50);
        let body = JoinBody {
            practice: PracticeId::ZERO,
            grant: [0; 16],
            token: [0; 32],
            keys: NodeKeys {
                entry: NodeId(entry.verifying_key().to_bytes()),
                transport: transport(50),
                hpke: HpkeKey([0; 32]),
            },
            time_ms: 0,
        };
        JoinRequest::new(body, Some(&exporter), &entry)
    };
    let seed = Private::new([150; 32]);
    let environment = Environment::system();
    let join = |elsewhere: bool| {
        let asked = move |exporter| request(if elsewhere { [0; 32] } else { exporter });
        let (environment, seed, address) = (environment.clone(), seed.clone(), address.clone());
        async move {
            enrol::join(&environment, &seed, address.transport, &address.addresses, asked).await
        }
    };
    assert_eq!(join(false).await, Ok(JoinAnswer::Refused(JoinRefusal::Unknown)));
    assert_eq!(join(true).await, Ok(JoinAnswer::Refused(JoinRefusal::Invalid)));
    let mut sent_away = 0;
    for _ in 0..12 {
        sent_away += u32::from(matches!(join(false).await, Err(SyncError::ClosedByPeer(_))));
    }
    assert!(sent_away >= 1);
}

/// A line between two nodes. Once it is cut, nothing of the connections that it has carried
/// passes ever again; a new connection does.
#[derive(Default)]
struct Line {
    cut: AtomicBool,
    old: Mutex<BTreeSet<Vec<u8>>>,
}

impl Line {
    fn passes(&self, datagram: &[u8]) -> bool {
        // An established connection is named right after a first byte whose top bit is clear.
        let name = datagram.get(1..9).filter(|_| datagram[0] < 0x80);
        let Some(name) = name else { return true };
        let mut old = self.old.lock().unwrap();
        if !self.cut.load(Ordering::Relaxed) {
            old.insert(name.to_vec());
        }
        !self.cut.load(Ordering::Relaxed) || !old.contains(name)
    }

    /// Carries what comes to the address that it gives.
    async fn lay(self: Arc<Self>, node: &Node) -> String {
        let far = node.network.listening().unwrap();
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let beyond = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = near.local_addr().unwrap().to_string();
        let (caller, called) = watch::channel(None);
        let (inward, outward, line) = (near.clone(), beyond.clone(), self.clone());
        tokio::spawn(async move {
            let mut datagram = [0; 2_000];
            while let Ok((size, from)) = inward.recv_from(&mut datagram).await {
                caller.send_replace(Some(from));
                if line.passes(&datagram[..size]) {
                    outward.send_to(&datagram[..size], far).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            let mut datagram = [0; 2_000];
            while let Ok((size, _)) = beyond.recv_from(&mut datagram).await {
                let caller = *called.borrow();
                if self.passes(&datagram[..size]) {
                    near.send_to(&datagram[..size], caller.unwrap()).await.unwrap();
                }
            }
        });
        address
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_falls_silent_is_overtaken_by_a_fresh_handshake() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    let line = Arc::new(Line::default());
    let addresses = vec![line.clone().lay(&two).await];
    one.network.add_peer(PeerAddress { transport: transport(2), addresses });
    one.replica.write(Channel::Control, &notes(1));
    assert_eq!(sync_one(&one).await.error, None);
    line.cut.store(true, Ordering::Relaxed);
    one.replica.write(Channel::Critical, &notes(1));
    until("the critical entry arrives", || two.replica.entries() == 2).await;
    let outcome = sync_one(&one).await;
    assert_eq!((outcome.error, two.replica.twice()), (None, 0));
}
