//! Two sites of a practice with their charts, and the line between them.
//!
//! What is not measured (founding, joining, importing, coming into step for the first time) is done
//! here as fast as it goes: by the records in this process, and over the line while it is open.

use super::charts::Invented;
use super::daemon::Daemon;
use super::held::{self, Heads, Held};
use super::line::Line;
use super::profile::Shape;
use crate::local::Outcome;
use carnet_node::access::{Action, operator_permit};
use carnet_node::base::environment::Environment;
use carnet_node::records::joining::Applicant;
use carnet_node::records::membership::Invite;
use carnet_node::records::{Init, Records};
use carnet_node::service::request::Request;
use carnet_node::vault::{UnlockMethod, UnlockSecret};
use carnet_sync_protocol::certificate::{Capabilities, Role};
use carnet_sync_protocol::message::JoinAnswer;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How long it may take to come into step over an open line.
const OPEN_MAX: Duration = Duration::from_secs(3600);
/// Over an open line, that no datagram goes for so long means that nothing is left to say.
const OPEN_QUIET: Duration = Duration::from_millis(500);

/// A receipt follows what has moved within so long.
const RECEIPT_REST: Duration = Duration::from_secs(6);

/// The two sites between which everything is measured; further authors come after them.
pub const CALLED: usize = 0;
/// The one that calls.
pub const CALLER: usize = 1;

/// See the head of the file.
pub struct Stage {
    root: TempDir,
    homes: Vec<PathBuf>,
    /// Between the called site and the caller.
    pub line: Line,
}

/// The two nodes, running.
pub struct Running {
    /// The called one.
    pub called: Daemon,
    /// The one that calls.
    pub caller: Daemon,
}

impl Running {
    /// Ends both.
    pub fn stop(self) -> Outcome<()> {
        self.caller.stop()?;
        self.called.stop()
    }
}

impl Stage {
    /// Founds a practice whose first site is called by the others.
    pub fn found(seed: u64) -> Outcome<Self> {
        let root = tempfile::tempdir()?;
        let stage = Self { homes: vec![root.path().join("0")], root, line: Line::new(seed)? };
        let home = stage.home(CALLED);
        std::fs::create_dir(home)?;
        let init = Init {
            practice: "Measured".into(),
            site: "Called".into(),
            unlock: UnlockMethod::KeyFile(home.join("key")),
            practice_passphrase: None,
        };
        Records::init(&home.join("node"), Environment::system(), init)?.records.close();
        Ok(stage)
    }

    /// Where a site lives.
    pub fn home(&self, site: usize) -> &Path {
        &self.homes[site]
    }

    /// One more site, with empty charts, that calls the first one over the line.
    pub fn join(&mut self) -> Outcome<usize> {
        let site = self.homes.len();
        let home = self.root.path().join(site.to_string());
        std::fs::create_dir(&home)?;
        let invite = Invite {
            site: format!("Caller {site}"),
            role: Role::Clinic,
            capabilities: Capabilities { admit: false, restricted: true, audit: true },
            addresses: vec![self.line.address.to_string()],
            valid_ms: 60_000,
            practice: None,
        };
        let unlock = UnlockMethod::KeyFile(home.join("key"));
        let mut inviter = self.records(CALLED)?;
        let invitation = inviter.invite(&operator_permit(Action::Administer), invite)?;
        let applicant = Applicant::begin(&home.join("node"), Environment::system(), &unlock)?;
        let request = applicant.request(&invitation, &[0; 32]);
        let answer = inviter.answer_join(&request, &[0; 32])?;
        inviter.commit()?;
        inviter.close();
        let JoinAnswer::Admitted(admission) = answer else { return Err("not admitted".into()) };
        let mut records = applicant.admitted(&invitation, *admission)?;
        records.commit()?;
        records.close();
        self.homes.push(home);
        Ok(site)
    }

    /// The records of a site that does not run, open in this process.
    pub fn records(&self, site: usize) -> Outcome<Records> {
        let home = self.home(site);
        let mut records = Records::open(&home.join("node"), Environment::system())?;
        records.unlock(&UnlockSecret::from_key_file(&home.join("key"))?)?;
        records.commit()?;
        Ok(records)
    }

    /// Imports charts at a site that does not run.
    pub fn import(&self, site: usize, charts: impl Iterator<Item = Invented>) -> Outcome<u64> {
        let mut records = self.records(site)?;
        let permit = operator_permit(Action::Import);
        let mut resources = 0;
        for chart in charts {
            let report = records.import(&permit, chart.sources(), |_, _| {})?;
            if let Some(failure) = report.failures.first() {
                return Err(format!("an invented chart is refused: {}", failure.reason).into());
            }
            resources += report.resources;
        }
        records.commit()?;
        records.close();
        Ok(resources)
    }

    /// Starts the called site, and leads the line there.
    pub fn start_called(&self) -> Outcome<Daemon> {
        let called = Daemon::start(self.home(CALLED))?;
        self.line.lead_to(called.listening);
        Ok(called)
    }

    /// Starts both sites, without a link between them: what comes later is a link that returns.
    pub fn apart(&self) -> Outcome<Running> {
        let mut records = self.records(CALLER)?;
        for peer in records.peers()? {
            records.put_peer(peer.transport, None, Vec::new())?;
        }
        records.commit()?;
        records.close();
        self.line.begin(Shape::OPEN);
        Ok(Running { called: self.start_called()?, caller: Daemon::start(self.home(CALLER))? })
    }

    /// Lets the link return.
    pub fn connect(&self, running: &Running, shape: Shape) -> Outcome<()> {
        let node = running.called.ask(Request::Status)?["node"].as_str().map(str::to_owned);
        self.line.begin(shape);
        running.caller.ask(Request::PeerAdd { address: self.line.address.to_string(), node })?;
        Ok(())
    }

    /// Brings a site and the called one into step, over the open line.
    pub fn level(&self, site: usize) -> Outcome<()> {
        self.line.begin(Shape::OPEN);
        let running =
            Running { called: self.start_called()?, caller: Daemon::start(self.home(site))? };
        self.settled(site)?;
        running.stop()
    }

    /// Has the index of a site that does not run show whatever it holds, as a node does when nobody
    /// asks it anything: a million entries that have come take minutes.
    pub fn show(&self, site: usize) -> Outcome<()> {
        let mut records = self.records(site)?;
        records.catch_up()?;
        records.commit()?;
        records.close();
        Ok(())
    }

    /// Waits over the open line until both hold the same and nothing more is said.
    pub fn settled(&self, site: usize) -> Outcome<()> {
        let (here, there) = (Held::open(self.home(CALLED))?, Held::open(self.home(site))?);
        let every = Duration::from_millis(20);
        loop {
            let mut level = Heads::new();
            held::until("both hold the same", OPEN_MAX, every, || {
                level = here.heads()?;
                Ok(self.line.traffic().first.is_some() && level == there.heads()?)
            })?;
            // The receipt is signed when nothing has moved for a while, and then goes on record,
            // which moves again; without it, the next session would not begin as between nodes
            // that know each other.
            std::thread::sleep(RECEIPT_REST);
            self.quiet(OPEN_QUIET)?;
            if here.heads()? == level && there.heads()? == level {
                return Ok(());
            }
        }
    }

    /// Waits until no datagram was put on the line for so long.
    pub fn quiet(&self, rest: Duration) -> Outcome<()> {
        held::until("the line falls silent", OPEN_MAX, Duration::from_millis(20), || {
            Ok(self.line.traffic().last.is_some_and(|last| last.elapsed() >= rest))
        })?;
        Ok(())
    }
}
