//! What kustomizations came to, kept for the builds after this one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::accumulate::{Accumulated, Context};
use crate::error::Result;
use crate::load::{Loader, MAX_DEPTH};
use crate::options::LoadRestrictor;
use crate::tree::{self, FileTree, ReadSet, Recorder, TreeError};

/// What the bases of a tree came to, shared by the builds of that tree.
///
/// Overlays share bases, and clusters share overlays: with this, what several builds take in is read and transformed
/// once. It holds for one tree; [`Bases::in_tree`] takes what is still true along to the next commit.
///
/// ```
/// use fairway_kustomize::{Bases, MemoryTree, Options, build_with};
///
/// let mut tree: MemoryTree = [
///     ("base/kustomization.yaml", "resources: [service.yaml]"),
///     ("base/service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}"),
///     ("dev/kustomization.yaml", "resources: [../base]\nnamePrefix: dev-"),
///     ("prod/kustomization.yaml", "resources: [../base]\nnamePrefix: prod-"),
/// ]
/// .into_iter()
/// .collect();
/// let bases = Bases::default();
/// for overlay in ["dev", "prod"] {
///     let built = build_with(&tree, overlay, &Options::default(), &bases)?;
///     assert_eq!(built.resources[0].object["metadata"]["name"], format!("{overlay}-web"));
/// }
/// assert_eq!(bases.len(), 1);
///
/// tree.insert("dev/kustomization.yaml", "resources: [../base]\nnamePrefix: test-");
/// assert_eq!(bases.in_tree(&tree)?.len(), 1);
/// tree.insert("base/kustomization.yaml", "resources: [service.yaml]\nnamespace: shop");
/// assert_eq!(bases.in_tree(&tree)?.len(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Bases {
    known: RwLock<HashMap<Key, Arc<Base>>>,
}

/// The directory, and what its kustomization may read.
type Key = (Arc<str>, LoadRestrictor);

#[derive(Debug)]
struct Base {
    made: Accumulated,
    warnings: Vec<String>,
    reads: Arc<ReadSet>,
    /// The directories of all kustomizations in it.
    entered: Vec<String>,
}

impl Bases {
    /// How many bases are known.
    pub fn len(&self) -> usize {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those for which `tree` gives the same answers.
    pub fn in_tree(&self, tree: &dyn FileTree) -> Result<Self, TreeError> {
        self.filtered(|reads| reads.same_in(tree))
    }

    /// Those that none of the changed files can matter to: see [`ReadSet::is_apart_from`].
    #[must_use]
    pub fn apart_from(&self, changed: &[String]) -> Self {
        let all = self.filtered(|reads| Ok(reads.is_apart_from(changed)));
        all.unwrap_or_default()
    }

    fn filtered(
        &self,
        still: impl Fn(&ReadSet) -> Result<bool, TreeError>,
    ) -> Result<Self, TreeError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut kept = HashMap::with_capacity(known.len());
        for (key, base) in known.iter() {
            if still(&base.reads)? {
                kept.insert(key.clone(), Arc::clone(base));
            }
        }
        Ok(Self {
            known: RwLock::new(kept),
        })
    }

    /// What the kustomization of the loader's directory comes to: known, or made and kept.
    pub(crate) fn accumulate(
        &self,
        loader: &Loader<'_>,
        context: &mut Context,
        make: impl FnOnce(Loader<'_>, &mut Context) -> Result<Accumulated>,
    ) -> Result<Accumulated> {
        let key = (Arc::from(loader.root.as_str()), loader.restrictor);
        let known = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(base) = known.filter(|base| base.fits(loader)) {
            loader.tree.note(&base.reads);
            context.warnings.extend(base.warnings.iter().cloned());
            return Ok(base.made.clone());
        }
        let recorder = Recorder::new(loader.tree);
        let outer = std::mem::take(&mut context.warnings);
        let made = make(loader.through(&recorder), context);
        let warnings = std::mem::replace(&mut context.warnings, outer);
        context.warnings.extend(warnings.iter().cloned());
        let made = made?;
        // A schema that it brings is for what comes after it, too.
        if !context.own_schema {
            let reads = recorder.into_read_set();
            let base = Base {
                made: made.clone(),
                warnings,
                entered: reads.directories(),
                reads: Arc::new(reads),
            };
            self.known
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, Arc::new(base));
        }
        Ok(made)
    }
}

impl Base {
    /// Whether it would have come out the same on this way: without a cycle, and not too deep.
    fn fits(&self, loader: &Loader<'_>) -> bool {
        let cycle = |directory: &String| {
            loader
                .visited()
                .any(|visited| visited != loader.root && tree::within(directory, visited))
        };
        loader.visited().count() + self.entered.len() <= MAX_DEPTH
            && !self.entered.iter().any(cycle)
    }
}
