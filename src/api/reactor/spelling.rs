//! Tells whether a key is a likely misspelling of a known name. Letter case and
//! underscores are ignored in the comparison.

/// The number of letters in a name, and the set of them as bits. Comparing two of
/// these is a quick test that rules out most keys.
pub struct Letters {
    count: u32,
    set: u32,
}

impl Letters {
    /// The letters of a name.
    pub const fn of(name: &[u8]) -> Letters {
        let mut letters = Letters { count: 0, set: 0 };
        let mut at = 0;
        while at < name.len() {
            if name[at] != b'_' {
                letters.count += 1;
                // Upper and lower case have the same bit.
                letters.set |= 1 << (name[at] % 32);
            }
            at += 1;
        }
        letters
    }

    /// How many letters of this name a misspelling may change.
    fn limit(&self) -> u32 {
        if self.count < 5 { 1 } else { 2 }
    }

    /// Whether a key with these letters can be a misspelling of `name`.
    #[inline]
    pub fn may_misspell(&self, name: &Letters) -> bool {
        let (added, missing) = (self.set & !name.set, name.set & !self.set);
        let limit = name.limit();
        self.count.abs_diff(name.count) <= limit
            && added.count_ones() <= limit
            && missing.count_ones() <= limit
    }
}

/// Whether the key is a likely misspelling of the name.
///
/// They may differ by two letters, or by one if the name has fewer than five. A
/// difference is a letter that is added, missing or replaced, or two neighbours that
/// are swapped. In a name of two letters, a replaced letter counts twice: otherwise
/// half of the name could differ.
pub fn is_misspelling(key: &[u8], name: &[u8]) -> bool {
    let limit = Letters::of(name).limit() as usize;
    let (key, name) = (compared_letters(key), compared_letters(name));
    let replacement_cost = if name.len() < 3 { 2 } else { 1 };
    distance(&key, &name, replacement_cost) <= limit
}

/// The letters of a name that are compared, in lower case.
fn compared_letters(name: &[u8]) -> Vec<u8> {
    let letters = name.iter().filter(|letter| **letter != b'_');
    letters.map(u8::to_ascii_lowercase).collect()
}

/// The optimal string alignment distance: the lowest cost of the letters to add,
/// remove, replace or swap with a neighbour to turn `b` into `a`.
fn distance(a: &[u8], b: &[u8], replacement_cost: usize) -> usize {
    // `of[i][j]` is the distance between the first `i` letters of `a` and the first
    // `j` letters of `b`.
    let mut of = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                of[i][j] = i + j;
                continue;
            }
            let is_same = a[i - 1] == b[j - 1];
            let replacement = if is_same { 0 } else { replacement_cost };
            let mut least = of[i - 1][j - 1] + replacement;
            least = least.min(of[i - 1][j] + 1).min(of[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(of[i - 2][j - 2] + 1);
            }
            of[i][j] = least;
        }
    }
    of[a.len()][b.len()]
}
