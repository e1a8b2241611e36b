//! Where a resource names another whose name has changed, the new name is put in.

use std::collections::HashMap;

use fairway_yaml::{Kind, Node};

use crate::config::NameReference;
use crate::error::{Error, Result};
use crate::field_spec::{Create, FieldSpec};
use crate::id::{Gvk, ResId};
use crate::node::{self, Tag};
use crate::resource::Resource;
use crate::resources::Resources;

/// What has to be known of a resource that may be referred to.
struct Candidate {
    id: ResId,
    original_namespace: String,
    /// The earlier names, with their kinds.
    previous: Vec<(String, Gvk)>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

struct Candidates {
    all: Vec<Candidate>,
    by_previous_name: HashMap<String, Vec<usize>>,
    by_original_namespace: HashMap<String, Vec<usize>>,
}

/// Updates all references.
pub(crate) fn transform(resources: &mut Resources, references: &[NameReference]) -> Result<()> {
    let candidates = Candidates::of(resources);
    if candidates.by_previous_name.is_empty() {
        return resources
            .iter()
            .try_for_each(|resource| bound_namespaces(resource).map(drop));
    }
    let mut by_kind: HashMap<&str, Vec<(&NameReference, &FieldSpec)>> = HashMap::new();
    for reference in references {
        for spec in &reference.referrers {
            by_kind
                .entry(&spec.gvk.kind)
                .or_default()
                .push((reference, spec));
        }
    }
    let for_any: Vec<_> = by_kind.remove("").unwrap_or_default();
    let place: HashMap<*const FieldSpec, usize> = references
        .iter()
        .flat_map(|reference| &reference.referrers)
        .enumerate()
        .map(|(at, spec)| (std::ptr::from_ref(spec), at))
        .collect();
    for (at, resource) in resources.contents_mut().enumerate() {
        if resource.is_gone() {
            continue;
        }
        let original = resource.original_id();
        let own = by_kind
            .get(original.gvk.kind.as_str())
            .map_or(&[][..], Vec::as_slice);
        let mut specs: Vec<_> = own.iter().chain(&for_any).copied().collect();
        if !for_any.is_empty() {
            specs.sort_by_key(|(_, spec)| place[&std::ptr::from_ref(*spec)]);
        }
        let referrer = Referrer::new(resource, &candidates.all[at], &candidates)?;
        let mut object = resource.lend_object();
        let done = specs
            .into_iter()
            .filter(|(_, spec)| original.gvk.is_selected_by(&spec.gvk))
            .try_for_each(|(reference, spec)| referrer.update(&mut object, reference, spec));
        resource.set_object(object);
        resource.sync_shared();
        done.map_err(|error| {
            error.while_doing(format_args!("name references of {}", candidates.all[at].id))
        })?;
    }
    Ok(())
}

impl Candidates {
    fn of(resources: &Resources) -> Self {
        let mut out = Self {
            all: Vec::with_capacity(resources.len()),
            by_previous_name: HashMap::new(),
            by_original_namespace: HashMap::new(),
        };
        for (at, resource) in resources.iter().enumerate() {
            let id = resource.id();
            for previous in &resource.previous {
                let list = out
                    .by_previous_name
                    .entry(previous.name.clone())
                    .or_default();
                if list.last() != Some(&at) {
                    list.push(at);
                }
            }
            let original_namespace = resource.original_id().effective_namespace().to_owned();
            out.by_original_namespace
                .entry(original_namespace.clone())
                .or_default()
                .push(at);
            let kind = |kind: &str| Gvk {
                kind: kind.to_owned(),
                ..id.gvk.clone()
            };
            out.all.push(Candidate {
                previous: resource
                    .previous
                    .iter()
                    .map(|p| (p.name.clone(), kind(&p.kind)))
                    .collect(),
                prefixes: resource.prefixes.clone(),
                suffixes: resource.suffixes.clone(),
                original_namespace,
                id,
            });
        }
        out
    }
}

/// A resource whose references are updated.
struct Referrer<'c> {
    this: &'c Candidate,
    candidates: &'c Candidates,
    /// Namespaces of the service accounts that a role binding names.
    bound: Vec<String>,
    role: Option<Gvk>,
}

/// The namespaces of the service accounts that a role binding names.
fn bound_namespaces(resource: &Resource) -> Result<Vec<String>> {
    let mut out = Vec::new();
    if resource.kind() != "RoleBinding" {
        return Ok(out);
    }
    for subject in resource
        .object()
        .get("subjects")
        .and_then(Node::items)
        .unwrap_or_default()
    {
        let account = subject
            .get("kind")
            .is_some_and(|kind| node::text(kind) == "ServiceAccount");
        let Some(namespace) = subject.get("namespace").filter(|_| account) else {
            continue;
        };
        if !matches!(node::tag_of(namespace), Tag::Str | Tag::Unset) {
            return Err(Error::invalid(format!(
                "namespace is blank for resource {:?}",
                resource.id().to_string()
            ))
            .in_field("subjects"));
        }
        out.push(node::text(namespace).to_owned());
    }
    Ok(out)
}

impl<'c> Referrer<'c> {
    fn new(resource: &Resource, this: &'c Candidate, candidates: &'c Candidates) -> Result<Self> {
        let bound = bound_namespaces(resource)?;
        let role = resource.object().get("roleRef").and_then(|role| {
            Some(Gvk::new(
                role.get("apiGroup")?.text()?,
                "",
                role.get("kind")?.text()?,
            ))
        });
        Ok(Self {
            this,
            candidates,
            bound,
            role,
        })
    }

