//! Comparing names: the words of one against the words of the other, in any order.
//!
//! Given and family name are written in either order, parts are left out, words are joined or
//! mistyped. So the words of both are paired, the most alike first; what is left on both sides is
//! where the names disagree. Words of scripts that the other name does not use are left aside:
//! nothing is said by a name in Greek beside one in Latin letters.

use super::profile::{Name, Part};
use std::collections::BTreeSet;

/// Letters from which on one typing error is forgiven, and two. Short names that differ by a
/// letter are other names: Awa, Adja; محمد, محمود.
const ONE_ERROR: usize = 5;
const TWO_ERRORS: usize = 9;

/// Letters of a short form: Fatou for Fatoumata.
const SHORT_FORM: usize = 4;

/// Consonants that must sound alike for two spellings of one name. Fewer are shared by other
/// names, of which some are given to twins: Hassan, Hussein.
const SOUNDS: usize = 3;

/// How two names compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NameFinding {
    /// Every word of both; two at least.
    Same {
        /// Whether given and family name are exchanged.
        swapped: bool,
    },
    /// Every word of the shorter is found, more or less, in the longer.
    Close {
        /// Points lost by words that are not quite the same.
        lost: i32,
        /// Whether the other name has more words.
        part: bool,
        /// Words found.
        words: usize,
    },
    /// Each has one word, and it is the same.
    OneWord,
    /// The given name agrees and the family name does not.
    GivenOnly,
    /// Some word agrees, but another given name (or one of unknown place) does not.
    OtherGiven,
    /// Nothing agrees.
    Other,
}

impl NameFinding {
    /// Whether the person is called alike.
    pub(super) const fn agrees(&self) -> bool {
        !matches!(self, Self::OtherGiven | Self::Other)
    }

    /// The more it speaks for one person, the greater.
    const fn rank(&self) -> i32 {
        match self {
            Self::Same { swapped: false } => 100,
            Self::Same { swapped: true } => 99,
            Self::Close { lost, part, words } => {
                let full = if *words == 1 { 40 } else { 80 };
                full - *lost - if *part { 6 } else { 0 }
            }
            Self::OneWord => 50,
            Self::GivenOnly => 20,
            Self::OtherGiven => 1,
            Self::Other => 0,
        }
    }
}

/// Compares every name of one with every name of the other; the best counts. Nothing if no two can
/// be compared.
pub(super) fn compare(a: &[Name], b: &[Name]) -> Option<NameFinding> {
    a.iter()
        .flat_map(|one| b.iter().filter_map(|other| compare_two(one, other)))
        .max_by_key(NameFinding::rank)
}

fn compare_two(a: &Name, b: &Name) -> Option<NameFinding> {
    let scripts = |name: &Name| -> BTreeSet<u32> { name.iter().map(|(w, _)| script(w)).collect() };
    let common: BTreeSet<u32> = scripts(a).intersection(&scripts(b)).copied().collect();
    let of = |name: &Name| -> Name {
        name.iter().filter(|(word, _)| common.contains(&script(word))).cloned().collect()
    };
    let (mut a, mut b) = (of(a), of(b));
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let undivided = is_undivided(&a[0].0);
    let mut paired = pair_words(&mut a, &mut b, |one, other| (one == other).then_some(0));
    let joined = is_joined(&a, &b);
    if joined {
        (a, b) = (Name::new(), Name::new());
    }
    paired.extend(pair_words(&mut a, &mut b, loss));
    if !a.is_empty() && !b.is_empty() {
        let given_agrees = paired.iter().any(|pair| pair.parts == [Part::Given; 2]);
        let family_differs = a.iter().chain(&b).all(|(_, part)| *part == Part::Family);
        return Some(match (paired.is_empty(), given_agrees && family_differs) {
            (true, _) => NameFinding::Other,
            (_, true) => NameFinding::GivenOnly,
            (_, false) => NameFinding::OtherGiven,
        });
    }
    let lost: i32 = paired.iter().map(|pair| pair.lost).sum();
    let part = !(a.is_empty() && b.is_empty());
    let words = paired.len() + if joined { 2 } else { 0 };
    if lost > 0 || part {
        return Some(NameFinding::Close { lost, part, words });
    }
    // Where words are not divided, one is a whole name.
    if words == 1 && !undivided {
        return Some(NameFinding::OneWord);
    }
    let exchanged =
        |pair: &Paired| pair.parts.contains(&Part::Given) && pair.parts.contains(&Part::Family);
    Some(NameFinding::Same { swapped: paired.iter().any(exchanged) })
}

