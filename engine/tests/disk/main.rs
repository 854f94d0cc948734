//! Every step of the program on its disk, times every fault of a disk. The real program runs on a disk that forgets what was not synced,
//! fails, or is gone with the process at a step (`disk.c`). After each fault readers see each view as its SQL over the events up to some
//! offset, and the next run ends with the right views and each dead letter once.
//!
//! A step is an operation on a kind of path, where numbers in names do not count. `ALLUVIUM_TEST_DISK_CELLS` limits how many cells are tried, by
//! chance: the number, or `all`. `ALLUVIUM_SEED` repeats a choice. The matrix is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../it/duckdb.rs"]
#[allow(dead_code)]
mod duckdb;
mod image;
mod project;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use image::{Image, Loss};
use project::{Ended, Project, SET_ASIDE};

/// How many cells are tried if nothing else is said.
const CELLS: usize = 160;
/// How many cells are tried at once.
const AT_ONCE: usize = 4;

/// What happens to the disk at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The process is killed. The system keeps everything that was written.
    Killed,
    /// The power fails, and all that was not synced is lost.
    Lost,
    /// The power fails, and some of what was not synced is lost.
    Torn,
    /// The step fails once: the disk has an error.
    Fails,
    /// There is no room from this step on.
    Full,
}

const FAULTS: [Fault; 5] = [Fault::Killed, Fault::Lost, Fault::Torn, Fault::Fails, Fault::Full];

impl Fault {
    /// Its name in `disk.c`.
    fn kind(self) -> &'static str {
        match self {
            Fault::Killed | Fault::Lost | Fault::Torn => "die",
            Fault::Fails => "eio",
            Fault::Full => "full",
        }
    }
}

/// What the program is doing when the fault comes.
struct Scenario {
    name: &'static str,
    /// The project before.
    before: Project,
    /// How many events there are at the end.
    events: u64,
    arguments: &'static [&'static str],
}

/// One step of a scenario, and how often it comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    operation: String,
    path: String,
}

/// What is tried: a fault at the `nth` time that a scenario takes a step.
#[derive(Debug, Clone)]
struct Cell {
    scenario: usize,
    step: Step,
    nth: u64,
    fault: Fault,
    seed: u64,
}

#[test]
fn views_are_right_after_every_fault_at_every_step() {
    let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("ALLUVIUM_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk/disk.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).args(["-ldl", "-lpthread"]).status();
    assert!(compiled.unwrap().success(), "disk.c does not compile");

    let scenarios = scenarios(folder.path());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cells = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        for (step, count) in steps(scenario, &library, &folder.path().join(format!("trace-{}", scenario.name))) {
            for fault in FAULTS {
                cells.push(Cell { scenario: index, step: step.clone(), nth: random.u64(1..=count), fault, seed: random.u64(..) });
            }
        }
    }
    let all = cells.len();
    random.shuffle(&mut cells);
    cells.truncate(match std::env::var("ALLUVIUM_TEST_DISK_CELLS").as_deref() {
        Ok("all") => all,
        Ok(text) => text.parse().unwrap(),
        Err(_) => CELLS,
    });
    println!("{} of {all} cells", cells.len());

    let queue = Mutex::new(cells.into_iter());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let (queue, outcomes, scenarios, library) = (&queue, &outcomes, &scenarios, &library);
            let own = folder.path().join(format!("worker-{worker}"));
            scope.spawn(move || {
                while let Some(cell) = { queue.lock().unwrap().next() } {
                    let outcome = try_cell(&cell, &scenarios[cell.scenario], library, &own);
                    outcomes.lock().unwrap().push((cell, outcome));
                }
            });
        }
    });
    report(&scenarios, outcomes.into_inner().unwrap());
}

