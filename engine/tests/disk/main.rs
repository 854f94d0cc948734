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
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use image::{Image, Loss};
use project::{Ended, Project, SET_ASIDE};

/// How many cells are tried if nothing else is said.
const CELLS: usize = 120;
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
    /// The views that the run makes anew.
    made_anew: &'static [&'static str],
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
    // The library is told real paths by the system.
    let folder_path = folder.path().canonicalize().unwrap();
    let library = library(&folder_path);
    let scenarios = scenarios(&folder_path);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cells = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        for (step, count) in steps(scenario, &library, &folder_path.join(format!("trace-{}", scenario.name))) {
            for fault in FAULTS {
                cells.push(Cell {
                    scenario: index,
                    step: step.clone(),
                    nth: if random.bool() { 1 } else { random.u64(1..=count) },
                    fault,
                    seed: random.u64(..),
                });
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

    report(&scenarios, try_all(cells, &scenarios, &library, &folder_path));
}

/// The database writes and syncs a commit in several steps, on threads of its own. The run ends with an error whichever of them fails.
#[test]
fn no_run_hangs_where_one_step_of_the_database_fails() {
    let folder = tempfile::tempdir().unwrap();
    let folder_path = folder.path().canonicalize().unwrap();
    let library = library(&folder_path);
    let scenarios = [first_run(&folder_path)];
    let steps = steps(&scenarios[0], &library, &folder_path.join("trace"));
    let of_database = steps.into_iter().filter(|(step, _)| step.path == "data/checkpoints/db");
    let cells: Vec<Cell> = of_database
        .flat_map(|(step, count)| (1..=count.min(30)).map(move |nth| (step.clone(), nth)))
        .map(|(step, nth)| Cell { scenario: 0, step, nth, fault: Fault::Fails, seed: nth })
        .collect();
    assert!(cells.len() > 10, "{cells:?}");
    let wrong: Vec<String> =
        try_all(cells, &scenarios, &library, &folder_path).into_iter().filter_map(|(_, outcome)| outcome.err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pipelines that commit at the same moment wait for each other's writes. None of them may wait for ever for a write that has failed.
#[test]
fn no_run_hangs_where_the_disk_fills_while_pipelines_commit_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder_path = folder.path().canonicalize().unwrap();
    let library = library(&folder_path);
    let scenarios = [first_run(&folder_path)];
    let path = "data/views/kept/snapshots/*-*-*/manifest.json";
    let step = Step { operation: "rename".to_owned(), path: path.to_owned() };
    // One in eight of them hung, before pipelines took turns at the database.
    let cells = (0..24).map(|seed| Cell { scenario: 0, step: step.clone(), nth: 2, fault: Fault::Full, seed }).collect();
    let wrong: Vec<String> =
        try_all(cells, &scenarios, &library, &folder_path).into_iter().filter_map(|(_, outcome)| outcome.err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Compiles the disk.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk/disk.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).args(["-ldl", "-lpthread"]).status();
    assert!(compiled.unwrap().success(), "disk.c does not compile");
    library
}

/// Tries all cells, some at once.
fn try_all(cells: Vec<Cell>, scenarios: &[Scenario], library: &Path, folder: &Path) -> Vec<(Cell, Result<&'static str, String>)> {
    let queue = Mutex::new(cells.into_iter());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let (queue, outcomes) = (&queue, &outcomes);
            let own = folder.join(format!("worker-{worker}"));
            scope.spawn(move || {
                while let Some(cell) = { queue.lock().unwrap().next() } {
                    let outcome = try_cell(&cell, &scenarios[cell.scenario], library, &own);
                    outcomes.lock().unwrap().push((cell, outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// Makes the projects on which the scenarios begin.
fn scenarios(folder: &Path) -> Vec<Scenario> {
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
        first_run(folder),
        Scenario { name: "later run", before: later, events: 700, arguments: run, made_anew: &[] },
        Scenario { name: "changed view", before: changed, events: 500, arguments: run, made_anew: &["by_key", "best"] },
        Scenario {
            name: "rebuild",
            before: rebuilt,
            events: 420,
            arguments: &["rebuild", "by_key"],
            made_anew: &["by_key", "best"],
        },
    ]
}

fn first_run(folder: &Path) -> Scenario {
    let before = Project::new(folder.join("first"));
    before.grow(300);
    Scenario { name: "first run", before, events: 300, arguments: &["run", "--until-caught-up"], made_anew: &[] }
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
fn try_cell(cell: &Cell, scenario: &Scenario, library: &Path, own: &Path) -> Result<&'static str, String> {
    let _ = std::fs::remove_dir_all(own);
    std::fs::create_dir(own).unwrap();
    let project = scenario.before.copy_to(own.join("project"));
    let happened = own.join("happened");
    let fault = format!("{} {} {} {}", cell.fault.kind(), cell.step.operation, cell.nth, cell.step.path);
    let mut more = vec![("ALLUVIUM_TEST_DISK_FAULT", fault), ("ALLUVIUM_TEST_DISK_HAPPENED", happened.display().to_string())];
    let loses = matches!(cell.fault, Fault::Lost | Fault::Torn);
    let image = loses.then(|| Image::of(project.path(), own.join("image")));
    if let Some(Image(path)) = &image {
        more.push(("ALLUVIUM_TEST_DISK_IMAGE", path.display().to_string()));
    }
    let faulty = project.run(scenario.arguments, &disk(&project, library, &more));
    if let Some(image) = image.filter(|_| faulty.was_killed()) {
        let mut random = fastrand::Rng::with_seed(cell.seed);
        image.lose(project.path(), if cell.fault == Fault::Lost { Loss::Everything } else { Loss::Some(&mut random) });
    }
    let outcome = outcome(cell, &faulty, happened.exists());
    outcome.and_then(|outcome| recovers(&project, scenario).map(|()| outcome)).map_err(|wrong| {
        let folder = std::env::temp_dir().join(format!("alluvium-disk-{}", cell.seed));
        let _ = std::fs::rename(own, &folder);
        format!("{wrong}\n  kept in {}\n  the faulty run said: {}", folder.display(), faulty.said)
    })
}

/// Checks what readers see after the fault, and that the next run ends with all views right and no commit lost.
fn recovers(project: &Project, scenario: &Scenario) -> Result<(), String> {
    let right = |when: &str| project.misread().map_or(Ok(()), |wrong| Err(format!("{when} readers see {wrong}")));
    if let Some(view) = project.unreadable() {
        return Err(format!("{view} has no snapshot that readers can open"));
    }
    right("after the fault")?;
    let committed = project.committed();
    for arguments in [scenario.arguments, &["run", "--until-caught-up"]] {
        let next = project.run(arguments, &[]);
        if !matches!(next.code(), Some(0 | SET_ASIDE)) {
            return Err(format!("{arguments:?} afterwards: {:?}: {}", next.status, next.said));
        }
    }
    right("after the next run")?;
    let later = project.committed();
    for (view, (incarnation, epoch)) in committed {
        let goes_on = later.get(&view).is_some_and(|(now, reached)| *now == incarnation && *reached >= epoch);
        if !goes_on && !scenario.made_anew.contains(&view.as_str()) {
            return Err(format!("the commit {epoch} of {view} was lost: {later:?}"));
        }
    }
    project.unfinished(scenario.events).map_or(Ok(()), Err)
}

/// How a run with a fault ended; an error if it ended as no fault may end it.
fn outcome(cell: &Cell, ended: &Ended, happened: bool) -> Result<&'static str, String> {
    let dies = cell.fault.kind() == "die";
    let names_it = ["os error", "disk", "room"].iter().any(|word| ended.said.contains(word)) && !ended.said.contains("panicked");
    match ended.code() {
        None if dies && ended.was_killed() => Ok("died"),
        Some(0 | SET_ASIDE) if !happened => Ok("not reached"),
        Some(0 | SET_ASIDE) if !dies => Ok("went on"),
        Some(1) if !dies && names_it => Ok("stopped"),
        _ => Err(format!("ended with {:?}", ended.status)),
    }
}

/// Prints the matrix, and fails if a cell has failed.
fn report(scenarios: &[Scenario], outcomes: Vec<(Cell, Result<&'static str, String>)>) {
    let mut matrix: BTreeMap<(usize, Step), BTreeMap<Fault, &str>> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (cell, outcome) in &outcomes {
        let word = outcome.as_ref().map_or("WRONG", |word| *word);
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
    assert!(missed * 3 <= outcomes.len(), "too many steps were not reached: {counts:?}");
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