/// Two words that were taken for one.
struct Paired {
    parts: [Part; 2],
    /// Points that this costs.
    lost: i32,
}

/// Takes out of both names the words that go together, the most alike first.
fn pair_words(a: &mut Name, b: &mut Name, loss: impl Fn(&str, &str) -> Option<i32>) -> Vec<Paired> {
    let mut all = Vec::new();
    for (at, (one, part)) in a.iter().enumerate() {
        for (place, (other, other_part)) in b.iter().enumerate() {
            if let Some(lost) = loss(one, other) {
                // Of equal words those first that stand in the same part and at the same place.
                let order = (lost, part != other_part, at.abs_diff(place), at + place);
                all.push((order, at, place));
            }
        }
    }
    all.sort_unstable();
    let (mut used_a, mut used_b) = (BTreeSet::new(), BTreeSet::new());
    let mut paired = Vec::new();
    for ((lost, ..), at, place) in all {
        if !used_a.contains(&at) && !used_b.contains(&place) {
            used_a.insert(at);
            used_b.insert(place);
            paired.push(Paired { parts: [a[at].1, b[place].1], lost });
        }
    }
    let mut places = 0..;
    a.retain(|_| !used_a.contains(&places.next().unwrap_or(0)));
    let mut places = 0..;
    b.retain(|_| !used_b.contains(&places.next().unwrap_or(0)));
    paired
}

/// Points that are lost by taking one word for the other; nothing if they are different words.
fn loss(a: &str, b: &str) -> Option<i32> {
    if a == b {
        return Some(0);
    }
    let (short, long) = if a.chars().count() <= b.chars().count() { (a, b) } else { (b, a) };
    let letters = short.chars().count();
    if letters == 1 {
        return (is_alphabet(short) && long.starts_with(short)).then_some(15);
    }
    let forgiven = match letters {
        0..ONE_ERROR => 0,
        ONE_ERROR..TWO_ERRORS => 1,
        _ => 2,
    };
    let further = long.chars().count() - letters;
    if further <= forgiven && strsim::osa_distance(short, long) <= forgiven {
        return Some(6);
    }
    if letters >= SHORT_FORM && long.starts_with(short) {
        return Some(8);
    }
    let sounds = sound(short);
    (letters >= ONE_ERROR && sounds.len() >= SOUNDS && sounds == sound(long)).then_some(6)
}

/// The consonants of a word in Latin letters, in one spelling for each sound; nothing for others.
pub(super) fn sound(word: &str) -> String {
    if !word.is_ascii() {
        return String::new();
    }
    let plain = word
        .replace("ph", "f")
        .replace("sch", "s")
        .replace("sh", "s")
        .replace("ch", "s")
        .replace("dj", "j")
        .replace("ce", "se")
        .replace("ci", "si")
        .replace("cy", "si");
    let mut sounds = String::new();
    let mut before = ' ';
    for letter in plain.chars() {
        let letter = match letter {
            'c' | 'q' => 'k',
            'z' => 's',
            'v' => 'w',
            other => other,
        };
        if letter != before && !"aeiouyhw".contains(letter) {
            sounds.push(letter);
        }
        before = letter;
    }
    sounds
}

/// Whether what is left of both is the same but for spaces: Abdel Rahman, Abdelrahman.
fn is_joined(a: &Name, b: &Name) -> bool {
    let spellings = |name: &Name| -> [String; 2] {
        let join = |first: &dyn Fn(Part) -> bool| -> String {
            let front = name.iter().filter(|(_, part)| first(*part));
            let back = name.iter().filter(|(_, part)| !first(*part));
            let word: String = front.chain(back).map(|(word, _)| word.as_str()).collect();
            word.replace("ال", "")
        };
        [join(&|_| true), join(&|part| part == Part::Family)]
    };
    let divided = a.len() + b.len() > 2;
    let (a, b) = (spellings(a), spellings(b));
    divided && !a[0].is_empty() && a.iter().any(|one| b.contains(one))
}

