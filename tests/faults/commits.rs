//! The KVS is reloaded, or its disk is full, while a script commits: what was
//! reported done is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::host;
use crate::installed::Flux;
use crate::instance::{Instance, new_folder, skipped};
use crate::script::Script;

/// How long a fault may take to have an effect.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_commit_that_was_done_outlives_a_reload_of_the_kvs() {
    Instance::each(1, &[], |instance| {
        if instance.forgets_requests() {
            return;
        }
        let folder = Folder(new_folder());
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

/// What does not fit on the disk stays in the broker's memory, where it is
/// found while the broker lives.
#[test]
fn a_commit_that_was_done_is_there_when_the_disk_is_full() {
    let fluxes = Flux::all();
    if fluxes.is_empty() {
        skipped("no flux is in FLUX_PREFIX, PATH or pkg-config");
    }
    for flux in fluxes {
        println!("{flux}");
        let Some(disk) = Disk::mount() else { return };
        let statedir = format!("--broker-opts=-Sstatedir={}", disk.folder.display());
        let instance = Instance::start(flux, 1, &[&statedir]);
        fill(&disk, &instance);
        // It cannot end in order without a disk.
        instance.kill(0);
    }
}

fn fill(disk: &Disk, instance: &Instance) {
    let folder = Folder(new_folder());
    let mut script = begin(instance, &folder, "16384");
    let begun = Instant::now();
    while !disk.is_full() {
        assert!(begun.elapsed() < PATIENCE, "{}", disk.usage());
        sleep(Duration::from_millis(50));
    }
    // Some more that do not fit.
    sleep(Duration::from_millis(500));
    script.says("first done");
    let (done, failed) = reported(&mut script, &folder);
    println!("{done} done, {failed} failed; {}", disk.usage());
    assert!(disk.is_full(), "{}", disk.usage());
    assert_eq!(check(script), done);
}

fn begin(instance: &Instance, folder: &Folder, size: &str) -> Script {
    let stop = folder.stop();
    let stop = stop.to_str().expect("a path that is text");
    let command = host::command("commits.lua", &[stop, size]);
    let mut script = Script::run(command, instance.place(), "commits.lua");
    script.says("ready");
    script.go();
    script
}

/// End the commits. How many were done, and how many failed.
fn reported(script: &mut Script, folder: &Folder) -> (usize, usize) {
    fs::write(folder.stop(), "").expect("the folder is this test's");
    let first = |words: String| words.split(' ').next().unwrap_or_default().to_owned();
    // The first commit that fails may have been reported since.
    while let (_, Some(_)) = script.says_either("first", "stopped") {}
    let (_, slowest) = script.says("slowest");
    println!("the slowest commit took {slowest} s");
    let (_, done) = script.says("done");
    let (_, failed) = script.says("failed");
    println!("the last failure: {failed}");
    let count = |words| first(words).parse().expect("a number");
    (count(done), count(failed))
}

/// How many commits that were done are there; it is an error if one is not.
fn check(mut script: Script) -> usize {
    script.says("ready");
    script.go();
    let (_, checked) = script.says("checked");
    script.finish();
    checked.parse().expect("a number")
}

/// A folder for the file that ends the commits.
struct Folder(PathBuf);

impl Folder {
    fn stop(&self) -> PathBuf {
        Path::join(&self.0, "stop")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A disk with little room.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount() -> Option<Disk> {
        let folder = new_folder();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "none"])
            .arg(&folder)
            .output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            let _ = fs::remove_dir(&folder);
            skipped("only root can mount a small disk");
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
        let _ = fs::remove_dir(&self.folder);
    }
}
