//! Tests of loading the module into a Lua that it was not built for: `require`
//! must fail with a text that names both Luas.

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use flux::lua::NAME;
use support::TestFolder;

/// The commands under which distributions install Lua. Each is asked for its
/// version.
const COMMANDS: [&str; 14] = [
    "lua", "lua5.1", "lua51", "lua-5.1", "lua5.2", "lua52", "lua5.3", "lua53", "lua5.4", "lua54",
    "lua-5.4", "lua5.5", "lua55", "luajit",
];

/// A folder in which Lua finds the module as `flux` and as `kvs`.
fn both_modules() -> TestFolder {
    let folder = TestFolder::with_module("wrong-lua");
    folder.link_module("kvs.so");
    folder
}

/// Runs a chunk and returns the output and the errors that it prints.
fn run(lua: &str, modules: &TestFolder, chunk: &str) -> String {
    let output = Command::new(lua)
        .args(["-e", chunk])
        .env("LUA_CPATH", modules.path().join("?.so"))
        .env("LUA_PATH", "")
        .env_remove("LUA_INIT")
        .output()
        .expect("the command was found before");
    assert!(output.status.success(), "{lua} ended with {output:?}");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// The different Luas in PATH: for each a command and the name of its Lua.
fn installed() -> Vec<(&'static str, String)> {
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for command in COMMANDS {
        let asked = Command::new(command)
            .args(["-e", "io.write(jit and 'LuaJIT' or _VERSION)"])
            .env_remove("LUA_INIT")
            .output();
        let Ok(answer) = asked else { continue };
        let name = String::from_utf8_lossy(&answer.stdout).into_owned();
        if !name.is_empty() && names.insert(name.clone()) {
            found.push((command, name));
        }
    }
    found
}

#[test]
fn require_in_another_lua_fails_with_a_text_that_names_both() {
    let modules = both_modules();
    let others = installed().into_iter().filter(|(_, name)| name != NAME);
    let mut count = 0;
    for (command, name) in others {
        for module in ["flux", "kvs"] {
            let chunk =
                format!("print(pcall(require, '{module}')) print((pcall(require, '{module}')))");
            let output = run(command, &modules, &chunk);
            let expected = format!("flux.so is built for {NAME}, and this is {name}");
            assert_eq!(
                output.trim_end(),
                format!("false\t{expected}\nfalse"),
                "{command}"
            );
        }
        count += 1;
    }
    if count == 0 {
        println!("skipped: no Lua other than {NAME} is in PATH");
    }
}

#[test]
fn require_in_its_own_lua_works() {
    let modules = both_modules();
    let Some((command, _)) = installed().into_iter().find(|(_, name)| name == NAME) else {
        println!("skipped: no {NAME} is in PATH");
        return;
    };
    let chunk = "print((select(3, require 'flux'.version())), type(require 'kvs'.keys))";
    let output = run(command, &modules, chunk);
    assert_eq!(output.trim_end(), format!("{NAME}\tfunction"));
}

#[test]
fn the_module_is_not_linked_against_lua() {
    let output = match Command::new("nm")
        .args(["-D", "--undefined-only"])
        .arg(support::module())
        .output()
    {
        Ok(output) if output.status.success() => output,
        other => {
            println!("skipped: nm cannot list the module's symbols: {other:?}");
            return;
        }
    };
    let listed = String::from_utf8_lossy(&output.stdout);
    let symbols = listed
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let linked: Vec<&str> = symbols.filter(|symbol| symbol.starts_with("lua")).collect();
    assert!(listed.contains("dlsym"), "{listed}");
    assert!(linked.is_empty(), "{linked:?}");
}
