//! The permit: proof, carried in the types, that a decision was made before a chart was opened.
//!
//! Its fields are private and it has no public constructor, so whoever holds one got it from this
//! module. It names who, what and why, and ends soon. At the door it is looked at again: whether
//! its holder is still who they were, and whether it covers the very resource ([`Permit::admits`]).

use super::class::Class;
use super::consent::Verdict;
use super::policy::{self, Right, Tightening};
use super::role::Role;
use super::scope::Scopes;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// How long a permit holds: one command, one page.
pub const PERMIT_MS: u64 = 60_000;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// See a chart.
    Read,
    /// Change a chart.
    Write,
    /// Look for patients.
    Search,
    /// Open any chart in an emergency.
    Emergency,
    /// Take in records from outside.
    Import,
    /// Take records out.
    Export,
    /// Count cases, without names.
    Aggregate,
    /// Read the audit trail.
    Audit,
    /// See the review list.
    Review,
    /// Sign off items of the review list.
    SignOff,
    /// Manage staff and API tokens.
    ManageStaff,
    /// Invite and revoke nodes, handle the practice key.
    Administer,
    /// Run the node: verify, sync, back up. Shows nothing of a patient.
    Operate,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 13] = [
        Self::Read,
        Self::Write,
        Self::Search,
        Self::Emergency,
        Self::Import,
        Self::Export,
        Self::Aggregate,
        Self::Audit,
        Self::Review,
        Self::SignOff,
        Self::ManageStaff,
        Self::Administer,
        Self::Operate,
    ];

    /// The name that the audit trail keeps.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Search => "search",
            Self::Emergency => "break-glass",
            Self::Import => "import",
            Self::Export => "export",
            Self::Aggregate => "aggregate",
            Self::Audit => "audit",
            Self::Review => "review",
            Self::SignOff => "sign-off",
            Self::ManageStaff => "manage-staff",
            Self::Administer => "administer",
            Self::Operate => "operate",
        }
    }
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// Whoever owns the node's directory; an administrator until the practice has one.
    Operator,
    /// A member of staff, by user id.
    Staff(String),
    /// A program, by the id of its API token.
    Application(String),
    /// A patient, by the id of their Patient resource.
    Patient(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Staff(id) => f.write_str(id),
            Self::Application(id) => write!(f, "app:{id}"),
            Self::Patient(id) => write!(f, "patient:{id}"),
        }
    }
}

/// Why somebody acts; the codes are those of HL7's PurposeOfUse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The care of the patient.
    Treatment,
    /// Care in an emergency.
    Emergency,
    /// Payment for care.
    Payment,
    /// The running of the practice and of its nodes.
    Operations,
    /// Public health.
    PublicHealth,
    /// The patient's own wish.
    PatientRequest,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] = [
        Self::Treatment,
        Self::Emergency,
        Self::Payment,
        Self::Operations,
        Self::PublicHealth,
        Self::PatientRequest,
    ];

    /// The code in <http://terminology.hl7.org/CodeSystem/v3-ActReason>.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Treatment => "TREAT",
            Self::Emergency => "ETREAT",
            Self::Payment => "HPAYMT",
            Self::Operations => "HOPERAT",
            Self::PublicHealth => "PUBHLTH",
            Self::PatientRequest => "PATRQT",
        }
    }

    /// The purpose of this code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.code().eq_ignore_ascii_case(code))
    }
}

