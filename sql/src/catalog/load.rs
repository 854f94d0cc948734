//! From files to a catalog: every statement is read, and every error found, before anything is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{CreateFunction, Statement as SqlStatement};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::catalog::diagnose::{Known, from_datafusion, internal, refused};
use crate::catalog::functions::{self, Function, Functions};
use crate::catalog::statements::{Parsed, Text, parse};
use crate::catalog::views::Declared;
use crate::catalog::{Catalog, Emit, Source, SqlFile, View, order, sources, views};
use crate::dialect::TIME_WINDOWS;
use crate::error::{Error, Errors, Location};
use crate::names::nearest;
use crate::planner::{Refusal, Relation, plan_view};
use crate::session::{Names, session_state};
use crate::time_windows::relations_named;

/// Reads all files.
pub(crate) fn load(files: &[SqlFile]) -> Result<Catalog, Errors> {
    let mut errors = Vec::new();
    let declarations = read(files, &mut errors);
    let catalog = declarations.map(|declarations| plan(declarations, &mut errors));
    match catalog {
        Some(catalog) if errors.is_empty() => Ok(catalog),
        _ => {
            errors.sort_by(|a, b| (&a.at.file.path, a.at.offset).cmp(&(&b.at.file.path, b.at.offset)));
            Err(Errors(errors))
        }
    }
}

/// What the files declare, before planning.
#[derive(Default)]
struct Declarations {
    sources: BTreeMap<String, Source>,
    views: BTreeMap<String, Declared>,
    /// Names that are declared by a statement that is wrong: a view that reads one is not to blame.
    broken: BTreeSet<String>,
    table_functions: BTreeSet<String>,
    /// Names of all functions, for messages.
    function_names: BTreeSet<String>,
    functions: BTreeMap<String, Function>,
    broken_functions: BTreeSet<String>,
}

/// None where not even a session can be made.
fn read(files: &[SqlFile], errors: &mut Vec<Error>) -> Option<Declarations> {
    let mut found = Declarations::default();
    let mut places: BTreeMap<String, Location> = BTreeMap::new();
    let state = match session_state() {
        Ok(state) => state,
        Err(error) => {
            errors.extend(
                files.first().map(|file| internal(&error, Location { file: Arc::new(file.clone()), offset: 0, length: 1 })),
            );
            return None;
        }
    };
    found.table_functions = state.table_functions().keys().cloned().collect();
    found.function_names = state
        .scalar_functions()
        .keys()
        .chain(state.aggregate_functions().keys())
        .chain(state.window_functions().keys())
        .cloned()
        .collect();
    let names = Names { state: &state, tables: BTreeMap::new() };
    for file in files {
        let file = Arc::new(file.clone());
        let (statements, broken) = parse(&file, errors);
        for text in &broken {
            found.declared_wrongly(text);
        }
        for parsed in statements {
            let (name, at) = match &parsed.statement {
                Statement::CreateExternalTable(statement) => {
                    let Some(source) = sources::source(statement, &parsed.text, &names, errors) else {
                        found.declared_wrongly(&parsed.text);
                        continue;
                    };
                    let (name, at) = (source.name.clone(), parsed.text.span(name_span(&parsed.text)));
                    if !places.contains_key(&name) {
                        found.sources.insert(name.clone(), source);
                    }
                    (name, at)
                }
                Statement::Statement(statement) if matches!(statement.as_ref(), SqlStatement::CreateFunction(_)) => {
                    let SqlStatement::CreateFunction(statement) = statement.as_ref() else { continue };
                    found.function(statement, &parsed.text, &names, errors);
                    continue;
                }
                Statement::Statement(statement) => {
                    let Some(view) = declared_view(statement, &parsed, errors) else {
                        found.declared_wrongly(&parsed.text);
                        continue;
                    };
                    let (name, at) = (view.name.clone(), view.name_at.clone());
                    if !places.contains_key(&name) {
                        found.views.insert(name.clone(), view);
                    }
                    (name, at)
                }
                _ => continue,
            };
            match places.get(&name) {
                Some(first) => errors.push(declared_twice(&name, first, at)),
                None => {
                    places.insert(name, at);
                }
            }
        }
    }
    Some(found)
}

