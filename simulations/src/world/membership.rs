//! Who belongs to the practice: its beginning, who joins late, who is cut off.

use super::{Desk, Event, World};
use crate::chance::Chance;
use crate::checks::Flaw;
use crate::clinic::{Clinic, Site};
use crate::network::lines;
use crate::workload::{Staff, permit};
use carnet_node::access::Action;
use carnet_node::identity::enrolment::EnrolmentRequest;
use carnet_node::identity::roster::Standing;
use carnet_node::records::joining::Applicant;
use carnet_node::records::membership::{Invite, PracticeSecret};
use carnet_node::records::{Advance, Founded, Init, Records, RecordsError};
use carnet_sync_protocol::certificate::{Capabilities, RevocationKind, Role};
use carnet_sync_protocol::id::NodeId;
use carnet_sync_protocol::message::JoinAnswer;

/// Nodes in a history at most, clones among them.
pub(super) const NODES_MAX: usize = 7;

fn harness(error: RecordsError) -> Flaw {
    Flaw::harness("enrolment", &error)
}

impl World {
    /// The practice as it begins: its nodes, each with a certificate, and two patients.
    pub(super) fn found(&mut self) -> Result<(), Flaw> {
        let site = self.site();
        site.make().map_err(harness)?;
        let init = Init {
            practice: "Casamance".into(),
            site: site.name().into(),
            unlock: site.unlock(),
            practice_passphrase: None,
        };
        let Founded { records, recovery_code } =
            Records::init(site.home(), site.environment(), init).map_err(harness)?;
        self.code = Some(recovery_code);
        self.facts.practice = Some(records.practice());
        let founder = site.settle(records, Role::Clinic).map_err(harness)?;
        self.settle(founder)?;
        let options = self.plan.options.clone();
        for number in 1..options.nodes {
            let relay = options.relay && number + 1 == options.nodes;
            let terms = Terms {
                role: if relay { Role::Relay } else { Role::Clinic },
                restricted: !(options.unrestricted && number == 2),
                admit: options.admits && number == 1,
            };
            self.admit(0, &terms, false, false)?;
        }
        for _ in 0..2 {
            self.first_patient()?;
        }
        for ends in lines(&options, options.nodes) {
            self.add_line(ends);
        }
        Ok(())
    }

    pub(super) fn site(&mut self) -> Site {
        let number = self.clinics.len();
        Site::new(self.base.path(), number, self.clock.clone(), self.keys.next())
    }

    /// A node begins to exist.
    pub(super) fn settle(&mut self, clinic: Clinic) -> Result<(), Flaw> {
        let skew = self.plan.options.skew_ms;
        let ahead = self.network.between(0, 2 * skew) as i64 - skew as i64;
        clinic.hands.set_ahead(ahead);
        self.note(format_args!(
            "{} is node {} ({:?}), clock {ahead} ms ahead",
            clinic.name, clinic.node, clinic.role
        ));
        self.clinics.push(clinic);
        self.desks.push(Desk::default());
        let at = self.clinics.len() - 1;
        match self.clinics[at].counter().cloned() {
            // What it wrote as it joined.
            Some(counter) => {
                let begun: Advance = counter.records().frontier().0.clone().into_iter().collect();
                self.heard(at, &begun)
            }
            None => Ok(()),
        }
    }

    /// A commit at a node: looks at what it has written itself, and tells its sessions.
    pub(super) fn heard(&mut self, at: usize, news: &Advance) -> Result<(), Flaw> {
        self.look(at)?;
        self.facts.committed(at, self.clinics[at].node, news)?;
        self.tell(at, news)
    }

    /// Looks at what a node has written itself.
    fn look(&mut self, at: usize) -> Result<(), Flaw> {
        match self.clinics[at].counter().cloned() {
            Some(counter) => self.watch(at, &counter.records(), true),
            None => Ok(()),
        }
    }