/// What a permit is asked about: one resource, as far as a decision needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its type.
    pub kind: &'a str,
    /// The patient to whose chart it belongs.
    pub patient: Option<&'a str>,
    /// Whether it is labelled restricted.
    pub restricted: bool,
    /// Whether it is a notifiable condition.
    pub notifiable: bool,
    /// Whether the actor is of the patient's care team.
    pub on_care_team: bool,
    /// Whether the actor has opened the patient's chart in an emergency.
    pub in_emergency: bool,
    /// What the patient has consented to.
    pub consent: Verdict,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No role of the actor may do this.
    #[error("{actor} may not {action}: no role of theirs includes it")]
    Role {
        /// Who.
        actor: String,
        /// What.
        action: &'static str,
    },
    /// No role of the actor sees or changes this class of information.
    #[error("{actor} may not {action} {class}: no role of theirs includes it")]
    Class {
        /// Who.
        actor: String,
        /// What.
        action: &'static str,
        /// Of what.
        class: &'static str,
    },
    /// Restricted, and the actor is not of the care team.
    #[error("this record is restricted to the patient's care team")]
    Restricted,
    /// The patient has said no.
    #[error("the patient's consent does not allow this")]
    Consent,
    /// Someone else's record.
    #[error("a patient sees their own record only")]
    NotOwn,
    /// The token does not cover it.
    #[error("the API token's scopes do not include this")]
    Scope,
    /// Nobody of this role acts for this purpose.
    #[error("{actor} may not act for {purpose}")]
    Purpose {
        /// Who.
        actor: String,
        /// Why.
        purpose: &'static str,
    },
    /// The practice has staff now.
    #[error("the practice has an administrator: charts are opened by members of staff")]
    Operator,
    /// Not, or no longer, a member of staff.
    #[error("{actor} is not an active member of staff")]
    Standing {
        /// Who.
        actor: String,
    },
    /// Works elsewhere.
    #[error("{actor} does not work at this site")]
    Site {
        /// Who.
        actor: String,
    },
    /// The permit has run out.
    #[error("the permit has run out")]
    Expired,
    /// Permitted is another act.
    #[error("this permit is not one to {0}")]
    NotThis(&'static str),
}

impl Denial {
    /// Its name, for scripts, for the audit trail and for the catalogue.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Role { .. } => "role",
            Self::Class { .. } => "class",
            Self::Restricted => "restricted",
            Self::Consent => "consent",
            Self::NotOwn => "not-own",
            Self::Scope => "scope",
            Self::Purpose { .. } => "purpose",
            Self::Operator => "operator",
            Self::Standing { .. } => "standing",
            Self::Site { .. } => "site",
            Self::Expired => "expired",
            Self::NotThis(_) => "not-this",
        }
    }
}

/// Leave to do one kind of action; see the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    actor: Actor,
    roles: BTreeSet<Role>,
    action: Action,
    purpose: Purpose,
    scopes: Option<Scopes>,
    tightening: Arc<Tightening>,
    until_ms: Option<u64>,
}

/// What a permit is made of, once its holder is known.
pub(super) struct Grounds {
    pub actor: Actor,
    pub roles: BTreeSet<Role>,
    pub scopes: Option<Scopes>,
    pub tightening: Arc<Tightening>,
}

impl Permit {
    /// Decides on who and what and why; which resource, [`Permit::admits`] decides.
    pub(super) fn decide(
        grounds: Grounds,
        action: Action,
        purpose: Option<Purpose>,
        now_ms: u64,
    ) -> Result<Self, Denial> {
        let Grounds { actor, roles, scopes, tightening } = grounds;
        let able = |role: &&Role| policy::may(**role, action);
        let Some(first) = roles.iter().find(able) else {
            return Err(Denial::Role { actor: actor.to_string(), action: action.name() });
        };
        let assumed = match action {
            Action::Emergency => Purpose::Emergency,
            Action::ManageStaff | Action::Administer | Action::Operate => Purpose::Operations,
            _ => policy::purposes(*first)[0],
        };
        let purpose = purpose.unwrap_or(assumed);
        if !roles.iter().any(|role| policy::purposes(*role).contains(&purpose)) {
            let purpose = purpose.code();
            return Err(Denial::Purpose { actor: actor.to_string(), purpose });
        }
        let until_ms = Some(now_ms.saturating_add(PERMIT_MS));
        Ok(Self { actor, roles, action, purpose, scopes, tightening, until_ms })
    }

    /// Who may act.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// In which roles.
    pub const fn roles(&self) -> &BTreeSet<Role> {
        &self.roles
    }

    /// What the permit is for.
    pub const fn action(&self) -> Action {
        self.action
    }

