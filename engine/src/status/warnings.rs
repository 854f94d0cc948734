//! What looks like a mistake of the declaration though nothing fails: a column that no event has a member for, and a source that selects
//! none of what it passes. A view is right all the same; it is the user's question that may be wrong.

use crate::record::Tally;

/// Fewer events say nothing.
const LEAST: u64 = 100;

/// Of what a view has read of a source, up to this offset.
pub(super) fn warnings(source: &str, tally: &Tally, offset: u64) -> Vec<String> {
    let passed = tally.began.map_or(0, |began| offset.saturating_sub(began));
    if tally.events == 0 && passed >= LEAST && !tally.may_be_silent {
        return vec![format!(
            "source {source} selects none of the {passed} events that it has passed: see its option subject; on_no_events 'ignore' says that it \
             is meant so"
        )];
    }
    let unseen = tally.unseen.iter().flatten().filter(|_| tally.events >= LEAST);
    let of_column = |(column, like): (&String, &Option<String>)| {
        let like = like.as_ref().map_or_else(String::new, |like| format!("; they have {like}, which no column reads"));
        format!(
            "none of the {} events of {source} has a member {column}{like}: see the name of the column; on_absent_member.{column} 'ignore' \
             says that it is meant so",
            tally.events
        )
    };
    unseen.map(of_column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_events_say_nothing() {
        let unseen = Some([("customername".to_owned(), Some("customer_name".to_owned()))].into());
        let tally = |events| Tally { began: Some(1), events, unseen: unseen.clone(), ..Tally::default() };
        assert!(warnings("orders", &tally(99), 500).is_empty());
        let said = warnings("orders", &tally(100), 500);
        assert!(said[0].contains("member customername; they have customer_name, which no column reads"), "{said:?}");
        assert!(warnings("orders", &Tally { unseen: None, ..tally(100) }, 500).is_empty());
        assert!(warnings("orders", &tally(0), 100).is_empty());
        assert_eq!(warnings("orders", &tally(0), 101).len(), 1);
        assert!(warnings("orders", &Tally { may_be_silent: true, ..tally(0) }, 101).is_empty());
    }
}
