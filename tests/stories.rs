//! What users live through, with real nodes. One file a story.

#[path = "stories/clocks.rs"]
mod clocks;
#[path = "stories/compaction.rs"]
mod compaction;
#[path = "stories/drafts.rs"]
mod drafts;
#[path = "stories/imports.rs"]
mod imports;
#[path = "stories/joint_runs.rs"]
mod joint_runs;
#[path = "stories/large_charts.rs"]
mod large_charts;
#[path = "stories/locked_node.rs"]
mod locked_node;
#[path = "stories/logins.rs"]
mod logins;
#[path = "stories/lost_laptop.rs"]
mod lost_laptop;
#[path = "stories/moves.rs"]
mod moves;
#[path = "stories/out_of_order.rs"]
mod out_of_order;
#[path = "stories/poison.rs"]
mod poison;
#[path = "stories/put_back.rs"]
mod put_back;
#[path = "stories/quarantine.rs"]
mod quarantine;
#[path = "stories/real_charts.rs"]
mod real_charts;
#[path = "stories/review_list.rs"]
mod review_list;
#[path = "stories/revoked_node.rs"]
mod revoked_node;
#[path = "stories/same_patient.rs"]
mod same_patient;
#[path = "stories/two_clinics.rs"]
mod two_clinics;
#[path = "stories/usb_stick.rs"]
mod usb_stick;
#[path = "stories/who_may.rs"]
mod who_may;
