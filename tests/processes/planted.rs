//! The product holds none of the bugs that are planted for the simulations: not even their names.

use super::harness::CARNET;

#[test]
fn the_product_holds_no_planted_bug() {
    let list = include_str!("../../sync-protocol/src/planted.rs");
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    let product = std::fs::read(CARNET).unwrap();
    let holds = |word: &str| product.windows(word.len()).any(|part| part == word.as_bytes());
    assert!(holds("carnet-invite-1-"), "its texts can be found");
    for name in names.into_iter().chain(["CARNET_PLANTED"]) {
        assert!(!holds(name), "the product holds {name}");
    }
}
