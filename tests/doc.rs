//! Runs the examples of doc/api.md and README.md: each block that is marked
//! `lua`, in the flux-lua command, on an embedded broker. A line
//! `print(...) --> text` must print that text.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::TestFolder;

/// A run that takes longer hangs. Generous, as the machine may be busy.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs before each example: it makes print() mark its output with its line.
const PRELUDE: &str = r##"
local write, tostring, select, getinfo = io.write, tostring, select, debug.getinfo
function print(...)
  local values = {}
  for i = 1, select("#", ...) do values[i] = tostring((select(i, ...))) end
  local text = table.concat(values, "  "):gsub("\n", " ")
  write("@", getinfo(2, "l").currentline, "@", text, "\n")
end
"##;

/// A block of a page, and its first line there.
struct Example {
    page: &'static str,
    line: usize,
    text: String,
}

impl Example {
    fn name(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

/// The blocks of a page that are marked `lua` and nothing more.
fn examples(page: &'static str) -> Vec<Example> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(path).expect("the page is in the repository");
    let mut found = Vec::new();
    let mut block: Option<Example> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut block, line) {
            (None, "```lua") => {
                block = Some(Example {
                    page,
                    line: number + 2,
                    text: String::new(),
                });
            }
            (None, _) => {}
            (Some(_), "```") => found.extend(block.take()),
            (Some(example), line) => {
                example.text.push_str(line);
                example.text.push('\n');
            }
        }
    }
    assert!(block.is_none(), "{page}: a block has no end");
    found
}

/// The result of a run.
struct Run {
    /// None if it took too long and was killed.
    status: Option<ExitStatus>,
    output: String,
}

fn run(folder: &TestFolder, example: &Example) -> Run {
    let script = folder.write("example.lua", &example.text);
    let output = folder.join("output");
    let stdout = File::create(&output).expect("the folder is writable");
    let mut child = Command::new(env!("CARGO_BIN_EXE_flux-lua"))
        .args(["--embedded", "-e", PRELUDE])
        .arg(&script)
        .stdout(stdout.try_clone().expect("a descriptor can be copied"))
        .stderr(stdout)
        .spawn()
        .expect("the interpreter was built");
    let status = wait(&mut child);
    let output = fs::read(&output).expect("the file exists");
    Run {
        status,
        output: String::from_utf8_lossy(&output).into_owned(),
    }
}

/// Waits for the child. None if it took too long and was killed.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        sleep(Duration::from_millis(5));
    }
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
    None
}

/// The output of each line. If a line printed several times, the texts are
/// joined with commas.
fn printed(output: &str) -> BTreeMap<usize, String> {
    let mut lines: BTreeMap<usize, String> = BTreeMap::new();
    for record in output.lines().filter_map(|line| line.strip_prefix('@')) {
        let Some((line, text)) = record.split_once('@') else {
            continue;
        };
        let Ok(line) = line.parse() else { continue };
        let said = lines.entry(line).or_default();
        if !said.is_empty() {
            said.push_str(", ");
        }
        said.push_str(text);
    }
    lines
}

/// The text after `-->` in a line, without a remark that follows it after `--`.
fn expected(line: &str) -> Option<&str> {
    let (_, text) = line.split_once("-->")?;
    let text = text.split("  --").next().unwrap_or(text);
    Some(text.trim())
}

/// Whether the text is the expected one, where `...` stands for any text.
fn is_match(expected: &str, text: &str) -> bool {
    let mut parts = expected.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let part = part.trim();
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last == Some("")
}

/// Runs an example and returns its faults.
fn check(folder: &TestFolder, example: &Example) -> Vec<String> {
    let run = run(folder, example);
    let mut wrong = Vec::new();
    match run.status {
        Some(status) if status.success() => {}
        Some(status) => wrong.push(format!("ended with {status}: {}", run.output)),
        None => wrong.push(format!("took more than {LIMIT:?}: {}", run.output)),
    }
    let printed = printed(&run.output);
    for (number, line) in (1..).zip(example.text.lines()) {
        let Some(expected) = expected(line) else {
            continue;
        };
        let said = printed.get(&number).map_or("nothing", String::as_str);
        if !is_match(expected, said) {
            let at = example.line + number - 1;
            wrong.push(format!("line {at} says {expected:?} and prints {said:?}"));
        }
    }
    wrong
}

fn check_page(page: &'static str) {
    let folder = TestFolder::new("doc");
    let examples = examples(page);
    assert!(!examples.is_empty(), "{page} has no examples");
    let mut failed = Vec::new();
    for example in &examples {
        for wrong in check(&folder, example) {
            failed.push(format!("{}: {wrong}", example.name()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    println!("{} examples of {page}", examples.len());
}

#[test]
fn the_examples_of_doc_api_md_print_the_documented_output() {
    check_page("doc/api.md");
}

#[test]
fn the_examples_of_the_readme_print_the_documented_output() {
    check_page("README.md");
}

#[test]
fn output_is_compared_with_the_text_after_the_arrow() {
    assert!(is_match("nil  ...  2", "nil  No such file  2"));
    assert!(is_match("table: ...", "table: 0x1234"));
    assert!(is_match("...", ""));
    assert!(!is_match("1", "12"));
    assert!(!is_match("1 ... 2", "1 and 3"));
    assert_eq!(expected("print(1)  --> 1  -- one"), Some("1"));
    assert_eq!(expected("print(1)"), None);
}
