//! Sites with a directory each, commands given to them, and daemons that run on them.

use carnet_node::base::environment::Environment;
use carnet_node::sample::{Generator, Size};
use serde_json::Value;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// The product.
pub const CARNET: &str = env!("CARGO_BIN_EXE_carnet");

/// No command may take longer; a test that hangs is a test that failed.
const PATIENCE_MS: u64 = 60_000;

/// A passphrase of the sites that have one.
pub const PASSPHRASE: &str = "quatre chevaux bleus";

/// The clock of this process.
pub fn now_ms() -> u64 {
    static CLOCK: OnceLock<Environment> = OnceLock::new();
    CLOCK.get_or_init(Environment::system).monotonic_ms()
}

pub fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Asks until the answer is yes; says what was awaited when it never is.
#[track_caller]
pub fn until(what: &str, within_ms: u64, mut yes: impl FnMut() -> bool) {
    let begun = now_ms();
    while !yes() {
        assert!(now_ms() - begun < within_ms, "not within {within_ms} ms: {what}");
        pause(20);
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// The JSON on the last line.
    #[track_caller]
    pub fn json(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// A place with a node's directory, and whatever lies beside it.
pub struct Site {
    /// Beside the node: keys, files to import, the output of commands.
    pub root: TempDir,
}

impl Site {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a temporary directory") }
    }

    /// The first node of a practice, opened by a key file; and its recovery code.
    pub fn found(name: &str) -> (Self, String) {
        let site = Self::new();
        let answer =
            site.json(&["init", "--practice", "Casamance", "--site", name, "--unlock", "keyfile"]);
        let code = answer["recovery_code"].as_str().expect("a recovery code").to_owned();
        (site, code)
    }

    /// A node that joins with an invitation, opened by a key file.
    pub fn joined(invitation: &str) -> Self {
        let site = Self::new();
        site.json(&["join", invitation, "--unlock", "keyfile"]);
        site
    }

    /// The node's own directory.
    pub fn dir(&self) -> PathBuf {
        self.root.path().join("node")
    }

    /// A file beside the node.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.root.path().join(name);
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    /// The product, ready to be told what to do here; nothing of the tester's account has a part.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CARNET);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARNET_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.root.path())
            .env("XDG_CONFIG_HOME", self.root.path().join("config"))
            .env("CARNET_LANG", "en")
            .env_remove("CREDENTIALS_DIRECTORY")
            .arg("--dir")
            .arg(self.dir())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Gives a command and waits for its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments))
    }

    /// The answer of a command that must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(done.code, Some(0), "{arguments:?}: {done:?}");
        done.json()
    }

    /// A command that must be refused with this exit code, and say so in these words.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str], code: i32, words: &str) -> Done {
        let done = self.run(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(words), "{arguments:?} does not say {words:?}: {done:?}");
        assert!(!done.stderr.contains("panicked"), "{done:?}");
        done
    }

    /// Starts the node and waits until it is ready.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Daemon {
        self.start_with(arguments, &[])
    }

    /// The same with settings from the environment.
    #[track_caller]
    pub fn start_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(&[&["run", "--json"], arguments].concat());
        command.envs(settings.iter().copied());
        let output = tempfile::NamedTempFile::new().expect("a temporary file");
        let errors = tempfile::NamedTempFile::new().expect("a temporary file");
        let child = command
            .stdout(output.reopen().expect("opened"))
            .stderr(errors.reopen().expect("opened"))
            .spawn()
            .expect("started");
        let mut daemon = Daemon { child, address: String::new() };
        let begun = now_ms();
        let ready = loop {
            let said = fs::read_to_string(output.path()).unwrap_or_default();
            if let Some(line) = said.strip_suffix('\n') {
                break serde_json::from_str::<Value>(line).expect("JSON");
            }
            let ended = daemon.child.try_wait().expect("a child");
            let complaint = || fs::read_to_string(errors.path()).unwrap_or_default();
            assert!(ended.is_none(), "it ended: {}", complaint());
            assert!(now_ms() - begun < PATIENCE_MS, "it is never ready: {}", complaint());
            pause(1);
        };
        assert!(ready["ready"].is_object(), "it is not ready: {ready}");
        let address = ready["ready"]["listening"][0].as_str().unwrap_or_default();
        daemon.address = address.to_owned();
        daemon
    }

    /// Starts the node so that peers may call it, at a port that the system chooses.
    #[track_caller]
    pub fn listen(&self) -> Daemon {
        self.start(&["--sync-listen", "127.0.0.1:0"])
    }

    /// Makes an invitation; whoever uses it will call at `address`, or where the node listens.
    #[track_caller]
    pub fn invite(&self, arguments: &[&str]) -> String {
        let invited = self.json(&[&["invite"], arguments].concat());
        invited["invitation"].as_str().expect("an invitation").to_owned()
    }

    /// What `verify` tells of a node on which everything holds.
    #[track_caller]
    pub fn verified(&self) -> Value {
        let told = self.json(&["verify"]);
        assert_eq!(told["ok"], true, "{told}");
        told
    }

    /// A resource as the node shows it.
    #[track_caller]
    pub fn shown(&self, resource: &str) -> Value {
        self.json(&["chart", "show", resource])
    }

    pub fn digest(&self) -> String {
        self.verified()["state_digest"].as_str().expect("a digest").to_owned()
    }

    /// How many entries the node holds.
    pub fn entries(&self) -> u64 {
        self.json(&["status"])["entries"].as_u64().expect("a count")
    }

    /// Every file in the node's directory with a hash of its content: what must not change when a
    /// command is refused.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        read_files(&self.dir(), &mut files);
        let hash = |content: &Vec<u8>| {
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            hasher.finish()
        };
        let mut files: Vec<_> =
            files.into_iter().map(|(path, content)| (path, hash(&content))).collect();
        files.sort();
        files
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn finish(mut command: Command) -> Done {
    let output = tempfile::NamedTempFile::new().expect("a temporary file");
    let errors = tempfile::NamedTempFile::new().expect("a temporary file");
    command.stdout(output.reopen().expect("opened")).stderr(errors.reopen().expect("opened"));
    let mut child = command.spawn().expect("started");
    let code = wait(&mut child, &format!("{command:?}"));
    let text = |file: &Path| String::from_utf8_lossy(&fs::read(file).expect("read")).into_owned();
    Done { code, stdout: text(output.path()), stderr: text(errors.path()) }
}

