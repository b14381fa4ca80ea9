//! Who belongs to the practice: invitations, admission, suspension and revocation, the practice key.

use super::open::CERTIFICATE_MS;
use super::read::instant;
use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::base::private::Private;
use crate::identity::PracticeKey;
use crate::identity::enrolment::{EnrolmentAnswer, EnrolmentRequest, Invitation};
use crate::identity::roster::Standing;
use crate::identity::statement::{ControlStatement, EpochKind};
use crate::store::peers::{Peer, PeerOrigin};
use crate::vault;
use crate::vault::RecoveryCode;
use carnet_sync_protocol::certificate::{
    Capabilities, Certificate, CertificateBody, Cut, Grant, NodeKeys, Revocation, RevocationBody,
    RevocationKind, Role, SignedGrant, VerifiedCertificate, token_hash,
};
use carnet_sync_protocol::entry::Run;
use carnet_sync_protocol::id::{Channel, NodeId, TransportKey};
use carnet_sync_protocol::message::{Admission, JoinAnswer, JoinRefusal, JoinRequest, PeerAddress};
use carnet_sync_protocol::wire;
use serde::Serialize;

/// What opens the practice key.
#[derive(Debug)]
pub enum PracticeSecret {
    /// The passphrase under which it lies on this node.
    Passphrase(Private<String>),
    /// The recovery code, which opens it on any node.
    RecoveryCode(RecoveryCode),
}

/// What an invitation offers.
#[derive(Debug)]
pub struct Invite {
    /// The new node's site.
    pub site: String,
    /// Clinic or relay.
    pub role: Role,
    /// What the new node may do.
    pub capabilities: Capabilities,
    /// Where this node answers.
    pub addresses: Vec<String>,
    /// How long the invitation lasts.
    pub valid_ms: u64,
    /// Needed to hand on `admit`, and on a node that lacks it.
    pub practice: Option<PracticeSecret>,
}

/// One node of the practice.
#[derive(Clone, Debug, Serialize)]
pub struct NodeRow {
    /// The node.
    pub node: String,
    /// Its site.
    pub site: String,
    /// `clinic` or `relay`.
    pub role: &'static str,
    /// `admit`, `restricted`, `audit`.
    pub capabilities: Vec<&'static str>,
    /// `active`, `suspended`, `revoked`, or `unattested`: admitted by nobody but who was cut off.
    pub standing: &'static str,
    /// When its certificate expires; after that it warns, and works on.
    pub expires: String,
    /// Whether that time has passed by this node's clock.
    pub expired: bool,
    /// Whether it is this node.
    pub this_node: bool,
}

impl Records {
    /// Makes a one-use invitation, which this node answers by itself from then on.
    pub fn invite(&mut self, permit: &Permit, invite: Invite) -> Result<Invitation, RecordsError> {
        self.require(permit, Action::Administer)?;
        let token: [u8; 32] = self.environment.random();
        let expires_ms = self.environment.unix_ms().saturating_add(invite.valid_ms);
        let grant = self.grant(&invite, token_hash(&token), expires_ms)?;
        let id = grant.grant.id;
        self.begin()?;
        self.ledger.set_meta(&grant_name(&id), &wire::encode(&grant))?;
        Ok(Invitation {
            practice: self.practice(),
            inviter: self.transport_key(),
            addresses: invite.addresses,
            grant: id,
            token: Private::new(token),
            expires_ms,
        })
    }

    pub(super) fn grant(
        &self,
        invite: &Invite,
        token_hash: [u8; 32],
        expires_ms: u64,
    ) -> Result<SignedGrant, RecordsError> {
        let charts = self.charts()?;
        if self.is_cut_off() {
            return Err(RecordsError::Refused(
                "this node has been suspended or revoked, and whoever it admits would not be believed; do it on another node of the practice".into(),
            ));
        }
        let grant = Grant {
            practice: self.practice(),
            id: self.environment.random(),
            sponsor: self.keyring.node(),
            token_hash,
            role: invite.role,
            capabilities: invite.capabilities,
            site: invite.site.clone(),
            expires_ms,
        };
        let signed = match &invite.practice {
            Some(secret) => SignedGrant::by_practice(grant, self.practice_key(secret)?.key()),
            None => SignedGrant::by_node(grant, self.own_certificate()?, charts.unlocked.entry()),
        };
        signed.map_err(|violation| {
            RecordsError::Refused(format!(
                "this node may not give that invitation ({violation}); give the practice's passphrase or recovery code with it, or ask the node that founded the practice"
            ))
        })
    }

