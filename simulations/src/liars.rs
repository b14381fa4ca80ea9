//! `liars`: a peer that speaks the protocol over QUIC on loopback, and lies.
//!
//! Whatever it sends, the node's ledger (its own trail aside), its receipts and its charts must stay
//! as they were, others must still be served, and the trail must tell: floods as counts. What an
//! author says twice differently is kept as a fork, which is the proof of it, up to eight branches;
//! the liar has written those before it is counted.

mod lies;
mod stage;

use carnet_node::base::environment::Environment;
use lies::Lie;
use serde_json::{Map, Value, json};
use stage::Stage;
use std::error::Error;

/// How many lies.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many of each class
    #[arg(long, default_value_t = 1_000)]
    count: u64,
    /// What they are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these classes, by name
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Print JSON only
    #[arg(long)]
    json: bool,
}

/// Tells every lie.
pub fn run(arguments: &Arguments) -> Result<Value, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(told(arguments))
}

async fn told(arguments: &Arguments) -> Result<Value, Box<dyn Error>> {
    let environment = Environment::system();
    let mut stage = Stage::build(arguments.seed)?;
    let mut classes = Map::new();
    let mut ok = true;
    for lie in Lie::ALL {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|name| name == lie.name()) {
            continue;
        }
        let begun = environment.monotonic_ms();
        let (stored, resident) = (stage.stored_bytes(), stage::memory("VmRSS:"));
        // Has the kernel forget the peak so far (see proc_pid_clear_refs(5)).
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        stage.open(&environment).await?;
        let (mut accepted, mut before) = (0, stage.seen().await?);
        for number in 0..arguments.count {
            stage.lie(lie, number).await?;
            let after = stage.seen().await?;
            accepted += u64::from(after != before);
            before = after;
        }
        let served = stage.honest_peer_is_served(&environment).await?;
        let audited = stage.close().await?;
        ok &= accepted == 0 && served && (audited > 0 || !lie.is_seen_at_once());
        let class = json!({
            "tried": arguments.count, "accepted": accepted, "audited": audited, "served": served,
            "seconds": (environment.monotonic_ms() - begun) as f64 / 1000.0,
            "peak_bytes": stage::memory("VmHWM:").saturating_sub(resident),
            "stored_bytes": stage.stored_bytes().saturating_sub(stored),
        });
        if !arguments.json {
            eprintln!("{}: {class}", lie.name());
        }
        classes.insert(lie.name().to_owned(), class);
    }
    Ok(json!({"ok": ok, "classes": classes, "seed": arguments.seed}))
}
