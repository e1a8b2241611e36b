//! The types of a kustomization's fields.

use fairway_yaml::Node;

use super::decode::{Decoder, Field};
use crate::error::{Place, Result};
use crate::field_spec::FieldSpec;
use crate::id::{Gvk, split_api_version};
use crate::options::{Image, Selector};

/// A path or a text of the kustomization, and its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) content: String,
    pub(crate) place: Place,
    pub(crate) field: String,
}

impl Text {
    pub(crate) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        Ok(Self {
            content: decoder.string(at, path)?,
            place: at.span.into(),
            field: path.to_owned(),
        })
    }
}

/// `metadata` of a kustomization has no meaning, but its type.
pub(super) fn metadata(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<()> {
    for field in decoder.fields(at, path)? {
        match field.name.as_str() {
            "name" | "namespace" => drop(decoder.string(field.value, &field.path)?),
            "labels" | "annotations" => drop(decoder.string_map(field.value, &field.path)?),
            _ => decoder.unknown(&field, &["name", "namespace", "labels", "annotations"])?,
        }
    }
    Ok(())
}

/// One entry of `labels`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Label {
    pub(crate) pairs: Vec<(String, String)>,
    pub(crate) include_selectors: bool,
    pub(crate) include_templates: bool,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Label {
    pub(super) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(at, path)? {
            let (value, path) = (field.value, field.path.as_str());
            match field.name.as_str() {
                "pairs" => out.pairs = decoder.string_map(value, path)?,
                "includeselectors" => out.include_selectors = decoder.boolean(value, path)?,
                "includetemplates" => out.include_templates = decoder.boolean(value, path)?,
                "fields" => out.fields = decoder.list(&field, field_spec)?,
                _ => decoder.unknown(
                    &field,
                    &["pairs", "includeSelectors", "includeTemplates", "fields"],
                )?,
            }
        }
        Ok(out)
    }
}

/// A field spec: `group`, `version`, `kind`, `path`, `create`.
pub(crate) fn field_spec(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<FieldSpec> {
    let (mut gvk, mut field_path, mut create) = (Gvk::default(), String::new(), false);
    for field in decoder.fields(at, path)? {
        let (value, path) = (field.value, field.path.as_str());
        match field.name.as_str() {
            "path" => field_path = decoder.string(value, path)?,
            "create" => create = decoder.boolean(value, path)?,
            _ if gvk_field(decoder, &field, &mut gvk)? => {}
            _ => decoder.unknown(&field, &["group", "version", "kind", "path", "create"])?,
        }
    }
    Ok(FieldSpec::new(gvk, &field_path, create))
}

/// Takes `group`, `version` or `kind`; says whether the field was one of them.
pub(crate) fn gvk_field(decoder: Decoder<'_>, field: &Field<'_>, gvk: &mut Gvk) -> Result<bool> {
    let part = match field.name.as_str() {
        "group" => &mut gvk.group,
        "version" => &mut gvk.version,
        "kind" => &mut gvk.kind,
        _ => return Ok(false),
    };
    *part = decoder.string(field.value, &field.path)?;
    Ok(true)
}

pub(crate) fn selector(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Selector> {
    let mut out = Selector::default();
    for field in decoder.fields(at, path)? {
        let part = match field.name.as_str() {
            "group" => &mut out.group,
            "version" => &mut out.version,
            "kind" => &mut out.kind,
            "name" => &mut out.name,
            "namespace" => &mut out.namespace,
            "labelselector" => &mut out.label_selector,
            "annotationselector" => &mut out.annotation_selector,
            _ => {
                const KNOWN: [&str; 7] = [
                    "group",
                    "version",
                    "kind",
                    "name",
                    "namespace",
                    "labelSelector",
                    "annotationSelector",
                ];
                decoder.unknown(&field, &KNOWN)?;
                continue;
            }
        };
        *part = decoder.string(field.value, &field.path)?;
    }
    Ok(out)
}

/// One entry of `patches` or `patchesJson6902`.
#[derive(Debug, Clone, Default)]
pub(crate) struct PatchEntry {
    pub(crate) path: String,
    pub(crate) patch: String,
    pub(crate) target: Option<Selector>,
    pub(crate) allow_name_change: bool,
    pub(crate) allow_kind_change: bool,
    pub(crate) place: Place,
    pub(crate) field: String,
}

impl PatchEntry {
    pub(crate) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self {
            place: at.span.into(),
            field: path.to_owned(),
            ..Self::default()
        };
        for field in decoder.fields(at, path)? {
            let (value, path) = (field.value, field.path.as_str());
            match field.name.as_str() {
                "path" => out.path = decoder.string(value, path)?,
                "patch" => out.patch = decoder.string(value, path)?,
                "target" if !crate::node::is_null(value) => {
                    out.target = Some(selector(decoder, value, path)?);
                }
                "target" => {}
                "options" => out.options(decoder, value, path)?,
                _ => decoder.unknown(&field, &["path", "patch", "target", "options"])?,
            }
        }
        Ok(out)
    }

    fn options(&mut self, decoder: Decoder<'_>, at: &Node, path: &str) -> Result<()> {
        for field in decoder.fields(at, path)? {
            match field.name.as_str() {
                "allownamechange" => {
                    self.allow_name_change = decoder.boolean(field.value, &field.path)?;
                }
                "allowkindchange" => {
                    self.allow_kind_change = decoder.boolean(field.value, &field.path)?;
                }
                _ => decoder.unknown(&field, &["allowNameChange", "allowKindChange"])?,
            }
        }
        Ok(())
    }
}

pub(crate) fn image(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Image> {
    let mut out = Image::default();
    for field in decoder.fields(at, path)? {
        let part = match field.name.as_str() {
            "name" => &mut out.name,
            "newname" => &mut out.new_name,
            "tagsuffix" => &mut out.tag_suffix,
            "newtag" => &mut out.new_tag,
            "digest" => &mut out.digest,
            _ => {
                decoder.unknown(
                    &field,
                    &["name", "newName", "tagSuffix", "newTag", "digest"],
                )?;
                continue;
            }
        };
        *part = decoder.string(field.value, &field.path)?;
    }
    Ok(out)
}

/// One entry of `replicas`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) count: i64,
}

impl Replica {
    pub(crate) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(at, path)? {
            match field.name.as_str() {
                "name" => out.name = decoder.string(field.value, &field.path)?,
                "count" => out.count = decoder.integer(field.value, &field.path)?,
                _ => decoder.unknown(&field, &["name", "count"])?,
            }
        }
        Ok(out)
    }
}

