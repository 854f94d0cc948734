//! `CREATE VIEW`: names for queries. A view that reads one has its query in WITH, so nothing after this module knows that there are any.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{Cte, Ident, Query, TableAlias, With};

use crate::catalog::views::Declared;

/// The names that are ready to be read.
#[derive(Debug, Default)]
pub(super) struct NamedQueries {
    /// Each after those that it reads.
    ready: Vec<Cte>,
    reads: BTreeMap<String, BTreeSet<String>>,
}

impl NamedQueries {
    /// Adds the query of a plain view, which reads some relations and names.
    pub(super) fn add(&mut self, view: &Declared, reads: &BTreeSet<String>) {
        let alias =
            TableAlias { explicit: true, name: Ident::with_quote('"', &view.name), columns: view.columns.clone(), at: None };
        self.ready.push(Cte {
            alias,
            query: Box::new(view.query.clone()),
            from: None,
            materialized: None,
            closing_paren_token: AttachedToken::empty(),
        });
        self.reads.insert(view.name.clone(), reads.clone());
    }

    /// Whether a name is one of these.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.reads.contains_key(name)
    }

    /// A query with the names that it reads in WITH, and the relations that it reads then.
    pub(super) fn written_out(&self, query: &Query, read: &BTreeSet<String>) -> (Query, BTreeSet<String>) {
        let (mut names, mut relations) = (BTreeSet::new(), BTreeSet::new());
        let mut to_read: Vec<&String> = read.iter().collect();
        while let Some(name) = to_read.pop() {
            match self.reads.get(name) {
                Some(below) => {
                    if names.insert(name) {
                        to_read.extend(below);
                    }
                }
                None => {
                    relations.insert(name.clone());
                }
            }
        }
        let mut query = query.clone();
        let needed = self.ready.iter().filter(|cte| names.contains(&cte.alias.name.value)).cloned();
        let mut tables: Vec<Cte> = needed.collect();
        if !tables.is_empty() {
            let own = query.with.take();
            let recursive = own.as_ref().is_some_and(|own| own.recursive);
            tables.extend(own.map(|own| own.cte_tables).unwrap_or_default());
            query.with = Some(With { with_token: AttachedToken::empty(), recursive, cte_tables: tables });
        }
        (query, relations)
    }
}
