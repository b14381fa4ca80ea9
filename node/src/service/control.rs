//! How a command reaches the running node: a Unix socket in its directory.
//!
//! One connection carries one [`Asked`] as a line of JSON, then any number of [`Progress`] lines
//! back, then one reply or error. The socket's file can be opened by its owner only, and both ends
//! check whose process is at the other. Closing the connection ends the command.
//!
//! A socket's path may have 107 bytes; directories are deeper than that. So the socket is named
//! through an open handle on its directory (`/proc/self/fd/N/control.sock`).

use super::error::{CommandError, ErrorKind};
use super::report::{self, Reporter};
use super::request::{Asked, Progress};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

/// The socket's name in the node's directory.
pub const FILE_NAME: &str = "control.sock";

/// Raised when a line changes its meaning; the two ends then tell the user to restart the node.
const VERSION: u32 = 2;

/// A request: a resource with an attachment of 4 MiB in base64, and room.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// A line of an answer. Long answers come in items; the longest single one is a conflict list.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Line {
    version: u32,
    asked: Asked,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Progress(Progress),
    Reply(Value),
    Error(CommandError),
}

/// The node's end: a socket that only the owner of the directory may open.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    /// Keeps the name through which the socket is bound; see the head of the file.
    directory: File,
    owner: u32,
}

impl ControlSocket {
    /// Takes the place of a socket that a killed node left behind. The caller holds the directory's
    /// lock: no other node can be listening here.
    pub fn bind(dir: &Path) -> io::Result<Self> {
        let directory = File::open(dir)?;
        let temporary = through(&directory, "control.new");
        remove(&temporary)?;
        let listener = UnixListener::bind(&temporary)?;
        // Nobody can call before the rename, so there is no moment at which others could.
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&temporary)?.uid();
        fs::rename(&temporary, through(&directory, FILE_NAME))?;
        Ok(Self { listener, directory, owner })
    }

    /// Waits for the next caller who runs as the owner; others are turned away.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0) {
                return Ok(stream);
            }
            tracing::warn!("a process of another user called the control socket and was refused");
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(through(&self.directory, FILE_NAME));
    }
}

/// Serves one caller: hands the request to `execute` and carries the answer back. Ends early when
/// the caller goes away.
pub async fn serve<F, R>(stream: UnixStream, execute: F) -> io::Result<()>
where
    F: FnOnce(Asked, Reporter) -> R,
    R: Future<Output = Result<Value, CommandError>>,
{
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let Some(line) = line(&mut read, REQUEST_BYTES_MAX).await? else { return Ok(()) };
    let asked = match serde_json::from_slice::<Line>(&line) {
        Ok(line) if line.version == VERSION => line.asked,
        _ => {
            let error = CommandError::bad_input("the running node does not know this command")
                .advise("Restart `carnet run`: it is of another version than this program");
            return send(&mut write, &Answer::Error(error)).await;
        }
    };
    let (reporter, mut reports) = report::channel();
    let work = execute(asked, reporter);
    tokio::pin!(work);
    let mut rest = [0; 1];
    let outcome = loop {
        tokio::select! {
            biased;
            Some(progress) = reports.recv() => {
                send(&mut write, &Answer::Progress(progress)).await?;
            }
            outcome = &mut work => break outcome,
            // A caller says nothing more; this returns when it has gone.
            _ = read.read(&mut rest) => return Ok(()),
        }
    };
    while let Ok(progress) = reports.try_recv() {
        send(&mut write, &Answer::Progress(progress)).await?;
    }
    let answer = match outcome {
        Ok(reply) => Answer::Reply(reply),
        Err(error) => Answer::Error(error),
    };
    send(&mut write, &answer).await
}

