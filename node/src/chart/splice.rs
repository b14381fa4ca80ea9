//! What has to be typed to make one text of another.
//!
//! Words are the smallest part, and a tag of markup is one: whoever changes a word takes it out
//! and puts another in. By letters, a dose of 500 that becomes 50 here and 250 there would merge
//! to 250, and nobody would see that somebody wrote 50; by words both stand there.
//!
//! Time and memory are bounded, however little the two texts have in common.

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// Differences looked for; beyond, all between the first and the last one is replaced.
const EDITS_MAX: usize = 1024;

/// One place where a text changes. Characters are counted in the text as it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Splice {
    /// Characters before it.
    pub(crate) at: usize,
    /// Characters to take out.
    pub(crate) remove: usize,
    /// What to put in.
    pub(crate) insert: String,
}

impl Splice {
    /// How many characters it types or takes out.
    pub(crate) fn strokes(&self) -> usize {
        self.remove + self.insert.chars().count()
    }
}

/// What makes `new` of `old`, from the start to the end; nothing if they are equal.
pub(crate) fn splices(old: &str, new: &str) -> Vec<Splice> {
    let (old, new) = (parts(old), parts(new));
    let mut splices = Vec::new();
    let (mut at, mut done) = (0, 0);
    for (from, to) in differences(&old, &new) {
        at += width(&new[done..to.start]);
        done = to.end;
        let splice = Splice { at, remove: width(&old[from]), insert: new[to].concat() };
        at += splice.insert.chars().count();
        splices.push(splice);
    }
    splices
}

fn width(parts: &[&str]) -> usize {
    parts.iter().map(|part| part.chars().count()).sum()
}

/// Words, spaces, signs and tags, one after another.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        parts.extend(before.split_word_bounds());
        let end = tag.find('>').map_or(1, |end| end + 1);
        let (tag, after) = tag.split_at(end);
        parts.push(tag);
        rest = after;
    }
    parts.extend(rest.split_word_bounds());
    parts
}

type Difference = (Range<usize>, Range<usize>);

/// Where two sequences differ, in order.
fn differences(old: &[&str], new: &[&str]) -> Vec<Difference> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (n, m) = (old_rest.len() - end, new_rest.len() - end);
    if n == 0 && m == 0 {
        return Vec::new();
    }
    let found = shortest(&old_rest[..n], &new_rest[..m]).unwrap_or_else(|| vec![(0..n, 0..m)]);
    let shift = |range: Range<usize>| range.start + start..range.end + start;
    found.into_iter().map(|(from, to)| (shift(from), shift(to))).collect()
}

/// The shortest way from one to the other (Myers 1986), or nothing if it has too many steps.
fn shortest(old: &[&str], new: &[&str]) -> Option<Vec<Difference>> {
    let most = (old.len() + new.len()).min(EDITS_MAX);
    // For each number of edits, how far into `old` each diagonal reaches; the diagonals go by twos
    // from all edits being insertions to all being removals.
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for edits in 0..=most {
        let mut row = Vec::with_capacity(edits + 1);
        for removals in 0..=edits {
            let mut x = rows.last().map_or(0, |last| start(last, removals));
            let y = |x: usize| (x + edits).checked_sub(2 * removals);
            while let Some(y) = y(x)
                && old.get(x).is_some_and(|part| new.get(y) == Some(part))
            {
                x += 1;
            }
            row.push(x);
            if x == old.len() && y(x) == Some(new.len()) {
                return Some(traced(&rows, (x, new.len()), removals));
            }
        }
        rows.push(row);
    }
    None
}

/// Where a diagonal starts after one more edit: an insertion, or a removal if that reaches further.
fn start(last: &[usize], removals: usize) -> usize {
    if is_insertion(last, removals) { last[removals] } else { last[removals - 1] + 1 }
}

fn is_insertion(last: &[usize], removals: usize) -> bool {
    removals == 0 || (removals < last.len() && last[removals - 1] < last[removals])
}

/// Goes back from the end along the rows, and joins edits that stand side by side.
fn traced(
    rows: &[Vec<usize>],
    (mut x, mut y): (usize, usize),
    mut removals: usize,
) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    for last in rows.iter().rev() {
        let from = start(last, removals);
        let unchanged = x - from;
        let (to_x, to_y) = (x - unchanged, y - unchanged);
        (x, y) = (to_x, to_y);
        if is_insertion(last, removals) {
            y -= 1;
        } else {
            x -= 1;
            removals -= 1;
        }
        match found.last_mut() {
            Some((from, to)) if (from.start, to.start) == (to_x, to_y) => {
                (from.start, to.start) = (x, y);
            }
            _ => found.push((x..to_x, y..to_y)),
        }
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    /// Types the splices into a text.
    fn typed(old: &str, splices: &[Splice]) -> String {
        let mut text: Vec<char> = old.chars().collect();
        for splice in splices {
            let end = splice.at + splice.remove;
            text.splice(splice.at..end, splice.insert.chars());
        }
        text.into_iter().collect()
    }

    fn splice(at: usize, remove: usize, insert: &str) -> Splice {
        Splice { at, remove, insert: insert.to_owned() }
    }

    #[test]
    fn words_and_tags_change_whole() {
        let old = "<p>Dose 500 mg. Évolution: bonne.</p>";
        assert_eq!(splices(old, old), []);
        let new = "<p>Dose 50 mg. Évolution: très bonne.</p><p/>";
        let expected = [splice(8, 3, "50"), splice(26, 0, "très "), splice(41, 0, "<p/>")];
        assert_eq!(splices(old, new), expected);
        assert_eq!(typed(old, &expected), new);
        assert_eq!(splices("<p class='a'>x", "<p class='b'>x"), [splice(0, 13, "<p class='b'>")]);
        assert_eq!(splices("1.50 < 3", "1.55 < 3"), [splice(0, 4, "1.55")]);
        assert_eq!(splices("", "a b"), [splice(0, 0, "a b")]);
        assert_eq!(splices("a b", ""), [splice(0, 3, "")]);
    }

    #[test]
    fn whatever_changed_comes_out_typed() {
        let mut chance = ChaCha20Rng::seed_from_u64(11);
        let words = ["a", "b", " ", "<p>", "é", "🩺", "5", ".", "مريض", "<"];
        let mut text = |length: u32| -> String {
            let count = chance.next_u32() % length;
            (0..count).map(|_| words[chance.next_u32() as usize % words.len()]).collect()
        };
        for round in 0..2000 {
            let (old, new) = (text(20 + round / 50), text(20 + round / 50));
            assert_eq!(typed(&old, &splices(&old, &new)), new, "{old:?} to {new:?}");
        }
    }

    #[test]
    fn texts_without_anything_in_common_cost_little() {
        let old: String = (0..30_000).map(|n| format!("a{n} ")).collect();
        let new: String = (0..30_000).map(|n| format!("b{n}\n")).collect();
        let splices = splices(&old, &new);
        assert_eq!(splices, [splice(0, old.chars().count(), &new)]);
    }
}
