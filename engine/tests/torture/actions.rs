//! What the driver does at random, to the engine, to what is around it and to its SQL files.

use std::path::Path;
use std::process::Command;

use alluvium::runtime::COMMIT_POINTS;
use rustix::process::Signal;

use crate::ledger::{last_of, stream};
use crate::proxy::Way;
use crate::torture::Torture;
use crate::views::EXTRA;

type Action = fn(&mut Torture);

/// Each action with its weight.
const ACTIONS: &[(&str, u32, Action)] = &[
    ("kill -9 of the engine", 45, kill_engine),
    ("SIGTERM of the engine", 8, |torture| {
        torture.end_engine();
        torture.start_engine(None);
    }),
    ("SIGSTOP of the engine", 6, |torture| {
        torture.signal_engine(Signal::STOP);
        torture.pause(2_000);
        torture.signal_engine(Signal::CONT);
    }),
    ("kill -9 of the server", 8, |torture| {
        torture.orders.server.stop();
        torture.pause(2_000);
        torture.orders.server.resume();
    }),
    ("SIGSTOP of the server", 5, |torture| {
        torture.signal_server(Signal::STOP);
        torture.pause(6_000);
        torture.signal_server(Signal::CONT);
    }),
    ("connection cut", 8, |torture| {
        torture.proxy.set(Way::Cut);
        torture.pause(2_000);
        torture.proxy.set(Way::Open);
    }),
    ("connection slow", 4, |torture| {
        torture.proxy.set(Way::Slow);
        torture.pause(3_000);
        torture.proxy.set(Way::Open);
    }),
    ("clock moved", 6, move_clock),
    ("disk full", 6, fill_disk),
    ("view changed", 8, change_view),
    ("view added or dropped", 4, add_or_drop),
    ("rebuild", 8, |torture| {
        let name = any_view(torture);
        torture.wait_until_served();
        // Refused while another one is under way, and where it would lose events.
        torture.ask(&["rebuild", name]);
    }),
    ("restart of a view", 3, |torture| {
        let name = any_view(torture);
        torture.wait_until_served();
        torture.ask(&["restart", name]);
    }),
    ("failpoint in a commit", 6, |torture| {
        let (point, passing) = (COMMIT_POINTS[torture.orders.rng.usize(..COMMIT_POINTS.len())], torture.orders.rng.u64(1..30));
        torture.kill_engine();
        start_with_failpoint(torture, &format!("{point}:{passing}"));
        torture.pause(2_000);
    }),
    ("panic on an event", 4, panic_on_event),
    ("file damaged", 8, damage),
    ("file deleted", 8, delete),
    ("checkpoints deleted", 4, |torture| {
        torture.kill_engine();
        let _ = std::fs::remove_dir_all(torture.orders.dir().join("data/checkpoints"));
        torture.start_engine(None);
    }),
    ("store remembered", 5, remember_store),
    ("tail lost", 4, lose_tail),
    ("purge of what is committed", 4, purge_committed),
    ("purge of what is not read", 3, purge_unread),
    ("verify", 4, verify),
    ("doctor beside the engine", 3, |torture| {
        torture.wait_until_served();
        if torture.expected.damaged.is_none() {
            let (code, said) = torture.ask(&["doctor"]);
            assert_eq!(code, Some(0), "doctor finds damage where none was done: {said}");
        }
    }),
    ("backup", 3, |torture| {
        let target = torture.orders.dir().join("copy");
        torture.wait_until_served();
        let none_yet = torture.declared().iter().all(|view| torture.committed(view).is_none());
        let (code, said) = torture.ask(&["backup", target.to_str().unwrap()]);
        let explained = torture.expected.damaged.is_some()
            || torture.expected.full
            || (none_yet && said.contains("nothing has been committed"));
        assert!(code == Some(0) || explained, "backup: {said}");
        let _ = std::fs::remove_dir_all(target);
    }),
    ("query", 4, |torture| {
        let name = any_view(torture);
        let (code, said) = torture.ask(&["query", &format!("SELECT count(*) FROM {name}")]);
        let none_yet = ["there is no committed view", "has no commit yet"].iter().any(|words| said.contains(words));
        let explained = torture.expected.damaged.is_some() || none_yet;
        assert!(code == Some(0) || explained, "query: {said}");
    }),
];

impl Torture {
    /// Does one thing. Returns its name.
    pub(crate) fn act(&mut self) -> &'static str {
        let mut chosen = self.orders.rng.u32(..ACTIONS.iter().map(|(_, weight, _)| weight).sum::<u32>());
        let (name, _, action) = ACTIONS
            .iter()
            .find(|(_, weight, _)| {
                let found = chosen < *weight;
                chosen = chosen.saturating_sub(*weight);
                found
            })
            .unwrap();
        self.note(name);
        self.keep_running();
        action(self);
        self.count(name);
        name
    }
}

