//! Topic patterns, against the C library's fnmatch.

#[path = "../../src/backend/embedded/reactor/glob.rs"]
mod matcher;

use std::ffi::CString;

fn fnmatch(pattern: &[u8], text: &[u8]) -> bool {
    let pattern = CString::new(pattern).unwrap();
    let text = CString::new(text).unwrap();
    // SAFETY: both strings are terminated.
    unsafe { libc::fnmatch(pattern.as_ptr(), text.as_ptr(), 0) == 0 }
}

/// A small generator of numbers, the same on each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn text(&mut self, parts: &[&str], longest: usize) -> Vec<u8> {
        let count = self.below(longest + 1);
        (0..count)
            .flat_map(|_| parts[self.below(parts.len())].bytes())
            .collect()
    }
}

fn compare(pattern: &[u8], text: &[u8]) {
    assert_eq!(
        matcher::matches(pattern, text),
        fnmatch(pattern, text),
        "{:?} on {:?}",
        String::from_utf8_lossy(pattern),
        String::from_utf8_lossy(text)
    );
    // Patterns are looked up by that.
    if fnmatch(pattern, text) {
        assert!(text.starts_with(matcher::start(pattern)));
    }
}

#[test]
fn patterns_match_as_they_do_in_the_c_library() {
    for (pattern, text, matches) in [
        ("*", "", true),
        ("*", ".a/b", true),
        ("a.*", "a.b.c", true),
        ("a.*", "a", false),
        ("a.?", "a.b", true),
        ("a.?", "a.", false),
        ("*.x*y", "a.xxyxy", true),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[^a-c]x", "dx", true),
        ("[]a]", "]", true),
        ("[a", "[a", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("[[:digit:]]*", "7up", true),
    ] {
        assert_eq!(
            matcher::matches(pattern.as_bytes(), text.as_bytes()),
            matches,
            "{pattern}"
        );
        compare(pattern.as_bytes(), text.as_bytes());
    }
}

#[test]
fn a_topic_is_a_pattern_only_with_a_mark_of_one() {
    for (topic, is_glob) in [
        ("a.b", false),
        ("a\\b]!^-", false),
        ("a.*", true),
        ("?", true),
        ("a[", true),
    ] {
        assert_eq!(matcher::is_glob(topic.as_bytes()), is_glob, "{topic}");
    }
}

#[test]
fn half_a_million_random_patterns_match_as_they_do_in_the_c_library() {
    let parts = [
        "a", "b", "c", ".", "*", "?", "[", "]", "!", "^", "-", "[a-b]", "[!b]", "\\", "[]",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..500_000 {
        let pattern = random.text(&parts, 7);
        let text = random.text(&["a", "b", "c", ".", "[", "]", "-", "*", "!"], 5);
        // POSIX leaves open what an unfinished expression is; here glibc has a
        // mind of its own.
        if !pattern.ends_with(b"[-") {
            compare(&pattern, &text);
        }
    }
}

#[test]
fn every_class_holds_the_bytes_that_it_holds_in_the_c_library() {
    let classes = [
        "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "xdigit",
    ];
    for class in classes {
        for c in 1..=255 {
            compare(format!("[[:{class}:]]").as_bytes(), &[c]);
            compare(format!("[![:{class}:]x]").as_bytes(), &[c]);
        }
    }
}

#[test]
fn a_pattern_of_many_stars_takes_no_longer_than_it_must() {
    let pattern = "*a".repeat(50) + "b";
    let text = "a".repeat(5000);
    assert!(!matcher::matches(pattern.as_bytes(), text.as_bytes()));
}
