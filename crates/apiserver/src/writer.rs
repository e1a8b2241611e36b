//! The one way to change objects. Requests and the simulated controllers both go through it, so that uids,
//! generations, finalizers, deletion timestamps and no-op writes follow the same rules (those of
//! `k8s.io/apiserver/pkg/registry/rest`) wherever a change comes from.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::crd;
use crate::defaults;
use crate::resources::{Origin, Registry, Resource, SharedResource};
use crate::status::{ApiError, FieldError};
use crate::store::{Change, GroupResource, Store};

/// Which part of an object a write is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The object itself; `status` is left alone where it is a subresource.
    Object,
    /// The `status` subresource: nothing else changes.
    Status,
    /// The `finalize` subresource of a namespace: `spec.finalizers` only.
    Finalize,
}

/// What happens to the objects that an object owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Propagation {
    /// They lose their owner reference and stay.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Only if the object has this uid.
    pub uid: Option<String>,
    /// Only if the object is at this revision.
    pub resource_version: Option<String>,
    /// Dependents; background where not given.
    pub propagation: Option<Propagation>,
}

/// What a deletion came to.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Arc<Value>),
    /// The object waits for its finalizers.
    Waiting(Arc<Value>),
}

/// Changes the objects of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    store: Store,
    registry: Arc<Registry>,
}

impl Writer {
    /// A writer for a store whose resources are those of the registry.
    pub fn new(store: Store, registry: Arc<Registry>) -> Self {
        Self { store, registry }
    }

