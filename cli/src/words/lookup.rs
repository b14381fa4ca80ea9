//! Which text of the catalogue belongs to an error, a problem or a phase of work.

use super::{Word, Words};
use carnet_node::access::Class;
use carnet_node::service::error::{ErrorKind, Reason};

impl Words {
    /// What a denial says, and what its reader can do.
    pub fn of_denial(self, reason: &Reason) -> Option<(String, &'static str)> {
        let (what, advice) = match reason.code.as_str() {
            "role" => (Word::DeniedRole, Word::AdviceRole),
            "class" => (Word::DeniedClass, Word::AdviceRole),
            "restricted" => (Word::DeniedRestricted, Word::AdviceEmergency),
            "consent" => (Word::DeniedConsent, Word::AdviceEmergency),
            "not-own" => (Word::DeniedNotOwn, Word::AdviceRole),
            "scope" => (Word::DeniedScope, Word::AdviceScope),
            "purpose" => (Word::DeniedPurpose, Word::AdvicePurpose),
            "operator" => (Word::DeniedOperator, Word::AdviceOperator),
            "standing" => (Word::DeniedStanding, Word::AdviceStanding),
            "site" => (Word::DeniedSite, Word::AdviceStanding),
            "cut-off" => (Word::DeniedCutOff, Word::AdviceCutOff),
            "expired" => (Word::DeniedExpired, Word::AdviceAgain),
            "password" => (Word::DeniedPassword, Word::AdvicePassword),
            "wait" => (Word::DeniedWait, Word::AdviceWait),
            "locked-user" => (Word::DeniedLockedUser, Word::AdviceLockedUser),
            "session" => (Word::DeniedSession, Word::AdviceLogin),
            "no-pin" => (Word::DeniedNoPin, Word::AdviceByPassword),
            "pin" => (Word::DeniedPin, Word::AdviceByPassword),
            "pin-locked" => (Word::DeniedPinLocked, Word::AdviceByPassword),
            "token" => (Word::DeniedToken, Word::AdviceToken),
            _ => return None,
        };
        let class =
            Class::named(&reason.class).map_or("", |class| self.text(Word::of_class(class)));
        let gaps = [("who", reason.who.as_str()), ("act", &reason.act), ("class", class)];
        Some((self.fill(what, &gaps), self.text(advice)))
    }
}