fn kill_engine(torture: &mut Torture) {
    torture.kill_engine();
    torture.pause(300);
    torture.start_engine(None);
    // Often within its start, seldom after some commits.
    let most = if torture.orders.rng.u8(..3) == 0 { 3_000 } else { 600 };
    torture.pause(most);
}

/// While the engine runs, or for its next start.
fn move_clock(torture: &mut Torture) {
    let seconds = torture.clock.shift(&mut torture.orders.rng);
    torture.note(&format!("the clock is {seconds} s from the system's"));
    torture.pause(1_000);
    if torture.orders.rng.bool() {
        kill_engine(torture);
    }
}

fn start_with_failpoint(torture: &mut Torture, failpoint: &str) {
    torture.expected.failpoint = true;
    torture.start_engine(Some(failpoint));
}

/// On an event that is yet to come, of a view that reads one source.
fn panic_on_event(torture: &mut Torture) {
    let names = ["large", "by_country", "by_customer", "seen"];
    let name = names[torture.orders.rng.usize(..names.len())];
    let sequence = last_of(&torture.orders, "orders.placed") + torture.orders.rng.u64(1..400);
    for view in mates(name) {
        torture.armed.entry((*view).to_owned()).or_default().insert(sequence);
    }
    torture.kill_engine();
    start_with_failpoint(torture, &format!("panic:{name}:{sequence}"));
    torture.pause(6_000);
}

/// The views that are committed with this one.
pub(crate) fn mates(name: &str) -> &'static [&'static str] {
    const COMPONENTS: &[&[&str]] = &[&["by_customer", "best", "ranked"], &["by_country", "places"], &["large"], &["seen"]];
    COMPONENTS.iter().find(|component| component.contains(&name)).copied().unwrap_or_default()
}

fn any_view(torture: &mut Torture) -> &'static str {
    let names = torture.declared();
    names[torture.orders.rng.usize(..names.len())]
}

fn fill_disk(torture: &mut Torture) {
    torture.expected.full = true;
    torture.disk.fill(torture.engine.as_ref().map(|engine| &engine.0));
    torture.pause(3_000);
    if torture.orders.rng.bool() {
        torture.kill_engine();
        torture.start_engine(None);
        torture.pause(1_500);
    }
    torture.disk.free(torture.engine.as_ref().map(|engine| &engine.0));
}

/// Writes another variant of a view. Then kills, ends or lets be the engine, or has the view rebuilt.
fn change_view(torture: &mut Torture) {
    let name = any_view(torture);
    let index = torture.views.iter().position(|view| view.name == name).unwrap();
    torture.views[index].variant = torture.views[index].variant.map(|variant| 1 - variant);
    torture.write_view(index);
    torture.expected.edited = true;
    match torture.orders.rng.u8(..4) {
        0 => kill_engine(torture),
        1 => {
            torture.end_engine();
            torture.start_engine(None);
        }
        2 => {
            torture.wait_until_served();
            torture.ask(&["rebuild", name]);
        }
        _ => {}
    }
}

fn add_or_drop(torture: &mut Torture) {
    let index = torture.views.iter().position(|view| view.name == EXTRA).unwrap();
    match torture.views[index].variant {
        None => {
            torture.views[index].variant = Some(torture.orders.rng.usize(..2));
            torture.write_view(index);
            torture.may_begin_anew.insert(EXTRA.to_owned());
            kill_engine(torture);
        }
        Some(_) => {
            torture.views[index].variant = None;
            torture.write_view(index);
            torture.end_engine();
            // With or without an engine.
            if torture.orders.rng.bool() {
                torture.start_engine(None);
                torture.wait_until_served();
            }
            let was_committed = torture.orders.dir().join("data/views").join(EXTRA).exists();
            let (code, said) = torture.ask(&["drop", EXTRA, "--yes"]);
            // Ended before its first commit, or asked before the engine serves.
            let explained = ["there is no data", "starting", "HTTP", "does not answer"].iter().any(|text| said.contains(text))
                || (!was_committed && said.contains("there is no view extra"));
            assert!(code == Some(0) || explained, "drop: {said}");
            if torture.engine.is_none() {
                torture.start_engine(None);
            }
        }
    }
}

/// The files below a folder of the data folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => files(&path, found),
            Ok(metadata) if metadata.is_file() && metadata.len() > 0 => found.push(path),
            _ => {}
        }
    }
}

