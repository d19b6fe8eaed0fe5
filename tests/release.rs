//! Checks that the rockspecs, the changelog and the workflow fit the version in
//! Cargo.toml.

use std::fs;
use std::path::Path;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn the_rockspecs_differ_only_in_version_and_tag() {
    let development = read("flux-lua-scm-1.rockspec");
    let released = read(&format!("flux-lua-{VERSION}-1.rockspec"));
    let tag = format!("  tag = \"v{VERSION}\",\n");
    assert!(released.contains(&tag), "{released}");
    let version = format!("version = \"{VERSION}-1\"");
    let as_development = released
        .replace(&version, "version = \"scm-1\"")
        .replace(&tag, "");
    assert_eq!(as_development, development);
}

#[test]
fn the_changelog_has_an_entry_for_the_version() {
    let changelog = read("CHANGELOG.md");
    assert!(
        changelog.contains(&format!("\n## [{VERSION}] - ")),
        "{VERSION}"
    );
    assert!(changelog.contains("\n## [Unreleased]\n"));
}

#[test]
fn the_workflow_tests_every_lua_and_the_oldest_supported_rust() {
    let workflow = read(".github/workflows/ci.yml");
    for lua in ["lua51", "lua52", "lua53", "lua54", "lua55", "luajit"] {
        assert!(workflow.contains(lua), "{lua}");
    }
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    assert!(workflow.contains(&format!("\"{oldest}\"")), "{oldest}");
}