/// Makes the projects on which the scenarios begin.
fn scenarios(folder: &Path) -> Vec<Scenario> {
    let first = Project::new(folder.join("first"));
    first.grow(300);
    let later = Project::new(folder.join("later"));
    // As many commits as merge parts and segments soon after.
    for run in 1..=7 {
        later.grow(run * 60);
        let ended = later.run(&["run", "--until-caught-up"], &[]);
        assert_eq!(ended.code(), Some(SET_ASIDE), "{}", ended.said);
    }
    let rebuilt = later.copy_to(folder.join("rebuilt"));
    let changed = later.copy_to(folder.join("changed"));
    changed.change();
    later.grow(700);
    changed.grow(500);
    let run: &[&str] = &["run", "--until-caught-up"];
    vec![
        Scenario { name: "first run", before: first, events: 300, arguments: run },
        Scenario { name: "later run", before: later, events: 700, arguments: run },
        Scenario { name: "changed view", before: changed, events: 500, arguments: run },
        Scenario { name: "rebuild", before: rebuilt, events: 420, arguments: &["rebuild", "by_key"] },
    ]
}

/// The steps of a scenario on a disk without faults, and how often each comes.
fn steps(scenario: &Scenario, library: &Path, trace: &Path) -> BTreeMap<Step, u64> {
    let project = scenario.before.copy_to(trace.with_extension("project"));
    let disk = disk(&project, library, &[("ALLUVIUM_TEST_DISK_TRACE", trace.display().to_string())]);
    let ended = project.run(scenario.arguments, &disk);
    assert!(matches!(ended.code(), Some(0 | SET_ASIDE)), "{}: {}", scenario.name, ended.said);
    assert_eq!(project.misread(), None, "{}", scenario.name);
    let mut steps = BTreeMap::new();
    for line in std::fs::read_to_string(trace).unwrap().lines() {
        let (operation, path) = line.split_once(' ').unwrap();
        let step = Step { operation: operation.to_owned(), path: without_numbers(path) };
        *steps.entry(step).or_insert(0) += 1;
    }
    let has = |operation: &str, path: &str| steps.keys().any(|step| step.operation == operation && step.path.contains(path));
    // The disk would see nothing of a library that passes the C library by.
    for (operation, path) in
        [("write", "checkpoints/db"), ("sync", "checkpoints/db"), ("sync", "parts"), ("rename", "current"), ("sync", "state/")]
    {
        assert!(has(operation, path), "{}: no {operation} of {path} is seen", scenario.name);
    }
    steps
}

