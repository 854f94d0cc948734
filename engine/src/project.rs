//! A project: the settings and SQL files of a folder, loaded and checked. Nothing here touches a source or the data folder.

mod schemas;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alluvium_connectors::decode::{KeptSchema, kept_schemas};
use alluvium_connectors::sink::parquet::Retention;
use alluvium_connectors::source::{self, BatchLimits, Source, SourceConfig};
use alluvium_projections::Projection;
use alluvium_sql::{Catalog, SqlFile, View, nearest};

pub(crate) use self::schemas::{Beside, catalog_of};
use crate::error::Error;
use crate::layout::Layout;
use crate::settings::set_aside::{OfSource, OnGap, Tolerance};
use crate::settings::{OnStreamChange, Overrides, Settings, is_credential};

/// A loaded project.
#[derive(Clone)]
pub struct Project {
    /// The folder.
    pub dir: PathBuf,
    /// Its settings.
    pub settings: Settings,
    /// The declarations of its SQL files.
    pub catalog: Catalog,
    /// By source: what to connect to, with options merged from the SQL text, `alluvium.toml` and the environment.
    pub sources: BTreeMap<String, SourceConfig>,
    /// The files with the schemas of sources that name such files. Not those too large to be kept with each commit.
    pub schemas: BTreeMap<String, Vec<KeptSchema>>,
    /// For each declared source: how much of it may be set aside.
    pub tolerances: BTreeMap<String, OfSource>,
}

/// Omits the options of sources, which may be secret.
impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let views: Vec<_> = self.catalog.views.iter().map(|view| &view.name).collect();
        f.debug_struct("Project")
            .field("dir", &self.dir)
            .field("settings", &self.settings)
            .field("sources", &self.sources.keys().collect::<Vec<_>>())
            .field("views", &views)
            .finish_non_exhaustive()
    }
}

/// Options that decide which rows a source stands for. Its SQL has to say them: plans and rebuilds follow from it.
pub(crate) const SAID_IN_SQL: [&str; 17] = [
    "after",
    "batch",
    "before",
    "decimals",
    "deduplicate",
    "deduplicate_within",
    "deleted",
    "delimiter",
    "envelope",
    "header",
    "key",
    "message",
    "op",
    "quote",
    "registry_subject",
    "schema",
    "truncate",
];

/// An option of these that the settings or the environment give, and the SQL does not.
fn said_elsewhere<'o>(source: &alluvium_sql::Source, options: &'o BTreeMap<String, String>) -> Option<&'o str> {
    // Plans follow from formats of changes, and from those whose messages hold several events.
    let several = |format: &str| ["arrow", "cloudevents"].iter().any(|one| format.eq_ignore_ascii_case(one));
    let decides = |name: &str, value: &str| {
        SAID_IN_SQL.contains(&name) || (name == "format" && (source.changes.is_some() || source.batches || several(value)))
    };
    options
        .iter()
        .find(|(name, value)| decides(name, value) && source.options.get(*name) != Some(value))
        .map(|(name, _)| name.as_str())
}

impl Project {
    /// Loads the project in a folder.
    ///
    /// # Errors
    /// All errors in its SQL files, or in its settings, each with its place.
    pub fn load(dir: &Path, overrides: &Overrides) -> Result<Project, Error> {
        let files = sql_files(dir)?;
        let settings = Settings::load(dir, overrides)?;
        if files.is_empty() {
            return Err(Error::config(
                format!("no .sql file in {}", shown(dir)),
                "`alluvium init DIR` creates a project that runs as it is; -C DIR names another folder",
            ));
        }
        let catalog = catalog_of(&files, dir, &Beside::nothing_kept(&settings))?;
        Project::new(dir.to_owned(), settings, catalog)
    }

    /// The same folder and settings with the SQL files as they are now.
    ///
    /// # Errors
    /// As [`Project::load`].
    pub fn read_again(&self) -> Result<Project, Error> {
        self.of_files(&sql_files(&self.dir)?)
    }

    /// The same folder and settings with the SQL files as they are now, and further statements, which messages call `path`.
    ///
    /// # Errors
    /// As [`Project::load`].
    pub fn with_statements(&self, path: &str, text: String) -> Result<Project, Error> {
        let mut files = sql_files(&self.dir)?;
        files.push(SqlFile { path: path.to_owned(), text });
        self.of_files(&files)
    }