    /// Answers a node that comes with an invitation, and certifies it. `exporter` binds the request
    /// to the connection on which it came.
    pub fn answer_join(
        &mut self,
        request: &JoinRequest,
        exporter: &[u8; 32],
    ) -> Result<JoinAnswer, RecordsError> {
        if request.verify(Some(exporter)).is_err() || request.body.practice != self.practice() {
            return Ok(JoinAnswer::Refused(JoinRefusal::Invalid));
        }
        let body = &request.body;
        let Some(stored) = self.ledger.meta(&grant_name(&body.grant))? else {
            return Ok(JoinAnswer::Refused(JoinRefusal::Unknown));
        };
        let grant: SignedGrant = wire::decode(&stored)
            .map_err(|_| RecordsError::Bug("a stored grant is unreadable".into()))?;
        if token_hash(&body.token) != grant.grant.token_hash {
            return Ok(JoinAnswer::Refused(JoinRefusal::Invalid));
        }
        if let Some(user) = self.ledger.grant_used_by(&body.grant)? {
            // The answer to an earlier try may have been lost on the way.
            let again = self.roster.certificate(&user).filter(|c| c.body.keys == body.keys);
            return match again.cloned() {
                Some(certificate) => self.admission(certificate),
                None => Ok(JoinAnswer::Refused(JoinRefusal::Used)),
            };
        }
        if self.environment.unix_ms() > grant.grant.expires_ms {
            return Ok(JoinAnswer::Refused(JoinRefusal::Expired));
        }
        if self.is_cut_off() {
            return Ok(JoinAnswer::Refused(JoinRefusal::CutOff));
        }
        if self.is_locked() {
            return Ok(JoinAnswer::Refused(JoinRefusal::Locked));
        }
        let certificate = self.certify(body.keys, grant)?;
        self.admission(certificate)
    }

    /// Approves a request that came as a file; the answer goes back as a file.
    pub fn approve(
        &mut self,
        permit: &Permit,
        request: &EnrolmentRequest,
        mut invite: Invite,
    ) -> Result<EnrolmentAnswer, RecordsError> {
        self.require(permit, Action::Administer)?;
        self.charts()?;
        if invite.site.is_empty() {
            invite.site.clone_from(&request.site);
        }
        let known = self.roster.certificate(&request.keys.entry).cloned();
        let certificate = match known.filter(|known| known.body.keys == request.keys) {
            Some(certificate) => certificate,
            None => {
                let expires_ms = self.environment.unix_ms().saturating_add(invite.valid_ms);
                let grant = self.grant(&invite, self.environment.random(), expires_ms)?;
                self.certify(request.keys, grant)?
            }
        };
        let mut runs = Vec::new();
        for (log, heads) in self.ledger.frontier().channel(Channel::Control) {
            for head in heads {
                let mut after = None;
                while after != Some(*head) {
                    let page = self.ledger.load(log, after, *head, 1 << 20)?;
                    let Some(last) = page.last() else { break };
                    after = last.head(self.practice());
                    runs.extend(page.iter().map(Run::to_bytes));
                }
            }
        }
        Ok(EnrolmentAnswer {
            certificate: certificate.into_certificate(),
            practice_name: self.roster.name().unwrap_or_default().to_owned(),
            peers: vec![PeerAddress {
                transport: self.transport_key(),
                site: self.site_of(&self.keyring.node()),
                addresses: invite.addresses,
            }],
            runs,
        })
    }

    /// Whether this node knows that it does not belong. One that has just been admitted may not yet
    /// hold the entry with its certificate.
    pub(super) fn is_cut_off(&self) -> bool {
        let own = self.keyring.node();
        match self.roster.standing(&own) {
            Standing::Active => false,
            Standing::Suspended | Standing::Revoked => true,
            Standing::Unknown => self.roster.is_known(&own),
        }
    }

