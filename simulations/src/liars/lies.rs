//! What is told, class by class.

use super::stage::{Face, Stage};
use carnet_node::sync::probe::Probe;
use carnet_node::vault;
use carnet_simulations::forger::Content;
use carnet_simulations::practice::Outcome;
use carnet_sync_protocol::SigningKey;
use carnet_sync_protocol::certificate::Certificate;
use carnet_sync_protocol::entry::{Run, SignatureBytes, sign_entry};
use carnet_sync_protocol::frontier::{Frontier, Head};
use carnet_sync_protocol::id::{Author, Channel, EntryId, Incarnation, LogId, NodeId, ReceiptId};
use carnet_sync_protocol::message::{
    Acknowledgement, ChannelDigest, Hello, HelloBody, LogHeads, Message, Side, Versions,
};
use carnet_sync_protocol::receipt::{Moved, ReceiptBody};
use std::time::Duration;

/// How long the node may take to send a liar away.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long is waited where it need not.
const REST: Duration = Duration::from_millis(20);

/// A class of lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Entries that their authors did not sign.
    Forged,
    /// What was said on another connection; what is held already.
    Replayed,
    /// A node of another practice.
    Foreign,
    /// A node that was cut off.
    Revoked,
    /// An invitation that is over.
    Expired,
    /// A ninth entry in one place of a log.
    Equivocating,
    /// Entries that are claimed and never sent, and a receipt for them.
    Withholding,
    /// Acknowledgements of what was never sent, receipts that nobody proposed.
    Acknowledging,
    /// Messages without sense, as many as go through.
    Flooding,
    /// A connection on which hardly anything comes.
    SlowLoris,
    /// Streams and frames without end.
    EndlessStreams,
    /// More logs and heads than there may be.
    HugeFrontiers,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Forged,
        Self::Replayed,
        Self::Foreign,
        Self::Revoked,
        Self::Expired,
        Self::Equivocating,
        Self::Withholding,
        Self::Acknowledging,
        Self::Flooding,
        Self::SlowLoris,
        Self::EndlessStreams,
        Self::HugeFrontiers,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Foreign => "foreign",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Equivocating => "equivocating",
            Self::Withholding => "withholding",
            Self::Acknowledging => "acknowledging",
            Self::Flooding => "flooding",
            Self::SlowLoris => "slow-loris",
            Self::EndlessStreams => "endless-streams",
            Self::HugeFrontiers => "huge-frontiers",
        }
    }

    /// Whether it breaks a rule there and then. Of what is merely withheld, or said slowly, nobody
    /// can tell whether the line is bad.
    pub const fn is_seen_at_once(self) -> bool {
        !matches!(self, Self::Withholding | Self::SlowLoris | Self::Equivocating)
    }

    /// Tells it.
    pub async fn tell(self, stage: &mut Stage, number: u64) -> Outcome<()> {
        match self {
            Self::Forged => forged(stage, number).await,
            Self::Replayed => replayed(stage, number).await,
            Self::Foreign => {
                let probe = greet_as(stage, |stage| &stage.foreign).await?;
                gone(&probe).await
            }
            Self::Revoked => {
                let probe = greet_as(stage, |stage| &stage.gone).await?;
                gone(&probe).await
            }
            Self::Expired => expired(stage).await,
            Self::Equivocating => equivocating(stage, number).await,
            Self::Withholding => withholding(stage).await,
            Self::Acknowledging => acknowledging(stage, number).await,
            Self::Flooding => flooding(stage, number).await,
            Self::SlowLoris => slow(stage, number).await,
            Self::EndlessStreams => endless(stage, number).await,
            Self::HugeFrontiers => huge(stage, number).await,
        }
    }
}

/// Whether the node has sent the liar away.
async fn gone(probe: &Probe) -> Outcome<()> {
    match probe.ended(PATIENCE).await {
        Some(_) => Ok(()),
        None => Err("the liar was not sent away".into()),
    }
}

fn hello(certificate: &Certificate, key: &SigningKey, exporter: &[u8; 32]) -> Vec<u8> {
    let nothing = Frontier::default();
    let body = HelloBody {
        versions: Versions::OURS,
        certificate: certificate.clone(),
        digests: Channel::ALL.map(|channel| ChannelDigest::of(&nothing, channel)).to_vec(),
        codecs: vault::CODECS.to_vec(),
        receipt: None,
        beyond: None,
        time_ms: 1,
    };
    Message::Hello(Box::new(Hello::new(body, Side::Dialer, exporter, key))).to_bytes()
}

/// A connection on which somebody has introduced itself.
async fn greet_as(stage: &mut Stage, who: impl Fn(&Stage) -> &Face) -> Outcome<Probe> {
    let (certificate, seed) = (who(stage).certificate.clone(), who(stage).seed.clone());
    let mut probe = stage.dial(&seed, false).await?;
    let key = SigningKey::from_bytes(seed.expose());
    let hello = hello(&certificate, &key, probe.exporter());
    probe.frame(&hello).await;
    Ok(probe)
}

