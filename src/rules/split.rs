//! Where a rule's requests go: to one, or to several by weight, where whoever is on one side stays there.

use crate::upstream::{hash, rendezvous};

/// The sides of a rule; `T` is what is forwarded to.
#[derive(Debug, Clone)]
pub struct Split<T>(Vec<Side<T>>);

#[derive(Debug, Clone)]
struct Side<T> {
    target: T,
    weight: f64,
    seed: u64,
}

impl<T> Split<T> {
    /// All to one.
    pub(super) fn one(target: T) -> Self {
        Self(vec![Side { target, weight: 1.0, seed: 0 }])
    }

    /// Target, name and weight of each side; at least one weighs something.
    pub(super) fn of<'a>(sides: impl Iterator<Item = (T, &'a str, u32)>) -> Self {
        let weighs = |(target, name, weight): (T, &str, u32)| {
            let seed = hash([name.as_bytes()]);
            (weight > 0).then(|| Side { target, weight: f64::from(weight), seed })
        };
        Self(sides.filter_map(weighs).collect())
    }

    /// All sides that get requests.
    pub fn sides(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|side| &side.target)
    }

    /// The side of this caller, and the one to turn to if that fails. A side that is of no use is left out while there
    /// is another. When weights change, only as many move as must (weighted rendezvous hashing).
    pub fn side(&self, caller: impl FnOnce() -> u64, is_of_use: impl Fn(&T) -> bool) -> (&T, Option<&T>) {
        let [first, others @ ..] = self.0.as_slice() else {
            unreachable!("a split is made with at least one side");
        };
        if others.is_empty() {
            return (&first.target, None);
        }
        let caller = caller();
        // The caller's distance to each side is exponentially distributed, shorter for more weight: the nearest wins
        // as often as its weight says.
        let distance = |side: &Side<T>| {
            let chance = ((rendezvous(caller, side.seed) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            -chance.ln() / side.weight
        };
        let nearest = |may: &dyn Fn(&Side<T>) -> bool| {
            let sides = self.0.iter().filter(|side| may(side));
            sides.min_by(|one, other| distance(one).total_cmp(&distance(other)))
        };
        let chosen = nearest(&|side| is_of_use(&side.target)).or_else(|| nearest(&|_| true)).unwrap_or(first);
        let spare = nearest(&|side| !std::ptr::eq(side, chosen) && is_of_use(&side.target));
        (&chosen.target, spare.map(|side| &side.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(v1: u32, v2: u32, v3: u32) -> Vec<usize> {
        let split = Split::of([(1, "v1", v1), (2, "v2", v2), (3, "v3", v3)].into_iter());
        (0..10_000_u32).map(|caller| *split.side(|| hash([&caller.to_le_bytes()]), |_| true).0).collect()
    }

    fn count(sides: &[usize], wanted: usize) -> usize {
        sides.iter().filter(|side| **side == wanted).count()
    }

    #[test]
    fn each_side_gets_what_its_weight_says() {
        let sides = sides(80, 15, 5);
        let counts = [1, 2, 3].map(|side| count(&sides, side));
        assert!((7_800..8_200).contains(&counts[0]) && (1_350..1_650).contains(&counts[1]), "{counts:?}");
        assert!((400..600).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn when_weights_move_nobody_moves_but_towards_what_grew() {
        let (before, after) = (sides(90, 10, 0), sides(80, 20, 0));
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || (*before, *after) == (1, 2)));
        assert!((1_700..2_300).contains(&count(&after, 2)));
    }

    #[test]
    fn a_side_without_weight_gets_nothing() {
        assert_eq!(count(&sides(1, 0, 1), 2), 0);
    }

    #[test]
    fn callers_of_a_side_that_is_of_no_use_go_to_the_next() {
        let split = Split::of([(1, "v1", 90), (2, "v2", 10)].into_iter());
        for caller in (0..100_u32).map(|caller| hash([&caller.to_le_bytes()])) {
            let (side, spare) = split.side(|| caller, |_| true);
            assert_eq!(Some(&(3 - side)), spare);
            assert_eq!(split.side(|| caller, |side| *side != 2), (&1, None));
            assert_eq!(split.side(|| caller, |_| false), (side, None), "none is any better");
        }
    }
}
