//! `carnet run` as a process: started, asked, watched from outside, ended.

use crate::local::{Outcome, node::now};
use carnet_node::service::control::Client;
use carnet_node::service::report;
use carnet_node::service::request::Request;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a node may take until it is ready, or has ended.
const PATIENCE: Duration = Duration::from_secs(300);

/// Linux counts a process's time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// The product's program, built beside this one.
pub fn program() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("carnet");
    if program.is_file() {
        return Ok(program);
    }
    let advice = "build it first, in the same profile: cargo build --release";
    Err(format!("{} is not there; {advice}", program.display()).into())
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, of the program and for it.
    pub cpu_seconds: f64,
    /// The most memory that was ever resident.
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// Of a process; zero if it is gone.
    pub fn of(process: &str) -> Self {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}"));
        let stat = file("stat").unwrap_or_default();
        // The name in parentheses may hold anything; behind it, the fields are fixed.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let field = |at| fields.split(' ').nth(at).and_then(|text| text.parse::<f64>().ok());
        let ticks = field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0);
        let status = file("status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Self { cpu_seconds: ticks / TICKS_PER_SECOND, peak_rss_bytes: kib.unwrap_or(0) * 1024 }
    }
}

/// A running node. Killed when it is dropped.
pub struct Daemon {
    child: Child,
    dir: PathBuf,
    /// Where it answers its peers.
    pub listening: SocketAddr,
}

impl Daemon {
    /// Starts the node in `home`, where its directory and its key lie, and waits until it is ready.
    pub fn start(home: &Path) -> Outcome<Self> {
        let dir = home.join("node");
        let said = home.join("said");
        let mut command = Command::new(program()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARNET_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home)
            .env_remove("CREDENTIALS_DIRECTORY")
            .arg("--dir")
            .arg(&dir)
            .arg("--key-file")
            .arg(home.join("key"))
            .args(["--json", "run", "--sync-listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&said)?)
            .stderr(std::fs::File::create(home.join("complained"))?);
        let child = command.spawn()?;
        let mut daemon = Self { child, dir, listening: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let begun = now();
        loop {
            let text = std::fs::read_to_string(&said)?;
            if let Some(line) = text.strip_suffix('\n') {
                let ready: Value = serde_json::from_str(line)?;
                let address = ready["ready"]["listening"][0].as_str().unwrap_or_default();
                daemon.listening = address.parse()?;
                return Ok(daemon);
            }
            if daemon.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let why = std::fs::read_to_string(home.join("complained"))?;
                return Err(format!("the node does not start: {why}").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it has used.
    pub fn usage(&self) -> Usage {
        Usage::of(&self.child.id().to_string())
    }

    /// Asks it something over its control socket.
    pub fn ask(&self, request: Request) -> Outcome<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = Client::connect(&self.dir).await.map_err(|error| error.to_string())?;
            let client = client.ok_or("the node does not run")?;
            let (reporter, _reports) = report::channel();
            Ok(client.ask(request.into(), &reporter).await.map_err(|error| error.to_string())?)
        })
    }

    /// Ends it in good order.
    pub fn stop(mut self) -> Outcome<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        let begun = now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err("the node does not end".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already, or has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