/// The caller's end.
#[derive(Debug)]
pub struct Client {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Client {
    /// Calls the node that runs on this directory; `None` when none does.
    pub async fn connect(dir: &Path) -> Result<Option<Self>, CommandError> {
        let path = dir.join(FILE_NAME);
        let Ok(directory) = File::open(dir) else { return Ok(None) };
        let stream = match UnixStream::connect(through(&directory, FILE_NAME)).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(CommandError::new(ErrorKind::Denied, "the node runs as another user")
                    .at(path.display())
                    .advise("Run this command as that user"));
            }
            Err(error) => return Err(CommandError::file(&error, &path)),
        };
        let owner = fs::metadata(dir).map_err(|error| CommandError::file(&error, dir))?.uid();
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == owner || peer.uid() == 0) {
            return Err(CommandError::new(
                ErrorKind::Denied,
                "another user's process answers in the node's place",
            )
            .at(path.display()));
        }
        let (read, write) = stream.into_split();
        Ok(Some(Self { read: BufReader::new(read), write }))
    }

    /// Sends the request and waits for the answer; `reporter` gets what comes on the way.
    pub async fn ask(mut self, asked: Asked, reporter: &Reporter) -> Result<Value, CommandError> {
        let gone = |error: io::Error| {
            CommandError::new(ErrorKind::Failure, format!("the running node hung up: {error}"))
                .advise("Look into its log, then try again")
        };
        send(&mut self.write, &Line { version: VERSION, asked }).await.map_err(gone)?;
        loop {
            let line = line(&mut self.read, ANSWER_BYTES_MAX).await.map_err(gone)?;
            let line = line.ok_or_else(|| gone(io::ErrorKind::UnexpectedEof.into()))?;
            match serde_json::from_slice(&line) {
                Ok(Answer::Progress(Progress::Item(value))) => reporter.item(value).await?,
                Ok(Answer::Progress(Progress::Step { phase, done, total })) => {
                    reporter.step(&phase, done, total);
                }
                Ok(Answer::Reply(reply)) => return Ok(reply),
                Ok(Answer::Error(error)) => return Err(error),
                Err(error) => return Err(gone(error.into())),
            }
        }
    }
}

fn through(directory: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn send(write: &mut OwnedWriteHalf, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// The next line without its end; `None` at the end of the stream.
async fn line(read: &mut BufReader<OwnedReadHalf>, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    read.take(bytes_max).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long or cut off")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Request;
    use super::*;
    use serde_json::json;
    use tokio::sync::oneshot;

    async fn echo(asked: Asked, reporter: Reporter) -> Result<Value, CommandError> {
        reporter.item(json!(1)).await?;
        reporter.item(json!(2)).await?;
        match asked.request {
            Request::Status => Ok(json!({ "ok": true })),
            _ => Err(CommandError::new(ErrorKind::Locked, "the node is locked")),
        }
    }

    async fn ask(dir: &Path, request: Request) -> (Result<Value, CommandError>, usize) {
        let client = Client::connect(dir).await.expect("allowed").expect("a node runs");
        let (reporter, mut reports) = report::channel();
        let outcome = client.ask(request.into(), &reporter).await;
        drop(reporter);
        let mut items = 0;
        while reports.recv().await.is_some() {
            items += 1;
        }
        (outcome, items)
    }

    #[tokio::test]
    async fn a_request_brings_its_items_and_then_its_answer() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("d".repeat(120));
        fs::create_dir(&deep).expect("a deep directory");
        assert!(Client::connect(&deep).await.expect("no error").is_none());
        let socket = ControlSocket::bind(&deep).expect("bound");
        let mode = fs::metadata(deep.join(FILE_NAME)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let stream = socket.accept().await.expect("a caller");
                serve(stream, echo).await.expect("served");
            }
        });
        let (reply, items) = ask(&deep, Request::Status).await;
        assert_eq!((reply.expect("a reply"), items), (json!({ "ok": true }), 2));
        let (reply, _) = ask(&deep, Request::Verify).await;
        assert_eq!(reply.expect_err("locked").exit() as u8, 13);
        server.await.expect("the server ends");
        assert!(!deep.join(FILE_NAME).exists(), "a clean end takes the socket away");
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_no_node_and_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = ControlSocket::bind(dir.path()).expect("bound");
        let left = dir.path().join("left");
        fs::hard_link(dir.path().join(FILE_NAME), &left).expect("linked");
        drop(socket);
        fs::rename(&left, dir.path().join(FILE_NAME)).expect("back");
        assert!(Client::connect(dir.path()).await.expect("no error").is_none());
        ControlSocket::bind(dir.path()).expect("bound again");
    }

    #[tokio::test]
    async fn foreign_lines_are_answered_and_a_caller_who_leaves_ends_the_work() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = ControlSocket::bind(dir.path()).expect("bound");
        let mut stream = UnixStream::connect(dir.path().join(FILE_NAME)).await.expect("connected");
        stream.write_all(b"GET / HTTP/1.1\n").await.expect("sent");
        let served = serve(socket.accept().await.expect("a caller"), echo).await;
        served.expect("answered");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        assert!(answer.contains("bad-input"), "{answer}");

        let client = Client::connect(dir.path()).await.expect("allowed").expect("there");
        let stream = socket.accept().await.expect("a caller");
        let (dropped, ended) = oneshot::channel::<()>();
        let never = |_, _| async move {
            let _held = dropped;
            std::future::pending().await
        };
        let work = tokio::spawn(serve(stream, never));
        let mut client = client;
        send(&mut client.write, &Line { version: VERSION, asked: Request::Verify.into() })
            .await
            .expect("sent");
        drop(client);
        work.await.expect("no panic").expect("it ended");
        assert!(ended.await.is_err(), "the work was dropped");
    }
}
