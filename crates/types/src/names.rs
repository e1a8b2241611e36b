//! Names that Flux and Fairway write into clusters: managers, labels, annotations, finalizers, conditions, reasons.

/// Group of the Kustomization API.
pub const KUSTOMIZE_GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// Group of the source API.
pub const SOURCE_GROUP: &str = "source.toolkit.fluxcd.io";
/// Group of Fairway's own API.
pub const FLEET_GROUP: &str = "fleet.fairway.dev";

/// Field manager of applied objects.
pub const FIELD_MANAGER: &str = "kustomize-controller";
/// Field manager of Kustomization status.
pub const KUSTOMIZATION_STATUS_MANAGER: &str = "gotk-kustomize-controller";
/// Field manager of source status.
pub const SOURCE_STATUS_MANAGER: &str = "gotk-source-controller";
/// Field manager of Fairway's own kinds.
pub const FLEET_MANAGER: &str = "fairway";
/// Component that events about Kustomizations are from.
pub const KUSTOMIZE_CONTROLLER: &str = "kustomize-controller";
/// Component that events about sources are from.
pub const SOURCE_CONTROLLER: &str = "source-controller";

/// Finalizer of Flux's objects.
pub const FINALIZER: &str = "finalizers.fluxcd.io";
/// Finalizer of Fairway's own objects.
pub const FLEET_FINALIZER: &str = "fleet.fairway.dev/finalizer";

/// Owner label: name of the Kustomization that applied an object.
pub const OWNER_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
/// Owner label: namespace of the Kustomization that applied an object.
pub const OWNER_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
/// `disabled`: the object is never deleted.
pub const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
/// `disabled`: the object is neither applied nor deleted.
pub const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// `Override`, `Merge`, `IfNotPresent` or `Ignore`: how the object is applied.
pub const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
/// `enabled`: the object is recreated where an immutable field changes.
pub const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";
/// `disabled`: no variables are substituted in the object.
pub const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
/// `Disabled`: the Secret is not decrypted.
pub const DECRYPT: &str = "kustomize.toolkit.fluxcd.io/decrypt";
/// Event metadata: the revision.
pub const REVISION: &str = "kustomize.toolkit.fluxcd.io/revision";
/// Event metadata: the state of the commit is to be updated.
pub const COMMIT_STATUS: &str = "kustomize.toolkit.fluxcd.io/commit_status";
/// Annotations of an object with this prefix become metadata of its events.
pub const EVENT_PREFIX: &str = "event.toolkit.fluxcd.io/";
/// The value that switches something off.
pub const DISABLED: &str = "disabled";
/// The value that switches something on.
pub const ENABLED: &str = "enabled";
/// Value of [`SSA`]: take over every field (the default).
pub const SSA_OVERRIDE: &str = "Override";
/// Value of [`SSA`]: leave the fields of others.
pub const SSA_MERGE: &str = "Merge";
/// Value of [`SSA`]: only create.
pub const SSA_IF_NOT_PRESENT: &str = "IfNotPresent";
/// Value of [`SSA`]: do not apply.
pub const SSA_IGNORE: &str = "Ignore";

/// Annotation that asks for a reconciliation now.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Label (`Enabled`) of ConfigMaps and Secrets whose changes reconcile their users at once.
pub const WATCH: &str = "reconcile.fluxcd.io/watch";
/// Label that assigns an object to a shard.
pub const SHARD_KEY: &str = "sharding.fluxcd.io/key";
/// kubectl's client-side apply annotation.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Label of a generated Kustomization: the FleetKustomization that it is of.
pub const FLEET_NAME: &str = "fleet.fairway.dev/fleetkustomization";
/// Label of a generated object: the Cluster that it is for.
pub const CLUSTER_NAME: &str = "fleet.fairway.dev/cluster";
/// Label of a generated GitRepository: the GitRepository that it holds a commit of.
pub const HOLD_OF: &str = "fleet.fairway.dev/hold-of";
/// The labels of a Cluster that its Kustomizations carry too.
pub const CLUSTER_LABELS: [&str; 5] = [
    "environment",
    "region",
    "cluster-type",
    "team",
    "cost-center",
];

/// Label of a Promotion: its Pipeline.
pub const PIPELINE_NAME: &str = "fleet.fairway.dev/pipeline";
/// Label of a Promotion: its stage.
pub const STAGE_NAME: &str = "fleet.fairway.dev/stage";
/// Annotation of a Promotion that the engine makes: what it is for, the arrival in the stage before (or in the first one).
pub const ARRIVAL: &str = "fleet.fairway.dev/arrival";
/// Annotation of a Pipeline: nothing is committed to any stage while it holds. With `.<stage>` added, to one stage.
/// The value is JSON (`until`, `reason`, `by`) or a reason.
pub const FREEZE: &str = "fleet.fairway.dev/freeze";
/// Annotation of a Pipeline: versions that may be promoted again although they failed, separated by spaces, or `*`, then
/// `@` and when that was asked for. One value is acted upon once.
pub const UNBLOCK: &str = "fleet.fairway.dev/unblock";
/// Annotation of a Promotion: verdicts that do not hold any more, as a comma-separated list of names of checks, or `*`. Before the commit
/// the gate is asked again; after it, the version counts as not verified in its stage and goes no further.
pub const REVOKE: &str = "fleet.fairway.dev/revoke";
/// Annotation of a Promotion: who wants it to end. Before the commit it is rejected; afterwards it fails, with what that
/// means for its stage.
pub const CANCEL: &str = "fleet.fairway.dev/cancel";
/// Name of the ValidatingAdmissionPolicy (and of its binding) that ties Approvals and requests to the caller.
pub const APPROVALS_POLICY: &str = "fairway-approvals.fleet.fairway.dev";

