//! What operators live through, with the real `carnet`: its processes, files, sockets and exit
//! codes. One file a story. The product that runs is the one that cargo built beside these tests.

#[path = "processes/audit_tampering.rs"]
mod audit_tampering;
#[path = "processes/backup.rs"]
mod backup;
#[path = "processes/bad_input.rs"]
mod bad_input;
#[path = "processes/canaries.rs"]
mod canaries;
#[path = "processes/certificate.rs"]
mod certificate;
#[path = "processes/compaction.rs"]
mod compaction;
#[path = "processes/damaged.rs"]
mod damaged;
#[path = "processes/enrolment.rs"]
mod enrolment;
#[path = "processes/first_sync.rs"]
mod first_sync;
#[path = "processes/harness.rs"]
mod harness;
#[path = "processes/interrupted.rs"]
mod interrupted;
#[path = "processes/killed.rs"]
mod killed;
#[path = "processes/live.rs"]
mod live;
#[path = "processes/locked.rs"]
mod locked;
#[path = "processes/planted.rs"]
mod planted;
#[path = "processes/proxy.rs"]
mod proxy;
#[path = "processes/quarantine.rs"]
mod quarantine;
#[path = "processes/review.rs"]
mod review;
#[path = "processes/wiretap.rs"]
mod wiretap;
