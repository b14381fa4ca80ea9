//! The streams of one connection: frames in and out, each lane in order, the urgent ones first.
//!
//! The control lane is the one stream in both directions, opened by the dialer. Each channel has a
//! stream of its own in each direction, opened with the first frame on it and beginning with the
//! channel's number. A frame is its length (four bytes, most significant first) and its bytes.

use super::error::SyncError;
use carnet_sync_protocol::id::Channel;
use carnet_sync_protocol::limit;
use carnet_sync_protocol::session::Lane;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Bytes that may wait to be sent: all windows of a session, and a frontier's worth of control
/// frames. A peer that lets more pile up does not read, while it makes this side answer.
const QUEUED_BYTES_MAX: usize = 64 << 20;
/// What is reserved for a frame before its bytes have come.
const PIECE_BYTES: usize = 64 << 10;

/// A frame and the lane on which it travels.
pub(super) struct Frame {
    pub(super) lane: Lane,
    pub(super) bytes: Vec<u8>,
}

type Received = Result<Frame, SyncError>;

/// All streams of one connection.
pub(super) struct Lanes {
    connection: quinn::Connection,
    received: mpsc::Receiver<Received>,
    readers: Readers,
    control: mpsc::UnboundedSender<Vec<u8>>,
    data: Vec<(Lane, mpsc::UnboundedSender<Vec<u8>>)>,
    writers: JoinSet<()>,
    queued: Arc<AtomicUsize>,
    reading: JoinSet<()>,
}

/// What a task that reads a stream shares with the others.
#[derive(Clone)]
struct Readers {
    frames: mpsc::Sender<Received>,
    channels: Arc<std::sync::Mutex<BTreeSet<Channel>>>,
}

impl Lanes {
    /// Opens the control lane, or waits in the background until the dialer has.
    pub(super) fn new(connection: quinn::Connection, dialed: bool) -> Self {
        let (frames, received) = mpsc::channel(1);
        let (control, outgoing) = mpsc::unbounded_channel();
        let readers = Readers { frames, channels: Arc::default() };
        let queued = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        let (link, counted, frames) = (connection.clone(), queued.clone(), readers.frames.clone());
        writers.spawn(async move {
            let opened = if dialed { link.open_bi().await } else { link.accept_bi().await };
            // A connection that is gone is noticed by who drives it.
            let Ok((send, receive)) = opened else { return };
            let mut reading = JoinSet::new();
            reading.spawn(read(Lane::Control, receive, frames));
            write(Lane::Control, send, outgoing, counted).await;
        });
        Self {
            connection,
            received,
            readers,
            control,
            data: Vec::new(),
            writers,
            queued,
            reading: JoinSet::new(),
        }
    }

    /// The next frame of any lane. Cancelling it loses nothing.
    pub(super) async fn receive(&mut self) -> Received {
        self.received.recv().await.unwrap_or(Err(SyncError::ShuttingDown))
    }

    /// Reads a data stream that the peer has opened.
    pub(super) fn add(&mut self, stream: RecvStream) {
        while self.reading.try_join_next().is_some() {}
        self.reading.spawn(read_data(stream, self.readers.clone()));
    }

    /// Queues a frame; the order within a lane is kept.
    pub(super) fn send(&mut self, Frame { lane, bytes }: Frame) -> Result<(), SyncError> {
        let waiting = self.queued.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if waiting > QUEUED_BYTES_MAX {
            return Err(SyncError::Violation("it does not read what it asks for".into()));
        }
        let queue = match lane {
            Lane::Control => &self.control,
            Lane::Data(channel) => self.data_queue(lane, channel),
        };
        // The queue of a connection that is gone is closed; who drives it notices by itself.
        let _ = queue.send(bytes);
        Ok(())
    }