/// The same for the rogue, once the node has answered: it is let in.
async fn let_in(stage: &mut Stage) -> Outcome<Probe> {
    let mut probe = greet_as(stage, |stage| &stage.rogue).await?;
    probe.hear(PATIENCE).await.ok_or("the node does not answer a certified peer")?;
    Ok(probe)
}

/// Claims to hold these, and nothing else.
async fn claim(probe: &mut Probe, logs: LogHeads) {
    probe.frame(&Message::Frontier { base: None, logs, last: true }.to_bytes()).await;
}

/// A run on its channel's stream.
async fn send(probe: &mut Probe, channel: Channel, frame: &[u8]) {
    let length = (frame.len() as u32).to_be_bytes();
    let bytes = [&[channel.number()], &length[..], frame].concat();
    probe.stream(&bytes, PATIENCE).await;
}

async fn forged(stage: &mut Stage, number: u64) -> Outcome<()> {
    let mut probe = let_in(stage).await?;
    let own = SigningKey::from_bytes(&stage.chance.bytes());
    let mut run = stage.held.clone().into_run();
    let practice = stage.rogue.certificate.body.practice;
    let head = stage.held.head();
    // What the honest node would write next, but for one thing.
    (run.first_sequence, run.previous) = (head.sequence + 1, head.id);
    run.items.truncate(1);
    match number % 4 {
        0 => run.signature = sign_entry(&own, run.head(practice).ok_or("no head")?.id),
        1 => run.signature = SignatureBytes::from_bytes(&[stage.chance.bytes::<1>()[0]; 64]),
        2 => {
            run = stage.held.clone().into_run();
            let last = run.items.last_mut().ok_or("an empty run")?;
            last.payload.push(0);
        }
        _ => {
            // A stranger, rightly signed.
            let node = NodeId(own.verifying_key().to_bytes());
            run.log.author = Author { node, ..run.log.author };
            (run.first_sequence, run.previous) = (1, EntryId::ZERO);
            run.signature = sign_entry(&own, run.head(practice).ok_or("no head")?.id);
        }
    }
    let claimed = run.head(practice).ok_or("no head")?;
    claim(&mut probe, vec![(run.log, vec![claimed])]).await;
    let (channel, frame) = (run.log.channel, run.to_bytes());
    send(&mut probe, channel, &frame).await;
    if number % 4 == 3 {
        // That nobody certified it is no breach: its certificate may be on its way.
        tokio::time::sleep(REST).await;
        return Ok(());
    }
    gone(&probe).await
}

async fn replayed(stage: &mut Stage, number: u64) -> Outcome<()> {
    if number % 2 == 1 {
        let mut probe = let_in(stage).await?;
        let run: Run = stage.held.clone().into_run();
        claim(&mut probe, vec![(run.log, vec![stage.held.head()])]).await;
        for _ in 0..2 {
            send(&mut probe, run.log.channel, &run.to_bytes()).await;
        }
        tokio::time::sleep(REST).await;
        return Ok(());
    }
    let (certificate, seed) = (stage.rogue.certificate.clone(), stage.rogue.seed.clone());
    let mut probe = stage.dial(&seed, false).await?;
    let key = SigningKey::from_bytes(seed.expose());
    let overheard = stage.overheard.get_or_insert(hello(&certificate, &key, &[0x33; 32])).clone();
    probe.frame(&overheard).await;
    gone(&probe).await
}

async fn expired(stage: &mut Stage) -> Outcome<()> {
    let seed = stage.late.1.transport_seed();
    // Sent away at once: too many have asked.
    let Ok(mut probe) = stage.dial(&seed, true).await else { return Ok(()) };
    let request = stage.late.1.request(&stage.late.0, probe.exporter());
    probe.say(&request.to_bytes()).await;
    probe.end();
    // Either an answer, which is no, or too many have asked.
    let _ = probe.answer(PATIENCE).await;
    Ok(())
}

async fn equivocating(stage: &mut Stage, number: u64) -> Outcome<()> {
    let mut probe = let_in(stage).await?;
    let (channel, fork, document) = (Channel::Administrative, stage.fork, stage.aim.id);
    stage.forger.stand_at(channel, fork);
    let said = format!("once more, otherwise: {number}");
    let run = stage.forger.entry(channel, document, Content::Change(said.as_bytes()))?;
    claim(&mut probe, vec![(run.log(), vec![run.head()])]).await;
    send(&mut probe, channel, &run.into_run().to_bytes()).await;
    tokio::time::sleep(REST).await;
    Ok(())
}