/// Waits for a process's end; one that takes too long is ended and reported.
#[track_caller]
pub fn wait(child: &mut Child, what: &str) -> Option<i32> {
    let begun = now_ms();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        if now_ms() - begun > PATIENCE_MS {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not end: {what}");
        }
        pause(1);
    }
}

/// Reads every regular file under a directory.
pub fn read_files(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_files(&path, files);
        } else if path.is_file() {
            let mut content = Vec::new();
            // A file that is gone by now holds nothing any more.
            if let Ok(mut file) = File::open(&path) {
                file.read_to_end(&mut content).expect("read");
                files.push((path, content));
            }
        }
    }
}

/// A running node; killed when it is dropped.
pub struct Daemon {
    child: Child,
    /// Where it answers peers.
    pub address: String,
}

impl Daemon {
    /// What a power cut does.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("a child");
    }

    /// What the service manager does; the exit code.
    #[track_caller]
    pub fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        wait(&mut self.child, "SIGTERM")
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(mut self) -> Option<i32> {
        wait(&mut self.child, "a signal")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already, or has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that this one started.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Invented patients, as files to import.
pub fn patients(site: &Site, seed: u64, count: u32) -> Vec<String> {
    let mut generator = Generator::new(seed, 1_780_000_000_000);
    (0..count)
        .map(|number| {
            let bundle = generator.patient(Size::Standard).to_string();
            site.file(&format!("patient-{seed}-{number}.json"), bundle)
        })
        .collect()
}

/// Short notes, as one file to import.
pub fn notes(site: &Site, count: u32) -> String {
    let lines: String = (0..count)
        .map(|number| format!("{{\"resourceType\":\"Basic\",\"id\":\"n{number}\"}}\n"))
        .collect();
    site.file("many.ndjson", lines)
}

/// Imports files, all of which must be taken.
#[track_caller]
pub fn import(site: &Site, files: &[String]) -> Value {
    let mut arguments = vec!["import"];
    arguments.extend(files.iter().map(String::as_str));
    let told = site.json(&arguments);
    assert_eq!((told["failed"].as_u64(), told["skipped"].as_u64()), (Some(0), Some(0)), "{told}");
    told
}