/// Chooses one file of a kind at random: a part, a state file, a record, a manifest or, while no engine runs, a file of the
/// database.
fn choose(torture: &mut Torture, runs: bool) -> Option<std::path::PathBuf> {
    let data = torture.orders.dir().join("data");
    let mut found = Vec::new();
    let kind = torture.orders.rng.u8(..if runs { 4 } else { 5 });
    match kind {
        4 => files(&data.join("checkpoints"), &mut found),
        0 => files(&data.join("state"), &mut found),
        _ => files(&data.join("views"), &mut found),
    }
    found.sort();
    found.retain(|path| match kind {
        0 | 4 => true,
        1 => path.parent().is_some_and(|folder| folder.ends_with("parts")),
        2 => path.file_name().is_some_and(|name| name == "checkpoint.json"),
        _ => path.file_name().is_some_and(|name| name == "manifest.json"),
    });
    let chosen = (!found.is_empty()).then(|| torture.orders.rng.usize(..found.len()));
    chosen.map(|index| found.swap_remove(index))
}

/// The view of a file in `views/` or `state/`; empty for the database.
fn view_of(path: &Path) -> String {
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    let folder = names.iter().rposition(|name| name == "views" || name == "state");
    folder.and_then(|folder| names.get(folder + 1)).map(|name| name.clone().into_owned()).unwrap_or_default()
}

/// At most one file a round: of two copies of one thing, one stays. Sometimes while the engine runs.
fn touch_file(torture: &mut Torture, touch: impl Fn(&Path, &mut fastrand::Rng)) {
    if torture.expected.damaged.is_some() {
        return;
    }
    let runs = torture.orders.rng.bool();
    if !runs {
        torture.kill_engine();
    }
    if let Some(path) = choose(torture, runs) {
        torture.note(&path.display().to_string());
        torture.expected.damaged = Some(view_of(&path));
        touch(&path, &mut torture.orders.rng);
        if !runs && path.ends_with("checkpoint.json") {
            let (code, said) = torture.ask(&["doctor"]);
            assert_eq!(code, Some(1), "doctor misses damage of {}: {said}", path.display());
        }
    }
    if !runs {
        torture.start_engine(None);
    }
    torture.pause(1_500);
}

fn damage(torture: &mut Torture) {
    touch_file(torture, |path, rng| {
        let Ok(mut bytes) = std::fs::read(path) else { return };
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len());
            bytes[at] ^= 1 << rng.u8(..8);
        }
        // In place, as the links to it see it.
        let file = std::fs::File::options().write(true).open(path);
        if let Ok(file) = file {
            let _ = std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0);
        }
    });
}

fn delete(torture: &mut Torture) {
    touch_file(torture, |path, _| drop(std::fs::remove_file(path)));
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn remember_store(torture: &mut Torture) {
    let last = torture.ledger.update(&torture.orders).last;
    torture.orders.server.stop();
    let (store, kept) = (torture.orders.server.folder().join("store"), torture.orders.server.folder().join("earlier"));
    copy(&store, &kept);
    torture.orders.server.resume();
    torture.remembered = Some((kept, last));
}

/// The server's store goes back to an earlier state, as after a power cut.
fn lose_tail(torture: &mut Torture) {
    let Some((kept, last)) = torture.remembered.clone() else { return };
    torture.expected.lost_tail = true;
    torture.orders.server.stop();
    copy(&kept, &torture.orders.server.folder().join("store"));
    torture.publishers.forget();
    torture.orders.server.resume();
    // What is published from here on takes the sequences of what is lost.
    torture.ledger.lost_after(last);
    torture.pause(2_000);
}

fn purge(torture: &mut Torture, before: u64) {
    torture.ledger.update(&torture.orders);
    torture.orders.with_jetstream(async |context| {
        stream(&context).await.purge().sequence(before).await.unwrap();
    });
    torture.ledger.firsts.insert(before);
    // It would bring them back.
    torture.remembered = None;
}

/// Purges some of the events that every view has committed: no view may mind.
fn purge_committed(torture: &mut Torture) {
    // Views that are rebuilt or behind would read what goes.
    if !torture.is_quiet() {
        return;
    }
    let offsets = torture.declared().into_iter().filter_map(|name| {
        let (manifest, _) = torture.committed(name)?;
        manifest["offsets"].as_object()?.values().filter_map(serde_json::Value::as_u64).min()
    });
    let Some(least) = offsets.min() else { return };
    let before = least.saturating_sub(torture.orders.rng.u64(..2_000));
    if before > 1 {
        purge(torture, before);
    }
}

/// Purges events while the engine is stopped, so that it has not read some of them.
fn purge_unread(torture: &mut Torture) {
    torture.signal_engine(Signal::STOP);
    torture.pause(1_500);
    let last = last_of(&torture.orders, "orders.placed");
    torture.expected.purged_unread = true;
    purge(torture, last);
    torture.signal_engine(Signal::CONT);
    torture.pause(500);
}

/// Verifies all views beside the engine. It may be unable to tell, but must not find that one differs.
fn verify(torture: &mut Torture) {
    if torture.expected.damaged.is_some() {
        return;
    }
    let (code, said) = torture.ask(&["verify"]);
    assert!(!said.contains("differs") && !said.contains("differ from"), "verify: {said}");
    if code == Some(0) {
        torture.count("all views verified");
    }
}