fn declared_twice(name: &str, first: &Location, at: Location) -> Error {
    let (line, column) = first.line_column();
    Error {
        message: format!("{name} is declared twice, first at {}:{line}:{column}", first.file.path),
        help: Some("give one of them another name, or delete it".to_owned()),
        at,
    }
}

impl Declarations {
    fn function(&mut self, statement: &CreateFunction, text: &Text, names: &Names<'_>, errors: &mut Vec<Error>) {
        match functions::declared(statement, text, names, &self.function_names, errors) {
            None => self.declared_wrongly(text),
            Some(function) => match self.functions.get(&function.name) {
                Some(first) => errors.push(declared_twice(&function.name, &first.name_at, function.name_at.clone())),
                None => {
                    self.functions.insert(function.name.clone(), function);
                }
            },
        }
    }

    /// Remembers the name that a wrong statement means to declare, as far as its words tell.
    fn declared_wrongly(&mut self, text: &Text) {
        if let Some(name) = name_after(text, &["TABLE", "VIEW"]) {
            self.broken.insert(name);
        } else if let Some(name) = name_after(text, &["FUNCTION"]) {
            self.broken_functions.insert(name);
        }
    }
}

fn declared_view(statement: &SqlStatement, parsed: &Parsed, errors: &mut Vec<Error>) -> Option<Declared> {
    match statement {
        SqlStatement::CreateView(view) if view.materialized => views::declared(view, parsed, errors),
        _ => {
            errors.push(Error {
                message: "this statement is not for these files".to_owned(),
                help: Some("write CREATE EXTERNAL TABLE, CREATE MATERIALIZED VIEW or CREATE FUNCTION".to_owned()),
                at: parsed.text.head(),
            });
            None
        }
    }
}

/// The name after one of the first words of a statement.
fn name_after(text: &Text, words: &[&str]) -> Option<String> {
    let word = text
        .tokens
        .iter()
        .take(4)
        .position(|token| matches!(&token.token, Token::Word(word) if words.contains(&word.value.to_uppercase().as_str())))?;
    match &text.tokens.get(word + 1)?.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

fn name_span(text: &Text) -> datafusion::sql::sqlparser::tokenizer::Span {
    let index = text.word_index("TABLE").map_or(0, |index| index + 1);
    text.tokens[index.min(text.tokens.len() - 1)].span
}

fn plan(mut declarations: Declarations, errors: &mut Vec<Error>) -> Catalog {
    let declared = std::mem::take(&mut declarations.functions);
    declarations.function_names.extend(declared.keys().cloned());
    let broken = std::mem::take(&mut declarations.broken_functions);
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
    let reads: BTreeMap<String, BTreeSet<String>> =
        declarations.views.iter().map(|(name, view)| (name.clone(), tables_named(view, &declarations, errors))).collect();
    let order = order::order(&declarations.views, &reads, errors);

    let mut relations: BTreeMap<String, Relation> =
        declarations.sources.iter().map(|(name, source)| (name.clone(), Relation::of_source(source))).collect();
    let mut catalog = Catalog { sources: declarations.sources, views: Vec::new() };
    for name in order {
        let (Some(view), Some(read)) = (declarations.views.get(&name), reads.get(&name)) else { continue };
        if !read.iter().all(|read| relations.contains_key(read)) {
            continue;
        }
        let mut known: BTreeMap<String, Relation> =
            relations.iter().filter(|(name, _)| read.contains(*name)).map(|(n, r)| (n.clone(), r.clone())).collect();
        let timed: BTreeSet<String> = known.values().flat_map(|relation| relation.timed.iter().cloned()).collect();
        if view.options.emit == Emit::Final || view.options.retain.is_some() {
            known.extend(timed.iter().filter_map(|name| Some((name.clone(), relations.get(name)?.clone()))));
        }
        match plan_view(&view.query, &known, &view.options) {
            Ok(plan) => {
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
                    meant.add_members(relation.schema.fields());
                }
                errors.push(from_datafusion(&error, &view.text, &meant));
            }
            Err(Refusal::Refused { message, help, spot }) => errors.push(refused(message, help, &spot, &view.text)),
        }
    }
    catalog
}

