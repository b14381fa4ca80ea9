//! `mutate`: samples of everything that is decoded, altered a hundred thousand times and more.
//!
//! A case is a function of the seed and its number, so one that fails is replayed by them. The cases
//! run in a process of their own, on a stack like that of the thread that owns the records: what
//! would end the product (a stack that overflows, an abort) ends that process, is counted, and the
//! campaign goes on behind it.

use crate::measure::Memory;
use carnet_node::base::environment::Environment;
use carnet_simulations::chance::Chance;
use carnet_simulations::decoders::{Decoder, decoders};
use carnet_simulations::mutation::mutate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one case may take.
const CASE_MS_MAX: u64 = 2_000;

/// By how much one case may raise the memory that is in use.
const CASE_BYTES_MAX: u64 = 64 << 20;

/// Cases between two looks at the memory.
const LOOK_EVERY: u64 = 256;

/// Cases that are told one by one when they fail.
const FAILURES_MAX: usize = 100;

/// The stack of a thread, as Rust makes it.
const STACK_BYTES: usize = 2 << 20;

/// A case that takes this long has hung.
const HANG_MS: u64 = 30_000;

/// How long the first may take, with the samples, which a busy machine makes slowly.
const BEGIN_MS: u64 = 300_000;

/// How long a campaign.
#[derive(clap::Args)]
pub struct Arguments {
    /// How many cases
    #[arg(long, default_value_t = 100_000)]
    cases: u64,
    /// The first case, to go on or to replay one
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// What the cases and the samples are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON only
    #[arg(long)]
    json: bool,
    /// Only write the samples of each decoder into a folder of its own in here, for cargo-fuzz
    #[arg(long, value_name = "DIR")]
    samples: Option<PathBuf>,
    /// Run the cases in this process, and note here which one is under way
    #[arg(long, hide = true)]
    worker: Option<PathBuf>,
}

/// What came of some cases.
#[derive(Default, Serialize, Deserialize)]
struct Tally {
    cases: u64,
    uncaught: u64,
    peak_bytes: u64,
    decoders: BTreeMap<String, (u64, u64)>,
    failures: Vec<Failure>,
}

/// A case that was not held.
#[derive(Serialize, Deserialize)]
struct Failure {
    case: u64,
    decoder: String,
    what: String,
}

impl Tally {
    fn fail(&mut self, case: u64, decoder: &str, what: &str) {
        self.uncaught += 1;
        if self.failures.len() < FAILURES_MAX {
            let (decoder, what) = (decoder.to_owned(), what.to_owned());
            self.failures.push(Failure { case, decoder, what });
        }
    }

    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.uncaught += other.uncaught;
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
        for (name, (cases, accepted)) in other.decoders {
            let sum = self.decoders.entry(name).or_default();
            (sum.0, sum.1) = (sum.0 + cases, sum.1 + accepted);
        }
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_MAX);
    }
}

/// Runs the campaign.
pub fn run(arguments: &Arguments) -> Result<Value, Box<dyn Error>> {
    if let Some(state) = &arguments.worker {
        return work(arguments, state);
    }
    if let Some(dir) = &arguments.samples {
        return write_samples(arguments.seed, dir);
    }
    let environment = Environment::system();
    let begun = environment.monotonic_ms();
    let dir = tempfile::tempdir()?;
    let state = dir.path().join("case");
    let end = arguments.from + arguments.cases;
    let (mut tally, mut next) = (Tally::default(), arguments.from);
    while next < end {
        let outcome = attempt(arguments.seed, next..end, &state, &environment)?;
        next = match outcome {
            Attempt::Done(done) => {
                tally.add(done);
                end
            }
            Attempt::Ended { case, how } => {
                tally.cases += case + 1 - next;
                tally.fail(case, "", &how);
                case + 1
            }
        };
        if !arguments.json {
            eprintln!("{next} cases, {} not held", tally.uncaught);
        }
    }
    let seconds = (environment.monotonic_ms() - begun) as f64 / 1000.0;
    let decoders = tally.decoders.iter().map(|(name, (cases, accepted))| {
        (name.clone(), json!({"cases": cases, "accepted": accepted}))
    });
    let report = json!({
        "ok": tally.uncaught == 0, "cases": tally.cases, "uncaught": tally.uncaught, "peak_bytes": tally.peak_bytes,
        "seed": arguments.seed, "seconds": seconds,
        "decoders": decoders.collect::<serde_json::Map<_, _>>(), "failures": tally.failures,
    });
    Ok(report)
}

/// How a process that runs cases ended.
enum Attempt {
    Done(Tally),
    Ended { case: u64, how: String },
}