    fn update(&self, object: &mut Node, reference: &NameReference, spec: &FieldSpec) -> Result<()> {
        let by_role = spec.path.ends_with("roleRef/name");
        spec.visit(
            object,
            Create::Nothing,
            &mut |value| match &mut value.kind {
                Kind::Seq(items) => items
                    .iter_mut()
                    .try_for_each(|item| self.set(item, &reference.target, by_role)),
                _ => self.set(value, &reference.target, by_role),
            },
        )
    }

    fn set(&self, value: &mut Node, target: &Gvk, by_role: bool) -> Result<()> {
        match &value.kind {
            Kind::Scalar(_) if node::is_null(value) => Ok(()),
            Kind::Scalar(_) => self.set_name(value, target, by_role),
            Kind::Map(_) => self.set_name_and_namespace(value, target, by_role),
            Kind::Seq(_) => Err(node::wrong_kind("a name or a map with a name", value)),
        }
    }

    fn set_name(&self, value: &mut Node, target: &Gvk, by_role: bool) -> Result<()> {
        let old = node::text(value);
        let found = self.select(old, target, by_role, None, |a, b| a.id.name == b.id.name)?;
        match found {
            Some(found) if found.id.name != old => {
                node::set_scalar(value, &found.id.name, Tag::Unset)
            }
            _ => Ok(()),
        }
    }

    fn set_name_and_namespace(&self, value: &mut Node, target: &Gvk, by_role: bool) -> Result<()> {
        let Some(name) = value.get("name") else {
            return Err(Error::invalid("path config error; no 'name' field in node"));
        };
        let old = node::text(name).to_owned();
        let namespace = value
            .get("namespace")
            .map(|namespace| node::text(namespace).to_owned());
        let same = |a: &Candidate, b: &Candidate| {
            a.id.name == b.id.name && a.id.namespace == b.id.namespace
        };
        let Some(found) = self.select(&old, target, by_role, namespace.as_deref(), same)? else {
            return Ok(());
        };
        if found.id.name == old && found.id.namespace.is_empty() {
            return Ok(());
        }
        node::set_entry(value, "name", &found.id.name, Tag::Unset)?;
        if found.id.namespace.is_empty() {
            return Ok(());
        }
        node::set_entry(value, "namespace", &found.id.namespace, Tag::Unset)
    }

    /// Whether the referrer can see the candidate at all.
    fn reaches(&self, candidate: &Candidate) -> bool {
        self.this.id.cluster_scoped
            || candidate.id.cluster_scoped
            || candidate.id.same_namespace(&self.this.id)
            || self.bound.contains(&candidate.id.namespace)
    }

    /// The resource that was called `old` and is meant.
    fn select(
        &self,
        old: &str,
        target: &Gvk,
        by_role: bool,
        namespace: Option<&str>,
        same: impl Fn(&Candidate, &Candidate) -> bool,
    ) -> Result<Option<&'c Candidate>> {
        let Some(named) = self.candidates.by_previous_name.get(old) else {
            return Ok(None);
        };
        let in_namespace = namespace.map(|namespace| self.in_namespace(namespace));
        let had_kind = |candidate: &Candidate, gvk: &Gvk| {
            candidate
                .previous
                .iter()
                .any(|(_, previous)| previous.is_selected_by(gvk))
        };
        let visible = |candidate: &Candidate| {
            self.this.id.cluster_scoped
                || candidate.id.cluster_scoped
                || candidate.id.gvk.kind == "ServiceAccount"
                || self.this.id.same_namespace(&candidate.id)
        };
        let mut left: Vec<&'c Candidate> = named
            .iter()
            .filter(|at| {
                in_namespace.is_none_or(|(by_original, namespace)| {
                    let candidate = &self.candidates.all[**at];
                    if by_original {
                        candidate.original_namespace == namespace
                    } else {
                        candidate.id.effective_namespace() == namespace
                    }
                })
            })
            .map(|at| &self.candidates.all[*at])
            .filter(|candidate| self.reaches(candidate) && had_kind(candidate, target))
            .filter(|candidate| match &self.role {
                Some(role) if by_role => had_kind(candidate, role),
                _ => true,
            })
            .filter(|candidate| visible(candidate))
            .collect();
        if let [one] = left[..] {
            return Ok(Some(one));
        }
        left.retain(|candidate| self.fits(candidate, true));
        if left.len() > 1 {
            left.retain(|candidate| self.fits(candidate, false));
        }
        match left[..] {
            [] => Ok(None),
            [first, ref rest @ ..] if rest.iter().all(|other| same(first, other)) => {
                Ok(Some(first))
            }
            _ => {
                let ids: Vec<String> = left
                    .iter()
                    .map(|candidate| candidate.id.to_string())
                    .collect();
                Err(Error::conflict(format!(
                    "found multiple possible referrals: {}",
                    ids.join(", ")
                )))
            }
        }
    }

    /// Whether the namespace is looked for among the original ones, or else among those of now.
    fn in_namespace<'a>(&self, namespace: &'a str) -> (bool, &'a str) {
        let originals = self.candidates.by_original_namespace.get(namespace);
        let known = originals
            .is_some_and(|all| all.iter().any(|at| self.reaches(&self.candidates.all[*at])));
        (known && namespace != crate::id::NOT_A_NAMESPACE, namespace)
    }

    /// Whether prefixes and suffixes were added by the same layers.
    fn fits(&self, candidate: &Candidate, or_none: bool) -> bool {
        let fits = |a: &[String], b: &[String]| {
            (or_none && (a.is_empty() || b.is_empty())) || same_ending(a, b)
        };
        fits(&candidate.prefixes, &self.this.prefixes)
            && fits(&candidate.suffixes, &self.this.suffixes)
    }
}

fn same_ending(a: &[String], b: &[String]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.is_empty() {
        long.is_empty()
    } else {
        long.ends_with(short)
    }
}
