//! Each test that GUARANTEES.md names is there.

use std::path::Path;

#[test]
fn every_promise_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("GUARANTEES.md")).unwrap();
    let mut tests = 0;
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let mut file = None;
        for word in line.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                let path = root.join(word);
                file = Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{word}: {error}")));
            } else if let Some(source) =
                file.as_ref().filter(|_| word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            {
                let is_setting = ["max_dead_letters", "shutdown_timeout"].contains(&word);
                assert!(is_setting || source.contains(&format!("fn {word}(")), "no test {word}");
                tests += usize::from(!is_setting);
            }
        }
    }
    assert!(tests > 30, "{tests}");
}