/// The relations that a view's query names; what is not declared goes to `errors`, and what is declared wrongly is named all the same, so
/// that the view is passed over.
fn tables_named(view: &Declared, declarations: &Declarations, errors: &mut Vec<Error>) -> BTreeSet<String> {
    let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(view.query.clone()))));
    let Ok(references) = relations_named(&statement) else {
        return BTreeSet::new();
    };
    let mut named = BTreeSet::new();
    for reference in references {
        let name = reference.table().to_owned();
        let known = declarations.sources.contains_key(&name) || declarations.views.contains_key(&name);
        if let Some(schema) = reference.schema() {
            errors.push(Error {
                message: format!("there is no {reference}: names have no schema here"),
                help: Some(if known {
                    format!("write {name}")
                } else if schema == "information_schema" {
                    "run `alluvium status` and `alluvium check` for what is declared".to_owned()
                } else {
                    "read a source or a view that these files declare".to_owned()
                }),
                at: relation_place(&view.text, schema),
            });
        } else if !known
            && !declarations.broken.contains(&name)
            && !declarations.table_functions.contains(&name)
            && !is_time_window(&name)
        {
            let candidates = declarations.sources.keys().chain(declarations.views.keys()).map(String::as_str);
            let functions = declarations.table_functions.iter().map(String::as_str).chain(TIME_WINDOWS);
            let relation = nearest(&name, candidates.clone().filter(|candidate| *candidate != view.name));
            let help = match relation.or_else(|| view.text.call_only(&name).and_then(|_| nearest(&name, functions))) {
                Some(near) => format!("did you mean {near}?"),
                None => {
                    let all: Vec<&str> = candidates.filter(|candidate| *candidate != view.name).collect();
                    let all =
                        if all.is_empty() { "there is none yet".to_owned() } else { format!("there are {}", all.join(", ")) };
                    format!("{all}; declare another with CREATE EXTERNAL TABLE")
                }
            };
            errors.push(Error {
                message: format!("no source or view is named {name}"),
                help: Some(help),
                at: relation_place(&view.text, &name),
            });
        } else if !known && (declarations.table_functions.contains(&name) || is_time_window(&name)) {
            continue;
        }
        named.insert(name);
    }
    named
}

/// Whether a name is that of TUMBLE, HOP or SESSION, whose plan says what is wrong with a call.
fn is_time_window(name: &str) -> bool {
    TIME_WINDOWS.iter().any(|window| name.eq_ignore_ascii_case(window))
}

/// Where a relation is read: its name after FROM, JOIN or a comma.
fn relation_place(text: &Text, name: &str) -> Location {
    let is_name = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_some() => word.value == name,
        Token::Word(word) => word.value.to_lowercase() == name,
        Token::SingleQuotedString(value) => value == name,
        _ => false,
    };
    let read = text.tokens.windows(2).find(|pair| {
        let before = match &pair[0].token {
            Token::Word(word) => ["FROM", "JOIN", "TABLE"].contains(&word.value.to_uppercase().as_str()),
            Token::Comma | Token::LParen => true,
            _ => false,
        };
        before && is_name(&pair[1].token)
    });
    let read = read.map(|pair| &pair[1]).or_else(|| text.tokens.iter().find(|token| is_name(&token.token)));
    read.map_or_else(|| text.head(), |token| text.span(token.span))
}
