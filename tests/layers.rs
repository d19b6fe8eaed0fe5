//! Checks the dependencies between source files, which it reads from their `use`
//! lines and paths. They must follow the layers that ARCHITECTURE.md describes,
//! and must not form a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers: directories and files below src/, and the layers that each may
/// use. A file that is not listed belongs to the nearest directory above it.
const LAYERS: &[(&str, &[&str])] = &[
    ("symbols", &[]),
    ("lua", &["symbols"]),
    ("json", &["lua"]),
    ("backend", &["symbols"]),
    ("backend::embedded", &["backend"]),
    ("backend::libflux", &["backend", "symbols"]),
    (
        "api",
        &[
            "json",
            "lua",
            "backend",
            "backend::embedded",
            "backend::libflux",
        ],
    ),
    (
        "capi",
        &[
            "api",
            "json",
            "lua",
            "backend",
            "backend::libflux",
            "symbols",
        ],
    ),
];

/// Pairs of files that may use each other, because their types do: a `State`
/// runs a function with a `Writer`, and a `Writer` has a `State`.
const MAY_BE_CIRCULAR: [&str; 2] = ["lua::state", "lua::writer"];

/// The path of a module, such as `backend::libflux::handle`. Empty for the root.
type Module = String;

/// A source file.
struct Source {
    module: Module,
    /// The text without comments and string literals.
    code: String,
}