fn attempt(
    seed: u64,
    cases: std::ops::Range<u64>,
    state: &Path,
    environment: &Environment,
) -> Result<Attempt, Box<dyn Error>> {
    File::create(state)?.write_all_at(&cases.start.to_le_bytes(), 0)?;
    let told = state.with_extension("told");
    let mut child = Command::new(std::env::current_exe()?)
        .arg("mutate")
        .arg("--worker")
        .arg(state)
        .args(["--seed", &seed.to_string(), "--from", &cases.start.to_string()])
        .args(["--cases", &(cases.end - cases.start).to_string()])
        .stdout(Stdio::from(File::create(&told)?))
        .spawn()?;
    let case = || -> Result<u64, Box<dyn Error>> {
        let mut bytes = [0; 8];
        File::open(state)?.read_exact_at(&mut bytes, 0)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let mut seen = (case()?, environment.monotonic_ms());
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                let text = std::fs::read_to_string(&told)?;
                let last = text.lines().last().unwrap_or_default();
                return Ok(Attempt::Done(serde_json::from_str(last)?));
            }
            if let Some(code) = status.code() {
                // It says itself why; a case that ends it does so by a signal.
                return Err(format!("the cases can't be run (exit code {code})").into());
            }
            return Ok(Attempt::Ended { case: case()?, how: format!("it ended: {status}") });
        }
        let (now, at) = (environment.monotonic_ms(), case()?);
        if at != seen.0 {
            seen = (at, now);
        } else if now - seen.1 > if at == cases.start { BEGIN_MS } else { HANG_MS } {
            child.kill()?;
            child.wait()?;
            return Ok(Attempt::Ended { case: at, how: "it hung".to_owned() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the cases in this process.
fn work(arguments: &Arguments, state: &Path) -> Result<Value, Box<dyn Error>> {
    let (seed, from, cases) = (arguments.seed, arguments.from, arguments.cases);
    let state = File::options().write(true).open(state)?;
    // What panics is counted; its message is of no use to anybody.
    std::panic::set_hook(Box::new(|_| {}));
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        Campaign::new(seed, state).and_then(|mut campaign| campaign.run(from, cases))
    })?;
    let tally = worker.join().map_err(|_| "the samples can't be made")??;
    Ok(serde_json::to_value(tally)?)
}

fn write_samples(seed: u64, dir: &Path) -> Result<Value, Box<dyn Error>> {
    let mut count = 0;
    for decoder in decoders(seed)? {
        let folder = dir.join(decoder.name.replace([' ', ','], "_"));
        std::fs::create_dir_all(&folder)?;
        for (number, sample) in decoder.samples.iter().enumerate() {
            std::fs::write(folder.join(number.to_string()), sample)?;
            count += 1;
        }
    }
    Ok(json!({"samples": count, "ok": true}))
}

/// What went wrong, where it can be sent to another thread.
type Told<T> = Result<T, String>;

struct Campaign {
    seed: u64,
    state: File,
    decoders: Vec<Decoder>,
    environment: Environment,
    tally: Tally,
}

impl Campaign {
    fn new(seed: u64, state: File) -> Told<Self> {
        let decoders = decoders(seed).map_err(|error| error.to_string())?;
        let environment = Environment::system();
        let mut campaign = Self { seed, state, decoders, environment, tally: Tally::default() };
        campaign.warm_up()?;
        Ok(campaign)
    }

    /// Reads every sample as it is, so that what is made once is made before memory is looked at;
    /// each decoder must accept one of its own.
    fn warm_up(&mut self) -> Told<()> {
        for decoder in &self.decoders {
            let accepted = decoder.samples.iter().filter(|sample| decoder.read(sample)).count();
            if accepted == 0 {
                return Err(format!("{} accepts none of its samples", decoder.name));
            }
        }
        Ok(())
    }

    fn run(&mut self, from: u64, cases: u64) -> Told<Tally> {
        for block in (from..from + cases).step_by(LOOK_EVERY as usize) {
            let end = (block + LOOK_EVERY).min(from + cases);
            let before = Memory::begin();
            for case in block..end {
                let note = self.state.write_all_at(&case.to_le_bytes(), 0);
                note.map_err(|error| error.to_string())?;
                self.case(case, true);
            }
            let rise = before.rise();
            self.tally.peak_bytes = self.tally.peak_bytes.max(rise);
            if rise > CASE_BYTES_MAX {
                self.find_greedy(block..end);
            }
        }
        Ok(std::mem::take(&mut self.tally))
    }

    /// Runs cases again, one by one, to see which took the memory.
    fn find_greedy(&mut self, cases: std::ops::Range<u64>) {
        for case in cases {
            let before = Memory::begin();
            let decoder = self.case(case, false);
            let rise = before.rise();
            if rise > CASE_BYTES_MAX {
                self.tally.fail(case, decoder, &format!("it took {} MiB", rise >> 20));
            }
        }
    }

    fn case(&mut self, case: u64, counted: bool) -> &'static str {
        let mut chance = Chance::new(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ case);
        let decoder = &self.decoders[chance.index(self.decoders.len())];
        let (name, none) = (decoder.name, Vec::new());
        let sample = chance.pick(&decoder.samples).unwrap_or(&none);
        let other = chance.pick(&decoder.samples).unwrap_or(&none);
        let bytes = mutate(decoder.form, sample, other, &mut chance);
        let begun = self.environment.monotonic_ms();
        let read = catch_unwind(AssertUnwindSafe(|| decoder.read(&bytes)));
        let took_ms = self.environment.monotonic_ms() - begun;
        if !counted {
            return name;
        }
        self.tally.cases += 1;
        let sum = self.tally.decoders.entry(name.to_owned()).or_default();
        sum.0 += 1;
        match read {
            Ok(accepted) => sum.1 += u64::from(accepted),
            Err(_) => self.tally.fail(case, name, "it panicked"),
        }
        if took_ms > CASE_MS_MAX {
            self.tally.fail(case, name, &format!("it took {took_ms} ms"));
        }
        name
    }
}
