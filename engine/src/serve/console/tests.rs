//! What the console's files promise, without a server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

/// Everything that is sent to a browser, with its name.
fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    ASSETS.iter().map(|asset| (asset.name, asset.text)).chain([("index.html", DOCUMENT)])
}

#[test]
fn every_file_that_a_page_refers_to_is_there_and_every_file_is_referred_to() {
    let mut referred = Vec::new();
    for (name, text) in texts() {
        // An import is relative to the script; a document names the whole path.
        for before in ["\"./", "/console/assets/"] {
            for after in text.split(before).skip(1) {
                let file = after.split('"').next().unwrap();
                assert!(ASSETS.iter().any(|asset| asset.name == file), "{name} refers to {file}");
                referred.push(file);
            }
        }
    }
    for asset in &ASSETS {
        assert!(referred.contains(&asset.name), "nothing refers to {}", asset.name);
    }
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/serve/console")).unwrap();
    for file in folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(file == "tests.rs" || texts().any(|(name, _)| name == file), "{file} is not served");
    }
}

#[test]
fn nothing_is_asked_of_other_servers_and_no_text_becomes_html() {
    for (name, text) in texts() {
        for word in [
            "https:",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "style=",
            "javascript:",
        ] {
            assert!(!text.contains(word), "{name} has {word}");
        }
        let urls = text.matches("http:").count();
        // The names of SVG are no addresses.
        assert_eq!(urls, text.matches("http://www.w3.org/2000/svg").count(), "{name} has an address");
    }
    let scripts = DOCUMENT.matches("<script").count();
    assert_eq!(scripts, DOCUMENT.matches("<script type=\"module\" src=").count(), "a script within the document");
    assert!(!DOCUMENT.contains("<style") && !DOCUMENT.contains(" on"), "style or a listener within the document");
}

#[test]
fn all_files_together_are_small() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    let mut gzip = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let writing = std::thread::spawn(move || texts().try_for_each(|(_, text)| input.write_all(text.as_bytes())));
    let packed = gzip.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(packed.status.success() && packed.stdout.len() < 100_000, "{} bytes", packed.stdout.len());
}

#[test]
fn each_page_names_its_data() {
    assert_eq!(twin("/console"), Some("/overview"));
    assert_eq!(twin("/console/views/by%20day"), Some("/views/by%20day"));
    assert_eq!(twin("/console/dead-letters"), Some("/dead-letters"));
    assert_eq!(twin("/console/query"), None);
}