    /// A new node, admitted by another over a connection of its own, or with files on a stick. The
    /// answer may be lost, and is asked for again.
    fn admit(&mut self, by: usize, terms: &Terms, by_file: bool, lost: bool) -> Result<(), Flaw> {
        let site = self.site();
        let mut invite = terms.invite(site.name());
        if terms.admit {
            invite.practice = self.code.clone().map(PracticeSecret::RecoveryCode);
        }
        let Some(counter) = self.clinics[by].counter().cloned() else { return Ok(()) };
        let mut inviter = counter.records();
        let applicant = site.applicant().map_err(harness)?;
        let records = if by_file {
            let text = applicant.request_file(site.name()).to_text();
            let request = EnrolmentRequest::from_text(&text)
                .map_err(|error| Flaw::harness("a request file", &error))?;
            let answer = inviter
                .approve(&permit(Action::Administer), &request, invite)
                .map_err(harness)?
                .to_text();
            let news = inviter.commit().map_err(harness)?;
            self.facts.committed(by, self.clinics[by].node, &news)?;
            self.tell(by, &news)?;
            applicant.answered(&answer).map_err(harness)?
        } else {
            let invitation =
                inviter.invite(&permit(Action::Administer), invite).map_err(harness)?;
            let exporter = self.keys.bytes();
            let mut applicant: Applicant = applicant;
            let mut answer = None;
            for try_ in 0..2 {
                if try_ > 0 && !lost {
                    break;
                }
                if try_ > 0 {
                    drop(applicant);
                    applicant = site.resume().map_err(harness)?;
                }
                let request = applicant.request(&invitation, &exporter);
                answer = Some(inviter.answer_join(&request, &exporter).map_err(harness)?);
                let news = inviter.commit().map_err(harness)?;
                self.facts.committed(by, self.clinics[by].node, &news)?;
                self.tell(by, &news)?;
            }
            let Some(JoinAnswer::Admitted(admission)) = answer else {
                return Err(Flaw::new("enrolment", format!("refused: {answer:?}")));
            };
            applicant.admitted(&invitation, *admission).map_err(harness)?
        };
        drop(inviter);
        self.look(by)?;
        let clinic = site.settle(records, terms.role).map_err(harness)?;
        self.settle(clinic)
    }

    fn first_patient(&mut self) -> Result<(), Flaw> {
        let Some(counter) = self.clinics[0].counter().cloned() else { return Ok(()) };
        let mut records = counter.records();
        let token = self.token();
        let chance = self.keys.split();
        let staff = Staff::new(&mut records, &self.catalogue, chance, token);
        let done = staff.register().map_err(harness)?;
        let news = records.commit().map_err(harness)?;
        drop(records);
        self.heard(0, &news)?;
        done.new.iter().for_each(|key| self.catalogue.add(key));
        if let Some(write) = done.write {
            self.facts.wrote(0, write, true);
        }
        Ok(())
    }

    /// Those who may admit and cut off, now.
    fn authorities(&self) -> Vec<usize> {
        let may = |at: &usize| {
            let Some(counter) = self.clinics[*at].counter() else { return false };
            let records = counter.records();
            let admits = records
                .own_certificate()
                .is_ok_and(|certificate| certificate.body.capabilities.admit);
            let cut_off = records.roster().standing(&records.author().node) != Standing::Active;
            !records.is_locked() && admits && !cut_off && !self.desks[*at].full
        };
        (0..self.clinics.len()).filter(may).collect()
    }

    pub(super) fn join(&mut self, chance: &mut Chance) -> Result<(), Flaw> {
        let Some(by) = chance.pick(&self.authorities()).copied() else { return Ok(()) };
        if self.clinics.len() >= NODES_MAX {
            return Ok(());
        }
        let (by_file, lost) = (chance.one_in(3), chance.one_in(4));
        let role = if chance.one_in(6) { Role::Relay } else { Role::Clinic };
        let way = if by_file { "by file" } else { "by invitation" };
        self.note(format_args!("c{} joins, admitted by c{by} {way}", self.clinics.len()));
        self.admit(by, &Terms { role, restricted: true, admit: false }, by_file, lost)?;
        // Often it is carried to where it will stand, which is not where it was admitted.
        let moves = chance.one_in(2);
        let known = if moves { chance.index(self.clinics.len() - 1) } else { by };
        self.link_newcomer(known, chance);
        Ok(())
    }

    /// Lines from the newest node to one that it knows, and perhaps to others.
    pub(super) fn link_newcomer(&mut self, known: usize, chance: &mut Chance) {
        let new = self.clinics.len() - 1;
        for other in 0..new {
            let twin = self.clinics[other].transport == self.clinics[new].transport;
            if !twin && (other == known || chance.one_in(3)) {
                self.add_line([other, new]);
            }
        }
    }