async fn withholding(stage: &mut Stage) -> Outcome<()> {
    let mut probe = let_in(stage).await?;
    let log = stage.held.log();
    let head = Head { sequence: stage.held.head().sequence + 7, id: EntryId(stage.chance.bytes()) };
    claim(&mut probe, vec![(log, vec![head])]).await;
    let body = ReceiptBody {
        practice: stage.rogue.certificate.body.practice,
        dialer: stage.rogue.certificate.body.keys.entry,
        listener: stage.frontier.0.keys().next().ok_or("nothing is held")?.author.node,
        dialer_before: [0; 32],
        listener_before: stage.frontier.digest_all(),
        after: stage.chance.bytes(),
        to_listener: Moved { entries: 7, bytes: 7_000 },
        to_dialer: Moved::default(),
        time_ms: 1,
    };
    let key = SigningKey::from_bytes(stage.rogue.seed.expose());
    let signature = body.sign(Side::Dialer, &key);
    probe.frame(&Message::Propose { body: Box::new(body), signature }.to_bytes()).await;
    tokio::time::sleep(REST).await;
    Ok(())
}

async fn acknowledging(stage: &mut Stage, number: u64) -> Outcome<()> {
    let mut probe = let_in(stage).await?;
    let log = stage.held.log();
    let message = match number % 2 {
        0 => Message::Acknowledge(vec![Acknowledgement {
            log,
            last: Head { sequence: 99, id: EntryId(stage.chance.bytes()) },
            refused: None,
        }]),
        _ => Message::Accept {
            id: ReceiptId(stage.chance.bytes()),
            signature: SignatureBytes::from_bytes(&[7; 64]),
        },
    };
    probe.frame(&message.to_bytes()).await;
    gone(&probe).await
}

async fn flooding(stage: &mut Stage, number: u64) -> Outcome<()> {
    let mut probe = let_in(stage).await?;
    let mut log = || LogId {
        channel: Channel::Clinical,
        author: Author {
            node: NodeId(stage.chance.bytes()),
            incarnation: Incarnation(stage.chance.bytes()),
        },
    };
    let logs: Vec<LogId> = (0..64).map(|_| log()).collect();
    let head = Head { sequence: number + 1, id: EntryId([number as u8; 32]) };
    for round in 0..64 {
        let message = match round % 3 {
            0 => Message::Reconsider(logs.clone()),
            1 => Message::Waypoints { log: logs[0], points: vec![head; 64] },
            _ => Message::Holding(logs.iter().map(|log| (*log, vec![head])).collect()),
        };
        if !probe.frame(&message.to_bytes()).await {
            break;
        }
    }
    // In the end something that is no message.
    probe.frame(&[0xff; 64]).await;
    gone(&probe).await
}

async fn slow(stage: &mut Stage, number: u64) -> Outcome<()> {
    let seed = stage.rogue.seed.clone();
    let mut probe = stage.dial(&seed, false).await?;
    // A length, and of the frame a byte or two.
    probe.say(&[0, 0, 2, 0, 0][..4 + (number % 2) as usize]).await;
    stage.hold(probe);
    Ok(())
}

async fn endless(stage: &mut Stage, number: u64) -> Outcome<()> {
    let mut probe = let_in(stage).await?;
    let critical = Channel::Critical.number();
    match number % 4 {
        0 => drop(probe.stream(&[critical, 0xff, 0xff, 0xff, 0xff], PATIENCE).await),
        1 => drop(probe.stream(&[0xee], PATIENCE).await),
        2 => {
            probe.stream(&[critical], PATIENCE).await;
            probe.stream(&[critical], PATIENCE).await;
        }
        _ => {
            for _ in 0..64 {
                let opened = probe.stream(&[critical, 0, 0x40, 0, 0, 1, 2, 3], REST).await;
                if !opened {
                    break;
                }
            }
        }
    }
    gone(&probe).await
}

async fn huge(stage: &mut Stage, number: u64) -> Outcome<()> {
    let mut probe = let_in(stage).await?;
    let head = |at: u64| Head { sequence: at + 1, id: EntryId([at as u8; 32]) };
    let mut logs = |count: u64, heads: u64| -> LogHeads {
        let mut logs: LogHeads = (0..count)
            .map(|_| {
                let author = Author {
                    node: NodeId(stage.chance.bytes()),
                    incarnation: Incarnation(stage.chance.bytes()),
                };
                let log = LogId { channel: Channel::Clinical, author };
                (log, (0..heads).map(head).collect())
            })
            .collect();
        logs.sort();
        logs
    };
    let parts = if number.is_multiple_of(50) { 10 } else { 1 };
    for _ in 0..parts {
        let logs = if parts > 1 { logs(8_192, 1) } else { logs(64, 9 + number % 64) };
        let frame = Message::Frontier { base: None, logs, last: false }.to_bytes();
        if !probe.frame(&frame).await {
            break;
        }
    }
    gone(&probe).await
}
