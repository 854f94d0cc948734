//! What a project declares, for those who look at a running engine: plans, what reads what, the columns of sources.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use alluvium_sql::describe;
use serde_json::{Value, json};

use crate::project::Project;
use crate::query::sql_types::sql_name;

/// What a project declared when the engine started.
#[derive(Debug, Default)]
pub struct Declared {
    /// By view: its plan as `alluvium explain --format json` prints it, with its `sql` and the plan as `text`.
    pub plans: BTreeMap<String, Value>,
    /// By view: the sources and views that it reads directly.
    pub reads: BTreeMap<String, Vec<String>>,
    /// By source: what it is stored as, and its `columns`. Its location is left out, since it may hold credentials.
    pub sources: BTreeMap<String, Value>,
    /// The project's folder, absolute.
    pub folder: PathBuf,
    /// The data folder, absolute.
    pub data: PathBuf,
    /// The address of the Postgres protocol, if it is served.
    pub postgres: Option<SocketAddr>,
}

impl Declared {
    /// Describes a project.
    #[must_use]
    pub fn of(project: &Project, postgres: Option<SocketAddr>) -> Declared {
        let catalog = &project.catalog;
        let plan = |view: &alluvium_sql::View| {
            let mut plan = describe::to_json(view);
            plan["sql"] = view.sql.clone().into();
            plan["text"] = describe::explain(view).into();
            plan["commit_interval"] = humantime::format_duration(project.commit_interval(&view.name)).to_string().into();
            (view.name.clone(), plan)
        };
        let reads = |view: &alluvium_sql::View| {
            (view.name.clone(), view.plan.reads.iter().map(|(_, name)| name.as_str().to_owned()).collect())
        };
        let source = |(name, source): (&String, &alluvium_sql::Source)| {
            let columns: Vec<Value> = source
                .schema
                .fields()
                .iter()
                .map(|field| json!({"name": field.name(), "type": sql_name(field.data_type()), "nullable": field.is_nullable()}))
                .collect();
            (name.clone(), json!({"stored_as": source.stored_as, "columns": columns, "notes": source.notes}))
        };
        // Without a working directory, the paths are as they were given.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Declared {
            folder: absolute(&project.dir),
            data: absolute(project.layout().root()),
            plans: catalog.views.iter().map(plan).collect(),
            reads: catalog.views.iter().map(reads).collect(),
            sources: catalog.sources.iter().map(source).collect(),
            postgres,
        }
    }
}
