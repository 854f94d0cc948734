use alluvium_connectors::source::Source;
#[test] fn x() { let _ = Source::new; }
