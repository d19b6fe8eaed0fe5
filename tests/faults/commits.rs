//! Tests of commits while the KVS module is reloaded or its disk is full. Each
//! commit that was reported as done must be found afterwards.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::host;
use crate::installed::Flux;
use crate::instance::{Instance, skipped};
use crate::script::Script;
use crate::support::TestFolder;

/// How long it may take until a fault has an effect.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn commits_reported_as_done_survive_reloads_of_the_kvs_module() {
    Instance::each(1, &[], |instance| {
        if instance.forgets_requests() {
            return;
        }
        let folder = TestFolder::short();
        let mut script = begin(instance, &folder, "64");
        script.says("first done");
        let begun = Instant::now();
        while !script.has_said("first failed") {
            assert!(begun.elapsed() < PATIENCE, "no commit fails");
            instance.flux(&["module", "reload", "-f", "kvs"]);
        }
        let (done, failed) = reported(&mut script, &folder);
        println!("{done} done, {failed} failed");
        assert!(done > 0 && failed > 0, "{done} done, {failed} failed");
        assert_eq!(check(script), done);
    });
}

/// Values that do not fit on the disk stay in the broker's memory.
#[test]
fn commits_reported_as_done_are_found_while_the_disk_is_full() {
    let fluxes = Flux::all();
    if fluxes.is_empty() {
        skipped("no flux is in FLUX_PREFIX, PATH or pkg-config");
    }
    for flux in fluxes {
        println!("{flux}");
        let Some(disk) = Disk::mount() else { return };
        let statedir = format!("--broker-opts=-Sstatedir={}", disk.folder.path().display());
        let instance = Instance::start(flux, 1, &[&statedir]);
        fill(&disk, &instance);
        // The broker cannot shut down without room on its disk.
        instance.kill(0);
    }
}

/// Lets a script commit until the disk is full and a little longer, and checks
/// its commits.
fn fill(disk: &Disk, instance: &Instance) {
    let folder = TestFolder::short();
    let mut script = begin(instance, &folder, "16384");
    let begun = Instant::now();
    while !disk.is_full() {
        assert!(begun.elapsed() < PATIENCE, "{}", disk.usage());
        sleep(Duration::from_millis(50));
    }
    // Let the script make some more commits, which do not fit.
    sleep(Duration::from_millis(500));
    script.says("first done");
    let (done, failed) = reported(&mut script, &folder);
    println!("{done} done, {failed} failed; {}", disk.usage());
    assert!(disk.is_full(), "{}", disk.usage());
    assert_eq!(check(script), done);
}

/// Starts a script that commits values of this size until it finds a file `stop`
/// in the folder.
fn begin(instance: &Instance, folder: &TestFolder, size: &str) -> Script {
    let stop = folder.join("stop");
    let stop = stop.to_str().expect("the path is UTF-8");
    let command = host::command("commits.lua", &[stop, size]);
    let mut script = Script::run(command, instance.target(), "commits.lua");
    script.says("ready");
    script.go();
    script
}

/// Ends the commits. Returns how many were done and how many failed.
fn reported(script: &mut Script, folder: &TestFolder) -> (usize, usize) {
    folder.write("stop", "");
    let first = |words: String| words.split(' ').next().unwrap_or_default().to_owned();
    // The script may have reported its first failed commit meanwhile.
    while let (_, Some(_)) = script.says_either("first", "stopped") {}
    let (_, slowest) = script.says("slowest");
    println!("the slowest commit took {slowest} s");
    let (_, done) = script.says("done");
    let (_, failed) = script.says("failed");
    println!("the last failure: {failed}");
    let count = |words| first(words).parse().expect("a number");
    (count(done), count(failed))
}

/// Lets the script look for the commits that were done. Returns how many it
/// found; it fails if one is missing.
fn check(mut script: Script) -> usize {
    script.says("ready");
    script.go();
    let (_, checked) = script.says("checked");
    script.finish();
    checked.parse().expect("a number")
}

/// A small file system in memory, mounted at the folder.
struct Disk {
    folder: TestFolder,
}

impl Disk {
    fn mount() -> Option<Disk> {
        let folder = TestFolder::short();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "none"])
            .arg(&folder)
            .output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            skipped("a small disk cannot be mounted (only root can)");
            return None;
        }
        Some(Disk { folder })
    }

    fn usage(&self) -> String {
        let said = Command::new("df").arg(&self.folder).output().expect("df");
        String::from_utf8_lossy(&said.stdout)
            .trim()
            .replace('\n', "; ")
    }

    fn is_full(&self) -> bool {
        let usage = self.usage();
        let mut words = usage.split_whitespace();
        let percent = words.find_map(|word| word.strip_suffix('%')?.parse::<u32>().ok());
        percent.is_some_and(|percent| percent > 90)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
    }
}
