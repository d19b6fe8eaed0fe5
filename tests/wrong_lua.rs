//! A module in a Lua that it was not built for: `require` fails and names both.

use std::collections::BTreeSet;
use std::env::{
    self,
    consts::{DLL_PREFIX, DLL_SUFFIX},
};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use flux::lua::NAME;

/// Commands that distributions have for each Lua; what they say they are is asked.
const COMMANDS: [&str; 14] = [
    "lua", "lua5.1", "lua51", "lua-5.1", "lua5.2", "lua52", "lua5.3", "lua53", "lua5.4", "lua54",
    "lua-5.4", "lua5.5", "lua55", "luajit",
];

/// Beside this very program: one folder up is what `cargo build` last made.
fn module() -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    test.with_file_name(format!("{DLL_PREFIX}flux{DLL_SUFFIX}"))
}

/// A folder in which Lua finds the module under both its names.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Place {
        let name = format!("{test}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        for name in ["flux.so", "kvs.so"] {
            symlink(module(), folder.join(name)).expect("the folder is new");
        }
        Place(folder)
    }

    /// What the command prints, output and errors, when it runs the chunk.
    fn run(&self, lua: &str, chunk: &str) -> String {
        let output = Command::new(lua)
            .args(["-e", chunk])
            .env("LUA_CPATH", self.0.join("?.so"))
            .env("LUA_PATH", "")
            .env_remove("LUA_INIT")
            .output()
            .expect("the command was found before");
        assert!(output.status.success(), "{lua} ended with {output:?}");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The Luas on PATH, each once: a command, and the name it goes by.
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
fn require_in_another_lua_fails_and_names_both() {
    let place = Place::new("wrong-lua");
    let others = installed().into_iter().filter(|(_, name)| name != NAME);
    let mut count = 0;
    for (command, name) in others {
        for module in ["flux", "kvs"] {
            let chunk =
                format!("print(pcall(require, '{module}')) print((pcall(require, '{module}')))");
            let said = place.run(command, &chunk);
            let expected = format!("flux.so is built for {NAME}, and this is {name}");
            assert_eq!(
                said.trim_end(),
                format!("false\t{expected}\nfalse"),
                "{command}"
            );
        }
        count += 1;
    }
    if count == 0 {
        println!("skipped: no other Lua than {NAME} is in PATH");
    }
}

#[test]
fn require_in_its_own_lua_works() {
    let place = Place::new("own-lua");
    let Some((command, _)) = installed().into_iter().find(|(_, name)| name == NAME) else {
        println!("skipped: no {NAME} is in PATH");
        return;
    };
    let said = place.run(
        command,
        "print((select(3, require 'flux'.version())), type(require 'kvs'.keys))",
    );
    assert_eq!(said.trim_end(), format!("{NAME}\tfunction"));
}

#[test]
fn the_module_links_to_no_function_of_lua() {
    let output = match Command::new("nm")
        .args(["-D", "--undefined-only"])
        .arg(module())
        .output()
    {
        Ok(output) if output.status.success() => output,
        other => {
            println!("skipped: nm does not list the module's symbols: {other:?}");
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
