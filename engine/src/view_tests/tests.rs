//! Tests of what a test says, and of how rows are compared.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use serde_json::json;

use super::difference::{Difference, difference};
use super::file::parse;

fn batch() -> RecordBatch {
    let decimals = Decimal128Array::from(vec![Some(1550), Some(-1), None]).with_precision_and_scale(12, 2).unwrap();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let columns: [(&str, ArrayRef); 6] = [
        ("n", Arc::new(Int64Array::from(vec![1, 2, 2]))),
        ("country", Arc::new(StringArray::from(vec![Some("DE"), Some("FR"), None]))),
        ("revenue", Arc::new(decimals)),
        ("share", Arc::new(Float64Array::from(vec![0.1 + 0.2, f64::NAN, -0.0]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_767_323_045_000_000), None, None]))),
        ("tags", Arc::new(lists)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn compare(expected: &serde_json::Value) -> Result<Difference, String> {
    let batch = batch();
    let expected: Vec<super::difference::Expected> = serde_json::from_value(expected.clone()).unwrap();
    difference(std::slice::from_ref(&batch), &batch.schema(), &expected)
}

#[test]
fn rows_are_compared_as_a_multiset_by_the_columns_that_are_named() {
    let all = json!([
        {"n": 2, "country": null, "revenue": null, "share": 0, "at": null, "tags": []},
        {"n": 1, "country": "DE", "revenue": "15.50", "share": 0.3, "at": "2026-01-02T03:04:05Z", "tags": [1, null]},
        {"n": "2", "country": "FR", "revenue": -0.01, "share": "NaN", "tags": null},
    ]);
    assert!(compare(&all).unwrap().is_none(), "{:?}", compare(&all));
    assert!(compare(&json!([{"n": 2}, {"n": 2}, {"n": 1}])).unwrap().is_none());
    let found = compare(&json!([{"n": 2, "country": "DE"}, {"n": 2, "country": "FR"}, {"n": 2, "country": null}])).unwrap();
    assert_eq!(found.missing, ["country=DE n=2"]);
    assert_eq!(found.unexpected, ["n=1 country=DE"]);
    // Without any row, every column counts.
    let found = compare(&json!([])).unwrap();
    assert_eq!((found.missing.len(), found.unexpected.len()), (0, 3));
    assert_eq!(found.unexpected[1], "n=2 country=FR revenue=-0.01 share=NaN at=null tags=null");
    assert!(!compare(&json!([{"n": 1, "tags": [1]}, {"n": 2}, {"n": 2}])).unwrap().is_none());
}

#[test]
fn what_a_column_cannot_hold_is_told() {
    assert_eq!(compare(&json!([{"contry": "DE"}])).unwrap_err(), "there is no column contry; did you mean country?");
    let error = compare(&json!([{"n": "many"}])).unwrap_err();
    assert!(error.starts_with("column n: ") && error.contains("many"), "{error}");
    let error = compare(&json!([{"tags": "none"}, {"tags": null}, {"tags": null}])).unwrap_err();
    assert!(error.starts_with("column tags: \"none\" is no List"), "{error}");
}

#[test]
fn a_file_says_tests_or_is_refused_with_its_place() {
    let text = "- test: first\n  given: {t: [{n: 1}]}\n  expect: {v: [{n: 1}]}\n\n- test: second\n  steps:\n    - expect: {v: []}\n      set_aside: 2\n";
    let cases = parse("tests/v.yaml", text).unwrap();
    let said: Vec<(&str, usize, usize)> = cases.iter().map(|case| (case.name.as_str(), case.line, case.steps.len())).collect();
    assert_eq!(said, [("first", 1, 1), ("second", 5, 1)]);
    assert_eq!((cases[1].steps[0].set_aside, cases[0].steps[0].set_aside), (Some(2), None));
    assert_eq!(cases[0].steps[0].given["t"].len(), 1);
    let error = |text: &str| parse("tests/v.yaml", text).unwrap_err().to_string();
    assert_eq!(
        error("- test: a\n  givn: {}\n  expect: {v: []}\n"),
        "tests/v.yaml:2:9: \"givn\" is none of `test`, `steps`, `given`, `expect` or `set_aside`"
    );
    assert_eq!(
        error("- test: a\n  given: {}\n"),
        "tests/v.yaml:1:3: test \"a\" expects nothing: name a view and its rows; a view without rows is `view: []`"
    );
    assert_eq!(
        error("- test: a\n  steps: []\n  expect: {v: []}\n"),
        "tests/v.yaml:1:3: test \"a\" has steps: write `given`, `expect` and `set_aside` in them"
    );
    assert_eq!(error("- test: a\n  expect: {v: {n: 1}}\n"), "tests/v.yaml:2:15: a view has a list of rows");
    let broken = error("- test: [a\n");
    assert!(broken.starts_with("tests/v.yaml:"), "{broken}");
}
