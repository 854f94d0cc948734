//! How much memory the process may take: as a size, or as a share of what there is.

use std::path::Path;

use crate::address_space;

/// A limit on the memory of the process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MemoryLimit {
    /// No limit.
    Off,
    /// In bytes.
    Bytes(u64),
    /// A share of the memory of the machine, of the cgroup or of the address space, whichever is least; above 0 and at most 1.
    Share(f64),
}

impl MemoryLimit {
    /// How to write one.
    pub const WRITE: &str = "memory_limit = \"4 GB\", \"80%\" or \"off\"";

    /// Reads a limit. `kB`, `MB`, `GB` and `TB` are powers of 1,000; `KiB`, `MiB`, `GiB` and `TiB` of 1,024.
    #[must_use]
    pub fn parse(text: &str) -> Option<MemoryLimit> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("off") {
            return Some(MemoryLimit::Off);
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: f64 = number.parse().ok().filter(|number| *number > 0.0)?;
        let unit = match unit.trim().to_ascii_lowercase().as_str() {
            "%" if number <= 100.0 => return Some(MemoryLimit::Share(number / 100.0)),
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "tb" => 1e12,
            "kib" => 1024.0,
            "mib" => 1024.0 * 1024.0,
            "gib" => 1024.0 * 1024.0 * 1024.0,
            "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(MemoryLimit::Bytes((number * unit) as u64))
    }

    /// The limit in bytes. `None` without a limit, or where the system does not say how much memory there is.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        match self {
            MemoryLimit::Off => None,
            MemoryLimit::Bytes(bytes) => Some(bytes),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            MemoryLimit::Share(share) => available(Path::new("/")).map(|bytes| (bytes as f64 * share) as u64),
        }
    }
}

/// What the machine, the cgroup or the address space of this process has for it, whichever is least. Linux only.
fn available(root: &Path) -> Option<u64> {
    let meminfo = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = crate::metrics::in_proc(&meminfo, "MemTotal:")?;
    let address_space = address_space::limit(root).map(address_space::for_views);
    Some(cgroup_limits(root).chain(address_space).fold(total, u64::min))
}

/// The limits of the cgroup of this process and of those above it, in versions 2 and 1.
fn cgroup_limits(root: &Path) -> impl Iterator<Item = u64> {
    let cgroups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            v1 if v1.split(',').any(|controller| controller == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // In a container the path may be that of the host, where only the mount itself is to be seen.
        let own = Path::new(path.trim_start_matches('/'));
        files.extend(own.ancestors().map(|above| root.join(mount).join(above).join(file)));
    }
    files.into_iter().filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares_are_read() {
        for (text, limit) in [
            ("off", Some(MemoryLimit::Off)),
            ("4 GB", Some(MemoryLimit::Bytes(4_000_000_000))),
            ("1.5GiB", Some(MemoryLimit::Bytes(1_610_612_736))),
            ("80%", Some(MemoryLimit::Share(0.8))),
            ("120%", None),
            ("0", None),
            ("4", None),
            ("much", None),
        ] {
            assert_eq!(MemoryLimit::parse(text), limit, "{text}");
        }
    }

    #[test]
    fn the_least_of_machine_and_cgroups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(available(root.path()), None);
        write("proc/meminfo", "MemTotal:        1000 kB\nMemFree: 1 kB\n");
        assert_eq!(available(root.path()), Some(1_024_000));
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        write("sys/fs/cgroup/a/memory.max", "500000\n");
        assert_eq!(available(root.path()), Some(500_000));
        write("proc/self/cgroup", "4:memory:/docker/x\n1:cpu:/\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "300000\n");
        assert_eq!(available(root.path()), Some(300_000));
        write("proc/self/limits", "Max address space         1073841824           unlimited            bytes     \n");
        assert_eq!(available(root.path()), Some(100_000));
    }
}
