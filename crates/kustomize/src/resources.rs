//! The accumulated list of resources, in the order in which they were read.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::id::ResId;
use crate::resource::{Behavior, Resource};

/// Resources with different current ids. The order is that of the input.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resources {
    items: Vec<Resource>,
    /// The current ids as texts, while only appending; forgotten when items are handed out for change.
    ids: Option<HashSet<String>>,
}

impl Resources {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.items.iter()
    }

    pub(crate) fn items_mut(&mut self) -> &mut Vec<Resource> {
        self.ids = None;
        &mut self.items
    }

    /// Items for a change that leaves all current ids as they are.
    pub(crate) fn contents_mut(&mut self) -> std::slice::IterMut<'_, Resource> {
        self.items.iter_mut()
    }

    pub(crate) fn into_items(self) -> Vec<Resource> {
        self.items
    }

    /// Adds a resource whose current id must be new.
    pub(crate) fn append(&mut self, resource: Resource) -> Result<()> {
        let ids = self
            .ids
            .get_or_insert_with(|| self.items.iter().map(Resource::id_text).collect());
        if !ids.insert(resource.id_text()) {
            return Err(Error::conflict(format!(
                "may not add resource with an already registered id: {}",
                resource.id()
            ))
            .hint("remove one of the two, or turn one into a patch"));
        }
        self.items.push(resource);
        Ok(())
    }

    pub(crate) fn append_all(
        &mut self,
        resources: impl IntoIterator<Item = Resource>,
    ) -> Result<()> {
        resources
            .into_iter()
            .try_for_each(|resource| self.append(resource))
    }

    /// Replaces the items; all ids must differ.
    pub(crate) fn rebuild(&mut self, items: Vec<Resource>) -> Result<()> {
        self.items = Vec::with_capacity(items.len());
        self.ids = None;
        self.append_all(items)
    }

    /// Drops what patches deleted.
    pub(crate) fn drop_gone(&mut self) {
        if self.items.iter().any(Resource::is_gone) {
            self.items_mut().retain(|resource| !resource.is_gone());
        }
    }

    /// The resources that have or had the id.
    pub(crate) fn answering_to(&self, id: &ResId) -> Vec<usize> {
        let fits = |(at, resource): (usize, &Resource)| {
            (!resource.is_gone() && resource.answers_to(id)).then_some(at)
        };
        self.items.iter().enumerate().filter_map(fits).collect()
    }

    /// The one resource that has or had the id.
    pub(crate) fn one_answering_to(&self, id: &ResId) -> Result<usize> {
        match self.answering_to(id)[..] {
            [at] => Ok(at),
            [] => Err(Error::conflict(format!(
                "no matches for Id {id}; failed to find unique target for patch {id}"
            ))
            .hint("the patch's apiVersion, kind, name and namespace must be those of a resource")),
            _ => Err(Error::conflict(format!(
                "multiple matches for Id {id}; failed to find unique target for patch {id}"
            ))),
        }
    }

    /// Adds what a generator made: new, or in the place of what has the id.
    pub(crate) fn absorb(&mut self, mut made: Resource) -> Result<()> {
        let id = made.id();
        match self.answering_to(&id)[..] {
            [] => match made.behavior {
                Behavior::Merge | Behavior::Replace => Err(Error::conflict(format!(
                    "id {id} does not exist; cannot merge or replace"
                ))
                .hint("behavior must be create, or a resource below must have that name and namespace")),
                Behavior::Unspecified | Behavior::Create => self.append(made),
            },
            [at] => {
                let old = &self.items[at];
                match made.behavior {
                    Behavior::Replace => made.adopt_metadata(old)?,
                    Behavior::Merge => {
                        let origin = old.origin().map(str::to_owned);
                        made.adopt_metadata(old)?;
                        made.merge_data(old);
                        if let Some(origin) = origin {
                            made.set_origin(&origin);
                        }
                    }
                    behavior => {
                        return Err(Error::conflict(format!(
                            "id {id} exists; can not use behavior: '{}', behavior must be merge or replace",
                            behavior.name()
                        )));
                    }
                }
                self.items[at] = made;
                Ok(())
            }
            _ => Err(Error::conflict(format!("found multiple objects that could accept merge of {id}"))),
        }
    }
}