    fn of_files(&self, files: &[SqlFile]) -> Result<Project, Error> {
        let catalog = catalog_of(files, &self.dir, &Beside::nothing_kept(&self.settings))?;
        Project::new(self.dir.clone(), self.settings.clone(), catalog)
    }

    /// Makes a project of a loaded catalog.
    ///
    /// # Errors
    /// The settings name a source that no SQL file declares.
    pub fn new(dir: PathBuf, settings: Settings, catalog: Catalog) -> Result<Project, Error> {
        let names = || catalog.sources.keys().map(String::as_str);
        for named in settings.sources.named() {
            if !names().any(|name| name.eq_ignore_ascii_case(named)) {
                let help = nearest(named, names()).map_or_else(
                    || "no SQL file declares it: remove the table".to_owned(),
                    |near| format!("did you mean [sources.{near}]?"),
                );
                return Err(Error::config(format!("alluvium.toml: [sources.{named}] names no source"), help));
            }
        }
        for source in catalog.sources.values() {
            let (_, options) = settings.sources.merge(source, names(), &dir);
            if let Some(option) = said_elsewhere(source, &options) {
                let help = "write it in OPTIONS of CREATE EXTERNAL TABLE: what a view holds depends on it";
                let message = format!("source {}: option '{option}' is not given in its SQL", source.name);
                return Err(Error::config(message, help.to_owned()));
            }
        }
        match Project::over(dir, settings, catalog) {
            (project, wrong) if wrong.is_empty() => Ok(project),
            (_, wrong) => Err(Error::Sql(alluvium_sql::Errors(wrong))),
        }
    }

    /// Reads the declaration of one source, all of whose columns are to be decoded. The folder need not hold any file, and its settings
    /// may name other sources.
    ///
    /// # Errors
    /// What is wrong with the declaration, with its place.
    pub fn source(dir: &Path, settings: &Settings, sql: &str) -> Result<SourceConfig, Error> {
        let file = SqlFile { path: "the declaration".to_owned(), text: sql.to_owned() };
        let catalog = catalog_of(&[file], dir, &Beside::nothing_kept(settings))?;
        let (project, wrong) = Project::over(dir.to_owned(), settings.clone(), catalog);
        if !wrong.is_empty() {
            return Err(Error::Sql(alluvium_sql::Errors(wrong)));
        }
        let config = project.sources.into_values().next();
        let config = config.ok_or_else(|| Error::bug("a declaration declares no source"))?;
        let columns = (0..config.declared.fields().len()).collect();
        Ok(SourceConfig { columns, ..config })
    }

    /// The same folder with SQL that was kept of it. Credentials, which are not kept, are those of the present sources.
    #[must_use]
    pub fn with_kept(&self, mut catalog: Catalog) -> Project {
        for (name, source) in &mut catalog.sources {
            source.options.retain(|option, _| !is_credential(option));
            let Some(present) = self.catalog.sources.get(name) else { continue };
            let credentials = present.options.iter().filter(|(option, _)| is_credential(option));
            source.options.extend(credentials.map(|(option, value)| (option.clone(), value.clone())));
            if source.location == present.location_without_user() {
                source.location.clone_from(&present.location);
            }
        }
        Project::over(self.dir.clone(), self.settings.clone(), catalog).0
    }

