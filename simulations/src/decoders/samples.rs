//! Samples, made by the product's own encoders in a small practice.

use crate::chunk::Chunk;
use crate::forger::{Forger, actor};
use crate::poison::poisons;
use crate::practice::{Joined, Node, Outcome, permit};
use carnet_node::access::Action;
use carnet_node::base::environment::Environment;
use carnet_node::chart::{Document, Edit};
use carnet_node::identity::statement::EpochKind;
use carnet_node::identity::{ControlStatement, PracticeKey};
use carnet_node::records::joining::Applicant;
use carnet_node::records::staff::PersonChange;
use carnet_node::sample::{Generator, Size};
use carnet_node::service::request::{Asked, Request};
use carnet_node::store::ledger::Ledger;
use carnet_node::vault::{self, BackupKey, EpochKey, KeyBook, RecoveryCode, UnlockMethod};
use carnet_sync_protocol::certificate::{NodeKeys, RevocationKind};
use carnet_sync_protocol::entry::{Codec, Entry};
use carnet_sync_protocol::id::{Author, Channel, PracticeId, ReceiptId};
use carnet_sync_protocol::message::{
    Acknowledgement, ChannelDigest, Farewell, Hello, HelloBody, Message, RefuseReason, Side,
    Versions,
};
use carnet_sync_protocol::receipt::{Moved, Receipt, ReceiptBody, StoredReceipt};
use carnet_sync_protocol::wire;
use serde_json::json;
use std::io::Write;

/// What the encoders made.
#[derive(Clone)]
#[allow(missing_docs, reason = "each is what its decoder reads")]
pub(super) struct Samples {
    pub practice: PracticeId,
    pub author: Author,
    pub actor: [u8; 16],
    pub key: EpochKey,
    pub book: KeyBook,
    pub keys: NodeKeys,
    pub sealed: Vec<Entry>,
    pub runs: Vec<Vec<u8>>,
    pub joint_runs: Vec<Vec<u8>>,
    pub messages: Vec<Vec<u8>>,
    pub certificates: Vec<Vec<u8>>,
    pub revocations: Vec<Vec<u8>>,
    pub receipts: Vec<Vec<u8>>,
    pub join_requests: Vec<Vec<u8>>,
    pub join_answers: Vec<Vec<u8>>,
    pub control: Vec<Vec<u8>>,
    pub staff: Vec<Vec<u8>>,
    pub audit: Vec<Vec<u8>>,
    pub changes: Vec<Vec<u8>>,
    pub resources: Vec<Vec<u8>>,
    pub bundles: Vec<Vec<u8>>,
    pub gzipped: Vec<Vec<u8>>,
    pub invitations: Vec<Vec<u8>>,
    pub requests: Vec<Vec<u8>>,
    pub answers: Vec<Vec<u8>>,
    pub codes: Vec<Vec<u8>>,
    pub key_files: Vec<Vec<u8>>,
    pub keyrings: Vec<Vec<u8>>,
    pub key_lines: Vec<Vec<u8>>,
    pub backups: Vec<Vec<u8>>,
    pub backup_keys: Vec<BackupKey>,
    pub asked: Vec<Vec<u8>>,
    document: Vec<u8>,
}

impl Samples {
    /// Lives a short history and takes samples of everything in it.
    pub(super) fn make(seed: u64) -> Outcome<Self> {
        let mut a = Node::found(seed)?;
        let (mut b, joined) = a.join(seed ^ 1, "Sédhiou")?;
        let (gone, _) = a.join(seed ^ 2, "Kolda")?;
        a.import(seed, 2)?;
        live(&mut a, &mut b, &gone)?;
        let forger = Forger::new(&a.records, a.unlocked()?)?;
        let book = KeyBook::read(a.records.roster(), forger.unlocked().hpke());
        let (_, key) =
            book.current(a.records.roster(), EpochKind::General).ok_or("there is no epoch")?;
        let mut samples = Self::empty(&a, key.clone(), book.clone());
        samples.take_entries(&a, &book)?;
        samples.take_changes(&mut a, &forger)?;
        samples.take_talk(&a, &b, &joined)?;
        samples.take_joint_runs(&a, &b)?;
        samples.take_backup(&a, seed)?;
        samples.take_files(&mut a, seed, &joined)?;
        Ok(samples)
    }

