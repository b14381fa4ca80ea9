//! A practice restored on a new machine: any node's ciphertext and the recovery code are enough.

use super::compact::opener;
use super::open::{CERTIFICATE_MS, claim_directory, create_keyring, ledger_path};
use super::{Records, RecordsError};
use crate::base::environment::Environment;
use crate::identity::statement::ControlStatement;
use crate::store::ledger::Ledger;
use crate::vault::KeyBook;
use crate::vault::RecoveryCode;
use crate::vault::UnlockMethod;
use carnet_sync_protocol::certificate::{Capabilities, Certificate, CertificateBody, Role};
use carnet_sync_protocol::frontier::Head;
use carnet_sync_protocol::id::{Channel, LogId};
use std::path::Path;

/// Bytes of ciphertext copied in one piece.
const COPY_BYTES: usize = 4 << 20;

impl Records {
    /// Makes a new first node in `dir` from the ledger that lies in `from` (the directory of any
    /// node or relay of the practice, or a copy of it) and the recovery code.
    ///
    /// Everything copied is checked as if a peer had sent it. The new node has keys of its own and
    /// all capabilities; the old nodes stay what they were.
    pub fn restore(
        dir: &Path,
        environment: Environment,
        from: &Path,
        code: &RecoveryCode,
        site: &str,
        unlock: &UnlockMethod,
    ) -> Result<Self, RecordsError> {
        let mut source = Ledger::open_read_only(&ledger_path(from))?;
        let practice = source.practice();
        let directory_lock = claim_directory(dir)?;
        let (keyring, unlocked) = create_keyring(dir, &environment, unlock)?;
        let ledger = Ledger::create(&ledger_path(dir), practice)?;
        let mut records = Self::assemble(dir, environment, directory_lock, ledger, keyring)?;
        records.copy_from(&source, |log| log.channel == Channel::Control)?;
        let statement = records.roster.practice_statement().ok_or_else(|| {
            RecordsError::Refused(format!(
                "{} does not hold the practice's founding statement; try the directory of another node",
                from.display()
            ))
        })?;
        let practice_key = code.recover_practice(statement)?;
        // The code opens every epoch; from here on the new node's own key does too.
        let keys = KeyBook::read(&records.roster, &code.secret());
        source.set_opener(Some(opener(practice, keys.clone())));
        records.copy_from(&source, |log| log.channel != Channel::Control)?;
        let now = records.environment.unix_ms();
        let certificate = Certificate::issue(
            CertificateBody {
                practice,
                keys: *records.keyring.keys(),
                role: Role::Clinic,
                capabilities: Capabilities { admit: true, restricted: true, audit: true },
                site: site.to_owned(),
                serial: records.environment.random(),
                issued_ms: now,
                expires_ms: now.saturating_add(CERTIFICATE_MS),
            },
            practice_key.key(),
        )
        .map_err(|violation| RecordsError::BadRequest(format!("the site's name: {violation}")))?
        .into_certificate();
        records.open_charts(unlocked)?;
        records.write_statement(&ControlStatement::Certificate(Box::new(certificate.clone())))?;
        for statement in keys.fill_wraps(&records.environment, &records.roster) {
            records.write_statement(&statement)?;
        }
        records.tend_keys()?;
        records.commit()?;
        records.keyring.complete(certificate)?;
        records.arrange_recovery()?;
        records.catch_up()?;
        records.commit()?;
        Ok(records)
    }

    /// Copies some logs. The control channel, which comes first, may need a second look: its logs
    /// certify one another.
    fn copy_from(
        &mut self,
        source: &Ledger,
        wanted: impl Fn(&LogId) -> bool,
    ) -> Result<(), RecordsError> {
        let logs = source.frontier().0.iter().filter(|(log, _)| wanted(log));
        let mut left: Vec<(LogId, Vec<Head>)> =
            logs.map(|(log, heads)| (*log, heads.clone())).collect();
        while !left.is_empty() {
            let before = left.len();
            let mut refused = Vec::new();
            for (log, heads) in left {
                if !self.copy_log(source, &log, &heads)? {
                    refused.push((log, heads));
                }
            }
            if refused.len() == before {
                tracing::warn!(
                    logs = refused.len(),
                    "logs of uncertified authors were not restored"
                );
                break;
            }
            left = refused;
        }
        self.commit()?;
        Ok(())
    }

    fn copy_log(
        &mut self,
        source: &Ledger,
        log: &LogId,
        heads: &[Head],
    ) -> Result<bool, RecordsError> {
        for head in heads {
            let mut after = None;
            while after != Some(*head) {
                let page = source.load(log, after, *head, COPY_BYTES)?;
                let mut verified = Vec::with_capacity(page.len());
                for run in page {
                    verified.push(run.verify(source.practice()).map_err(|violation| {
                        RecordsError::Refused(format!("the copied ledger is damaged: {violation}"))
                    })?);
                }
                let Some(last) = verified.last() else { break };
                after = Some(last.head());
                if !self.receive(&verified)?.refused.is_empty() {
                    return Ok(false);
                }
                self.commit()?;
            }
        }
        Ok(true)
    }
}
