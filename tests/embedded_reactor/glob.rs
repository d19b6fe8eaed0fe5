//! Tests of topic patterns. The C library's fnmatch(), which libflux uses, says
//! what is right.

#[path = "../../src/backend/embedded/reactor/glob.rs"]
mod matcher;

use std::ffi::CString;

fn fnmatch(pattern: &[u8], text: &[u8]) -> bool {
    let pattern = CString::new(pattern).unwrap();
    let text = CString::new(text).unwrap();
    // SAFETY: both strings are terminated.
    unsafe { libc::fnmatch(pattern.as_ptr(), text.as_ptr(), 0) == 0 }
}

/// A small generator of pseudo-random numbers: the same ones on each run.
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

/// Checks a match against fnmatch().
fn compare(pattern: &[u8], text: &[u8]) {
    assert_eq!(
        matcher::matches(pattern, text),
        fnmatch(pattern, text),
        "{:?} on {:?}",
        String::from_utf8_lossy(pattern),
        String::from_utf8_lossy(text)
    );
    // Handlers are looked up by the literal text that their pattern starts with.
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
fn a_topic_is_a_pattern_only_with_a_star_question_mark_or_bracket() {
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
        // POSIX does not define an unfinished bracket expression, and glibc is
        // not consistent about this one.
        if !pattern.ends_with(b"[-") {
            compare(&pattern, &text);
        }
    }
}

#[test]
fn character_classes_hold_the_same_bytes_as_in_the_c_library() {
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
fn a_pattern_of_many_stars_does_not_take_exponential_time() {
    let pattern = "*a".repeat(50) + "b";
    let text = "a".repeat(5000);
    assert!(!matcher::matches(pattern.as_bytes(), text.as_bytes()));
}
