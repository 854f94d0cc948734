//! The engine's time of day, which the driver moves. A small library stands before the C library (`clock.c`), so that no other process is
//! concerned.

use std::path::{Path, PathBuf};
use std::process::Command;

/// How far the clock is moved at most, in seconds: beyond the age of anything that the engine keeps for some time.
const MOST: i64 = 3 * 86_400;

pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// Builds the library in a folder, with the clock where it is.
    pub(crate) fn new(folder: &Path) -> Clock {
        let (library, file) = (folder.join("clock.so"), folder.join("clock"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture/clock.c");
        let status = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
        assert!(status.unwrap().success(), "the C compiler builds the clock");
        std::fs::write(&file, 0_i64.to_ne_bytes()).unwrap();
        let clock = Clock { library, file };
        clock.set(86_400);
        assert!(clock.shown() - clock.by_the_system() > 86_000, "the library does not move the clock of a program");
        clock.set(0);
        clock
    }

    /// Has a program see this clock.
    pub(crate) fn lend(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("ALLUVIUM_TEST_CLOCK", &self.file);
    }

    /// Moves the clock forward or back at random, also for a program that runs. Returns by how many seconds it differs from the system's.
    pub(crate) fn shift(&self, rng: &mut fastrand::Rng) -> i64 {
        let seconds = match rng.u8(..3) {
            0 => 0,
            1 => rng.i64(-600..600),
            _ => rng.i64(-MOST..MOST),
        };
        self.set(seconds);
        seconds
    }

    fn set(&self, seconds: i64) {
        let file = std::fs::File::options().write(true).open(&self.file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds.to_ne_bytes(), 0).unwrap();
    }

    fn by_the_system(&self) -> i64 {
        seconds_of(Command::new("date").arg("+%s"))
    }

    fn shown(&self) -> i64 {
        let mut command = Command::new("date");
        self.lend(&mut command);
        seconds_of(command.arg("+%s"))
    }
}

fn seconds_of(command: &mut Command) -> i64 {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().parse().unwrap()
}
