//! The foundation of a practice: its key, its first node, its first epochs.

use super::epochs::{epoch_statement, wrap_all};
use super::error::VaultError;
use super::pseudonym::PseudonymKey;
use super::recovery::RecoveryCode;
use super::sealed::EpochKey;
use super::share::{self, Purpose};
use crate::base::environment::Environment;
use crate::identity::PracticeKey;
use crate::identity::statement::{
    ControlStatement, EpochKind, PracticeBody, PracticeStatement, PseudonymStatement,
    is_practice_name,
};
use carnet_sync_protocol::certificate::{
    Capabilities, Certificate, CertificateBody, NodeKeys, Role,
};

/// What a practice begins with.
#[derive(Clone, Debug)]
pub struct Founding<'a> {
    /// What people will call the practice.
    pub name: &'a str,
    /// Where its first node stands.
    pub site: &'a str,
    /// The first node's keys.
    pub keys: NodeKeys,
    /// When the first node's certificate expires.
    pub expires_ms: u64,
    /// What will bring the practice back when all is lost.
    pub code: &'a RecoveryCode,
}

/// A founded practice.
#[derive(Clone, Debug)]
pub struct Founded {
    /// The practice's key.
    pub practice_key: PracticeKey,
    /// The first node's certificate.
    pub certificate: Certificate,
    /// The first entries of the first node's control log, in this order.
    pub statements: Vec<ControlStatement>,
}

/// Founds a practice. All keys of it come from `environment`, and all are wrapped to the recovery
/// code as well, the practice's own among them.
pub fn found(environment: &Environment, founding: &Founding<'_>) -> Result<Founded, VaultError> {
    if !is_practice_name(founding.name) {
        return Err(VaultError::PracticeName);
    }
    let practice_key = PracticeKey::generate(environment);
    let practice = practice_key.id();
    let recovery = founding.code.public();
    let pseudonym = PseudonymKey::generate(environment);
    let recipients = [founding.keys.hpke, recovery];

    let sealed_key =
        share::wrap(environment, practice, Purpose::PracticeKey, recovery, practice_key.seed())?;
    let body = PracticeBody {
        practice,
        revision: 0,
        name: founding.name.to_owned(),
        recovery,
        pseudonym_check: pseudonym.check(),
        key: sealed_key,
    };
    let certificate = self_certificate(environment, founding, &practice_key)?;
    let check = pseudonym.check();
    let purpose = Purpose::Pseudonym(check);
    let wraps = wrap_all(environment, practice, purpose, &recipients, pseudonym.secret());
    let mut statements = vec![
        ControlStatement::Practice(Box::new(PracticeStatement::sign(body, practice_key.key()))),
        ControlStatement::Certificate(Box::new(certificate.clone())),
        ControlStatement::Pseudonym(PseudonymStatement { check, wraps }),
    ];
    for kind in EpochKind::ALL {
        let key = EpochKey::generate(environment);
        statements.push(epoch_statement(
            environment,
            practice,
            kind,
            &key,
            Vec::new(),
            &recipients,
        ));
    }
    Ok(Founded { practice_key, certificate, statements })
}

/// The first node may do everything.
fn self_certificate(
    environment: &Environment,
    founding: &Founding<'_>,
    practice_key: &PracticeKey,
) -> Result<Certificate, VaultError> {
    let body = CertificateBody {
        practice: practice_key.id(),
        keys: founding.keys,
        role: Role::Clinic,
        capabilities: Capabilities { admit: true, restricted: true, audit: true },
        site: founding.site.to_owned(),
        serial: environment.random(),
        issued_ms: environment.unix_ms(),
        expires_ms: founding.expires_ms,
    };
    let certificate =
        Certificate::issue(body, practice_key.key()).map_err(|_| VaultError::SiteName)?;
    Ok(certificate.into_certificate())
}
