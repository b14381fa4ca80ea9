//! Joining a practice: a node that has keys and asks for a certificate.

use super::open::{claim_directory, create_keyring, ledger_path, lock_directory};
use super::{Records, RecordsError};
use crate::base::environment::Environment;
use crate::base::private::Private;
use crate::identity::enrolment::{EnrolmentAnswer, EnrolmentRequest, Invitation};
use crate::identity::statement::ControlStatement;
use crate::store::StoreError;
use crate::store::ledger::Ledger;
use crate::store::peers::{Peer, PeerOrigin};
use crate::vault::{Keyring, UnlockMethod, UnlockSecret, Unlocked};
use carnet_sync_protocol::certificate::Certificate;
use carnet_sync_protocol::entry::Run;
use carnet_sync_protocol::id::{Channel, LogId, PracticeId};
use carnet_sync_protocol::message::{Admission, JoinBody, JoinRequest, PeerAddress};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A node between asking and being admitted.
#[derive(Debug)]
pub struct Applicant {
    dir: PathBuf,
    environment: Environment,
    directory_lock: File,
    keyring: Keyring,
    unlocked: Unlocked,
}

impl Applicant {
    /// Makes a node's keys in `dir`.
    pub fn begin(
        dir: &Path,
        environment: Environment,
        unlock: &UnlockMethod,
    ) -> Result<Self, RecordsError> {
        let directory_lock = claim_directory(dir)?;
        let (keyring, unlocked) = create_keyring(dir, &environment, unlock)?;
        Ok(Self { dir: dir.into(), environment, directory_lock, keyring, unlocked })
    }

    /// Takes up an application that was made earlier, with its answer now at hand.
    pub fn resume(
        dir: &Path,
        environment: Environment,
        secret: &UnlockSecret,
    ) -> Result<Self, RecordsError> {
        if !dir.join("keyring").exists() {
            return Err(RecordsError::NoNode(dir.into()));
        }
        let directory_lock = lock_directory(dir)?;
        let keyring = Keyring::open(dir)?;
        if keyring.certificate().is_some() {
            return Err(RecordsError::AlreadyANode(dir.into()));
        }
        let unlocked = keyring.unlock(secret)?;
        Ok(Self { dir: dir.into(), environment, directory_lock, keyring, unlocked })
    }

    /// The seed of the transport key, with which the inviter is called.
    pub fn transport_seed(&self) -> Private<[u8; 32]> {
        self.keyring.transport().seed().clone()
    }

    /// The request that goes to the inviter over a connection with this TLS exporter.
    pub fn request(&self, invitation: &Invitation, exporter: &[u8; 32]) -> JoinRequest {
        let body = JoinBody {
            practice: invitation.practice,
            grant: invitation.grant,
            token: *invitation.token.expose(),
            keys: *self.keyring.keys(),
            time_ms: self.environment.unix_ms(),
        };
        JoinRequest::new(body, Some(exporter), self.unlocked.entry())
    }

    /// The request as a file, for a site without a link.
    pub fn request_file(&self, site: &str) -> EnrolmentRequest {
        EnrolmentRequest::new(
            *self.keyring.keys(),
            site.to_owned(),
            self.environment.unix_ms(),
            self.unlocked.entry(),
        )
    }

    /// Becomes a node of the practice that answered an invitation.
    pub fn admitted(
        self,
        invitation: &Invitation,
        admission: Admission,
    ) -> Result<Records, RecordsError> {
        let inviter = admission.inviter.verify(invitation.practice).map_err(not_ours)?;
        let mut peers = admission.peers;
        peers.push(PeerAddress {
            transport: invitation.inviter,
            site: inviter.body.site.clone(),
            addresses: invitation.addresses.clone(),
        });
        self.finish(invitation.practice, admission.certificate, &peers, &[])
    }

    /// Becomes a node of the practice that answered a request file.
    pub fn answered(self, answer: &str) -> Result<Records, RecordsError> {
        let (answer, certificate) = EnrolmentAnswer::from_text(answer, self.keyring.keys())?;
        let practice = certificate.body.practice;
        let mut runs = Vec::new();
        for bytes in &answer.runs {
            runs.push(Run::from_bytes(bytes).map_err(not_ours)?);
        }
        self.finish(practice, answer.certificate, &answer.peers, &runs)
    }

    fn finish(
        self,
        practice: PracticeId,
        certificate: Certificate,
        peers: &[PeerAddress],
        control: &[Run],
    ) -> Result<Records, RecordsError> {
        let certificate = certificate.verify(practice).map_err(not_ours)?;
        if certificate.body.keys != *self.keyring.keys() {
            return Err(RecordsError::Refused(
                "the certificate is not for this node; ask again from this directory".into(),
            ));
        }
        let path = ledger_path(&self.dir);
        let ledger = match Ledger::create(&path, practice) {
            // An earlier try was cut off before it was done.
            Err(StoreError::Exists { .. }) => Ledger::open(&path)?,
            other => other?,
        };
        let mut records = Records::assemble(
            &self.dir,
            self.environment,
            self.directory_lock,
            ledger,
            self.keyring,
        )?;
        records.open_charts(self.unlocked)?;
        records.begin()?;
        for peer in peers {
            records.ledger.put_peer(&Peer {
                transport: peer.transport,
                node: None,
                site: peer.site.clone(),
                addresses: peer.addresses.clone(),
                origin: PeerOrigin::Invitation,
                last_sync_ms: None,
            })?;
        }
        let mut runs = Vec::new();
        for run in control {
            runs.push(run.clone().verify(practice).map_err(not_ours)?);
        }
        records.receive(&runs)?;
        let log = LogId { channel: Channel::Control, author: records.author() };
        if records.ledger.heads(&log).is_empty() {
            // Whoever admitted it may lose what it wrote of that, or turn out to be cut off, and
            // then nobody else would take it from this node either.
            let own = Box::new(certificate.clone().into_certificate());
            records.write_statement(&ControlStatement::Certificate(own))?;
        }
        records.commit()?;
        records.keyring.complete(certificate.into_certificate())?;
        records.arrange_recovery()?;
        Ok(records)
    }
}

fn not_ours(violation: carnet_sync_protocol::error::Violation) -> RecordsError {
    RecordsError::Refused(format!("the answer is not from the practice that invited: {violation}"))
}
