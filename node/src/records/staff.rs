//! The staff of the practice: statements written, received, folded; passwords; emergencies.

use super::author::Content;
use super::open::PAGE;
use super::{Records, RecordsError};
use crate::access::roster::{Member, Said};
use crate::access::statement::{
    Matter, Person, Reach, StaffStatement, Standing, Token, is_text, is_user_id,
};
use crate::access::{Action, Actor, Permit, Purpose, Role, StaffRoster};
use crate::audit::AuditOutcome;
use crate::base::private::Private;
use crate::store::ledger::Held;
use crate::vault;
use crate::vault::RecoveryCode;
use carnet_sync_protocol::id::{Channel, DocumentId, EntryId};
use std::collections::BTreeMap;

/// What is changed of a member of staff; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct PersonChange {
    /// The name.
    pub name: Option<String>,
    /// The roles.
    pub roles: Option<Vec<Role>>,
    /// The sites.
    pub sites: Option<Vec<String>>,
    /// What checks the password, as [`crate::vault::password::make_check`] wrote it.
    pub password: Option<Vec<u8>>,
    /// Active or suspended.
    pub standing: Option<Standing>,
    /// Whether their password may unlock nodes.
    pub may_unlock: Option<bool>,
    /// Their Practitioner resource.
    pub practitioner: Option<String>,
}

impl Records {
    /// The staff as things stand; locked, nobody knows.
    pub fn staff(&self) -> Result<&StaffRoster, RecordsError> {
        Ok(&self.charts()?.staff)
    }