/// Names the script of a word's first letter: two words of different ones can't be compared.
fn script(word: &str) -> u32 {
    match word.chars().next().map_or(0, u32::from) {
        0..0x370 | 0x1e00..0x1f00 => 0,
        0x370..0x400 | 0x1f00..0x2000 => 1,
        0x400..0x530 => 2,
        0x590..0x600 => 3,
        0x600..0x780 | 0x8a0..0x900 => 4,
        0x1200..0x13a0 => 5,
        0x3040..0x3100 | 0x3400..0xa000 | 0xf900..0xfb00 | 0x2_0000.. => 6,
        0xac00..0xd7b0 | 0x1100..0x1200 => 7,
        // The scripts of India and its neighbours take 128 places each.
        other => 8 + other / 128,
    }
}

/// Whether the word's script has letters that stand alone for a name.
fn is_alphabet(word: &str) -> bool {
    script(word) <= 2
}

/// Whether the word's script is written without spaces.
pub(super) fn is_undivided(word: &str) -> bool {
    matches!(script(word), 6 | 7)
        || matches!(
            word.chars().next(),
            Some('\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(a: &str, b: &str) -> Option<NameFinding> {
        let name = |text: &str| {
            let (given, family) = text.split_once('/').unwrap_or((text, ""));
            let body = json!({"name": [{"given": [given], "family": family}]});
            super::super::profile::Profile::of(&body).names
        };
        let there = compare(&name(a), &name(b));
        assert_eq!(there, compare(&name(b), &name(a)), "{a} and {b}, from both sides");
        there
    }

    #[test]
    fn words_are_found_in_any_order_and_spelling() {
        use NameFinding::*;
        let close = |lost, part, words| Close { lost, part, words };
        for (a, b, expected) in [
            ("Awa/Diatta", "AWA/DIATTA", Same { swapped: false }),
            ("Awa/Diatta", "Diatta/Awa", Same { swapped: true }),
            ("Awa/Diatta", "Awa/Diata", close(6, false, 2)),
            ("Mohamed/Osman", "Muhammad/Usman", close(12, false, 2)),
            ("Awa Marie/Diatta", "Awa/Diatta", close(0, true, 2)),
            ("Fatou/Sow", "Fatoumata/Sow", close(8, false, 2)),
            ("A./Diatta", "Awa/Diatta", close(15, false, 2)),
            ("Abdel Rahman/Osman", "Abdelrahman/Osman", Same { swapped: false }),
            ("عبد الرحمن/بابكر", "عبدالرحمن/بابكر", Same { swapped: false }),
            ("小明/王", "王小明", Same { swapped: false }),
            ("Suharto", "Suharto", OneWord),
            ("Awa/Diatta", "Awa/Sané", GivenOnly),
            ("Awa/Diatta", "Fatou/Diatta", OtherGiven),
            ("Thị Hồng/Nguyễn", "Thị Ngọc/Nguyễn", OtherGiven),
            ("Hassan/Fall", "Hussein/Fall", OtherGiven),
            ("محمد/حسن", "محمود/حسن", OtherGiven),
            ("Awa/Diatta", "Moussa/Sow", Other),
        ] {
            assert_eq!(found(a, b), Some(expected), "{a} and {b}");
        }
        assert_eq!(found("Γιώργος/Παπαδόπουλος", "Giorgos/Papadopoulos"), None);
    }

    #[test]
    fn spellings_of_one_sound_are_alike_and_short_ones_are_not_compared() {
        assert_eq!(sound("philippe"), sound("filipe"));
        assert_eq!(sound("khadija"), sound("kadidja"));
        assert_eq!(sound("ousmane"), sound("usman"));
        assert_ne!(sound("moussa"), sound("mariam"));
        assert_eq!(sound("γιωργος"), "");
        assert_eq!(loss("hassan", "hussein"), None);
        assert_eq!(loss("mariam", "mariama"), Some(6));
        assert_eq!(loss("awa", "eva"), None);
    }
}
