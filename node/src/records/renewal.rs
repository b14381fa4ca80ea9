//! New certificates for nodes that have one: before it expires, or after.
//!
//! An expired certificate warns and refuses nothing, so there is no hurry. The new one is for the
//! same keys, role and capabilities; it travels in the control channel like the first, and the node
//! concerned takes it up when it arrives, locked or not.

use super::open::CERTIFICATE_MS;
use super::{Records, RecordsError};
use crate::access::{Action, Permit};
use crate::identity::roster::Standing;
use crate::identity::statement::ControlStatement;
use crate::records::membership::{Invite, PracticeSecret};
use carnet_sync_protocol::certificate::{
    Certificate, CertificateBody, Issuer, VerifiedCertificate,
};
use carnet_sync_protocol::id::NodeId;

impl Records {
    /// Renews the certificate of a node. One that the practice key signed (the founding node's, and
    /// those that were renewed so) takes the practice key again; any other a node that may admit.
    pub fn renew(
        &mut self,
        permit: &Permit,
        node: &NodeId,
        practice: Option<&PracticeSecret>,
    ) -> Result<(), RecordsError> {
        self.require(permit, Action::Administer)?;
        let held = self.roster.shown_certificate(node).cloned().ok_or_else(|| {
            RecordsError::BadRequest(format!(
                "no node {node} is known; list them with `carnet node list`"
            ))
        })?;
        // One that nobody admitted but who was cut off is admitted so.
        if let Standing::Suspended | Standing::Revoked = self.roster.standing(node) {
            return Err(RecordsError::Refused(
                "this node is suspended or revoked; a certificate does not let it in again".into(),
            ));
        }
        let renewed = self.renewed(&held, practice)?;
        self.atomically(|records| {
            let statement = Box::new(renewed.into_certificate());
            records.write_statement(&ControlStatement::Certificate(statement))?;
            records.tend_keys()
        })?;
        self.take_up_certificate();
        Ok(())
    }

    fn renewed(
        &self,
        held: &VerifiedCertificate,
        practice: Option<&PracticeSecret>,
    ) -> Result<VerifiedCertificate, RecordsError> {
        let entry_key = self.charts()?.unlocked.entry().clone();
        let now = self.environment.unix_ms();
        let body = CertificateBody {
            serial: self.environment.random(),
            // Of two certificates the later counts, whatever the clock said at the first.
            issued_ms: now.max(held.body.issued_ms.saturating_add(1)),
            expires_ms: now.saturating_add(CERTIFICATE_MS),
            ..held.body.clone()
        };
        let renewed = match practice {
            Some(secret) => Certificate::issue(body, self.practice_key(secret)?.key()),
            None if held.issuer == Issuer::Practice => {
                return Err(RecordsError::Refused(
                    "the practice key signed this certificate, and signs the next: give the practice's passphrase or recovery code with it".into(),
                ));
            }
            None => {
                let terms = Invite {
                    site: body.site.clone(),
                    role: body.role,
                    capabilities: body.capabilities,
                    addresses: Vec::new(),
                    valid_ms: 0,
                    practice: None,
                };
                let grant = self.grant(&terms, self.environment.random(), now)?;
                Certificate::sponsor(body, grant, &entry_key)
            }
        };
        renewed.map_err(|violation| {
            RecordsError::Refused(format!("the certificate can't be renewed: {violation}"))
        })
    }

    /// Presents from here on the certificate that the practice gave this node last.
    pub(super) fn take_up_certificate(&mut self) {
        let newer = self
            .keyring
            .certificate()
            .and_then(|held| self.roster.newer_certificate(held))
            .map(|newer| newer.clone().into_certificate());
        if let Some(newer) = newer
            && let Err(error) = self.keyring.complete(newer)
        {
            // The old one still works, and the next start tries again.
            tracing::warn!(%error, "the renewed certificate could not be kept");
        }
    }
}