/// One entry of `vars`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Var {
    pub(crate) name: String,
    pub(crate) gvk: Gvk,
    pub(crate) object_name: String,
    pub(crate) object_namespace: String,
    pub(crate) field_path: String,
}

impl Var {
    pub(super) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(at, path)? {
            match field.name.as_str() {
                "name" => out.name = decoder.string(field.value, &field.path)?,
                "objref" => out.object(decoder, field.value, &field.path)?,
                "fieldref" => {
                    for field in decoder.fields(field.value, &field.path)? {
                        match field.name.as_str() {
                            "fieldpath" => {
                                out.field_path = decoder.string(field.value, &field.path)?;
                            }
                            _ => decoder.unknown(&field, &["fieldPath"])?,
                        }
                    }
                }
                _ => decoder.unknown(&field, &["name", "objref", "fieldref"])?,
            }
        }
        if out.field_path.is_empty() {
            "metadata.name".clone_into(&mut out.field_path);
        }
        Ok(out)
    }

    fn object(&mut self, decoder: Decoder<'_>, at: &Node, path: &str) -> Result<()> {
        let mut api_version = String::new();
        for field in decoder.fields(at, path)? {
            match field.name.as_str() {
                "apiversion" => api_version = decoder.string(field.value, &field.path)?,
                "name" => self.object_name = decoder.string(field.value, &field.path)?,
                "namespace" => self.object_namespace = decoder.string(field.value, &field.path)?,
                _ if gvk_field(decoder, &field, &mut self.gvk)? => {}
                _ => {
                    const KNOWN: [&str; 6] = [
                        "apiVersion",
                        "group",
                        "version",
                        "kind",
                        "name",
                        "namespace",
                    ];
                    decoder.unknown(&field, &KNOWN)?;
                }
            }
        }
        if !api_version.is_empty() {
            let (group, version) = split_api_version(&api_version);
            if !group.is_empty() {
                group.clone_into(&mut self.gvk.group);
            }
            version.clone_into(&mut self.gvk.version);
        }
        Ok(())
    }
}

/// `sortOptions`.
#[derive(Debug, Clone, Default)]
pub(crate) struct SortOptions {
    pub(crate) order: String,
    /// Kinds to put first and last, where given.
    pub(crate) legacy: Option<(Vec<String>, Vec<String>)>,
}

impl SortOptions {
    pub(super) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(at, path)? {
            match field.name.as_str() {
                "order" => out.order = decoder.string(field.value, &field.path)?,
                "legacysortoptions" if crate::node::is_null(field.value) => {}
                "legacysortoptions" => {
                    let (mut first, mut last) = (Vec::new(), Vec::new());
                    for field in decoder.fields(field.value, &field.path)? {
                        match field.name.as_str() {
                            "orderfirst" => first = decoder.strings(field.value, &field.path)?,
                            "orderlast" => last = decoder.strings(field.value, &field.path)?,
                            _ => decoder.unknown(&field, &["orderFirst", "orderLast"])?,
                        }
                    }
                    out.legacy = Some((first, last));
                }
                _ => decoder.unknown(&field, &["order", "legacySortOptions"])?,
            }
        }
        Ok(out)
    }
}