    fn empty(a: &Node, key: EpochKey, book: KeyBook) -> Self {
        let none = Vec::new;
        Self {
            practice: a.records.practice(),
            author: a.records.author(),
            actor: actor(&a.records.author(), [9; 8]),
            key,
            book,
            keys: *a.records.keyring().keys(),
            sealed: Vec::new(),
            runs: none(),
            joint_runs: none(),
            messages: none(),
            certificates: none(),
            revocations: none(),
            receipts: none(),
            join_requests: none(),
            join_answers: none(),
            control: none(),
            staff: none(),
            audit: none(),
            changes: none(),
            resources: none(),
            bundles: none(),
            gzipped: none(),
            invitations: none(),
            requests: none(),
            answers: none(),
            codes: none(),
            key_files: none(),
            keyrings: none(),
            key_lines: none(),
            backups: none(),
            backup_keys: Vec::new(),
            asked: none(),
            document: Vec::new(),
        }
    }

    /// A document as it is saved, before the changes of [`Self::changes`] that build on it.
    pub(super) fn document(&self) -> Outcome<Vec<u8>> {
        if self.document.is_empty() {
            Err("there is no document".into())
        } else {
            Ok(self.document.clone())
        }
    }

    /// Runs as they travel, and what stands in their entries.
    fn take_entries(&mut self, a: &Node, book: &KeyBook) -> Outcome<()> {
        for (log, heads) in &a.records.frontier().0 {
            for head in heads {
                let runs = a.records.load(log, &[], *head, 1 << 16)?;
                self.runs
                    .extend(runs.iter().take(4).map(carnet_sync_protocol::entry::Run::to_bytes));
            }
        }
        let ledger = Ledger::open_read_only(&a.records.dir().join("log.db"))?;
        for held in ledger.by_arrival(0, 4_096)? {
            let header = &held.entry.header;
            if header.log.channel == Channel::Control && header.codec == Codec::STATEMENT {
                let payload = held.entry.payload;
                match ControlStatement::from_payload(&payload)? {
                    ControlStatement::Certificate(said) => {
                        self.certificates.push(wire::encode(&*said))
                    }
                    ControlStatement::Revocation(said) => {
                        self.revocations.push(wire::encode(&*said))
                    }
                    _ => {}
                }
                self.control.push(payload);
                continue;
            }
            let Some(key) = book.epoch(&header.epoch) else { continue };
            let Ok(payload) = vault::open(key, header, &held.entry.payload) else { continue };
            match header.log.channel {
                Channel::Staff => self.staff.push(payload),
                Channel::Audit if self.audit.len() < 16 => self.audit.push(payload),
                Channel::Critical | Channel::Clinical if self.sealed.len() < 32 => {
                    if self.sealed.is_empty() {
                        self.key = key.clone();
                    }
                    if key.secret().expose() == self.key.secret().expose() {
                        self.sealed.push(held.entry);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A document, changes that it would take, and all the poisons.
    fn take_changes(&mut self, a: &mut Node, forger: &Forger) -> Outcome<()> {
        let patient = json!({"resourceType": "Patient", "id": "p", "birthDate": "1987-03-02"});
        let key = a.put(patient)?;
        let aim = forger.find(&a.records, &key, [9; 8])?.ok_or("the patient is nowhere")?;
        let mut document = aim.document;
        self.document = document.save();
        for (element, value) in [
            ("gender", json!("female")),
            ("name", json!([{"family": "Diatta", "given": ["Aïssatou", "Awa"]}])),
            ("multipleBirthInteger", json!(2)),
            ("active", json!(true)),
        ] {
            let mut document = Document::load(&self.document, self.actor)?;
            let element = element.to_owned();
            let edit = Edit::Set { key: key.clone(), element, value: Some(value) };
            self.changes.extend(document.write(5, &[edit])?.map(|written| written.bytes));
        }
        let first = self.changes.first().and_then(|change| Chunk::read(change));
        let sound = first.ok_or("a change can't be read")?;
        let others = forger.changes(&a.records, &aim.id)?;
        let other = others.iter().find_map(|(_, change)| Chunk::read(change));
        let poisons = poisons(&sound, &other.ok_or("a change can't be read")?);
        self.changes.extend(poisons.into_iter().map(|(_, bytes)| bytes));
        for id in Ledger::open_read_only(&a.records.dir().join("log.db"))?.documents()? {
            let changes = forger.changes(&a.records, &id)?;
            let small = changes.into_iter().map(|(_, change)| change);
            self.changes.extend(small.filter(|change| change.len() < 4_096).take(2));
        }
        Ok(())
    }

    /// What is said in a session.
    fn take_talk(&mut self, a: &Node, b: &Node, joined: &Joined) -> Outcome<()> {
        let frontier = a.records.frontier().clone();
        let heads: Vec<_> = frontier.0.clone().into_iter().collect();
        let (log, some) = heads.first().cloned().ok_or("nothing is held")?;
        let own = a.records.own_certificate()?.clone();
        let transport = a.records.keyring().transport();
        let body = HelloBody {
            versions: Versions::OURS,
            certificate: own.clone(),
            digests: Channel::ALL.map(|channel| ChannelDigest::of(&frontier, channel)).to_vec(),
            codecs: vault::CODECS.to_vec(),
            receipt: Some(ReceiptId([3; 32])),
            beyond: Some(vec![(log, some.clone())]),
            time_ms: 1,
        };
        let hello = Hello::new(body, Side::Dialer, &[7; 32], transport.key());
        let receipt = ReceiptBody {
            practice: a.records.practice(),
            dialer: a.records.author().node,
            listener: b.records.author().node,
            dialer_before: [1; 32],
            listener_before: [2; 32],
            after: frontier.digest_all(),
            to_listener: Moved { entries: 7, bytes: 700 },
            to_dialer: Moved::default(),
            time_ms: 2,
        };
        let signature = receipt.sign(Side::Dialer, transport.key());
        let id = receipt.id();
        let refused = Some(RefuseReason::Gap);
        let base = Some(ReceiptId([3; 32]));
        let messages = [
            Message::Hello(Box::new(hello)),
            Message::Frontier { base, logs: heads.clone(), last: true },
            Message::Acknowledge(vec![Acknowledgement { log, last: some[0], refused }]),
            Message::Holding(heads),
            Message::Reconsider(vec![log]),
            Message::Waypoints { log, points: some },
            Message::Propose { body: Box::new(receipt.clone()), signature },
            Message::Accept { id, signature },
            Message::Decline { id },
            Message::Goodbye(Farewell::Done),
            Message::Hasten,
        ];
        self.messages.extend(messages.iter().map(Message::to_bytes));
        let theirs = b.records.keyring().transport();
        let receipt = Receipt {
            dialer: own,
            dialer_signature: signature,
            listener: b.records.own_certificate()?.clone(),
            listener_signature: receipt.sign(Side::Listener, theirs.key()),
            body: receipt,
        };
        self.receipts.push(wire::encode(&StoredReceipt { receipt, frontier }));
        self.join_requests.push(joined.request.to_bytes());
        self.join_answers.push(joined.answer.to_bytes());
        self.invitations.push(joined.invitation.to_text().into_bytes());
        Ok(())
    }

    /// Runs as they travel between readers.
    fn take_joint_runs(&mut self, a: &Node, b: &Node) -> Outcome<()> {
        let reader = b.records.author().node;
        for (log, heads) in &a.records.frontier().0 {
            for head in heads {
                let runs = a.records.load(log, &[], *head, 1 << 16)?;
                let joint = runs.iter().filter_map(|run| a.records.joint(run, &reader));
                self.joint_runs.extend(joint.map(|joint| joint.to_bytes()));
            }
        }
        if self.joint_runs.is_empty() { Err("no run travels jointly".into()) } else { Ok(()) }
    }

    /// A backup with little in it, so that what is altered is seldom the ledger.
    fn take_backup(&mut self, a: &Node, seed: u64) -> Outcome<()> {
        let (environment, _) = Environment::seeded(seed ^ 4, crate::practice::BEGUN_MS);
        let file = tempfile::NamedTempFile::new()?;
        let (settings, ledger) = (Some(b"[log]\ndays = 3\n".to_vec()), [7; 100]);
        let to = (file.reopen()?, file.path());
        let length = ledger.len() as u64;
        let keyring = a.records.keyring();
        let mut writer = keyring.begin_backup(&environment, settings, length, to)?;
        writer.write(&ledger)?;
        self.backup_keys.push(writer.finish()?);
        self.backups.push(std::fs::read(file.path())?);
        Ok(())
    }

    /// Texts and files.
    fn take_files(&mut self, a: &mut Node, seed: u64, joined: &Joined) -> Outcome<()> {
        let (environment, _) = Environment::seeded(seed ^ 3, crate::practice::BEGUN_MS);
        let dir = tempfile::tempdir()?;
        let method = UnlockMethod::KeyFile(dir.path().join("key"));
        let applicant = Applicant::begin(&dir.path().join("node"), environment.clone(), &method)?;
        let request = applicant.request_file("Bignona");
        let answer = a.records.approve(
            &permit(Action::Administer),
            &request,
            crate::practice::terms("Bignona"),
        )?;
        a.records.commit()?;
        self.keys = request.keys;
        self.requests.push(request.to_text().into_bytes());
        self.answers.push(answer.to_text().into_bytes());
        let code = RecoveryCode::generate(&environment);
        self.codes.push(code.reveal().expose().clone().into_bytes());
        let passphrase = carnet_node::base::private::Private::new("hibiscus".to_owned());
        let practice_key = PracticeKey::generate(&environment);
        let exported = vault::export_practice_key(&environment, &practice_key, &passphrase)?;
        self.key_files.push(exported.into_bytes());
        self.keyrings.push(std::fs::read(a.records.dir().join("keyring"))?);
        self.key_lines.push(std::fs::read(dir.path().join("key"))?);
        let bundle = Generator::new(seed, crate::practice::BEGUN_MS).patient(Size::Small);
        let entries = bundle["entry"].as_array().into_iter().flatten().enumerate();
        let resources = entries.map(|(at, entry)| {
            let mut resource = entry["resource"].clone();
            resource["id"] = format!("r{at}").into();
            resource.to_string()
        });
        let resources: Vec<String> = resources.collect();
        let bundle = bundle.to_string().into_bytes();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&bundle)?;
        self.gzipped.push(gzip.finish()?);
        self.bundles.push(bundle);
        self.bundles.push(resources.join("\n").into_bytes());
        self.resources.extend(resources.into_iter().map(String::into_bytes));
        for request in [
            Request::Status,
            Request::PatientSearch { query: "diatta".into(), limit: 5 },
            Request::ChartPut { body: json!({"resourceType": "Basic", "value": 1.50}) },
            Request::ChartConflicts { resource: Some(joined.invitation.addresses[0].clone()) },
        ] {
            self.asked.push(serde_json::to_vec(&Asked::from(request))?);
        }
        Ok(())
    }
}

/// What happens before samples are taken: staff, conflicts, a suspension.
fn live(a: &mut Node, b: &mut Node, gone: &Node) -> Outcome<()> {
    let manage = permit(Action::ManageStaff);
    for (id, name) in [("awa", "Awa Diatta"), ("omar", "Omar Sané")] {
        let change = PersonChange { name: Some(name.into()), ..PersonChange::default() };
        a.records.add_staff(&manage, id, change)?;
    }
    a.put(json!({"resourceType": "Patient", "id": "both", "gender": "male"}))?;
    b.carry_from(&mut a.records)?;
    for (node, gender) in [(&mut *a, "female"), (&mut *b, "other")] {
        node.put(json!({"resourceType": "Patient", "id": "both", "gender": gender}))?;
    }
    b.carry_from(&mut a.records)?;
    a.carry_from(&mut b.records)?;
    let node = gone.records.author().node;
    let administer = permit(Action::Administer);
    a.records.set_standing(&administer, &node, RevocationKind::Suspend, None)?;
    a.records.commit()?;
    a.records.open_emergency(&permit(Action::Emergency), "both", "she can't speak")?;
    a.records.commit()?;
    let list = a.records.review_list(&permit(Action::Review), false)?;
    if let Some(item) = list.iter().find(|item| item.to_sign) {
        a.records.sign_off(&permit(Action::SignOff), &item.id, "seen")?;
    }
    a.records.commit()?;
    Ok(())
}
