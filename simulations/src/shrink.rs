//! Makes a failing history smaller: leaves out whatever is not needed for the same oracle to fail.
//!
//! Each planned item has chance of its own, so leaving some out leaves the others what they were,
//! but for what follows from them. Delta debugging: halves, quarters, and so on down to one item.

use crate::checks::Flaw;
use crate::faults::Plan;

/// How many histories are lived at most in search of a smaller one.
const TRIES_MAX: usize = 400;

/// The places of the items that are needed for `fails` to name the same oracle, and its words for
/// the smallest history that was found.
pub fn shrink(
    plan: &Plan,
    flaw: Flaw,
    mut fails: impl FnMut(Plan) -> Option<Flaw>,
) -> (Vec<usize>, Flaw) {
    let mut kept: Vec<usize> = (0..plan.items.len()).collect();
    let mut last = flaw;
    let mut tries = 0;
    let mut portion = kept.len().div_ceil(2).max(1);
    while !kept.is_empty() && tries < TRIES_MAX {
        let mut at = 0;
        let mut smaller = false;
        while at < kept.len() && tries < TRIES_MAX {
            let mut fewer = kept.clone();
            fewer.drain(at..(at + portion).min(kept.len()));
            tries += 1;
            match fails(plan.clone().keeping(&fewer)) {
                Some(found) if found.oracle == last.oracle => {
                    (kept, last, smaller) = (fewer, found, true);
                }
                _ => at += portion,
            }
        }
        if portion == 1 && !smaller {
            break;
        }
        if !smaller {
            portion = portion.div_ceil(2).min(portion - 1).max(1);
        }
    }
    (kept, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left() {
        let plan = Plan::draw(3);
        let needed = [plan.items[2].chance, plan.items[7].chance];
        let fails = |plan: Plan| {
            let there = |chance: &u64| plan.items.iter().any(|item| item.chance == *chance);
            needed.iter().all(there).then(|| Flaw::new("a test", "it fails".into()))
        };
        let flaw = fails(plan.clone()).unwrap();
        let (kept, _) = shrink(&plan, flaw, fails);
        assert_eq!(kept, [2, 7]);
    }
}