    /// The project, and options of its sources that are wrong, which then count as not given.
    fn over(dir: PathBuf, settings: Settings, catalog: Catalog) -> (Project, Vec<alluvium_sql::Error>) {
        let names = || catalog.sources.keys().map(String::as_str);
        let limits = BatchLimits {
            max_events: settings.batch_events,
            max_bytes: settings.batch_bytes,
            max_wait: BatchLimits::default().max_wait,
        };
        let (mut sources, mut tolerances, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut schemas = BTreeMap::new();
        for source in catalog.sources.values() {
            let (location, mut options) = settings.sources.merge(source, names(), &dir);
            match OfSource::take(&source.name, &mut options) {
                Ok(of) => {
                    tolerances.insert(source.name.clone(), of);
                }
                Err((message, help)) => {
                    let at = source.at.of_what_is_named_in(&message);
                    wrong.push(alluvium_sql::Error { message, help: Some(help), at });
                }
            }
            let config = SourceConfig {
                name: source.name.clone(),
                stored_as: source.stored_as.clone(),
                location,
                folder: dir.clone(),
                options,
                declared: source.schema.clone(),
                columns: catalog.columns_read(&source.name).into_iter().collect(),
                limits,
            };
            let kept = kept_schemas(&config);
            if !kept.is_empty() {
                schemas.insert(source.name.clone(), kept);
            }
            sources.insert(source.name.clone(), config);
        }
        (Project { dir, settings, catalog, sources, schemas, tolerances }, wrong)
    }

    /// Makes every source and checks its declaration. Does not connect yet.
    ///
    /// # Errors
    /// Every wrong declaration, with its place.
    pub fn connect(&self) -> Result<Vec<Arc<dyn Source>>, Error> {
        let mut sources = Vec::new();
        let mut wrong = Vec::new();
        for (name, config) in &self.sources {
            match (source::open(config.clone()), self.catalog.sources.get(name)) {
                (Ok(source), _) => sources.push(source),
                (Err(alluvium_connectors::Error::Config { message, help }), Some(declared)) => {
                    let at = declared.at.of_what_is_named_in(&message);
                    wrong.push(alluvium_sql::Error { message, help, at });
                }
                (Err(error), _) => return Err(error.into()),
            }
        }
        if wrong.is_empty() { Ok(sources) } else { Err(Error::Sql(alluvium_sql::Errors(wrong))) }
    }

    /// Plans each view down to its operators, which [`Project::load`] does not do.
    ///
    /// # Errors
    /// Every view for which DataFusion has no physical plan, with the place of its statement.
    pub async fn plan(&self) -> Result<(), Error> {
        let mut wrong = Vec::new();
        for view in &self.catalog.views {
            if let Err(error) = Projection::new(&view.plan).await {
                wrong.push(alluvium_sql::plan_error(&error.to_string(), &view.at));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Sql(alluvium_sql::Errors(wrong))) }
    }

    /// Its data folder.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::new(&self.settings.data)
    }

    /// How much a view may set aside of some of the sources that it reads.
    #[must_use]
    pub fn tolerance<'a>(&self, view: &View, sources: impl Iterator<Item = &'a str>) -> Tolerance {
        let sources = sources.filter_map(|source| self.tolerances.get(source));
        Tolerance::of(&view.options, sources, self.settings.tolerance)
    }

    /// What happens where a source is another one than before or has lost events that were not read, and does not go on by itself.
    #[must_use]
    pub fn on_stream_change(&self, source: &str) -> OnStreamChange {
        match self.tolerances.get(source).and_then(|of| of.on_gap) {
            Some(OnGap::Stop) => OnStreamChange::Stop,
            Some(OnGap::Rebuild) => OnStreamChange::Rebuild,
            Some(OnGap::Continue) | None => self.settings.on_stream_change,
        }
    }

    /// How long old snapshots of a view are kept, which the files need not declare any more.
    #[must_use]
    pub fn retention(&self, view: &str) -> Retention {
        let declared = self.catalog.views.iter().find(|declared| declared.name == view);
        let kept = declared.and_then(|declared| declared.options.snapshots_kept).unwrap_or(self.settings.snapshots_kept);
        Retention { kept, min_age: self.settings.snapshots_min_age }
    }

    /// The commit interval of a view.
    #[must_use]
    pub fn commit_interval(&self, view: &str) -> Duration {
        let options = self.catalog.views.iter().find(|one| one.name == view).map(|one| &one.options);
        options.and_then(|options| options.commit_interval).unwrap_or(self.settings.commit_interval)
    }
}

/// Reads the `.sql` files in the folder itself, sorted by name. Skips hidden ones.
fn sql_files(dir: &Path) -> Result<Vec<SqlFile>, Error> {
    let wrong = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return Error::config(
                format!("there is no folder {}", shown(dir)),
                "`alluvium init DIR` creates a project that runs as it is",
            );
        }
        if error.kind() == std::io::ErrorKind::NotADirectory {
            return Error::config(format!("{} is not a folder", shown(dir)), "-C names the folder with the .sql files");
        }
        Error::io("reading", dir, error)
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "sql") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).map_err(|error| Error::io("reading", &path, error))?;
        let short = path.strip_prefix("./").unwrap_or(&path);
        SqlFile::of_bytes(short.display().to_string(), bytes).map_err(|error| Error::Sql(alluvium_sql::Errors(vec![error])))
    };
    paths.into_iter().map(read).collect()
}

fn shown(dir: &Path) -> String {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).display().to_string()
}
