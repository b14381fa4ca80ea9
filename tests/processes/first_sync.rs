//! A new site's first sync, on a slow line, with the power cut fifty times.

use super::harness::{Daemon, Site, import, now_ms, patients, pause, until};
use super::proxy::Line;
use carnet_node::base::environment::Environment;
use rusqlite::Connection;
use serde_json::json;
use std::fs;

const CUTS: usize = 50;
/// Slow enough that the data outlasts the cuts.
const BYTES_PER_SECOND: u64 = 200_000;
/// Longest time from one cut to the next.
const BREATH_MS: u64 = 300;

/// Whose power is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Receiver,
    Sender,
    Both,
}

/// Two sites, the line between them, and what was acknowledged to whoever works there.
struct Stage {
    sender: Site,
    receiver: Site,
    line: Line,
    running: Option<(Daemon, Daemon)>,
    acknowledged: Vec<(String, String)>,
}

impl Stage {
    fn set() -> Self {
        let (sender, _) = Site::found("Ziguinchor");
        import(&sender, &patients(&sender, 7, 320));
        let line = Line::new(BYTES_PER_SECOND);
        let daemon = sender.listen();
        line.lead_to(Some(&daemon.address));
        let invitation = sender.invite(&["--site", "Kolda", "--address", &line.address]);
        let receiver = Site::joined(&invitation);
        let mut stage = Self { sender, receiver, line, running: None, acknowledged: Vec::new() };
        let receiving = stage.start_receiver();
        stage.running = Some((daemon, receiving));
        stage
    }

    fn start_sender(&self) -> Daemon {
        let daemon = self.sender.listen();
        self.line.lead_to(Some(&daemon.address));
        daemon
    }

    fn start_receiver(&self) -> Daemon {
        self.receiver.start_with(&[], &[("CARNET_LOG", "debug")])
    }

    fn cut(&mut self, cut: Cut) {
        let (sender, receiver) = self.running.take().expect("both run");
        let sender = if cut == Cut::Receiver {
            sender
        } else {
            sender.kill();
            self.start_sender()
        };
        let receiver = if cut == Cut::Sender {
            receiver
        } else {
            receiver.kill();
            self.start_receiver()
        };
        self.running = Some((sender, receiver));
    }

    /// Somebody works on while the sync goes on; what the command acknowledges must stay.
    fn work(&mut self, number: usize) {
        let here = number.is_multiple_of(2);
        let site = if here { &self.sender } else { &self.receiver };
        let id = format!("made-{number}");
        let note = json!({"resourceType": "Basic", "id": id, "code": {"text": id}});
        let file = site.file(&format!("{id}.json"), note.to_string());
        let told = site.json(&["import", &file]);
        assert_eq!(told["resources"], 1, "{told}");
        self.acknowledged.push((format!("Basic/{id}"), id));
    }
}

/// What the receiver's log tells of entries that came: new ones, and ones that it held already.
fn came(site: &Site) -> (u64, u64) {
    let mut sums = (0, 0);
    for log in fs::read_dir(site.dir().join("logs")).expect("logs") {
        let text = fs::read_to_string(log.expect("an entry").path()).expect("text");
        for line in text.lines().filter(|line| line.contains("entries came")) {
            let count = |name: &str| -> u64 {
                let value = line.split_once(name).expect("a count").1;
                value.split(' ').next().expect("a number").parse().expect("a number")
            };
            sums.0 += count(" new=");
            sums.1 += count(" held=");
        }
    }
    sums
}

/// How many of the entries that a stopped node holds are its own.
fn written_by(site: &Site) -> u64 {
    let node = site.json(&["status"])["node"].as_str().expect("an id").to_uppercase();
    let ledger = Connection::open(site.dir().join("log.db")).expect("opened");
    let count = "SELECT count(*) FROM entries JOIN branches USING (branch) JOIN logs USING (log)
        WHERE hex(node) = ?1";
    let found: i64 = ledger.query_row(count, [node], |row| row.get(0)).expect("a count");
    u64::try_from(found).expect("a count")
}

#[test]
fn fifty_power_cuts_during_the_first_sync_lose_nothing_and_send_next_to_nothing_twice() {
    let (chance, _) = Environment::seeded(50, 0);
    let draw = |below: u64| u64::from_le_bytes(chance.random()) % below;
    let mut stage = Stage::set();
    let (mut inside, mut gains) = (0, 0);
    let mut before = stage.receiver.entries();
    for number in 0..CUTS {
        let breath = draw(BREATH_MS);
        let until = now_ms() + breath;
        stage.work(number);
        pause(until.saturating_sub(now_ms()));
        // The survivor takes seconds to hear that a silent line is dead, so few lose the sender only.
        let cut = match draw(20) {
            0 => Cut::Sender,
            1..12 => Cut::Receiver,
            _ => Cut::Both,
        };
        stage.cut(cut);
        let (held, all) = (stage.receiver.entries(), stage.sender.entries());
        inside += usize::from(held < all);
        gains += usize::from(held > before + 1);
        before = held;
    }
    println!("{inside} cuts of an unfinished sync, {gains} after it had moved something");
    assert!(inside >= 20 && gains >= 10, "the line is too fast, or too slow, for this machine");
    until("the sync ends", 30_000, || {
        let told = stage.receiver.json(&["sync"]);
        told["peers"][0]["in_sync"] == true
    });
    let (here, there) = (stage.sender.verified(), stage.receiver.verified());
    assert_eq!(here["state_digest"], there["state_digest"]);
    assert_eq!(here["entries"], there["entries"]);
    for (resource, text) in &stage.acknowledged {
        for site in [&stage.sender, &stage.receiver] {
            let shown = site.json(&["chart", "show", resource]);
            assert!(shown.to_string().contains(text.as_str()), "{resource}: {shown}");
        }
    }
    let (sender, receiver) = stage.running.take().expect("both run");
    assert_eq!((sender.terminate(), receiver.terminate()), (Some(0), Some(0)));
    let (new, held) = came(&stage.receiver);
    let of_others = there["entries"].as_u64().expect("a count") - written_by(&stage.receiver);
    // A line that was still in memory when the power went is lost, though the entries are not.
    assert!(new * 2 > of_others, "the log tells of {new} of {of_others} entries that came");
    // None is meant to; one did once (docs/reliability.md, "Known, not explained").
    assert!(held <= 1, "{held} entries that were held have travelled again, {new} were new");
}