    /// Why.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether it still holds. A clock that was set back does not lengthen it.
    pub fn holds_at(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| now_ms <= until && now_ms + PERMIT_MS >= until)
    }

    /// Whether it covers an action. To write includes to read what is written over, and to read
    /// or write includes to find the patient.
    pub fn allows(&self, action: Action) -> bool {
        use Action::{Emergency, Export, Import, Read, Search, Write};
        let covered = match self.action {
            Write => matches!(action, Read | Write | Search),
            Import => matches!(action, Import | Read | Write | Search),
            Export => matches!(action, Export | Read | Search),
            Read => matches!(action, Read | Search),
            own => action == own,
        };
        covered || (self.is_operators() && action != Emergency)
    }

    /// The operator of a practice without staff is whatever is needed.
    fn is_operators(&self) -> bool {
        self.actor == Actor::Operator && self.action == Action::Administer
    }

    /// Whether it covers every resource: the operator's, where the operator may, and an
    /// administrator's who moves records in or out as a whole, which is not reading them.
    pub fn is_unlimited(&self) -> bool {
        self.actor == Actor::Operator
            || (matches!(self.action, Action::Import | Action::Export)
                && self.roles.contains(&Role::Administrator))
    }

    /// Whether it covers this resource, to see it or (`changing`) to change it.
    pub fn admits(&self, subject: &Subject<'_>, changing: bool) -> Result<(), Denial> {
        if self.is_unlimited() {
            return Ok(());
        }
        if subject.in_emergency && !changing && self.is_needed_in_emergency(subject) {
            return Ok(());
        }
        self.admits_class(subject, changing)?;
        if subject.in_emergency {
            return Ok(());
        }
        match subject.consent {
            Verdict::Denied => return Err(Denial::Consent),
            Verdict::Permitted => return Ok(()),
            Verdict::Silent => {}
        }
        if subject.restricted && !subject.on_care_team {
            return Err(Denial::Restricted);
        }
        Ok(())
    }

    /// In an emergency every clinical role sees what a physician sees, except of money.
    fn is_needed_in_emergency(&self, subject: &Subject<'_>) -> bool {
        let class = Class::of(subject.kind);
        !matches!(class, Class::Billing | Class::Coverage)
            && self.roles.iter().any(|role| role.is_clinical())
            && policy::right(Role::Physician, class, &self.tightening) != Right::None
    }

    fn admits_class(&self, subject: &Subject<'_>, changing: bool) -> Result<(), Denial> {
        let class = Class::of(subject.kind);
        let mut denial = Denial::Class {
            actor: self.actor.to_string(),
            action: if changing { Action::Write.name() } else { Action::Read.name() },
            class: class.id(),
        };
        for role in &self.roles {
            let admitted = match policy::right(*role, class, &self.tightening) {
                Right::None => false,
                Right::Read => !changing,
                Right::Write => true,
                Right::Notifiable => !changing && subject.notifiable,
                Right::Scope => {
                    denial = Denial::Scope;
                    self.scopes.as_ref().is_some_and(|scopes| {
                        scopes.include(subject.kind, subject.patient, changing)
                    })
                }
                Right::Own => {
                    let own = matches!((&self.actor, subject.patient),
                        (Actor::Patient(id), Some(patient)) if id == patient);
                    if !own && !class.is_of_no_patient() {
                        denial = Denial::NotOwn;
                    }
                    !changing && (own || class.is_of_no_patient())
                }
            };
            if admitted {
                return Ok(());
            }
        }
        Err(denial)
    }
}