/// `generatorOptions`, and the `options` of one generator.
#[derive(Debug, Clone, Default)]
pub(crate) struct GeneratorOptions {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) annotations: Vec<(String, String)>,
    pub(crate) disable_name_suffix_hash: bool,
    pub(crate) immutable: bool,
}

impl GeneratorOptions {
    pub(crate) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self::default();
        for field in decoder.fields(at, path)? {
            let (value, path) = (field.value, field.path.as_str());
            match field.name.as_str() {
                "labels" => out.labels = decoder.string_map(value, path)?,
                "annotations" => out.annotations = decoder.string_map(value, path)?,
                "disablenamesuffixhash" => {
                    out.disable_name_suffix_hash = decoder.boolean(value, path)?;
                }
                "immutable" => out.immutable = decoder.boolean(value, path)?,
                _ => {
                    const KNOWN: [&str; 4] = [
                        "labels",
                        "annotations",
                        "disableNameSuffixHash",
                        "immutable",
                    ];
                    decoder.unknown(&field, &KNOWN)?;
                }
            }
        }
        Ok(out)
    }

    /// Adds what `all` says for all generators and these options do not say themselves.
    pub(crate) fn with_defaults(mut self, all: &Self) -> Self {
        for (own, all) in [
            (&mut self.labels, &all.labels),
            (&mut self.annotations, &all.annotations),
        ] {
            for pair in all {
                if own.iter().all(|(key, _)| *key != pair.0) {
                    own.push(pair.clone());
                }
            }
            own.sort();
        }
        self.disable_name_suffix_hash |= all.disable_name_suffix_hash;
        self.immutable |= all.immutable;
        self
    }
}

/// What `configMapGenerator` and `secretGenerator` have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct GeneratorArgs {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) behavior: String,
    pub(crate) literals: Vec<String>,
    pub(crate) files: Vec<String>,
    pub(crate) envs: Vec<String>,
    pub(crate) options: Option<GeneratorOptions>,
    pub(crate) place: Place,
    pub(crate) field: String,
}

impl GeneratorArgs {
    pub(crate) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let mut out = Self {
            place: at.span.into(),
            field: path.to_owned(),
            ..Self::default()
        };
        let mut env = String::new();
        for field in decoder.fields(at, path)? {
            if !out.take(decoder, &field, &mut env)? {
                decoder.unknown(&field, &GENERATOR_FIELDS)?;
            }
        }
        out.add_env(env);
        Ok(out)
    }

    fn add_env(&mut self, env: String) {
        if !env.is_empty() {
            self.envs.push(env);
        }
    }

    fn take(&mut self, decoder: Decoder<'_>, field: &Field<'_>, env: &mut String) -> Result<bool> {
        let (value, path) = (field.value, field.path.as_str());
        match field.name.as_str() {
            "name" => self.name = decoder.string(value, path)?,
            "namespace" => self.namespace = decoder.string(value, path)?,
            "behavior" => self.behavior = decoder.string(value, path)?,
            "literals" => self.literals = decoder.strings(value, path)?,
            "files" => self.files = decoder.strings(value, path)?,
            "envs" => self.envs = decoder.strings(value, path)?,
            "env" => *env = decoder.string(value, path)?,
            "options" if crate::node::is_null(value) => {}
            "options" => self.options = Some(GeneratorOptions::decode(decoder, value, path)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

const GENERATOR_FIELDS: [&str; 8] = [
    "name",
    "namespace",
    "behavior",
    "literals",
    "files",
    "envs",
    "options",
    "type",
];

/// One entry of `secretGenerator`.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecretArgs {
    pub(crate) args: GeneratorArgs,
    pub(crate) secret_type: String,
}

impl SecretArgs {
    pub(crate) fn decode(decoder: Decoder<'_>, at: &Node, path: &str) -> Result<Self> {
        let args = GeneratorArgs {
            place: at.span.into(),
            field: path.to_owned(),
            ..GeneratorArgs::default()
        };
        let mut out = Self {
            args,
            secret_type: String::new(),
        };
        let mut env = String::new();
        for field in decoder.fields(at, path)? {
            if field.name == "type" {
                out.secret_type = decoder.string(field.value, &field.path)?;
            } else if !out.args.take(decoder, &field, &mut env)? {
                decoder.unknown(&field, &GENERATOR_FIELDS)?;
            }
        }
        out.args.add_env(env);
        Ok(out)
    }
}
