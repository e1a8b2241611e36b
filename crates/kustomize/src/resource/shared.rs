//! Scalars that stand in several fields of a resource and are one to kustomize.

use std::collections::HashMap;

use fairway_yaml::{Kind, Node};

use super::Resource;
use crate::node;

impl Resource {
    /// A number for a scalar that is added to several fields.
    pub(crate) fn share(&mut self) -> u32 {
        self.shared += 1;
        self.shared
    }

    /// Makes shared scalars the same again after one of them was changed.
    pub(crate) fn sync_shared(&mut self) {
        if self.shared == 0 {
            return;
        }
        let mut changed = HashMap::new();
        collect_changed(&self.object, &mut changed);
        if !changed.is_empty() {
            put_changed(self.object_mut(), &changed);
        }
    }
}

fn collect_changed(node: &Node, out: &mut HashMap<u32, Kind>) {
    match &node.kind {
        Kind::Scalar(_) => {
            if let Some(number) =
                node::shared::number(node.span).filter(|_| node::shared::is_changed(node))
            {
                out.insert(number, node.kind.clone());
            }
        }
        Kind::Seq(items) => items.iter().for_each(|item| collect_changed(item, out)),
        Kind::Map(entries) => entries
            .iter()
            .for_each(|(_, value)| collect_changed(value, out)),
    }
}

fn put_changed(node: &mut Node, changed: &HashMap<u32, Kind>) {
    match &mut node.kind {
        Kind::Scalar(_) => {
            if let Some(number) = node::shared::number(node.span)
                && let Some(kind) = changed.get(&number)
            {
                node.kind = kind.clone();
                node.span = node::shared::mark(number);
            }
        }
        Kind::Seq(items) => items.iter_mut().for_each(|item| put_changed(item, changed)),
        Kind::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, value)| put_changed(value, changed)),
    }
}
