//! What a peer of the practice may have: everything that is held, as it is held, sealed.
//!
//! Nothing here needs the node to be unlocked.

use super::{Records, RecordsError};
use crate::identity::roster::Standing;
use crate::store::StoreError;
use carnet_sync_protocol::certificate::VerifiedCertificate;
use carnet_sync_protocol::entry::Run;
use carnet_sync_protocol::frontier::{Frontier, Head};
use carnet_sync_protocol::id::LogId;
use carnet_sync_protocol::session::Refusal;

impl Records {
    /// What this node holds, in durable storage or in the commit under way.
    pub fn frontier(&self) -> &Frontier {
        self.ledger.frontier()
    }

    /// The runs that lead to `until` from the nearest of `after`, or as many of them as fit.
    pub fn load(
        &self,
        log: &LogId,
        after: &[Head],
        until: Head,
        bytes_max: usize,
    ) -> Result<Vec<Run>, RecordsError> {
        let mut nearest_first = after.to_vec();
        nearest_first.sort_unstable_by(|a, b| b.cmp(a));
        for point in nearest_first {
            match self.ledger.load(log, Some(point), until, bytes_max) {
                // In a forked log, a point may lie on another branch.
                Err(StoreError::NotHeld { .. }) => {}
                other => return Ok(other?),
            }
        }
        Ok(self.ledger.load(log, None, until, bytes_max)?)
    }

    /// Those of the heads that are held.
    pub fn known(&self, heads: &[(LogId, Head)]) -> Result<Vec<(LogId, Head)>, RecordsError> {
        let mut known = Vec::new();
        for (log, head) in heads {
            if self.ledger.knows(log, head)? {
                known.push((*log, *head));
            }
        }
        Ok(known)
    }

    /// Entries of a log at growing distances back from its heads, to find where two nodes part.
    pub fn waypoints(&self, log: &LogId) -> Result<Vec<Head>, RecordsError> {
        Ok(self.ledger.waypoints(log)?)
    }

    /// Whether this practice still accepts the node that presents this certificate; if not, why.
    pub fn admits(&self, certificate: &VerifiedCertificate) -> Result<(), Refusal> {
        #[cfg(planted)]
        if carnet_sync_protocol::planted::is("lets-in-who-was-cut-off") {
            return Ok(());
        }
        match self.roster.standing_with(certificate) {
            // A node that this one has not heard of yet proves itself by its certificate alone.
            Standing::Unknown | Standing::Active => Ok(()),
            Standing::Suspended => Err(Refusal::Suspended),
            Standing::Revoked => Err(Refusal::Revoked),
        }
    }
}
