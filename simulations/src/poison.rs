//! Changes that are meant to harm whoever reads them, with right checksums: one for each way in
//! which a change can be wrong, made from a sound one of `Patient/p`.

use crate::chunk::{Chunk, DEFLATED, column, deflate, put_number, put_signed, run, wrap};

/// A change, and what is wrong with it.
pub type Poison = (&'static str, Vec<u8>);

/// Bytes to which the bombs inflate.
const INFLATED: usize = 64 << 20;

/// Every poison. `other` is a sound change of somebody else.
pub fn poisons(sound: &Chunk, other: &Chunk) -> Vec<Poison> {
    let mut poisons = headers(sound, other);
    poisons.extend(runs(sound));
    poisons.extend(lengths(sound));
    poisons.extend(bombs(sound));
    poisons.extend(contents(sound));
    poisons
}

fn with(sound: &Chunk, alter: impl FnOnce(&mut Chunk)) -> Vec<u8> {
    let mut chunk = sound.clone();
    alter(&mut chunk);
    chunk.to_bytes()
}

/// Who, after what, in which place.
fn headers(sound: &Chunk, other: &Chunk) -> Vec<Poison> {
    vec![
        ("nothing at all", Vec::new()),
        ("nonsense", b"nonsense".to_vec()),
        ("another's actor", with(sound, |chunk| chunk.actor.clone_from(&other.actor))),
        ("a short actor", with(sound, |chunk| chunk.actor.truncate(4))),
        ("a huge actor", with(sound, |chunk| chunk.actor.resize(1 << 20, 7))),
        ("a jumped sequence", with(sound, |chunk| chunk.sequence += 7)),
        ("sequence nothing", with(sound, |chunk| chunk.sequence = 0)),
        ("the last sequence", with(sound, |chunk| chunk.sequence = u64::MAX)),
        ("an absurd start", with(sound, |chunk| chunk.start = u64::MAX)),
        ("a start beyond 32 bits", with(sound, |chunk| chunk.start = 1 << 33)),
        ("a start that jumps", with(sound, |chunk| chunk.start += 1 << 20)),
        ("a start that is taken", with(sound, |chunk| chunk.start = 1)),
        ("no dependencies", with(sound, |chunk| chunk.dependencies.clear())),
        ("a dependency twice", with(sound, |c| c.dependencies.push(c.dependencies[0]))),
        ("bytes behind the end", with(sound, |chunk| chunk.extra = vec![0; 100])),
        ("a message of a megabyte", {
            with(sound, |chunk| {
                let message = &mut chunk.time_and_message;
                message.pop();
                put_number(message, 1 << 20);
                message.resize(message.len() + (1 << 20), b'x');
            })
        }),
    ]
}

/// Columns of which a few bytes stand for more than there is memory.
fn runs(sound: &Chunk) -> Vec<Poison> {
    let long = 1_i64 << 60;
    let set = |number: u64, bytes: Vec<u8>| with(sound, |chunk| *chunk.column(number) = bytes);
    let number = |value: u64| {
        let mut bytes = Vec::new();
        put_number(&mut bytes, value);
        bytes
    };
    let mut counters = vec![2];
    put_signed(&mut counters, i64::MAX);
    vec![
        ("a run of 2^60 actions", set(column::ACTION, run(long, &[1]))),
        ("a run of 2^60 nothings", set(column::ACTION, [vec![0], number(1 << 60)].concat())),
        ("2^60 values said to follow", set(column::ACTION, run(-long, &[1; 64]))),
        ("a run of 2^63", set(column::ACTION, run(i64::MIN, &[1]))),
        ("a run of 2^60 keys", set(column::KEY, run(long, b"\x0bPatient/p/x"))),
        ("a run of 2^60 overwritten", set(column::OVERWRITTEN, run(long, &[1]))),
        ("2^60 overwritten by one", set(column::OVERWRITTEN, run(-1, &number(1 << 60)))),
        ("counters that overflow", set(column::OVERWRITTEN_COUNTER, counters)),
        ("a value of 2^60 bytes", set(column::VALUE_KIND, run(-1, &number(u64::MAX)))),
        ("as many rows as may be", {
            let rows = 131_072;
            with(sound, |chunk| {
                *chunk.column(column::ACTION) = run(rows, &[3]);
                *chunk.column(column::KEY) = run(rows, b"\x0bPatient/p/x");
                *chunk.column(column::VALUE_KIND) = run(rows, &[0]);
            })
        }),
    ]
}

/// Columns that are not what the chunk says of them.
fn lengths(sound: &Chunk) -> Vec<Poison> {
    vec![
        ("a column of 2^40 bytes", wrap(&sound.data(|_, _| 1 << 40))),
        ("columns whose lengths overflow", wrap(&sound.data(|_, _| u64::MAX - 1))),
        ("2^50 columns", {
            let bare = Chunk { columns: Vec::new(), extra: Vec::new(), ..sound.clone() };
            let mut data = bare.data(|_, length| length as u64);
            data.pop();
            put_number(&mut data, 1 << 50);
            wrap(&data)
        }),
        ("columns out of order", with(sound, |chunk| chunk.columns.reverse())),
        ("a column twice", with(sound, |c| c.columns.insert(0, c.columns[0].clone()))),
        ("an unknown column", with(sound, |chunk| chunk.columns.push((200 << 4, vec![1; 100])))),
    ]
}

/// What inflates.
fn bombs(sound: &Chunk) -> Vec<Poison> {
    let bomb = deflate(&vec![0; INFLATED]);
    vec![
        ("a compressed change", sound.to_compressed()),
        ("a bomb in a compressed change", {
            let mut bytes = sound.to_compressed();
            bytes.truncate(9);
            put_number(&mut bytes, bomb.len() as u64);
            [bytes, bomb.clone()].concat()
        }),
        ("a bomb in a column", {
            with(sound, |chunk| {
                chunk.column(column::VALUE);
                for column in &mut chunk.columns {
                    if column.0 == column::VALUE {
                        *column = (column::VALUE | DEFLATED, bomb.clone());
                    }
                }
            })
        }),
    ]
}

/// A change that writes these bytes, and nothing else, into one register.
pub fn with_register(sound: &Chunk, key: &str, bytes: &[u8]) -> Vec<u8> {
    with(sound, |chunk| {
        let mut kind = Vec::new();
        put_number(&mut kind, (bytes.len() as u64) << 4 | 7);
        let key = [&[key.len() as u8], key.as_bytes()].concat();
        *chunk.column(column::VALUE_KIND) = run(-1, &kind);
        *chunk.column(column::VALUE) = bytes.to_vec();
        *chunk.column(column::KEY) = run(-1, &key);
    })
}

/// Registers with something in them that no node writes.
fn contents(sound: &Chunk) -> Vec<Poison> {
    let nested = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let register = |key: &str, bytes: &[u8]| with_register(sound, key, bytes);
    let decision = [br#"{"element":"#, nested.as_slice(), b"}"].concat();
    vec![
        ("JSON without bottom", register("Patient/p/name", &nested)),
        ("a list without end", register("Patient/p/name", &b"[".repeat(1_000_000))),
        ("a decision without bottom", register("Patient/p/_resolved/0123456789abcdef", &decision)),
        ("overwriting what nobody wrote", {
            with(sound, |chunk| {
                *chunk.column(column::OVERWRITTEN) = run(-1, &[1]);
                *chunk.column(column::OVERWRITTEN_ACTOR) = run(-1, &[0]);
                *chunk.column(column::OVERWRITTEN_COUNTER) = run(-1, &[1]);
            })
        }),
    ]
}
