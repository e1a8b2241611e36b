//! What a build is asked to do beside what the files say.

/// Which files a kustomization may name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum LoadRestrictor {
    /// Only files below the directory of the kustomization that names them (kustomize's own default).
    #[default]
    RootOnly,
    /// Any file of the tree (as Flux builds).
    None,
}

/// The order of the output where the kustomization has no `sortOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// Namespaces and definitions first, webhooks last (kustomize's own default).
    #[default]
    Legacy,
    /// As accumulated (as Flux builds).
    None,
}

/// How to build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Which files a kustomization may name.
    pub load_restrictor: LoadRestrictor,
    /// The order of the output.
    pub order: Order,
    /// Changes to the kustomization at the built path, as the spec of a Flux Kustomization makes them.
    pub root: RootEdits,
    /// Whether a kustomization is made up where the built path has none: all `*.yaml` and `*.yml` files below it,
    /// where a folder with a kustomization of its own counts as one resource.
    pub generate: bool,
}

impl Options {
    /// The way Flux builds: no load restrictor, no legacy order, a missing kustomization is generated.
    pub fn flux() -> Self {
        Self {
            load_restrictor: LoadRestrictor::None,
            order: Order::None,
            root: RootEdits::default(),
            generate: true,
        }
    }
}

/// The fields of a Flux Kustomization's spec that edit the root kustomization before it is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RootEdits {
    /// `spec.targetNamespace`: overrides `namespace`.
    pub namespace: Option<String>,
    /// `spec.namePrefix`: overrides `namePrefix`.
    pub name_prefix: Option<String>,
    /// `spec.nameSuffix`: overrides `nameSuffix`.
    pub name_suffix: Option<String>,
    /// `spec.patches`: appended.
    pub patches: Vec<Patch>,
    /// `spec.images`: replace the images of the same name, or are appended.
    pub images: Vec<Image>,
    /// `spec.components`: appended; paths relative to the kustomization's directory.
    pub components: Vec<String>,
    /// `spec.ignoreMissingComponents`: leave out components whose directory is missing.
    pub ignore_missing_components: bool,
    /// `spec.buildMetadata`: overrides `buildMetadata`.
    pub build_metadata: Vec<String>,
}

/// One entry of `patches`: a strategic merge patch or JSON 6902 operations, and what to apply it to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Patch {
    /// The patch itself, YAML or JSON.
    pub patch: String,
    /// The resources to patch; without it the patch names its target itself.
    pub target: Option<Selector>,
}

/// Chooses resources. All parts must match; an empty one matches everything. Names, namespaces, kinds, groups and
/// versions are regular expressions that must match from the first to the last character.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Original, earlier or current name.
    pub name: String,
    /// Original or current namespace.
    pub namespace: String,
    /// A Kubernetes label selector (`app=web,tier in (a, b)`).
    pub label_selector: String,
    /// The same over annotations.
    pub annotation_selector: String,
}

/// One entry of `images`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// The image name to look for, without tag or digest.
    pub name: String,
    /// Its new name, if any.
    pub new_name: String,
    /// Appended to the tag.
    pub tag_suffix: String,
    /// Its new tag, if any.
    pub new_tag: String,
    /// Its new digest, if any; wins over the tag unless both are given.
    pub digest: String,
}
