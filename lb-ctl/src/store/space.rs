//! Room in the maps of member lists and lookup tables: which ranges published services use.

/// The holes of a map, in order.
#[derive(Debug)]
pub struct Space {
    /// First entry and length.
    holes: Vec<(u32, u32)>,
}

impl Space {
    /// A map of `length` entries in which these ranges (first entry and length) are used.
    pub fn new(length: u32, ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut used: Vec<_> = ranges.into_iter().filter(|(_, count)| *count > 0).collect();
        used.sort_unstable();
        let (mut holes, mut start) = (vec![], 0);
        for (first, count) in used {
            if first > start {
                holes.push((start, first - start));
            }
            start = first + count;
        }
        if length > start {
            holes.push((start, length - start));
        }
        Self { holes }
    }

    /// Takes the first hole that is long enough from a multiple of `align` on; `None` when there is none.
    pub fn take(&mut self, count: u32, align: u32) -> Option<u32> {
        if count == 0 {
            return Some(0);
        }
        let fits = |&(first, length): &(u32, u32)| {
            let start = first.next_multiple_of(align);
            (start + count <= first + length).then_some(start)
        };
        let (at, start) = self.holes.iter().enumerate().find_map(|(at, hole)| Some((at, fits(hole)?)))?;
        let (first, length) = self.holes[at];
        let left = [(first, start - first), (start + count, first + length - start - count)];
        self.holes.splice(at..=at, left.into_iter().filter(|(_, length)| *length > 0));
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_hole_that_fits_is_taken() {
        let mut space = Space::new(20, [(10, 5), (0, 2), (4, 3)]);
        assert_eq!(space.take(3, 1), Some(7), "the hole at 2 is too short");
        assert_eq!(space.take(2, 1), Some(2));
        assert_eq!(space.take(5, 1), Some(15));
        assert_eq!(space.take(1, 1), None);
        assert_eq!(space.take(0, 1), Some(0), "nothing fits anywhere");
        let mut space = Space::new(64, [(0, 9), (20, 1)]);
        assert_eq!(space.take(4, 16), Some(16), "the rest of the first hole");
        assert_eq!(space.take(4, 8), Some(24));
    }

    proptest! {
        #[test]
        fn ranges_never_overlap(sizes in prop::collection::vec(0u32..40, 0..40)) {
            let mut space = Space::new(400, []);
            let mut owner = [false; 400];
            for size in sizes {
                let Some(first) = space.take(size, 1) else { continue };
                for taken in &mut owner[first as usize..(first + size) as usize] {
                    prop_assert!(!std::mem::replace(taken, true));
                }
            }
        }
    }
}