    fn certify(
        &mut self,
        keys: NodeKeys,
        grant: SignedGrant,
    ) -> Result<VerifiedCertificate, RecordsError> {
        let now = self.environment.unix_ms();
        let body = CertificateBody {
            practice: self.practice(),
            keys,
            role: grant.grant.role,
            capabilities: grant.grant.capabilities,
            site: grant.grant.site.clone(),
            serial: self.environment.random(),
            issued_ms: now,
            expires_ms: now.saturating_add(CERTIFICATE_MS),
        };
        let id = grant.grant.id;
        let entry_key = self.charts()?.unlocked.entry().clone();
        let certificate = Certificate::sponsor(body, grant, &entry_key).map_err(|violation| {
            RecordsError::Refused(format!("can't be certified: {violation}"))
        })?;
        self.atomically(|records| {
            records.ledger.use_grant(&id, &keys.entry, now)?;
            records.write_statement(&ControlStatement::Certificate(Box::new(
                certificate.clone().into_certificate(),
            )))?;
            records.tend_keys()?;
            records.ledger.put_peer(&Peer {
                transport: keys.transport,
                node: Some(keys.entry),
                site: certificate.body.site.clone(),
                addresses: Vec::new(),
                origin: PeerOrigin::Invitation,
                last_sync_ms: None,
            })?;
            Ok(())
        })?;
        Ok(certificate)
    }

    fn admission(&self, certificate: VerifiedCertificate) -> Result<JoinAnswer, RecordsError> {
        Ok(JoinAnswer::Admitted(Box::new(Admission {
            certificate: certificate.into_certificate(),
            inviter: self.own_certificate()?.clone(),
            peers: Vec::new(),
        })))
    }

    /// Revokes a node for good (practice key), suspends or reinstates it. What it wrote and this
    /// node holds stays; what it writes from here on is not shown; new keys replace those it has.
    pub fn set_standing(
        &mut self,
        permit: &Permit,
        node: &NodeId,
        kind: RevocationKind,
        practice: Option<&PracticeSecret>,
    ) -> Result<(), RecordsError> {
        self.require(permit, Action::Administer)?;
        if *node == self.keyring.node() {
            return Err(RecordsError::BadRequest(
                "a node can't revoke itself; do it on another node of the practice".into(),
            ));
        }
        if !self.roster.is_known(node) {
            return Err(RecordsError::BadRequest(format!(
                "no node {node} is known; list them with `carnet node list`"
            )));
        }
        let cuts = match kind {
            RevocationKind::Reinstate => Vec::new(),
            RevocationKind::Revoke | RevocationKind::Suspend => self.cuts(node),
        };
        // The latest counts: what is said knowing of an earlier word comes after it, whatever the clock
        // showed then.
        let after = self.roster.last_suspension_ms(node).map_or(0, |last| last.saturating_add(1));
        let time_ms = self.environment.unix_ms().max(after);
        let body = RevocationBody { practice: self.practice(), node: *node, kind, cuts, time_ms };
        let signed = match practice {
            Some(secret) => Revocation::by_practice(body, self.practice_key(secret)?.key()),
            None => {
                let key = self.charts()?.unlocked.entry().clone();
                Revocation::by_node(body, self.own_certificate()?, &key)
            }
        };
        let revocation = signed.map_err(|violation| {
            RecordsError::Refused(format!(
                "this node may not do that ({violation}); revoking for good takes the practice's passphrase or recovery code"
            ))
        })?;
        self.atomically(|records| {
            let statement = ControlStatement::Revocation(Box::new(revocation.into_revocation()));
            records.write_statement(&statement)?;
            records.tend_keys()?;
            records.renew_epochs()
        })
    }

    fn cuts(&self, node: &NodeId) -> Vec<Cut> {
        let logs = self.ledger.logs().filter(|log| log.author.node == *node);
        logs.filter_map(|log| {
            // Of a forked log only what stands before the fork can be told apart from the clone's.
            let head = self.ledger.heads(&log).iter().min_by_key(|head| head.sequence)?;
            Some(Cut {
                channel: log.channel,
                incarnation: log.author.incarnation,
                sequence: head.sequence,
                id: head.id,
            })
        })
        .collect()
    }

