//! Loads files into a catalog. Reads every statement and finds every error before it refuses anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::diagnose::{Known, from_datafusion, refused};
use crate::catalog::functions::Functions;
use crate::catalog::named_queries::NamedQueries;
use crate::catalog::order;
use crate::catalog::read::{Declarations, read};
use crate::catalog::relations::relations_read_by;
use crate::catalog::{Catalog, View, stored, watermark_calls};
use crate::declarations::Emit;
use crate::error::{Error, Errors};
use crate::file::SqlFile;
use crate::nesting::deep;
use crate::planner::{Operators, Refusal, Relation, plan_view};
use crate::schemas::Schemas;

impl Catalog {
    /// Parses and plans every statement of every file. Files and statements can come in any order.
    ///
    /// # Errors
    /// Everything that is wrong, each error with its place.
    pub fn load(files: &[SqlFile]) -> Result<Catalog, Errors> {
        Catalog::load_beside(files, &Schemas::NONE)
    }

    /// Like [`Catalog::load`], for sources with schemas in files of their own.
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub fn load_beside(files: &[SqlFile], schemas: &Schemas<'_>) -> Result<Catalog, Errors> {
        Catalog::load_kept(files, schemas, &BTreeMap::new())
    }

    /// Like [`Catalog::load_beside`], for views that go on from their state: those with a fingerprint in `fingerprints`, by name, get the
    /// operators that they had, also where a later release has better ones for their queries.
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub fn load_kept(
        files: &[SqlFile],
        schemas: &Schemas<'_>,
        fingerprints: &BTreeMap<String, String>,
    ) -> Result<Catalog, Errors> {
        let mut errors = Vec::new();
        let catalog = deep(|| {
            let declarations = read(files, schemas, &mut errors);
            declarations.map(|declarations| plan(declarations, schemas, fingerprints, &mut errors))
        });
        match catalog {
            Some(catalog) if errors.is_empty() => Ok(catalog),
            _ => {
                errors.sort_by(|a, b| (&a.at.file.path, a.at.offset).cmp(&(&b.at.file.path, b.at.offset)));
                Err(Errors(errors))
            }
        }
    }
}

fn plan(
    mut declarations: Declarations,
    schemas: &Schemas<'_>,
    fingerprints: &BTreeMap<String, String>,
    errors: &mut Vec<Error>,
) -> Catalog {
    let declared = std::mem::take(&mut declarations.functions);
    declarations.function_names.extend(declared.keys().cloned());
    let broken = std::mem::take(&mut declarations.broken_functions);
    let plain = declarations.views.values().filter(|view| !view.kept).map(|view| (view.name.clone(), view.text.sql().to_owned()));
    let of_functions = declared.iter().map(|(name, function)| (name.clone(), function.statement().to_owned()));
    let statements = plain.chain(of_functions).collect();
    let functions = Functions::new(declared, broken, &declarations.function_names, errors);
    let mut views = std::mem::take(&mut declarations.views);
    views.retain(|name, view| {
        let inlined = functions.inline(&mut view.query, &view.text, errors);
        if !inlined {
            declarations.broken.insert(name.clone());
        }
        inlined
    });
    declarations.views = views;
    let mut reads: BTreeMap<String, BTreeSet<String>> =
        declarations.views.iter().map(|(name, view)| (name.clone(), relations_read_by(view, &declarations, errors))).collect();
    watermark_calls::resolve(&mut declarations, &mut reads, errors);
    let order = order::order(&declarations.views, &reads, errors);

    let relation = |source| Relation::of_source(source, schemas.digest);
    let mut relations: BTreeMap<String, Relation> =
        declarations.sources.iter().map(|(name, source)| (name.clone(), relation(source))).collect();
    let mut catalog = Catalog { sources: declarations.sources, views: Vec::new(), functions: statements };
    let mut named = NamedQueries::default();
    for name in order {
        let (Some(view), Some(named_read)) = (declarations.views.get(&name), reads.get(&name)) else { continue };
        if !named_read.iter().all(|read| relations.contains_key(read) || named.contains(read)) {
            continue;
        }
        let (query, read) = named.written_out(&view.query, named_read);
        let mut known: BTreeMap<String, Relation> =
            relations.iter().filter(|(name, _)| read.contains(*name)).map(|(n, r)| (n.clone(), r.clone())).collect();
        let timed: BTreeSet<String> = known.values().flat_map(|relation| relation.timed.iter().cloned()).collect();
        if view.options.emit == Emit::Final || view.options.retain.is_some() {
            known.extend(timed.iter().filter_map(|name| Some((name.clone(), relations.get(name)?.clone()))));
        }
        let operators = fingerprints.get(&name).map_or(Operators::NEWEST, |fingerprint| Operators::of(fingerprint));
        match plan_view(&query, &known, &view.options, operators) {
            Ok(_) if !view.kept => named.add(view, named_read),
            Ok(plan) => {
                let unstored = stored::errors(&plan.schema, &view.query, &view.text);
                if !unstored.is_empty() {
                    errors.extend(unstored);
                    continue;
                }
                let relation = Relation::of_view(&plan, timed, &relations);
                relations.insert(name.clone(), relation);
                catalog.views.push(View {
                    name,
                    options: view.options.clone(),
                    sql: view.text.sql().to_owned(),
                    plan: Arc::new(plan),
                    at: view.text.at(),
                });
            }
            Err(Refusal::DataFusion(error)) => {
                let mut meant = Known { functions: declarations.function_names.clone(), ..Known::default() };
                for relation in known.values() {
                    meant.add_columns(relation.schema.fields());
                }
                errors.push(from_datafusion(&error, Some(&view.query), &view.text, &meant));
            }
            Err(Refusal::Refused { message, help, spot }) => errors.push(refused(message, help, &spot, &view.query, &view.text)),
        }
    }
    catalog
}