    /// Cuts a node off: for good with the practice's code, or until further notice.
    pub(super) fn revoke(&mut self, chance: &mut Chance) -> Result<(), Flaw> {
        let Some(by) = chance.pick(&self.authorities()).copied() else { return Ok(()) };
        let target = chance.index(self.clinics.len());
        let final_ = by == 0 && chance.one_in(2);
        let kind = if final_ { RevocationKind::Revoke } else { RevocationKind::Suspend };
        let others = |at: &usize| {
            self.clinics[*at].role == Role::Clinic
                && self.clinics[*at].node != self.clinics[target].node
                && self.is_active(self.clinics[*at].node)
        };
        let left = (0..self.clinics.len()).filter(others).count();
        if self.clinics[by].node == self.clinics[target].node || left < 2 {
            return Ok(());
        }
        if !self.stand(by, target, kind)? {
            return Ok(());
        }
        if chance.one_in(2) {
            self.work_unaware(by, target, chance);
        }
        if !final_ && chance.one_in(2) {
            let at = self.now + chance.between(5_000, 200_000);
            self.schedule(at, Event::Reinstate { by, target });
        }
        Ok(())
    }

    /// Nobody hears yet that a node was cut off: it works on, and others work with what it wrote.
    fn work_unaware(&mut self, by: usize, target: usize, chance: &mut Chance) {
        let for_ms = chance.between(20_000, 100_000);
        for line in 0..self.lines.len() {
            if self.lines[line].ends.contains(&by) {
                self.block(line, 0, for_ms);
                self.block(line, 1, for_ms);
            }
        }
        let others = (0..self.clinics.len()).filter(|at| {
            *at != by && self.clinics[*at].transport != self.clinics[target].transport
        });
        let others: Vec<usize> = others.collect();
        if let Some(other) = chance.pick(&others) {
            self.add_line([target.min(*other), target.max(*other)]);
        }
        let all = &self.catalogue.resources;
        let focus = chance.pick(&all[all.len().saturating_sub(8)..]).cloned();
        let acts = chance.between(3, 8);
        for number in 0..acts {
            let other = chance.pick(&others).copied().unwrap_or(target);
            let clinic = if 2 * number < acts { target } else { other };
            let at = self.now + for_ms * (number + 1) / (acts + 2);
            let focus = focus.clone();
            self.schedule(at, Event::Work { clinic, focus, chance: chance.next() });
        }
    }

    pub(super) fn reinstate(&mut self, by: usize, target: usize) -> Result<(), Flaw> {
        // Once everything heals, who belongs to the practice stays as it is.
        if !self.healing && self.authorities().contains(&by) {
            self.stand(by, target, RevocationKind::Reinstate)?;
        }
        Ok(())
    }

    fn stand(&mut self, by: usize, target: usize, kind: RevocationKind) -> Result<bool, Flaw> {
        let Some(counter) = self.clinics[by].counter().cloned() else { return Ok(false) };
        let mut records = counter.records();
        let node = self.clinics[target].node;
        let secret = match kind {
            RevocationKind::Revoke => self.code.clone().map(PracticeSecret::RecoveryCode),
            _ => None,
        };
        let done = records.set_standing(&permit(Action::Administer), &node, kind, secret.as_ref());
        if let Err(error) = done {
            self.note(format_args!("c{by} can't {kind:?} c{target}: {error}"));
            return Ok(false);
        }
        let news = records.commit().map_err(harness)?;
        drop(records);
        self.note(format_args!("c{by}: {kind:?} c{target}"));
        self.heard(by, &news)?;
        Ok(true)
    }

    /// Whether a node is one of the practice, for the first that knows.
    pub(super) fn is_active(&self, node: NodeId) -> bool {
        !self.clinics.iter().any(|clinic| {
            clinic.node != node
                && clinic.counter().is_some_and(|counter| {
                    let records = counter.records();
                    matches!(
                        records.roster().standing(&node),
                        Standing::Revoked | Standing::Suspended
                    )
                })
        })
    }
}

/// What a newcomer will be.
pub(super) struct Terms {
    role: Role,
    restricted: bool,
    admit: bool,
}

impl Terms {
    fn invite(&self, site: &str) -> Invite {
        Invite {
            site: site.into(),
            role: self.role,
            capabilities: Capabilities {
                admit: self.admit,
                restricted: self.restricted,
                audit: true,
            },
            addresses: Vec::new(),
            valid_ms: 3_600_000,
            practice: None,
        }
    }
}