/// Namespace that holds the system's own objects.
pub const SYSTEM_NAMESPACE: &str = "flux-system";
/// Service account in a workload cluster that reads, watches and impersonates.
pub const CLUSTER_SERVICE_ACCOUNT: &str = "fairway";
/// Service account in a workload cluster that applies, unless a Kustomization names another.
pub const APPLIER_SERVICE_ACCOUNT: &str = "fairway-applier";
/// Keys of a kubeconfig Secret that are tried in turn where none is named.
pub const KUBECONFIG_KEYS: [&str; 2] = ["value", "value.yaml"];

/// Condition: the last attempt succeeded.
pub const READY: &str = "Ready";
/// Condition: work is under way.
pub const RECONCILING: &str = "Reconciling";
/// Condition: it cannot go on without a change from outside.
pub const STALLED: &str = "Stalled";
/// Condition: the last health check passed.
pub const HEALTHY: &str = "Healthy";
/// Condition of Promotions: clusters are held at the last good revision.
pub const HELD: &str = "Held";
/// Condition of Promotions and Pipelines: it cannot go on without a person.
pub const NEEDS_ATTENTION: &str = "NeedsAttention";
/// Condition of Fairway's own objects: another engine leads, and nothing is touched.
pub const ENGINE_CONFLICT: &str = "EngineConflict";
/// Condition of sources: the artifact is stored.
pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
/// Condition of sources: the last fetch failed.
pub const FETCH_FAILED: &str = "FetchFailed";
/// Condition of sources: the artifact could not be stored.
pub const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";
/// Condition of sources: what is included is not there.
pub const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
/// Condition of sources: there is something newer than the artifact.
pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
/// Condition of sources: the signature was verified.
pub const SOURCE_VERIFIED: &str = "SourceVerified";

/// Reasons of conditions and events.
pub mod reason {
    /// Something generic went well.
    pub const SUCCEEDED: &str = "Succeeded";
    /// Something generic failed.
    pub const FAILED: &str = "Failed";
    /// The Kustomization is applied.
    pub const RECONCILIATION_SUCCEEDED: &str = "ReconciliationSucceeded";
    /// The apply failed.
    pub const RECONCILIATION_FAILED: &str = "ReconciliationFailed";
    /// The build failed.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// The source or the path in it is not there.
    pub const ARTIFACT_FAILED: &str = "ArtifactFailed";
    /// An object could not be deleted.
    pub const PRUNE_FAILED: &str = "PruneFailed";
    /// An object is not healthy.
    pub const HEALTH_CHECK_FAILED: &str = "HealthCheckFailed";
    /// A newer request ended the health check.
    pub const HEALTH_CHECK_CANCELED: &str = "HealthCheckCanceled";
    /// A dependency is not ready.
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    /// Work is under way.
    pub const PROGRESSING: &str = "Progressing";
    /// Work is under way again after a failure.
    pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
    /// A CEL expression cannot be read.
    pub const INVALID_CEL_EXPRESSION: &str = "InvalidCELExpression";
    /// A reference that is not allowed.
    pub const ACCESS_DENIED: &str = "AccessDenied";
    /// It is suspended.
    pub const SUSPENDED: &str = "Suspended";
    /// A fetch succeeded.
    pub const GIT_OPERATION_SUCCEEDED: &str = "GitOperationSucceeded";
    /// A fetch failed.
    pub const GIT_OPERATION_FAILED: &str = "GitOperationFailed";
    /// Credentials were refused or are missing.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// The address of a source cannot be used.
    pub const URL_INVALID: &str = "URLInvalid";
    /// The provider of a source, or what it needs, is not as it must be.
    pub const INVALID_PROVIDER_CONFIGURATION: &str = "InvalidProviderConfiguration";
    /// The archive of a source could not be made.
    pub const ARCHIVE_OPERATION_FAILED: &str = "ArchiveOperationFailed";
    /// The folder of artifacts cannot be used.
    pub const DIR_CREATION_FAILED: &str = "DirectoryCreationFailed";
    /// The stored artifact is of the newest revision.
    pub const ARTIFACT_UP_TO_DATE: &str = "ArtifactUpToDate";
    /// A new artifact was stored.
    pub const NEW_ARTIFACT: &str = "NewArtifact";
    /// The cluster cannot be reached.
    pub const CLUSTER_UNREACHABLE: &str = "ClusterUnreachable";
    /// The template cannot be rendered for a cluster.
    pub const TEMPLATE_FAILED: &str = "TemplateFailed";
    /// No cluster matches, or the named rule is missing.
    pub const SELECTOR_FAILED: &str = "SelectorFailed";
    /// A rollout was given up: more clusters have failed than may.
    pub const ROLLOUT_FAILED: &str = "RolloutFailed";
    /// The held revision cannot be fetched.
    pub const REVISION_UNAVAILABLE: &str = "RevisionUnavailable";
    /// Another engine owns this.
    pub const ENGINE_CONFLICT: &str = "EngineConflict";
    /// A managed object was changed by another and put back.
    pub const DRIFT_CORRECTED: &str = "DriftCorrected";
    /// Watches are forbidden, so health and drift are polled.
    pub const WATCH_FORBIDDEN: &str = "WatchForbidden";
}