/// Puts `*` for each run of digits, and of hexadecimal digits of which there are eight or more.
fn without_numbers(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let hex = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let length = if hex >= 8 { hex } else { digits };
        if length > 0 {
            out.push('*');
            rest = &rest[length..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn disk(project: &Project, library: &Path, more: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let mut all =
        vec![("LD_PRELOAD", library.display().to_string()), ("ALLUVIUM_TEST_DISK_ROOT", project.path().display().to_string())];
    all.extend(more.iter().cloned());
    all
}

/// Returns how the run ended on which the fault came, or what is wrong afterwards.
fn try_cell(cell: &Cell, scenario: &Scenario, library: &Path, own: &Path) -> Result<String, String> {
    let _ = std::fs::remove_dir_all(own);
    std::fs::create_dir(own).unwrap();
    let project = scenario.before.copy_to(own.join("project"));
    let fault = format!("{} {} {} {}", cell.fault.kind(), cell.step.operation, cell.nth, cell.step.path);
    let mut more = vec![("ALLUVIUM_TEST_DISK_FAULT", fault)];
    let loses = matches!(cell.fault, Fault::Lost | Fault::Torn);
    let image = loses.then(|| Image::of(project.path(), own.join("image")));
    if let Some(Image(path)) = &image {
        more.push(("ALLUVIUM_TEST_DISK_IMAGE", path.display().to_string()));
    }
    let ended = project.run(scenario.arguments, &disk(&project, library, &more));
    let outcome = outcome(cell, &ended)?;
    if let Some(image) = image.filter(|_| ended.was_killed()) {
        let mut random = fastrand::Rng::with_seed(cell.seed);
        image.lose(project.path(), if cell.fault == Fault::Lost { Loss::Everything } else { Loss::Some(&mut random) });
    }
    let kept = |what: String| {
        let folder = std::env::temp_dir().join(format!("alluvium-disk-{}", cell.seed));
        let _ = std::fs::rename(own, &folder);
        format!("{what}\n  kept in {}\n  the faulty run said: {}", folder.display(), ended.said)
    };
    if let Some(wrong) = project.misread() {
        return Err(kept(format!("readers see {wrong}")));
    }
    for arguments in [scenario.arguments, &["run", "--until-caught-up"]] {
        let next = project.run(arguments, &[]);
        if !matches!(next.code(), Some(0 | SET_ASIDE)) {
            return Err(kept(format!("{arguments:?} afterwards: {:?}: {}", next.status, next.said)));
        }
    }
    match project.misread().or_else(|| project.unfinished(scenario.events)) {
        Some(wrong) => Err(kept(format!("after the next run: {wrong}"))),
        None => Ok(outcome),
    }
}

/// How a run with a fault ended; an error if it ended as no fault may end it.
fn outcome(cell: &Cell, ended: &Ended) -> Result<String, String> {
    let dies = cell.fault.kind() == "die";
    match ended.code() {
        None if dies && ended.was_killed() => Ok("died".to_owned()),
        Some(0 | SET_ASIDE) => Ok(if dies { "not reached".to_owned() } else { "went on".to_owned() }),
        // It says what failed, and it is no bug of the program.
        Some(1) if !dies && (ended.said.contains("os error") || ended.said.contains("disk") || ended.said.contains("room")) => {
            Ok("stopped".to_owned())
        }
        _ => Err(format!("ended with {:?}: {}", ended.status, ended.said)),
    }
}

/// Prints the matrix, and fails if a cell has failed.
fn report(scenarios: &[Scenario], outcomes: Vec<(Cell, Result<String, String>)>) {
    let mut matrix: BTreeMap<(usize, Step), BTreeMap<Fault, &str>> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (cell, outcome) in &outcomes {
        let word = outcome.as_deref().unwrap_or("WRONG");
        matrix.entry((cell.scenario, cell.step.clone())).or_default().insert(cell.fault, word);
        *counts.entry(word).or_default() += 1;
    }
    println!("{:12} {:9} {:60} {FAULTS:?}", "scenario", "operation", "path");
    for ((scenario, step), cells) in &matrix {
        let words: Vec<&str> = FAULTS.iter().map(|fault| cells.get(fault).copied().unwrap_or("-")).collect();
        println!("{:12} {:9} {:60} {}", scenarios[*scenario].name, step.operation, step.path, words.join(", "));
    }
    println!("{counts:?}");
    let wrong: Vec<String> =
        outcomes.iter().filter_map(|(cell, outcome)| Some(format!("{cell:?}\n  {}", outcome.as_ref().err()?))).collect();
    assert!(wrong.is_empty(), "{} of {} cells are wrong:\n{}", wrong.len(), outcomes.len(), wrong.join("\n"));
    let missed = counts.get("not reached").copied().unwrap_or(0);
    assert!(missed * 4 <= outcomes.len(), "too many steps were not reached: {counts:?}");
}

#[test]
fn numbers_in_names_do_not_tell_steps_apart() {
    assert_eq!(
        without_numbers("data/state/by_key/3d1c5ce0-18ebe43/n1-groups-2.arrow"),
        "data/state/by_key/*-*ebe*/n*-groups-*.arrow"
    );
    assert_eq!(
        without_numbers("data/views/totals/parts/0000000002-6198691c5a2c9151-1.parquet"),
        "data/views/totals/parts/*-*-*.parquet"
    );
}
