//! A site without any link joins with two files on a USB stick.

use carnet_node::access::Action;
use carnet_node::base::environment::Environment;
use carnet_node::identity::enrolment::EnrolmentRequest;
use carnet_node::records::RecordsError;
use carnet_node::records::joining::Applicant;
use carnet_node::vault::UnlockSecret;
use carnet_sync_protocol::certificate::Role;
use carnet_sync_protocol::message::{JoinAnswer, JoinRefusal};
use carnet_tests::{Node, found, permit, sync, terms, unlock_method};
use serde_json::json;

#[test]
fn a_node_joins_by_files_only() {
    let (mut a, _) = found("Ziguinchor");
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("node");
    let applicant = Applicant::begin(&home, Environment::system(), &unlock_method(&home)).unwrap();
    let request = applicant.request_file("Sédhiou").to_text();
    drop(applicant);
    let opened = carnet_node::records::Records::open(&home, Environment::system());
    assert!(matches!(opened, Err(RecordsError::JoinNotFinished)));

    let mut invite = terms("", Role::Clinic);
    invite.site = String::new();
    let request = EnrolmentRequest::from_text(&request).unwrap();
    let answer =
        a.records.approve(&permit(Action::Administer), &request, invite).unwrap().to_text();
    a.records.commit().unwrap();

    let secret = UnlockSecret::from_key_file(&home.with_extension("key")).unwrap();
    let resume = || Applicant::resume(&home, Environment::system(), &secret).unwrap();
    let cut = &answer[..answer.len() - 7];
    assert!(matches!(resume().answered(cut), Err(RecordsError::Enrolment(_))));
    let mut b = Node { records: resume().answered(&answer).unwrap(), dir };
    assert_eq!(b.records.peers().unwrap()[0].site, "Ziguinchor");

    // It can write at once, and what it wrote fits when the link comes.
    let key = b.put(json!({"resourceType": "Patient", "id": "awa", "birthDate": "1987-03-02"}));
    sync(&mut a, &mut b);
    assert_eq!(a.show(&key)["birthDate"], "1987-03-02");
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn an_invitation_serves_once_and_only_to_who_holds_it() {
    let (mut a, _) = found("Ziguinchor");
    let invitation =
        a.records.invite(&permit(Action::Administer), terms("Sédhiou", Role::Clinic)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ask = |a: &mut Node, name: &str, forge: bool| {
        let home = dir.path().join(name);
        let applicant =
            Applicant::begin(&home, Environment::system(), &unlock_method(&home)).unwrap();
        let mut invitation = invitation.clone();
        if forge {
            invitation.token = carnet_node::base::private::Private::new([0; 32]);
        }
        let request = applicant.request(&invitation, &[1; 32]);
        let elsewhere = a.records.answer_join(&request, &[2; 32]).unwrap();
        assert!(matches!(elsewhere, JoinAnswer::Refused(JoinRefusal::Invalid)));
        let first = a.records.answer_join(&request, &[1; 32]).unwrap();
        let again = a.records.answer_join(&request, &[1; 32]).unwrap();
        assert_eq!(first, again, "the answer may have been lost on the way");
        first
    };
    assert!(matches!(ask(&mut a, "x", true), JoinAnswer::Refused(JoinRefusal::Invalid)));
    assert!(matches!(ask(&mut a, "y", false), JoinAnswer::Admitted(_)));
    assert!(matches!(ask(&mut a, "z", false), JoinAnswer::Refused(JoinRefusal::Used)));
}