impl Word {
    /// The headline of an error.
    pub const fn of_error(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Failure => Self::ErrorFailure,
            ErrorKind::Partial => Self::ErrorPartial,
            ErrorKind::Denied => Self::ErrorDenied,
            ErrorKind::NoNode => Self::ErrorNoNode,
            ErrorKind::InUse => Self::ErrorInUse,
            ErrorKind::WrongPassphrase => Self::ErrorWrongPassphrase,
            ErrorKind::Locked => Self::ErrorLocked,
            ErrorKind::Interrupted => Self::ErrorInterrupted,
            ErrorKind::BadInput => Self::ErrorBadInput,
            ErrorKind::NotFound => Self::ErrorNotFound,
            ErrorKind::Invitation => Self::ErrorInvitation,
            ErrorKind::Peer => Self::ErrorPeer,
            ErrorKind::Unreachable => Self::ErrorUnreachable,
            ErrorKind::Damaged => Self::ErrorDamaged,
            ErrorKind::NewerSchema => Self::ErrorNewerSchema,
            ErrorKind::DiskFull => Self::ErrorDiskFull,
            ErrorKind::Changed => Self::ErrorChanged,
            ErrorKind::Config => Self::ErrorConfig,
        }
    }

    /// What to do about an error that does not say it itself.
    pub const fn advice_of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Failure => Self::AdviceFailure,
            ErrorKind::Partial => Self::AdvicePartial,
            ErrorKind::Denied => Self::AdviceDenied,
            ErrorKind::NoNode => Self::AdviceNoNode,
            ErrorKind::InUse => Self::AdviceInUse,
            ErrorKind::WrongPassphrase => Self::AdviceWrongPassphrase,
            ErrorKind::Locked => Self::AdviceLocked,
            ErrorKind::Interrupted => Self::AdviceInterrupted,
            ErrorKind::BadInput => Self::AdviceBadInput,
            ErrorKind::NotFound => Self::AdviceNotFound,
            ErrorKind::Invitation => Self::AdviceInvitation,
            ErrorKind::Peer => Self::AdvicePeer,
            ErrorKind::Unreachable => Self::AdviceUnreachable,
            ErrorKind::Damaged => Self::AdviceDamaged,
            ErrorKind::NewerSchema => Self::AdviceNewerSchema,
            ErrorKind::DiskFull => Self::AdviceDiskFull,
            ErrorKind::Changed => Self::AdviceChanged,
            ErrorKind::Config => Self::AdviceConfig,
        }
    }

    /// What people call a class of information.
    pub const fn of_class(class: Class) -> Self {
        match class {
            Class::Demographics => Self::ClassDemographics,
            Class::Allergies => Self::ClassAllergies,
            Class::Alerts => Self::ClassAlerts,
            Class::Problems => Self::ClassProblems,
            Class::Medications => Self::ClassMedications,
            Class::Immunizations => Self::ClassImmunizations,
            Class::Observations => Self::ClassObservations,
            Class::Results => Self::ClassResults,
            Class::Orders => Self::ClassOrders,
            Class::Procedures => Self::ClassProcedures,
            Class::Diet => Self::ClassDiet,
            Class::Notes => Self::ClassNotes,
            Class::Encounters => Self::ClassEncounters,
            Class::Plans => Self::ClassPlans,
            Class::Scheduling => Self::ClassScheduling,
            Class::Coverage => Self::ClassCoverage,
            Class::Billing => Self::ClassBilling,
            Class::Consents => Self::ClassConsents,
            Class::Directory => Self::ClassDirectory,
            Class::Knowledge => Self::ClassKnowledge,
            Class::Other => Self::ClassOther,
        }
    }

    /// The text for a problem of the status.
    pub fn of_problem(code: &str) -> Option<Self> {
        Some(match code {
            "clock" => Self::ProblemClock,
            "certificate" => Self::ProblemCertificate,
            "suspended" => Self::ProblemSuspended,
            "revoked" => Self::ProblemRevoked,
            "unattested" => Self::ProblemUnattested,
            "fork" => Self::ProblemFork,
            "statements" => Self::ProblemStatements,
            "quarantine" => Self::ProblemQuarantine,
            "withheld" => Self::ProblemWithheld,
            "locked" => Self::ProblemLocked,
            "packed" => Self::ProblemPacked,
            "unprotected" => Self::ProblemUnprotected,
            "conflicts" => Self::ProblemConflicts,
            "unreadable" => Self::ProblemUnreadable,
            "waiting" => Self::ProblemWaiting,
            _ => return None,
        })
    }

    /// The sentence of an item of the review list.
    pub fn of_review(code: &str) -> Option<Self> {
        Some(match code {
            "emergency" => Self::ReviewEmergency,
            "suspended" => Self::ReviewSuspended,
            "conflict" => Self::ReviewConflict,
            "duplicate" => Self::ReviewDuplicate,
            "contradiction" => Self::ReviewContradiction,
            "staff" => Self::ReviewStaff,
            "token" => Self::ReviewToken,
            "quarantine" => Self::ReviewQuarantine,
            "withheld" => Self::ReviewWithheld,
            "fork" => Self::ReviewFork,
            _ => return None,
        })
    }

    /// The text for a phase of long work.
    pub fn of_phase(phase: &str) -> Option<Self> {
        Some(match phase {
            "import" => Self::PhaseImport,
            "index" => Self::PhaseIndex,
            "verify" => Self::PhaseVerify,
            "compact" => Self::PhaseCompact,
            "copy" => Self::PhaseCopy,
            "backup" => Self::PhaseBackup,
            "restore" => Self::PhaseRestore,
            "sync" => Self::PhaseSync,
            "unlock" => Self::PhaseUnlock,
            "demo" => Self::PhaseDemo,
            _ => return None,
        })
    }
}
