#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

#[test]
fn a_file_is_replaced_whole_and_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.json");
    write_atomically(&path, b"one").unwrap();
    write_atomically(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(folder.path()).unwrap(), ["record.json"]);
}

#[test]
fn what_a_crash_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(temporary_name(&folder.path().join("record.json")), b"half").unwrap();
    fs::write(folder.path().join("record.json"), b"whole").unwrap();
    fs::write(folder.path().join(".hidden"), b"").unwrap();
    assert_eq!(remove_temporary(folder.path()).unwrap(), 1);
    let mut left = names(folder.path()).unwrap();
    left.sort();
    assert_eq!(left, [".hidden", "record.json"]);
}

#[test]
fn a_new_file_never_replaces_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part");
    write_new(&path, b"one").unwrap();
    let error = write_new(&path, b"two").unwrap_err();
    assert!(error.to_string().contains("creating") && error.to_string().contains("part"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"one");
}

#[test]
fn links_are_replaced_also_by_what_they_already_are() {
    let folder = tempfile::tempdir().unwrap();
    let (link, hard) = (folder.path().join("current"), folder.path().join("manifest.json"));
    for target in ["a", "b", "b"] {
        fs::write(folder.path().join(target), target).unwrap();
        replace_link(&link, Path::new(target)).unwrap();
        replace_by_hard_link(&hard, &folder.path().join(target)).unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), target);
        assert_eq!(fs::read_to_string(&hard).unwrap(), target);
    }
    assert_eq!(names(folder.path()).unwrap().len(), 4);
}

#[test]
fn folders_are_created_with_those_above() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/c");
    create_folder(&path).unwrap();
    create_folder(&path).unwrap();
    assert!(path.is_dir());
    assert!(names(&folder.path().join("nowhere")).unwrap().is_empty());
}

#[test]
fn a_disk_is_nearly_full_where_both_the_share_and_the_bytes_are_few() {
    let gib = (1_u64 << 30) / 4096;
    assert!(leaves_little(gib, 40 * gib, 4096));
    assert!(!leaves_little(gib, 32 * gib, 4096), "a 32nd");
    assert!(!leaves_little(40 * gib, 1000 * gib, 4096), "a small share of a large disk");
    assert!(leaves_little(0, 100, 4096));
    assert!(!leaves_little(0, 0, 0), "a file system without blocks, as /proc is");
    assert!(!is_nearly_full(Path::new("/no/such/folder")), "nobody can say");
}
