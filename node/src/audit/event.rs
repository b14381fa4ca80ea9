//! An event of the trail, and the batch of them that one ledger entry holds.

use carnet_sync_protocol::wire;
use serde::{Deserialize, Serialize};

/// Events in one entry: the calls of one group commit, and what a locked node has to catch up on.
pub const BATCH_EVENTS_MAX: usize = 1_024;

/// Bytes of one entry: a thousand events as they are, and little enough for what they take in
/// memory, where a byte may stand for a list's item.
pub const BATCH_BYTES_MAX: usize = 512 << 10;

/// Any text of an event.
const TEXT_BYTES_MAX: usize = 2_000;

/// A payload of the audit channel that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Empty, not canonical, or of another version.
    #[error("an audit entry cannot be read")]
    Malformed,
    /// More events or longer texts than allowed.
    #[error("an audit entry exceeds a bound")]
    Bounds,
}

/// How the act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// The rules did not allow it.
    Denied,
    /// It was allowed and did not work.
    Failed,
}

impl AuditOutcome {
    /// Its name for scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// One act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When, by the node's clock.
    pub time_ms: u64,
    /// Whether that clock could be trusted: not before this program was made, and not behind what
    /// the node itself has written.
    pub clock_trusted: bool,
    /// Who: a user id, `app:ID`, `patient:ID`, `operator`, `node`, or `unknown`.
    pub actor: String,
    /// In which roles.
    pub roles: Vec<String>,
    /// What was done: `read`, `search`, `write`, `export`, `login`...
    pub action: String,
    /// Why: a code of HL7's PurposeOfUse.
    pub purpose: String,
    /// Whose record: the Patient's id.
    pub patient: Option<String>,
    /// Which resource: `Type/id`; or a node, a member of staff, a token.
    pub subject: Option<String>,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Why it was denied, in what emergency; never what a record says.
    pub detail: String,
    /// How many resources it was about.
    pub count: u64,
    /// The versions of the Consents that were consulted.
    pub consents: Vec<String>,
}

/// The events of one ledger entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditBatch {
    /// In the order in which they happened.
    pub events: Vec<AuditEvent>,
}

impl AuditBatch {
    /// The payload.
    pub fn to_payload(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Divides events so that each part can be read by [`Self::from_payload`], as long as each
    /// event can.
    pub fn divide(events: &[AuditEvent]) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        let mut bytes = 0;
        for event in events {
            let length = wire::encode(event).len();
            bytes += length;
            match batches.last_mut() {
                // The count of the events takes two bytes.
                Some(batch)
                    if batch.events.len() < BATCH_EVENTS_MAX && bytes + 2 <= BATCH_BYTES_MAX =>
                {
                    batch.events.push(event.clone());
                }
                _ => {
                    batches.push(Self { events: vec![event.clone()] });
                    bytes = length;
                }
            }
        }
        batches
    }

    /// Reads a payload.
    pub fn from_payload(payload: &[u8]) -> Result<Self, AuditError> {
        if payload.len() > BATCH_BYTES_MAX {
            return Err(AuditError::Bounds);
        }
        let batch: Self = wire::decode(payload).map_err(|_| AuditError::Malformed)?;
        let texts = |event: &AuditEvent| {
            [&event.actor, &event.action, &event.purpose, &event.detail]
                .into_iter()
                .chain(&event.patient)
                .chain(&event.subject)
                .chain(&event.roles)
                .chain(&event.consents)
                .all(|text| text.len() <= TEXT_BYTES_MAX)
        };
        if batch.events.is_empty() {
            return Err(AuditError::Malformed);
        }
        if batch.events.len() > BATCH_EVENTS_MAX || !batch.events.iter().all(texts) {
            return Err(AuditError::Bounds);
        }
        Ok(batch)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// An event to be changed by tests.
    pub(crate) fn event() -> AuditEvent {
        AuditEvent {
            time_ms: 1_700_000_000_000,
            clock_trusted: true,
            actor: "awa".into(),
            roles: vec!["nurse".into()],
            action: "read".into(),
            purpose: "TREAT".into(),
            patient: Some("p1".into()),
            subject: Some("Observation/o1".into()),
            outcome: AuditOutcome::Done,
            detail: String::new(),
            count: 1,
            consents: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::event;
    use super::*;

    #[test]
    fn a_batch_survives_its_payload_and_bounds_hold() {
        let batch = AuditBatch { events: vec![event()] };
        assert_eq!(AuditBatch::from_payload(&batch.to_payload()), Ok(batch));
        let empty = AuditBatch { events: Vec::new() };
        assert_eq!(AuditBatch::from_payload(&empty.to_payload()), Err(AuditError::Malformed));
        assert_eq!(AuditBatch::from_payload(&[7]), Err(AuditError::Malformed));
        let long = AuditEvent { detail: "x".repeat(3_000), ..event() };
        let long = AuditBatch { events: vec![long] };
        assert_eq!(AuditBatch::from_payload(&long.to_payload()), Err(AuditError::Bounds));
        let many = AuditBatch { events: vec![event(); BATCH_EVENTS_MAX + 1] };
        assert_eq!(AuditBatch::from_payload(&many.to_payload()), Err(AuditError::Bounds));
        // A byte for an item: what takes 25 times as much in memory.
        let roles = AuditEvent { roles: vec![String::new(); BATCH_BYTES_MAX], ..event() };
        let large = AuditBatch { events: vec![roles] };
        assert_eq!(AuditBatch::from_payload(&large.to_payload()), Err(AuditError::Bounds));
    }

    #[test]
    fn events_are_divided_so_that_each_part_can_be_read() {
        let short = vec![event(); 2 * BATCH_EVENTS_MAX + 1];
        let wordy = AuditEvent { consents: vec!["x".repeat(TEXT_BYTES_MAX); 10], ..event() };
        let long = vec![wordy; 100];
        for (events, parts) in [(&short, 3), (&long, 4), (&Vec::new(), 0)] {
            let batches = AuditBatch::divide(events);
            assert_eq!(batches.len(), parts);
            for batch in &batches {
                assert_eq!(AuditBatch::from_payload(&batch.to_payload()).as_ref(), Ok(batch));
            }
            let all: Vec<_> = batches.into_iter().flat_map(|batch| batch.events).collect();
            assert_eq!(&all, events);
        }
    }
}