    /// The store behind it, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The resources of the cluster.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    fn resource(&self, id: &GroupResource) -> Result<SharedResource, ApiError> {
        self.registry.get(id).ok_or_else(ApiError::no_such_path)
    }

    /// Creates an object. Name (or `generateName`) and namespace are taken from its metadata; defaults are filled in.
    pub fn create(&self, id: &GroupResource, object: Value) -> Result<Arc<Value>, ApiError> {
        let resource = self.resource(id)?;
        let object = prepare_create(&resource, object);
        self.insert(&resource, object)
    }

    /// Stores an object that [`prepare_create`] made ready.
    pub(crate) fn insert(
        &self,
        resource: &Resource,
        object: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let (namespace, name) = names(&object);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.check_namespace(resource, &namespace, &name)?;
        let created = self
            .store
            .commit(&resource.id, &namespace, &name, |current| {
                if current.is_some() {
                    return Err(ApiError::already_exists(&resource.id, &name));
                }
                Ok::<_, ApiError>(Change::Put(object))
            })?;
        created.ok_or_else(|| ApiError::internal("a created object is missing"))
    }

    /// Fails unless objects can be created in the namespace: it must exist and not be on its way out.
    pub(crate) fn check_namespace(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        if !resource.namespaced {
            return Ok(());
        }
        let namespaces = GroupResource::core("namespaces");
        let Some(found) = self.store.get(&namespaces, "", namespace) else {
            return Err(ApiError::not_found(&namespaces, namespace));
        };
        if is_deleting(&found) {
            let mut error = ApiError::forbidden(
                &resource.id,
                name,
                &format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                ),
            );
            error.details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            }]);
            return Err(error);
        }
        Ok(())
    }

    /// Replaces an object. A `metadata.resourceVersion` in it is a precondition.
    pub fn update(
        &self,
        id: &GroupResource,
        object: Value,
        scope: Scope,
    ) -> Result<Arc<Value>, ApiError> {
        let (namespace, name) = names(&object);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let expected = object["metadata"]["resourceVersion"]
            .as_str()
            .filter(|rv| !rv.is_empty())
            .map(str::to_owned);
        self.change(id, &namespace, &name, scope, |current| {
            if expected
                .as_deref()
                .is_some_and(|rv| current["metadata"]["resourceVersion"] != rv)
            {
                return Err(ApiError::modified(id, &name));
            }
            Ok(object)
        })
    }

    /// Changes an object in place, atomically: there is no conflict to retry. A closure that changes nothing
    /// writes nothing. Runs under the cluster's lock: keep it short and do not touch the store in it.
    pub fn modify(
        &self,
        id: &GroupResource,
        namespace: &str,
        name: &str,
        scope: Scope,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, ApiError> {
        self.change(id, namespace, name, scope, |current| {
            let mut object = current.clone();
            edit(&mut object);
            Ok(object)
        })
    }

    fn change(
        &self,
        id: &GroupResource,
        namespace: &str,
        name: &str,
        scope: Scope,
        make: impl FnOnce(&Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let resource = self.resource(id)?;
        let changed = self.store.commit(id, namespace, name, |current| {
            let current = current.ok_or_else(|| ApiError::not_found(id, name))?;
            let object = make(current)?;
            let object = prepare_update(&resource, current, object, scope)?;
            Ok::<_, ApiError>(outcome(current, object))
        })?;
        changed.ok_or_else(|| ApiError::not_found(id, name))
    }

    /// Stores what [`prepare_update`] made of `base`, unless the object changed since: then `None`.
    pub(crate) fn replace(
        &self,
        resource: &Resource,
        base: &Arc<Value>,
        object: Value,
    ) -> Result<Option<Arc<Value>>, ApiError> {
        let (namespace, name) = names(base);
        let mut raced = false;
        let changed = self
            .store
            .commit(&resource.id, namespace, name, |current| {
                let current = current.ok_or_else(|| ApiError::not_found(&resource.id, name))?;
                if !Arc::ptr_eq(current, base) {
                    raced = true;
                    return Ok(Change::Keep);
                }
                Ok::<_, ApiError>(outcome(current, object))
            })?;
        Ok(changed.filter(|_| !raced))
    }

    /// Deletes an object, or marks it as being deleted where finalizers hold it.
    pub fn delete(
        &self,
        id: &GroupResource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let mut gone = false;
        let object = self.store.commit(id, namespace, name, |current| {
            let current = current.ok_or_else(|| ApiError::not_found(id, name))?;
            let change = plan_delete(id, current, options, Timestamp::now())?;
            gone = matches!(change, Change::Remove(_));
            Ok::<_, ApiError>(change)
        })?;
        let object = object.ok_or_else(|| ApiError::not_found(id, name))?;
        Ok(if gone {
            Deleted::Gone(object)
        } else {
            Deleted::Waiting(object)
        })
    }
}

/// Namespace (empty for cluster-scoped objects) and name of an object.
pub fn names(object: &Value) -> (&str, &str) {
    let meta = &object["metadata"];
    (
        meta["namespace"].as_str().unwrap_or_default(),
        meta["name"].as_str().unwrap_or_default(),
    )
}

/// Whether somebody asked for the object to be deleted.
pub fn is_deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|t| !t.is_null())
}

/// A time as object metadata has it: RFC 3339, whole seconds, UTC.
pub fn api_time(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    whole.to_string()
}

fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Namespaces wait for their content too, by a finalizer that lives in their spec.
fn is_held(object: &Value) -> bool {
    finalizers(object).next().is_some()
        || (object["kind"] == "Namespace"
            && object["apiVersion"] == "v1"
            && object
                .pointer("/spec/finalizers")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty()))
}

/// Makes an object ready for its creation: name, uid, times, generation, defaults.
pub(crate) fn prepare_create(resource: &Resource, mut object: Value) -> Value {
    let meta = metadata(&mut object);
    if meta
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
        && let Some(prefix) = meta
            .get("generateName")
            .and_then(Value::as_str)
            .filter(|p| !p.is_empty())
    {
        // The API server cuts the prefix so that five random characters fit into 63.
        let cut = prefix.len().min(58);
        let cut = prefix.floor_char_boundary(cut);
        let name = format!("{}{}", &prefix[..cut], random_suffix());
        meta.insert("name".into(), name.into());
    }
    for system in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        meta.remove(system);
    }
    if !resource.namespaced {
        meta.remove("namespace");
    }
    meta.insert("uid".into(), new_uid().into());
    meta.insert(
        "creationTimestamp".into(),
        api_time(Timestamp::now()).into(),
    );
    if resource.generation {
        meta.insert("generation".into(), 1.into());
    } else {
        meta.remove("generation");
    }
    drop_nulls(meta);
    defaults::fill(resource, &mut object);
    object
}

