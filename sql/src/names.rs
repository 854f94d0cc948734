//! Names in messages: the nearest one to a misspelt name, and lists that stay short. The one place where this is decided.

/// Returns the candidate that a user most likely meant, if one is near enough: at most a third of the letters differ (at least one
/// may, at most three). A name of one letter has no near one: every other letter would be.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let letters = name.chars().count();
    let allowed = if letters < 2 { 0 } else { (letters / 3).clamp(1, 3) };
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The most names that a message lists.
const LISTED: usize = 12;

/// Lists names for a message: `a, b, c`, or the first twelve and how many more there are.
pub fn listed(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut names = names.into_iter();
    let first: Vec<String> = names.by_ref().take(LISTED).map(|name| name.as_ref().to_owned()).collect();
    match names.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Returns a name as it has to be written in SQL: in quotes if it would be read as another name without them.
pub(crate) fn written(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain { name.to_owned() } else { quoted(name) }
}

/// Returns a name in quotes.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the number of edits (insert, remove, replace, swap two neighbours) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let names = ["orders", "customers", "order_lines"];
        for (written, meant) in [
            ("oders", Some("orders")),
            ("Orders", Some("orders")),
            ("ordres", Some("orders")),
            ("custmers", Some("customers")),
            ("flights", None),
            ("o", None),
        ] {
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (1..=LISTED).map(|number| format!("v{number}")).collect();
        assert_eq!(listed(&names), names.join(", "));
        assert_eq!(listed(names.iter().map(String::as_str).chain(["x", "y"])), format!("{} and 2 more", names.join(", ")));
        assert_eq!(listed([] as [&str; 0]), "");
    }
}
