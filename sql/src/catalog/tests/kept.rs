//! Views that go on from their state.

use std::collections::BTreeMap;

use super::classes::shape;
use super::*;

#[test]
fn a_view_that_goes_on_has_the_operators_that_it_had() {
    let text = "CREATE EXTERNAL TABLE t (id BIGINT NOT NULL, k BIGINT, x BIGINT) STORED AS FILE LOCATION 't';\n\
                CREATE MATERIALIZED VIEW o AS SELECT l.id, r.x FROM t l LEFT JOIN t r ON l.k = r.id;\n\
                CREATE MATERIALIZED VIEW w AS SELECT id, sum(x) OVER (PARTITION BY k ORDER BY id) AS s FROM t;\n\
                CREATE MATERIALIZED VIEW over_o AS SELECT id, count(*) OVER (ORDER BY id) AS n FROM o;\n";
    let load = |fingerprints: &BTreeMap<String, String>| {
        Catalog::load_kept(&[file("a.sql", text)], &crate::schemas::Schemas::NONE, fingerprints).unwrap()
    };
    // The operators in question alone.
    let shapes = |catalog: &Catalog| -> BTreeMap<String, String> {
        catalog
            .views
            .iter()
            .map(|view| (view.name.clone(), shape(&view.plan.root).replace(|letter| !"PUKF".contains(letter), "")))
            .collect()
    };
    let fingerprints = |catalog: &Catalog| -> BTreeMap<String, String> {
        catalog.views.iter().map(|view| (view.name.clone(), view.plan.fingerprint.clone())).collect()
    };
    let newest = load(&BTreeMap::new());
    assert_eq!(shapes(&newest), BTreeMap::from([("o", "P"), ("over_o", "U"), ("w", "U")].map(owned)));
    // As a release before there were these operators.
    let without = |fingerprint: &str| fingerprint.trim_end_matches("-running").trim_end_matches("-outer").to_owned();
    let before: BTreeMap<String, String> =
        fingerprints(&newest).into_iter().map(|(view, fingerprint)| (view, without(&fingerprint))).collect();
    let kept = load(&before);
    assert_eq!(shapes(&kept), BTreeMap::from([("o", "K"), ("over_o", "F"), ("w", "K")].map(owned)));
    assert_eq!(
        (fingerprints(&kept)["o"].as_str(), fingerprints(&kept)["w"].as_str()),
        (before["o"].as_str(), before["w"].as_str())
    );
    // Of one view alone.
    let one = BTreeMap::from([("w".to_owned(), before["w"].clone())]);
    assert_eq!(shapes(&load(&one)), BTreeMap::from([("o", "P"), ("over_o", "U"), ("w", "K")].map(owned)));
    assert_eq!(fingerprints(&load(&fingerprints(&newest))), fingerprints(&newest));
}

fn owned((view, shape): (&str, &str)) -> (String, String) {
    (view.to_owned(), shape.to_owned())
}