/// All files below src/ except those of programs.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .iter()
        .map(|file| {
            let relative = file.strip_prefix(&root).expect("it is below the root");
            let text = fs::read_to_string(file).expect("sources are readable");
            Source {
                module: module_of(relative),
                code: without_comments(&text),
            }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src/ is readable") {
        let path = entry.expect("src/ is readable").path();
        let is_left_out = path.ends_with("src/bin") || path.ends_with("lua/bindings");
        if path.is_dir() && !is_left_out {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn module_of(relative: &Path) -> Module {
    let without_extension = relative.with_extension("");
    let parts = without_extension
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .filter(|part| part != "mod" && part != "lib");
    parts.collect::<Vec<_>>().join("::")
}

/// Removes comments and the contents of strings.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => string_length(rest),
            '\'' if rest.starts_with("'\"'") => 3,
            _ => {
                code.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    code
}

/// The length of the string literal that the text starts with.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// The paths that begin at each occurrence of `start::` in the code, with
/// groups expanded: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths_from(code: &str, start: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let word = format!("{start}::");
    for (at, _) in code.match_indices(&word) {
        let before = code[..at].chars().next_back();
        let is_part = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        // `pub(in crate::api)` restricts an item and uses nothing.
        if is_part || code[..at].ends_with("(in ") {
            continue;
        }
        let mut paths = Vec::new();
        parse_path(&code[at..], &mut vec![], &mut paths);
        found.extend(paths);
    }
    found
}

/// Parses one path, or group of paths, at the start of the text. Returns its
/// length in the text.
fn parse_path(text: &str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if !name.is_empty() {
            at += name.len();
            prefix.push(name);
            if text[at..].starts_with("::") {
                at += 2;
                continue;
            }
            paths.push(prefix.clone());
            at += alias_length(&text[at..]);
        } else if rest.starts_with('{') {
            at += 1;
            while at < text.len() && !text[at..].starts_with('}') {
                at += match text[at..].starts_with(|c: char| c == ',' || c.is_whitespace()) {
                    true => 1,
                    false => parse_path(&text[at..], prefix, paths).max(1),
                };
            }
            at += 1;
        } else {
            paths.push(prefix.clone());
        }
        prefix.truncate(depth);
        return at;
    }
}

/// The length of ` as name` at the start of the text.
fn alias_length(text: &str) -> usize {
    let Some(after) = text.trim_start().strip_prefix("as ") else {
        return 0;
    };
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
    text.len() - after.len() + end
}

/// The crate as a graph of modules.
struct Crate {
    sources: Vec<Source>,
    modules: BTreeSet<Module>,
    /// For each module and name that it re-exports, the path of the original.
    reexports: BTreeMap<(Module, String), Vec<String>>,
    /// For each macro that is exported at the crate's root, its module.
    macros: BTreeMap<String, Module>,
}

impl Crate {
    fn read() -> Crate {
        let sources = sources();
        let modules = sources.iter().map(|source| source.module.clone()).collect();
        let mut read = Crate {
            modules,
            reexports: BTreeMap::new(),
            macros: BTreeMap::new(),
            sources: Vec::new(),
        };
        for source in &sources {
            read.find_reexports(source);
            let mut rest = source.code.as_str();
            while let Some((_, after)) = rest.split_once("macro_rules! ") {
                let name = after.split([' ', '{']).next().unwrap_or_default();
                read.macros.insert(name.to_owned(), source.module.clone());
                rest = after;
            }
        }
        read.sources = sources;
        read
    }

    /// Records each `pub use` of a file.
    fn find_reexports(&mut self, source: &Source) {
        for statement in source.code.split(';') {
            let Some((_, tree)) = statement.split_once("use ") else {
                continue;
            };
            let is_public = statement
                .rsplit_once("use ")
                .is_some_and(|(before, _)| before.trim_end().ends_with([')', 'b']));
            if !is_public || !statement.contains("pub") {
                continue;
            }
            let mut paths = Vec::new();
            parse_path(tree, &mut vec![], &mut paths);
            for path in paths {
                let full = self.absolute(&source.module, &path);
                if let (Some(full), Some(name)) = (full, path.last()) {
                    let key = (source.module.clone(), name.clone());
                    self.reexports.insert(key, full);
                }
            }
        }
    }

    /// The path from the crate's root. None for a path into another crate.
    fn absolute(&self, module: &str, path: &[String]) -> Option<Vec<String>> {
        let mut base: Vec<String> = match module {
            "" => Vec::new(),
            module => module.split("::").map(str::to_owned).collect(),
        };
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child => {
                let child = [module, child].join("::");
                if !self.modules.contains(child.trim_start_matches("::")) {
                    return None;
                }
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The module with the definition of an item, given its path from the root.
    fn defining_module(&self, path: &[String]) -> Option<Module> {
        let mut path = path.to_vec();
        // A re-export may lead to another. The limit ends circles of them.
        for _ in 0..8 {
            let length = (0..=path.len())
                .rev()
                .find(|&length| self.modules.contains(&path[..length].join("::")))?;
            let module = path[..length].join("::");
            let Some(name) = path.get(length) else {
                return Some(module);
            };
            let exported = self.macros.get(name).filter(|_| module.is_empty());
            if let Some(module) = exported {
                return Some(module.clone());
            }
            match self.reexports.get(&(module.clone(), name.clone())) {
                Some(from) => {
                    let rest = path[length + 1..].to_vec();
                    path = from.iter().cloned().chain(rest).collect();
                }
                None => return Some(module),
            }
        }
        None
    }

    /// The modules that each module uses.
    fn arrows(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let mut arrows: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for source in &self.sources {
            let used = arrows.entry(source.module.clone()).or_default();
            let code = uses_only(&source.code);
            let children = self.modules.iter().filter_map(|module| {
                let (parent, child) = module.rsplit_once("::").unwrap_or(("", module));
                (parent == source.module && !module.is_empty()).then_some(child)
            });
            let starts = ["crate", "super", "self"].into_iter().chain(children);
            for path in starts.flat_map(|start| paths_from(&code, start)) {
                let absolute = self.absolute(&source.module, &path);
                let definer = absolute.and_then(|path| self.defining_module(&path));
                used.extend(definer.filter(|definer| *definer != source.module));
            }
        }
        arrows
    }
}

/// The code without its `pub use` statements. A re-export is no dependency: the
/// module that uses the name depends on the original.
fn uses_only(code: &str) -> String {
    code.split_inclusive(';')
        .filter(|statement| {
            let item = statement
                .rsplit_once('\n')
                .map_or(*statement, |(_, item)| item);
            !item.trim_start().starts_with("pub use ") && !statement.contains("\npub use ")
        })
        .collect()
}

/// The layer that a module belongs to.
fn layer(module: &str) -> Option<&'static str> {
    let holds = |layer: &&str| module == *layer || module.starts_with(&format!("{layer}::"));
    let layers = LAYERS.iter().map(|(layer, _)| *layer);
    layers
        .filter(|layer| holds(layer))
        .max_by_key(|layer| layer.len())
}

#[test]
fn each_layer_uses_only_the_layers_that_it_may_use() {
    let arrows = Crate::read().arrows();
    let mut wrong = Vec::new();
    for (module, used) in &arrows {
        // The root declares the layers and is not one of them.
        let Some(from) = layer(module) else { continue };
        let (_, allowed) = LAYERS
            .iter()
            .find(|(name, _)| *name == from)
            .expect("every layer is in the list");
        for target in used {
            // Every layer may use the items that the root defines.
            if target.is_empty() {
                continue;
            }
            let to = layer(target);
            if to != Some(from) && !to.is_some_and(|to| allowed.contains(&to)) {
                wrong.push(format!("{module} uses {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The reader finds dependencies that are known to exist.
    let uses = |from: &str, to: &str| arrows[from].contains(to);
    assert!(
        uses("api::handle", "lua::callbacks"),
        "{:?}",
        arrows["api::handle"]
    );
    assert!(uses("api", "api::event"), "{:?}", arrows["api"]);
}

#[test]
fn no_files_depend_on_each_other_in_a_circle() {
    let arrows = Crate::read().arrows();
    let reach = |from: &Module| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from.clone()];
        while let Some(module) = next.pop() {
            for used in &arrows[&module] {
                if seen.insert(used.clone()) {
                    next.push(used.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> = arrows
        .keys()
        .map(|module| (module, reach(module)))
        .collect();
    let mut circles = BTreeSet::new();
    for (module, reachable) in &reached {
        let back =
            |other: &&Module| reachable.contains(*other) && reached[*other].contains(*module);
        let circle: Vec<&Module> = arrows.keys().filter(back).collect();
        if circle.len() > 1 && circle != MAY_BE_CIRCULAR {
            let arrows_within = circle.iter().flat_map(|&from| {
                let within = arrows[from].iter().filter(|to| circle.contains(to));
                within.map(move |to| format!("{from} -> {to}"))
            });
            circles.insert(arrows_within.collect::<Vec<_>>());
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}
