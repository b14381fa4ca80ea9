//! A node's directory, the process that runs on it, and the questions that it is asked.

use super::disk::Disk;
use super::{Outcome, now_ms, pause};
use carnet_node::service::control::Client;
use carnet_node::service::error::{CommandError, ErrorKind};
use carnet_node::service::report;
use carnet_node::service::request::{Progress, Request};
use carnet_node::store::Ledger;
use carnet_node::vault::Keyring;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// No command may take longer.
const PATIENCE: Duration = Duration::from_secs(600);

/// See the head of the file.
pub struct Site {
    program: PathBuf,
    root: PathBuf,
    /// Removes everything at the end.
    temporary: Option<TempDir>,
    /// The address that peers call; always the same.
    pub address: String,
    /// The disk that the process runs on; the machine's own if none is set.
    pub disk: Option<Disk>,
    child: Option<Child>,
}

impl Site {
    /// A place without a node.
    pub fn new(program: &Path) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let mut site = Self::at(program, folder.path())?;
        site.temporary = Some(folder);
        Ok(site)
    }

    /// A place that was there before and stays, with or without a node.
    pub fn at(program: &Path, root: &Path) -> Outcome<Self> {
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self {
            program: program.to_owned(),
            root: root.to_owned(),
            temporary: None,
            address: format!("127.0.0.1:{port}"),
            disk: None,
            child: None,
        })
    }

    /// The first node of a practice.
    pub fn found(program: &Path) -> Outcome<Self> {
        let site = Self::new(program)?;
        site.init()?;
        Ok(site)
    }

    /// Founds a practice here.
    pub fn init(&self) -> Outcome<()> {
        let founding = ["--practice", "P", "--site", "Ziguinchor", "--unlock", "keyfile"];
        self.run(&[&["init"], &founding[..]].concat())?;
        Ok(())
    }

    /// A node that joins this one, which must be running.
    pub fn joined(&self, name: &str) -> Outcome<Self> {
        let invited = self.run(&["invite", "--site", name, "--address", &self.address])?;
        let invitation = invited["invitation"].as_str().ok_or("no invitation")?;
        let site = Self::new(&self.program)?;
        site.run(&["join", invitation, "--unlock", "keyfile"])?;
        Ok(site)
    }

    /// The node's directory.
    pub fn dir(&self) -> PathBuf {
        self.root.join("node")
    }

    /// Leaves everything where it is, to be looked at.
    pub fn keep(&mut self) -> PathBuf {
        if let Some(folder) = &mut self.temporary {
            folder.disable_cleanup(true);
        }
        self.dir()
    }

    /// A folder beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The program, ready to be told what to do here; nothing of the tester's account has a part.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARNET_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", &self.root)
            .env("XDG_CONFIG_HOME", self.root.join("config"))
            .env("CARNET_LANG", "en")
            .env_remove("CREDENTIALS_DIRECTORY")
            .arg("--dir")
            .arg(self.dir())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Gives a command that must succeed; its answer.
    pub fn run(&self, arguments: &[&str]) -> Outcome<Value> {
        let output = self.command(arguments).arg("--json").output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("carnet {arguments:?} failed: {said}{errors}").into());
        }
        Ok(serde_json::from_str(said.lines().last().unwrap_or_default())?)
    }

    /// Starts the node, and waits until it is ready; what it said if it ended instead.
    pub fn start(&mut self) -> Outcome<Result<(), String>> {
        self.start_as(|_| {})
    }

    /// The same with something done to the command first.
    pub fn start_as(&mut self, prepare: impl FnOnce(&mut Command)) -> Outcome<Result<(), String>> {
        let mut command = self.command(&["run", "--json", "--sync-listen", &self.address]);
        if let Some(disk) = &self.disk {
            disk.under(&mut command);
        }
        prepare(&mut command);
        let errors = self.beside("stderr");
        let mut child = command.stdout(Stdio::piped()).stderr(File::create(&errors)?).spawn()?;
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no output")?);
        stdout.read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        if ready["ready"].is_object() {
            self.child = Some(child);
            return Ok(Ok(()));
        }
        child.wait()?;
        Ok(Err(format!("{line}{}", fs::read_to_string(&errors)?)))
    }

    /// Starts the node, which must succeed.
    pub fn started(&mut self) -> Outcome<()> {
        Ok(self.start()??)
    }

    /// The running process.
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process ended by itself.
    pub fn has_ended(&mut self) -> Outcome<bool> {
        let Some(child) = &mut self.child else { return Ok(true) };
        Ok(child.try_wait()?.is_some())
    }

    /// Ends the process at once, as a power cut does.
    pub fn kill(&mut self) -> Outcome<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Whether a thread of it panicked.
    pub fn panicked(&self) -> Option<String> {
        let said = fs::read_to_string(self.beside("stderr")).unwrap_or_default();
        said.contains("panicked").then_some(said)
    }

    /// Asks the running node.
    pub async fn ask(&self, request: Request) -> Result<Value, CommandError> {
        Ok(ask(&self.dir(), request).await?.0)
    }

    /// Every resource that the running node shows.
    pub async fn resources(&self) -> Result<Vec<Value>, CommandError> {
        Ok(ask(&self.dir(), Request::Export { patient: None }).await?.1)
    }

    /// Waits until every peer has what this node has.
    pub async fn synced(&self) -> Outcome<()> {
        let begun = now_ms();
        loop {
            let told = self.ask(Request::Sync { peer: None, timeout_s: 20 }).await?;
            let peers = told["peers"].as_array().cloned().unwrap_or_default();
            if !peers.is_empty() && peers.iter().all(|peer| peer["in_sync"] == true) {
                return Ok(());
            }
            if now_ms() - begun > 60_000 {
                return Err(format!("the nodes do not come together: {told}").into());
            }
            pause(100);
        }
    }

    /// What is wrong with the ledger's file, by SQLite's check.
    pub fn integrity(&self) -> Outcome<Vec<String>> {
        Ok(Ledger::open_read_only(&self.dir().join("log.db"))?.integrity_check()?)
    }

    /// How many logs forked, since a number was given out twice.
    pub fn forked(&self) -> Outcome<u64> {
        let ledger = Ledger::open_read_only(&self.dir().join("log.db"))?;
        Ok(ledger.forked_logs().len() as u64)
    }

    /// Logs of which `peer` was told that this node holds them, and does not.
    pub fn custody_broken(&self, peer: &Self) -> Outcome<Vec<String>> {
        let own = Keyring::open(&self.dir())?.keys().transport;
        let promised = Ledger::open_read_only(&peer.dir().join("log.db"))?.peer_frontier(&own)?;
        let ledger = Ledger::open_read_only(&self.dir().join("log.db"))?;
        let mut broken = Vec::new();
        for (log, heads) in promised.into_iter().flat_map(|frontier| frontier.0) {
            if ledger.known(&log, &heads)?.len() != heads.len() {
                let channel = log.channel.name();
                broken.push(format!("a {channel} log that a peer relies on is shorter"));
            }
        }
        Ok(broken)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It has ended already, or has nothing to lose.
        let _ = self.kill();
    }
}

/// Asks the node that runs on `dir`: the answer, and the items that came before it.
pub async fn ask(dir: &Path, request: Request) -> Result<(Value, Vec<Value>), CommandError> {
    let gone = |what: &str| CommandError::new(ErrorKind::Unreachable, what);
    let client = Client::connect(dir).await?.ok_or_else(|| gone("no node runs"))?;
    let (reporter, mut reports) = report::channel();
    let asking = async move {
        let answer = client.ask(request.into(), &reporter).await;
        drop(reporter);
        answer
    };
    let listening = async {
        let mut items = Vec::new();
        while let Some(progress) = reports.recv().await {
            if let Progress::Item(item) = progress {
                items.push(item);
            }
        }
        items
    };
    let both = async { tokio::join!(asking, listening) };
    let waited = tokio::time::timeout(PATIENCE, both).await;
    let (answer, items) = waited.map_err(|_| gone("the node does not answer"))?;
    Ok((answer?, items))
}
