//! Decides which views are committed together: those that read each other, directly or through others, and all readers of a source that
//! can be read only once, since they share its one reader.

use std::collections::{BTreeMap, BTreeSet};

use alluvium_sql::{Catalog, RelationKind, View};

/// Views that are committed together. Each follows those that it reads.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub(crate) views: Vec<View>,
}

impl Component {
    /// Returns the components of a catalog, in the order of their first views. `read_once` names the sources that can have only one reader.
    pub(crate) fn all(catalog: &Catalog, read_once: &BTreeSet<String>) -> Vec<Component> {
        Self::connected(&catalog.views, read_once)
    }

    /// Returns the connected sets of `views`. Views that they read and that are not among them connect nothing.
    fn connected(views: &[View], read_once: &BTreeSet<String>) -> Vec<Component> {
        let mut root: BTreeMap<&str, &str> = views.iter().map(|view| (view.name.as_str(), view.name.as_str())).collect();
        for view in views {
            for upstream in views_read(view).filter(|upstream| views.iter().any(|other| other.name == *upstream)) {
                let (one, other) = (find(&root, &view.name), find(&root, upstream));
                root.insert(one, other);
            }
        }
        for source in read_once {
            let mut readers = views.iter().filter(|view| sources_read(view).any(|name| name == source));
            let Some(first) = readers.next() else { continue };
            for reader in readers {
                let (one, other) = (find(&root, &reader.name), find(&root, &first.name));
                root.insert(one, other);
            }
        }
        let mut components: Vec<(&str, Component)> = Vec::new();
        for view in views {
            let of = find(&root, &view.name);
            match components.iter_mut().find(|(name, _)| *name == of) {
                Some((_, component)) => component.views.push(view.clone()),
                None => components.push((of, Component { views: vec![view.clone()] })),
            }
        }
        components.into_iter().map(|(_, component)| component).collect()
    }

    /// The name of the first view. It serves as the component's name.
    pub(crate) fn name(&self) -> &str {
        self.views.first().map_or("", |view| &view.name)
    }

    pub(crate) fn holds(&self, view: &str) -> bool {
        self.views.iter().any(|one| one.name == view)
    }

    /// Whether another one of `all` holds the view, which then has a pipeline of its own.
    pub(crate) fn leaves_to_another(&self, view: &str, all: &[Component]) -> bool {
        !self.holds(view) && all.iter().any(|other| other.holds(view))
    }

    /// Returns `views` and all views that read them, directly or through others.
    pub(crate) fn downstream(&self, views: &BTreeSet<String>) -> BTreeSet<String> {
        let mut reached = views.clone();
        for view in &self.views {
            if views_read(view).any(|upstream| reached.contains(upstream)) {
                reached.insert(view.name.clone());
            }
        }
        reached
    }

    /// Whether it holds every view that its views read. Only then can it run.
    pub(crate) fn is_whole(&self) -> bool {
        self.views.iter().flat_map(views_read).all(|upstream| self.holds(upstream))
    }

    /// Splits this component into those that remain if only `views` run.
    pub(crate) fn parts_of(&self, views: &BTreeSet<&str>, read_once: &BTreeSet<String>) -> Vec<Component> {
        let kept: Vec<View> = self.views.iter().filter(|view| views.contains(view.name.as_str())).cloned().collect();
        Self::connected(&kept, read_once)
    }

    /// Returns every source that some view reads.
    pub(crate) fn sources(&self) -> BTreeSet<String> {
        self.views.iter().flat_map(sources_read).map(str::to_owned).collect()
    }

    /// Returns the sources of a view's rows, whether it reads them directly or through other views.
    pub(crate) fn sources_behind(&self, view: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut wanted: BTreeSet<&str> = BTreeSet::from([view]);
        for view in self.views.iter().rev().filter(|one| self.holds(&one.name)) {
            if wanted.contains(view.name.as_str()) {
                wanted.extend(views_read(view));
                found.extend(sources_read(view).map(str::to_owned));
            }
        }
        found
    }
}

/// Returns the views that a view reads directly.
pub(crate) fn views_read(view: &View) -> impl Iterator<Item = &str> {
    reads(view, RelationKind::View)
}

/// Returns the sources that a view reads directly.
pub(crate) fn sources_read(view: &View) -> impl Iterator<Item = &str> {
    reads(view, RelationKind::Source)
}

fn reads(view: &View, wanted: RelationKind) -> impl Iterator<Item = &str> {
    view.plan.reads.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, name)| name.as_str())
}

fn find<'a>(root: &BTreeMap<&'a str, &'a str>, name: &str) -> &'a str {
    let mut at = root[name];
    while root[at] != at {
        at = root[at];
    }
    at
}