/// Applies the rules of an update: system metadata is kept, the other side of a subresource too, and the
/// generation counts a change of the wished state.
pub(crate) fn prepare_update(
    resource: &Resource,
    current: &Value,
    mut object: Value,
    scope: Scope,
) -> Result<Value, ApiError> {
    let (_, name) = names(current);
    match scope {
        Scope::Object => {
            if resource.has_status() {
                keep(current, &mut object, "status");
            }
        }
        Scope::Status => {
            let status = object.get("status").cloned();
            let sent = object.get("metadata").cloned();
            object = current.clone();
            set_or_remove(&mut object, "status", status);
            if resource.origin == Origin::Builtin {
                // Controllers of built-in kinds write annotations and finalizers along with the status.
                set_or_remove(&mut object, "metadata", sent);
            } else if let Some(managed) = sent.as_ref().and_then(|meta| meta.get("managedFields")) {
                metadata(&mut object).insert("managedFields".into(), managed.clone());
            }
        }
        Scope::Finalize => {
            let finalizers = object.pointer("/spec/finalizers").cloned();
            object = current.clone();
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                match finalizers {
                    Some(list) => spec.insert("finalizers".into(), list),
                    None => spec.remove("finalizers"),
                };
            }
        }
    }
    let old_meta = &current["metadata"];
    let meta = metadata(&mut object);
    if let Some(uid) = meta.get("uid").and_then(Value::as_str)
        && !uid.is_empty()
        && old_meta["uid"] != uid
    {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old_meta["uid"].as_str().unwrap_or_default()
        );
        return Err(ApiError::conflict(&resource.id, name, &why));
    }
    for system in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "generateName",
    ] {
        match old_meta.get(system) {
            Some(value) => meta.insert(system.into(), value.clone()),
            None => meta.remove(system),
        };
    }
    meta.remove("selfLink");
    drop_nulls(meta);
    if is_deleting(current) {
        let added: Vec<&str> = finalizers(&object)
            .filter(|f| !finalizers(current).any(|old| old == *f))
            .collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            return Err(ApiError::invalid(
                &resource.id.group,
                &resource.kind,
                name,
                &[FieldError::forbidden(
                    "metadata.finalizers",
                    &format!(
                        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                        list.join(", ")
                    ),
                )],
            ));
        }
    }
    if scope == Scope::Object {
        defaults::carry_over(resource, current, &mut object);
        defaults::fill(resource, &mut object);
    }
    if resource.generation && scope == Scope::Object && wish_changed(resource, current, &object) {
        let next = current["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata(&mut object).insert("generation".into(), next.into());
    }
    Ok(object)
}

/// What an update comes to: nothing, a new state, or (the last finalizer went) the end.
fn outcome(current: &Value, object: Value) -> Change {
    if is_deleting(&object) && !is_held(&object) {
        return Change::Remove(object);
    }
    if same(current, &object) {
        return Change::Keep;
    }
    Change::Put(object)
}

/// Equal but for the times in `managedFields`, which alone are no reason to write.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (left.as_object(), right.as_object()) else {
        return left == right;
    };
    left.len() == right.len()
        && left.iter().all(|(key, value)| {
            right.get(key).is_some_and(|other| {
                if key == "metadata" {
                    same_metadata(value, other)
                } else {
                    value == other
                }
            })
        })
}

fn same_metadata(left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (left.as_object(), right.as_object()) else {
        return left == right;
    };
    left.len() == right.len()
        && left.iter().all(|(key, value)| {
            right.get(key).is_some_and(|other| {
                if key == "managedFields" {
                    timeless(value) == timeless(other)
                } else {
                    value == other
                }
            })
        })
}

fn timeless(managed: &Value) -> Vec<Map<String, Value>> {
    managed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .map(|entry| {
            entry
                .iter()
                .filter(|(key, _)| *key != "time")
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        })
        .collect()
}