    /// Begins new epochs where somebody who is cut off could read the current ones.
    fn renew_epochs(&mut self) -> Result<(), RecordsError> {
        for kind in [EpochKind::General, EpochKind::Restricted] {
            if self.roster.epoch_due(kind) {
                let charts = self.charts()?;
                let statement = charts.keys.new_epoch(&self.environment, &self.roster, kind);
                self.write_statement(&statement)?;
                self.read_keys();
            }
        }
        Ok(())
    }

    /// Every node of the practice that this one knows.
    pub fn nodes(&self) -> Vec<NodeRow> {
        let now = self.environment.unix_ms();
        let mut rows: Vec<_> = self
            .roster
            .known_nodes()
            .map(|certificate| {
                let body = &certificate.body;
                NodeRow {
                    node: body.keys.entry.to_string(),
                    site: body.site.clone(),
                    role: match body.role {
                        Role::Clinic => "clinic",
                        Role::Relay => "relay",
                    },
                    capabilities: capability_names(body.capabilities),
                    standing: match self.roster.standing(&body.keys.entry) {
                        Standing::Active => "active",
                        Standing::Unknown => "unattested",
                        Standing::Suspended => "suspended",
                        Standing::Revoked => "revoked",
                    },
                    expires: instant(body.expires_ms),
                    expired: now > body.expires_ms,
                    this_node: body.keys.entry == self.keyring.node(),
                }
            })
            .collect();
        rows.sort_by(|a, b| (&a.site, &a.node).cmp(&(&b.site, &b.node)));
        rows
    }

    /// The practice key, opened for one act.
    pub(super) fn practice_key(
        &self,
        secret: &PracticeSecret,
    ) -> Result<PracticeKey, RecordsError> {
        match secret {
            PracticeSecret::Passphrase(passphrase) => Ok(self.keyring.practice_key(passphrase)?),
            PracticeSecret::RecoveryCode(code) => {
                let statement = self.roster.practice_statement().ok_or_else(|| {
                    RecordsError::Refused("the practice's statement has not arrived yet".into())
                })?;
                Ok(code.recover_practice(statement)?)
            }
        }
    }

    /// The practice key as a text sealed under `passphrase`, to be kept off the node.
    pub fn export_practice_key(
        &mut self,
        permit: &Permit,
        secret: &PracticeSecret,
        passphrase: &Private<String>,
        remove: bool,
    ) -> Result<String, RecordsError> {
        self.require(permit, Action::Administer)?;
        let key = self.practice_key(secret)?;
        let text = vault::export_practice_key(&self.environment, &key, passphrase)?;
        if remove && self.keyring.has_practice_key() {
            self.keyring.remove_practice_key()?;
        }
        Ok(text)
    }

    /// Brings an exported practice key back onto this node.
    pub fn import_practice_key(
        &mut self,
        permit: &Permit,
        text: &str,
        passphrase: &Private<String>,
    ) -> Result<(), RecordsError> {
        self.require(permit, Action::Administer)?;
        let key = vault::import_practice_key(text, passphrase)?;
        if key.id() != self.practice() {
            return Err(RecordsError::Refused("this is the key of another practice".into()));
        }
        Ok(self.keyring.store_practice_key(&self.environment, &key, passphrase)?)
    }

    /// The key that peers pin.
    pub fn transport_key(&self) -> TransportKey {
        self.keyring.keys().transport
    }

    /// This node's certificate.
    pub fn own_certificate(&self) -> Result<&Certificate, RecordsError> {
        self.keyring.certificate().ok_or(RecordsError::JoinNotFinished)
    }
}

fn grant_name(id: &[u8; 16]) -> String {
    format!("grant/{}", data_encoding::HEXLOWER.encode(id))
}

fn capability_names(capabilities: Capabilities) -> Vec<&'static str> {
    [
        (capabilities.admit, "admit"),
        (capabilities.restricted, "restricted"),
        (capabilities.audit, "audit"),
    ]
    .into_iter()
    .filter_map(|(held, name)| held.then_some(name))
    .collect()
}