/// The claim of whoever owns the directory. It is looked at again at the door: once the practice
/// has an administrator it opens no chart, unless an administrator allows it.
pub fn operator_permit(action: Action) -> Permit {
    let purpose = match action {
        Action::Read | Action::Write | Action::Search => Purpose::Treatment,
        _ => Purpose::Operations,
    };
    Permit {
        actor: Actor::Operator,
        roles: BTreeSet::new(),
        action,
        purpose,
        scopes: None,
        tightening: Arc::default(),
        until_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permit(role: Role, action: Action) -> Result<Permit, Denial> {
        let grounds = Grounds {
            actor: Actor::Staff("awa".into()),
            roles: [role].into(),
            scopes: None,
            tightening: Arc::default(),
        };
        Permit::decide(grounds, action, None, 1_000_000)
    }

    fn subject(kind: &str) -> Subject<'_> {
        Subject {
            kind,
            patient: Some("p"),
            restricted: false,
            notifiable: false,
            on_care_team: false,
            in_emergency: false,
            consent: Verdict::Silent,
        }
    }

    #[test]
    fn a_permit_covers_what_its_action_needs_and_no_more() {
        use Action::{Administer, Export, Read, Search, Write};
        let covered = |action| -> Vec<Action> {
            let permit = operator_permit(action);
            [Read, Write, Search, Export, Administer]
                .into_iter()
                .filter(|a| permit.allows(*a))
                .collect()
        };
        assert_eq!(covered(Read), [Read, Search]);
        assert_eq!(covered(Write), [Read, Write, Search]);
        assert_eq!(covered(Search), [Search]);
        assert_eq!(covered(Export), [Read, Search, Export]);
        assert_eq!(covered(Administer), [Read, Write, Search, Export, Administer]);
        let administrator = permit(Role::Administrator, Administer).unwrap();
        assert!(!administrator.allows(Read), "an administrator's rights are not the operator's");
    }

    #[test]
    fn it_ends_soon_and_a_clock_set_back_does_not_lengthen_it() {
        let permit = permit(Role::Nurse, Action::Read).unwrap();
        assert!(permit.holds_at(1_000_000) && permit.holds_at(1_060_000));
        assert!(!permit.holds_at(1_060_001) && !permit.holds_at(999_999));
    }

    #[test]
    fn role_class_restriction_and_consent_each_decide() {
        let nurse = permit(Role::Nurse, Action::Write).unwrap();
        assert_eq!(nurse.admits(&subject("Observation"), true), Ok(()));
        let denied = nurse.admits(&subject("Claim"), false).unwrap_err();
        assert_eq!(denied.code(), "class");
        let restricted = Subject { restricted: true, ..subject("Observation") };
        assert_eq!(nurse.admits(&restricted, false), Err(Denial::Restricted));
        let on_team = Subject { on_care_team: true, ..restricted };
        assert_eq!(nurse.admits(&on_team, false), Ok(()));
        let named = Subject { consent: Verdict::Permitted, ..restricted };
        assert_eq!(nurse.admits(&named, false), Ok(()), "the patient opens it to them");
        let refused = Subject { consent: Verdict::Denied, ..subject("Observation") };
        assert_eq!(nurse.admits(&refused, false), Err(Denial::Consent));
        for subject in [refused, restricted] {
            assert_eq!(nurse.admits(&Subject { in_emergency: true, ..subject }, false), Ok(()));
        }
        let laboratory = permit(Role::Laboratory, Action::Read).unwrap();
        let note = subject("Composition");
        assert!(laboratory.admits(&note, false).is_err());
        let note = Subject { in_emergency: true, ..note };
        assert_eq!(laboratory.admits(&note, false), Ok(()));
        assert!(laboratory.admits(&note, true).is_err(), "it is a view");
        let claim = Subject { in_emergency: true, ..subject("Claim") };
        assert!(nurse.admits(&claim, false).is_err(), "no emergency needs a claim");
    }

    #[test]
    fn public_health_sees_what_must_be_reported_and_nothing_else() {
        let officer = permit(Role::PublicHealth, Action::Read).unwrap();
        assert_eq!(officer.purpose(), Purpose::PublicHealth);
        let condition = subject("Condition");
        assert!(officer.admits(&condition, false).is_err());
        let notifiable = Subject { notifiable: true, ..condition };
        assert_eq!(officer.admits(&notifiable, false), Ok(()));
        assert!(officer.admits(&notifiable, true).is_err());
        assert_eq!(permit(Role::PublicHealth, Action::Search).unwrap_err().code(), "role");
    }

    #[test]
    fn a_patient_sees_their_own_record() {
        let grounds = Grounds {
            actor: Actor::Patient("p".into()),
            roles: [Role::Patient].into(),
            scopes: None,
            tightening: Arc::default(),
        };
        let permit = Permit::decide(grounds, Action::Read, None, 0).unwrap();
        assert_eq!(permit.admits(&subject("Composition"), false), Ok(()));
        let other = Subject { patient: Some("q"), ..subject("Composition") };
        assert_eq!(permit.admits(&other, false), Err(Denial::NotOwn));
        assert!(permit.admits(&subject("Composition"), true).is_err());
        let place = Subject { patient: None, ..subject("Location") };
        assert_eq!(permit.admits(&place, false), Ok(()));
    }

    #[test]
    fn a_purpose_must_fit_the_role() {
        let grounds = Grounds {
            actor: Actor::Staff("awa".into()),
            roles: [Role::Billing].into(),
            scopes: None,
            tightening: Arc::default(),
        };
        let denied = Permit::decide(grounds, Action::Read, Some(Purpose::Treatment), 0);
        assert_eq!(denied.unwrap_err().code(), "purpose");
    }
}
