//! The disk of the data folder, which the driver fills: a small file system in memory, where root can mount one, or else a limit on the size
//! of the engine's files.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// The size of the file system.
const SIZE: &str = "512m";
/// What its name begins with; the process follows.
const NAME: &str = "alluvium-torture-";
/// The largest file of the engine while its disk is full, where no file system could be mounted.
const LIMIT_BYTES: u64 = 4 << 10;

/// The data folder's disk. Unmounted when dropped.
pub(crate) struct Disk {
    folder: PathBuf,
    mounted: bool,
    /// Where to copy the data folder before it goes.
    keep: Option<PathBuf>,
}

impl Disk {
    /// Mounts a file system at `folder`, if this user can.
    pub(crate) fn mount(folder: PathBuf) -> Disk {
        unmount_old();
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("{NAME}{}", std::process::id());
        let mounted = run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), &name]).arg(&folder));
        Disk { folder, mounted, keep: None }
    }

    pub(crate) fn is_mounted(&self) -> bool {
        self.mounted
    }

    /// Leaves no room.
    pub(crate) fn fill(&self, engine: Option<&Child>) {
        if self.mounted {
            let file = std::fs::File::create(self.filler()).unwrap();
            let mut blocks = vec![0; 1 << 20];
            while !blocks.is_empty() {
                match std::io::Write::write(&mut &file, &blocks) {
                    Ok(written) if written > 0 => {}
                    _ => blocks.truncate(blocks.len() / 2),
                }
            }
        } else if let Some(engine) = engine {
            limit(engine, Some(LIMIT_BYTES));
        }
    }

    /// Makes room again.
    pub(crate) fn free(&self, engine: Option<&Child>) {
        if self.mounted {
            let _ = std::fs::remove_file(self.filler());
        } else if let Some(engine) = engine {
            limit(engine, None);
        }
    }

    /// Copies the data folder to `target` before it goes.
    pub(crate) fn keep_in(&mut self, target: &Path) {
        self.keep = Some(target.to_owned());
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.mounted {
            return;
        }
        let _ = std::fs::remove_file(self.filler());
        if let Some(target) = &self.keep {
            run(Command::new("cp").arg("-a").arg(&self.folder).arg(target));
        }
        if !run(Command::new("umount").arg(&self.folder)) {
            run(Command::new("umount").arg("-l").arg(&self.folder));
        }
    }
}

/// Unmounts what processes left that were killed.
fn unmount_old() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for mount in mounts.lines() {
        let mut words = mount.split(' ');
        let process = words.next().and_then(|name| name.strip_prefix(NAME));
        if let (Some(process), Some(folder)) = (process, words.next())
            && !Path::new("/proc").join(process).exists()
        {
            run(Command::new("umount").arg(folder));
        }
    }
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn limit(engine: &Child, bytes: Option<u64>) {
    prlimit(Some(Pid::from_child(engine)), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}