    fn data_queue(&mut self, lane: Lane, channel: Channel) -> &mpsc::UnboundedSender<Vec<u8>> {
        let place = self.data.iter().position(|(open, _)| *open == lane);
        let place = place.unwrap_or_else(|| {
            let (queue, outgoing) = mpsc::unbounded_channel();
            let (link, queued) = (self.connection.clone(), self.queued.clone());
            self.writers.spawn(async move {
                let Ok(mut stream) = link.open_uni().await else { return };
                if stream.write_all(&[channel.number()]).await.is_ok() {
                    write(lane, stream, outgoing, queued).await;
                }
            });
            self.data.push((lane, queue));
            self.data.len() - 1
        });
        &self.data[place].1
    }

    /// Waits until the peer's QUIC has everything that was queued; nothing can be sent afterwards.
    pub(super) async fn flush(self) {
        let Self { control, data, mut writers, received, readers, reading, .. } = self;
        drop((control, data));
        while writers.join_next().await.is_some() {}
        drop((received, readers, reading));
    }
}

async fn write(
    lane: Lane,
    mut stream: SendStream,
    mut frames: mpsc::UnboundedReceiver<Vec<u8>>,
    queued: Arc<AtomicUsize>,
) {
    // Fails only on a stream that is closed already, and then so does the write.
    let _ = stream.set_priority(lane.priority());
    while let Some(frame) = frames.recv().await {
        let length = (frame.len() as u32).to_be_bytes();
        let sent = async {
            stream.write_all(&length).await?;
            stream.write_all(&frame).await
        };
        if sent.await.is_err() {
            return;
        }
        queued.fetch_sub(frame.len(), Ordering::Relaxed);
    }
    if stream.finish().is_ok() {
        // Resolves when all is confirmed, or when the peer wants no more of it.
        let _ = stream.stopped().await;
    }
}

async fn read_data(mut stream: RecvStream, readers: Readers) {
    let mut number = [0];
    if stream.read_exact(&mut number).await.is_err() {
        return;
    }
    let channel = Channel::from_number(number[0]).filter(|channel| {
        readers.channels.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(*channel)
    });
    match channel {
        Some(channel) => read(Lane::Data(channel), stream, readers.frames).await,
        None => {
            let error = SyncError::Violation("a stream is for no channel, or a second one".into());
            // The link that would hear it is gone already.
            let _ = readers.frames.send(Err(error)).await;
        }
    }
}

/// Reads frames until the stream ends. The next is read after the last one has been taken.
async fn read(lane: Lane, mut stream: RecvStream, frames: mpsc::Sender<Received>) {
    // Who has not introduced itself yet gets no more room than that takes.
    let mut bytes_max =
        if lane == Lane::Control { limit::HELLO_BYTES_MAX } else { lane.frame_bytes_max() };
    loop {
        let frame = match read_frame(&mut stream, bytes_max).await {
            Ok(Some(bytes)) => Ok(Frame { lane, bytes }),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let failed = frame.is_err();
        if frames.send(frame).await.is_err() || failed {
            return;
        }
        bytes_max = lane.frame_bytes_max();
    }
}

/// One frame; nothing at the stream's end or when the connection is gone, which is noticed by who
/// drives it. Room is made as the bytes come, whatever length was announced.
async fn read_frame(
    stream: &mut RecvStream,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, SyncError> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(ReadExactError::FinishedEarly(_)) => return Err(cut_short()),
        Err(ReadExactError::ReadError(error)) => return ended(&error),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > bytes_max {
        let what = format!("a frame of {length} bytes, where {bytes_max} are the most");
        return Err(SyncError::Violation(what));
    }
    let mut bytes = Vec::with_capacity(length.min(PIECE_BYTES));
    while bytes.len() < length {
        let wanted = (length - bytes.len()).min(PIECE_BYTES);
        match stream.read_chunk(wanted, true).await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk.bytes),
            Ok(None) => return Err(cut_short()),
            Err(error) => return ended(&error),
        }
    }
    Ok(Some(bytes))
}

fn cut_short() -> SyncError {
    SyncError::Violation("a stream ends within a frame".into())
}

fn ended(error: &ReadError) -> Result<Option<Vec<u8>>, SyncError> {
    match error {
        ReadError::Reset(_) => Err(cut_short()),
        _ => Ok(None),
    }
}
