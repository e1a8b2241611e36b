//! Applies a plan to a cluster: stage by stage, each stage checked by dry-run before anything of it is written.
//!
//! What an object costs: nothing where a [`Witness`] vouches for it, two requests where it is new (dry-run, apply) or
//! unchanged (dry-run, get), three where it changes; on the first apply of an owner an answer "not found" takes the place
//! of the dry-run; later one less where the witness knows what it is now, and no dry-run where nothing else of its stage is
//! written.

mod change;
mod check;
mod error;
mod repair;
mod write;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fairway_types::{Inventory, InventoryEntry, ObjectId, kustomization::IgnoreRule};

pub use change::{Action, Change, change_log};
pub use error::ApplyError;

use crate::{
    api::Session,
    mapper::Mapper,
    order::Stage,
    plan::{Owner, Plan},
    witness::Witness,
};

/// Settings of an apply.
#[derive(Clone)]
pub struct Options {
    /// Whose objects these are.
    pub owner: Owner,
    /// Fields that are left to others.
    pub ignore: Vec<IgnoreRule>,
    /// Who saves requests by watching; without, every object is checked.
    pub witness: Option<Arc<dyn Witness>>,
    /// Requests under way at the same time.
    pub concurrency: usize,
    /// Nothing of this owner was ever applied: what is not there is applied at once, without a dry-run first. If one of
    /// them is refused, others of its stage may have been made.
    pub first: bool,
    /// This is only to put back what others changed: a Job that had finished before it went is left as it is.
    pub correction: bool,
    /// How long definitions may take to be established, and a recreated object to go.
    pub stage_timeout: Duration,
}

impl Options {
    /// The usual settings for an owner.
    pub fn new(owner: Owner) -> Self {
        Self {
            owner,
            ignore: Vec::new(),
            witness: None,
            concurrency: 8,
            first: false,
            correction: false,
            stage_timeout: Duration::from_mins(1),
        }
    }
}

/// What an apply did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// All objects, in the order of application.
    pub changes: Vec<Change>,
    /// The inventory to keep: every desired object, in the order of application, as Flux has it.
    pub inventory: Inventory,
    /// The desired objects as the cluster has them: a namespace on an object that has none is left out.
    pub wanted: HashSet<ObjectId>,
    /// Objects whose health counts: skipped ones do not.
    pub checked: Vec<InventoryEntry>,
    /// Fields that built-in kinds do not have, and that were left out, as Flux does without a word.
    pub left_out: Vec<(ObjectId, Vec<String>)>,
}

impl Report {
    /// Whether the cluster is different now.
    pub fn changed(&self) -> bool {
        self.changes.iter().any(|change| change.action.is_change())
    }

    fn add(&mut self, id: ObjectId, version: &str, action: Action) {
        let entry = InventoryEntry::new(&id, version);
        if action != Action::Skipped {
            self.checked.push(entry.clone());
        }
        self.inventory.insert(entry);
        self.wanted.insert(id.clone());
        self.changes.push(Change { id, action });
    }
}

/// An apply that stopped, and what it had done by then. The caller adds `report.inventory` to the one it has, so that
/// nothing that was made is forgotten.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Stopped {
    /// Why.
    #[source]
    pub error: ApplyError,
    /// What had been applied; its inventory also names what may have been, for want of an answer.
    pub report: Box<Report>,
}

/// Applies a plan. Deleting what is stale is [`prune`](crate::prune::prune)'s work, afterwards.
pub async fn apply(
    session: &Session,
    mapper: &Mapper,
    plan: &Plan,
    options: &Options,
) -> Result<Report, Stopped> {
    let mut report = Report::default();
    let run = Run {
        session,
        mapper,
        options,
        left_out: Mutex::default(),
    };
    let result = run.stages(plan, &mut report).await;
    report.left_out = run
        .left_out
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match result {
        Ok(()) => Ok(report),
        Err(error) => Err(Stopped {
            error,
            report: Box::new(report),
        }),
    }
}

struct Run<'a> {
    session: &'a Session,
    mapper: &'a Mapper,
    options: &'a Options,
    left_out: Mutex<Vec<(ObjectId, Vec<String>)>>,
}

impl Run<'_> {
    async fn stages(&self, plan: &Plan, report: &mut Report) -> Result<(), ApplyError> {
        let mut new_definitions = false;
        for (stage, objects) in &plan.stages {
            let checked = self.check_stage(objects, new_definitions).await?;
            let pending = self.write(objects, checked, report).await?;
            if *stage != Stage::Resources {
                self.establish(pending).await?;
            }
            if *stage == Stage::Definitions && report.changed() {
                self.mapper.expire();
                new_definitions = true;
            }
        }
        Ok(())
    }
}