    /// Reads the staff channel anew.
    pub(super) fn read_staff(&mut self) -> Result<(), RecordsError> {
        if self.charts.is_none() {
            return Ok(());
        }
        let mut said = Vec::new();
        let mut after = 0;
        loop {
            let page = self.ledger.of_channel(Channel::Staff, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.arrival;
            said.extend(page.iter().filter_map(|held| self.open_staff(held)));
        }
        self.charts_mut()?.staff_said = said;
        self.fold_staff()
    }

    /// Those whose own password may unlock this node, with what checks it.
    pub(super) fn unlockers(&self) -> Result<BTreeMap<String, Vec<u8>>, RecordsError> {
        let entitled = |member: &Member| {
            let person = &member.person;
            let may = person.may_unlock && person.standing == Standing::Active;
            let check = person.password.clone().filter(|_| may)?;
            Some((person.id.clone(), check))
        };
        Ok(self.staff()?.members().filter_map(entitled).collect())
    }

    /// Takes the way in from those who lost it, or whose password has changed.
    fn keep_unlockers(&mut self) -> Result<(), RecordsError> {
        let entitled = self.unlockers()?;
        self.keyring.keep_staff_slots(&entitled)?;
        Ok(())
    }

    /// After a password was found right: lets it unlock this node, where an administrator allows
    /// it. This is the one moment at which the password itself is at hand.
    pub fn let_unlock(&mut self, id: &str, password: &Private<String>) -> Result<(), RecordsError> {
        let Some(check) = self.unlockers()?.remove(id) else { return Ok(()) };
        if self.keyring.has_staff_slot(id, &check) {
            return Ok(());
        }
        let unlocked = self.charts()?.unlocked.clone();
        self.keyring.set_staff_slot(&self.environment, &unlocked, id, &check, password)?;
        self.note_act(
            &Actor::Staff(id.to_owned()),
            "key-change",
            "unlock-slot",
            AuditOutcome::Done,
        );
        Ok(())
    }

    /// A staff statement, unless it can't be read here or its node was cut off before it.
    fn open_staff(&self, held: &Held) -> Option<Said> {
        let header = &held.entry.header;
        if !vault::CODECS.contains(&header.codec) || self.is_cut(held) {
            return None;
        }
        let key = self.charts.as_ref()?.keys.epoch(&header.epoch)?;
        let payload = vault::open(key, header, &held.entry.payload).ok()?;
        // One that can't be read is as if it had not been said: it gives nobody anything.
        Some((held.entry.id, StaffStatement::from_payload(&payload).ok()?))
    }

    /// Notes a statement that just arrived; it holds once all that came with it is folded.
    pub(super) fn hear_staff(&mut self, held: &Held) -> Result<(), RecordsError> {
        if let Some(said) = self.open_staff(held) {
            self.charts_mut()?.staff_said.push(said);
        }
        Ok(())
    }

    /// Folds what was heard.
    pub(super) fn fold_staff(&mut self) -> Result<(), RecordsError> {
        let charts = self.charts_mut()?;
        charts.staff = StaffRoster::fold(&charts.staff_said);
        self.keep_unlockers()
    }

    pub(super) fn write_staff(
        &mut self,
        by: &Actor,
        replaces: Vec<EntryId>,
        reach: Vec<Reach>,
        matter: Matter,
    ) -> Result<EntryId, RecordsError> {
        let statement = StaffStatement {
            by: by.to_string(),
            time_ms: self.environment.unix_ms(),
            replaces,
            reach,
            matter,
        };
        let bytes = statement.to_payload();
        if StaffStatement::from_payload(&bytes).is_err() {
            return Err(RecordsError::BadRequest(
                "a text is empty, too long, or has control characters in it".into(),
            ));
        }
        let content = Content::Change { document: DocumentId::ZERO, bytes: &bytes };
        self.leave_forked_life()?;
        let placed = self.append_own(Channel::Staff, &[content])?;
        let placed = placed.last().ok_or_else(|| RecordsError::Bug("an unwritten entry".into()))?;
        if let Some(held) = self.ledger.at(placed.arrival)? {
            self.hear_staff(&held)?;
            self.fold_staff()?;
        }
        Ok(placed.id)
    }

    /// How far every log of the charts is known here.
    fn reach(&self) -> Vec<Reach> {
        let logs = self.ledger.logs().filter(|log| super::project::is_chart(log.channel));
        logs.filter_map(|log| {
            let sequence = self.ledger.heads(&log).iter().map(|head| head.sequence).max()?;
            Some(Reach { log, sequence })
        })
        .collect()
    }

    /// Adds a member of staff.
    pub fn add_staff(
        &mut self,
        permit: &Permit,
        id: &str,
        change: PersonChange,
    ) -> Result<Member, RecordsError> {
        self.require(permit, Action::ManageStaff)?;
        if !is_user_id(id) {
            return Err(RecordsError::BadRequest(
                "a user id is made of a-z, 0-9, dots and hyphens, at most 64".into(),
            ));
        }
        if self.staff()?.member(id).is_some() {
            return Err(RecordsError::BadRequest(format!(
                "{id} exists already; change them with `carnet staff set-role`, or choose another id"
            )));
        }
        let person = Person {
            id: id.to_owned(),
            name: change.name.clone().unwrap_or_else(|| id.to_owned()),
            roles: Vec::new(),
            sites: Vec::new(),
            password: None,
            standing: Standing::Active,
            may_unlock: false,
            practitioner: None,
        };
        self.state_person(permit.actor(), person, Vec::new(), change, "staff-add")
    }

    /// Changes a member of staff.
    pub fn change_staff(
        &mut self,
        permit: &Permit,
        id: &str,
        change: PersonChange,
    ) -> Result<Member, RecordsError> {
        self.require(permit, Action::ManageStaff)?;
        let member = self.member(id)?;
        let lets_in = change.password.is_some();
        let (person, heads) = (member.person, member.heads);
        let member = self.state_person(permit.actor(), person, heads, change, "staff-change")?;
        if lets_in {
            self.forget_failures(id)?;
        }
        Ok(member)
    }

    /// Sets one's own password.
    pub fn change_own_password(
        &mut self,
        actor: &Actor,
        password: Vec<u8>,
    ) -> Result<(), RecordsError> {
        let Actor::Staff(id) = actor else {
            return Err(RecordsError::BadRequest("only members of staff have a password".into()));
        };
        let member = self.member(id)?;
        let change = PersonChange { password: Some(password), ..PersonChange::default() };
        self.state_person(actor, member.person, member.heads, change, "password").map(drop)
    }

    /// Lets the operator, who holds the practice's recovery code, set a person's password and let
    /// them in again: the way back when no administrator can.
    pub fn reset_staff(
        &mut self,
        code: &RecoveryCode,
        id: &str,
        password: Vec<u8>,
    ) -> Result<Member, RecordsError> {
        let statement = self.roster.practice_statement().ok_or_else(|| {
            RecordsError::Refused("the practice's statement has not arrived yet".into())
        })?;
        code.recover_practice(statement)?;
        let member = self.member(id)?;
        let change = PersonChange {
            password: Some(password),
            standing: Some(Standing::Active),
            ..PersonChange::default()
        };
        let (person, heads) = (member.person, member.heads);
        let member = self.state_person(&Actor::Operator, person, heads, change, "staff-reset")?;
        self.forget_failures(id)?;
        Ok(member)
    }

    fn member(&self, id: &str) -> Result<Member, RecordsError> {
        self.staff()?.member(id).cloned().ok_or_else(|| {
            RecordsError::BadRequest(format!(
                "nobody has the user id {id}; list them with `carnet staff list`"
            ))
        })
    }

    fn state_person(
        &mut self,
        by: &Actor,
        mut person: Person,
        replaces: Vec<EntryId>,
        change: PersonChange,
        action: &str,
    ) -> Result<Member, RecordsError> {
        if change.name.as_ref().is_some_and(|name| !is_text(name)) {
            return Err(RecordsError::BadRequest("a name can't be empty".into()));
        }
        if let Some(roles) = &change.roles
            && let Some(role) = roles.iter().find(|role| !role.is_for_staff())
        {
            return Err(RecordsError::BadRequest(format!("{role} is no role for staff")));
        }
        let before = person.standing;
        person.name = change.name.unwrap_or(person.name);
        person.roles = change.roles.unwrap_or(person.roles);
        person.roles.sort_unstable();
        person.roles.dedup();
        person.sites = change.sites.unwrap_or(person.sites);
        person.password = change.password.or(person.password);
        person.standing = change.standing.unwrap_or(person.standing);
        person.may_unlock = change.may_unlock.unwrap_or(person.may_unlock);
        person.practitioner = change.practitioner.or(person.practitioner);
        self.keep_an_administrator(&person)?;
        let reach = if person.standing == before { Vec::new() } else { self.reach() };
        let id = person.id.clone();
        self.write_staff(by, replaces, reach, Matter::Person(person))?;
        self.note_act(by, action, &format!("staff/{id}"), AuditOutcome::Done);
        self.member(&id)
    }

    /// The last administrator can't be removed: nobody could let anybody in any more.
    fn keep_an_administrator(&self, after: &Person) -> Result<(), RecordsError> {
        let staff = self.staff()?;
        let stays =
            after.standing == Standing::Active && after.roles.contains(&Role::Administrator);
        let others = staff.administrators().any(|person| person.id != after.id);
        let was = staff.administrators().any(|person| person.id == after.id);
        if was && !stays && !others {
            return Err(RecordsError::Refused(
                "this is the last administrator; make another one first".into(),
            ));
        }
        Ok(())
    }

    /// Says whether the operator may open charts though the practice has staff.
    pub fn allow_operator_charts(
        &mut self,
        permit: &Permit,
        allow: bool,
    ) -> Result<(), RecordsError> {
        self.require(permit, Action::ManageStaff)?;
        let replaces = self.staff()?.operator_heads().to_vec();
        self.write_staff(permit.actor(), replaces, Vec::new(), Matter::OperatorCharts(allow))?;
        let subject = if allow { "operator-charts/allowed" } else { "operator-charts/refused" };
        self.note_act(permit.actor(), "configuration", subject, AuditOutcome::Done);
        Ok(())
    }

    /// Makes, or changes, an API token.
    pub fn state_token(&mut self, permit: &Permit, token: Token) -> Result<(), RecordsError> {
        self.require(permit, Action::ManageStaff)?;
        if !is_user_id(&token.id) || !is_text(&token.name) {
            return Err(RecordsError::BadRequest(
                "a token's id is made of a-z, 0-9, dots and hyphens, and its name is not empty"
                    .into(),
            ));
        }
        let replaces =
            self.staff()?.program(&token.id).map_or_else(Vec::new, |held| held.heads.clone());
        let reach = if token.revoked { self.reach() } else { Vec::new() };
        let action = if token.revoked { "token-revoke" } else { "token-add" };
        let subject = format!("token/{}", token.id);
        self.write_staff(permit.actor(), replaces, reach, Matter::Token(token))?;
        self.note_act(permit.actor(), action, &subject, AuditOutcome::Done);
        Ok(())
    }

    /// Opens a patient's chart in an emergency: for a while its holder reads what care needs. It
    /// is on record, shown on the chart, and on every node's review list until signed off.
    pub fn open_emergency(
        &mut self,
        permit: &Permit,
        patient: &str,
        reason: &str,
    ) -> Result<(), RecordsError> {
        self.require(permit, Action::Emergency)?;
        if !is_text(reason) {
            return Err(RecordsError::BadRequest("an emergency needs its reason, in words".into()));
        }
        self.catch_up()?;
        self.row(
            &crate::chart::ResourceKey::parse(&format!("Patient/{patient}"))
                .map_err(|error| RecordsError::BadRequest(error.to_string()))?,
        )?;
        let matter = Matter::Emergency {
            actor: permit.actor().to_string(),
            patient: patient.to_owned(),
            reason: reason.to_owned(),
        };
        self.write_staff(permit.actor(), Vec::new(), Vec::new(), matter)?;
        let mut event = self.event_of(permit, Action::Emergency.name());
        event.patient = Some(patient.to_owned());
        event.purpose = Purpose::Emergency.code().to_owned();
        event.detail = reason.to_owned();
        self.note_event(event);
        Ok(())
    }
}