/// Whether anything changed that a controller has to act on: everything but metadata and status. Deployments
/// count their annotations too.
fn wish_changed(resource: &Resource, current: &Value, object: &Value) -> bool {
    let wish = |value: &Value| -> Map<String, Value> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| {
                !matches!(key.as_str(), "metadata" | "apiVersion" | "kind")
                    && !(*key == "status" && resource.has_status())
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    if wish(current) != wish(object) {
        return true;
    }
    resource.is("apps", "deployments") && annotations(current) != annotations(object)
}

/// Annotations but for the one that the deployment controller keeps, which is no wish.
fn annotations(object: &Value) -> Vec<(&String, &Value)> {
    object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "deployment.kubernetes.io/revision")
        .collect()
}

/// Decides what a deletion does to an object.
pub(crate) fn plan_delete(
    id: &GroupResource,
    current: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Change, ApiError> {
    let (_, name) = names(current);
    let old = &current["metadata"];
    if let Some(uid) = &options.uid
        && old["uid"] != uid.as_str()
    {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old["uid"].as_str().unwrap_or_default()
        );
        return Err(ApiError::conflict(id, name, &why));
    }
    if let Some(revision) = &options.resource_version
        && old["resourceVersion"] != revision.as_str()
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {revision}, ResourceVersion in object meta: {}",
            old["resourceVersion"].as_str().unwrap_or_default()
        );
        return Err(ApiError::conflict(id, name, &why));
    }
    let mut object = current.clone();
    let mut list: Vec<String> = finalizers(current).map(str::to_owned).collect();
    let wanted = match options.propagation {
        Some(Propagation::Orphan) => Some("orphan"),
        Some(Propagation::Foreground) => Some("foregroundDeletion"),
        Some(Propagation::Background) => None,
        // Without a wish, what an earlier deletion asked for stays.
        None => list.iter().map(String::as_str).find_map(|f| {
            ["orphan", "foregroundDeletion"]
                .into_iter()
                .find(|g| *g == f)
        }),
    };
    list.retain(|f| f != "orphan" && f != "foregroundDeletion");
    if let Some(wanted) = wanted {
        list.push(wanted.to_owned());
    }
    // A CRD goes after its objects.
    if !is_deleting(current) && &*id.group == crd::GROUP && &*id.resource == crd::RESOURCE {
        list.push(crd::FINALIZER.to_owned());
        list.dedup();
    }
    let meta = metadata(&mut object);
    if list.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), list.into());
    }
    if !is_deleting(current) {
        meta.insert("deletionTimestamp".into(), api_time(now).into());
        meta.insert("deletionGracePeriodSeconds".into(), 0.into());
        if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
            meta.insert("generation".into(), (generation + 1).into());
        }
    }
    if !is_held(&object) {
        return Ok(Change::Remove(object));
    }
    if object["kind"] == "Namespace" && object["apiVersion"] == "v1" {
        object["status"]["phase"] = "Terminating".into();
    }
    Ok(if same(current, &object) {
        Change::Keep
    } else {
        Change::Put(object)
    })
}

/// The metadata of an object, made if it is missing.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    let meta = &mut object["metadata"];
    if !meta.is_object() {
        *meta = json!({});
    }
    meta.as_object_mut()
        .expect("metadata was just made an object")
}

fn drop_nulls(meta: &mut Map<String, Value>) {
    meta.retain(|_, value| {
        !value.is_null()
            && value.as_array().is_none_or(|list| !list.is_empty())
            && value.as_object().is_none_or(|map| !map.is_empty())
    });
}

fn keep(current: &Value, object: &mut Value, key: &str) {
    set_or_remove(object, key, current.get(key).cloned());
}

fn set_or_remove(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => map.insert(key.into(), value),
            None => map.remove(key),
        };
    }
}

/// A random (version 4) UUID.
pub fn new_uid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let n = u128::from_be_bytes(bytes);
    let hex = format!("{n:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Five characters from the alphabet that Kubernetes uses for generated names (no vowels, no look-alikes).
pub fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    random::<5>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The time some seconds from now.
pub fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::now()
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
