//! A kustomization file, read and checked.

pub(crate) mod decode;
mod fields;
pub(crate) mod replacement;

use fairway_yaml::Node;
pub(crate) use fields::{
    GeneratorArgs, GeneratorOptions, Label, PatchEntry, Replica, SecretArgs, SortOptions, Text,
    Var, field_spec, gvk_field, image, selector,
};
use replacement::ReplacementEntry;

use self::decode::{Decoder, Field};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::node;
use crate::options::Image;

/// The file names that make a directory a kustomization, of which it may have one.
pub(crate) const FILE_NAMES: [&str; 3] =
    ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What a kustomization file says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kustomization {
    pub(crate) component: bool,
    pub(crate) openapi: Vec<(String, String)>,
    pub(crate) name_prefix: String,
    pub(crate) name_suffix: String,
    pub(crate) namespace: String,
    pub(crate) common_labels: Vec<(String, String)>,
    pub(crate) labels: Vec<Label>,
    pub(crate) common_annotations: Vec<(String, String)>,
    pub(crate) patches_strategic_merge: Vec<Text>,
    pub(crate) patches_json6902: Vec<PatchEntry>,
    pub(crate) patches: Vec<PatchEntry>,
    pub(crate) images: Vec<Image>,
    pub(crate) replacements: Vec<ReplacementEntry>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) vars: Vec<Var>,
    pub(crate) sort_options: Option<SortOptions>,
    pub(crate) resources: Vec<Text>,
    pub(crate) components: Vec<Text>,
    pub(crate) crds: Vec<Text>,
    pub(crate) config_map_generator: Vec<GeneratorArgs>,
    pub(crate) secret_generator: Vec<SecretArgs>,
    pub(crate) generator_options: Option<GeneratorOptions>,
    pub(crate) configurations: Vec<Text>,
    pub(crate) generators: Vec<Text>,
    pub(crate) transformers: Vec<Text>,
    pub(crate) validators: Vec<Text>,
    pub(crate) build_metadata: Vec<String>,
    /// What kustomize calls deprecated and the file uses.
    pub(crate) warnings: Vec<String>,
}

const FIELDS: [&str; 34] = [
    "apiVersion",
    "kind",
    "metadata",
    "openapi",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patchesStrategicMerge",
    "patchesJson6902",
    "patches",
    "images",
    "imageTags",
    "replacements",
    "replicas",
    "vars",
    "sortOptions",
    "resources",
    "components",
    "crds",
    "bases",
    "configMapGenerator",
    "secretGenerator",
    "helmGlobals",
    "helmCharts",
    "helmChartInflationGenerator",
    "generatorOptions",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "buildMetadata",
];

impl Kustomization {
    /// Reads the text of the file at `file`.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        match decode::document(file, text)? {
            Some(root) => Self::decode(Decoder::strict(file), &root),
            None => Err(empty(file)),
        }
    }

    fn decode(decoder: Decoder<'_>, root: &Node) -> Result<Self> {
        let mut out = Self::default();
        let (mut kind, mut api_version) = <((String, Place), (String, Place))>::default();
        let (mut bases, mut image_tags) = (Vec::new(), Vec::new());
        let mut says_something = false;
        for field in decoder.fields(root, "")? {
            if node::is_null(field.value)
                && FIELDS
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(&field.name))
            {
                continue;
            }
            match field.name.as_str() {
                "kind" => {
                    kind = (
                        decoder.string(field.value, &field.path)?,
                        field.value.span.into(),
                    );
                }
                "apiversion" => {
                    api_version = (
                        decoder.string(field.value, &field.path)?,
                        field.value.span.into(),
                    );
                }
                name => {
                    says_something |= !matches!(field.value.text(), Some(""));
                    match name {
                        "bases" => {
                            out.warn("bases", "resources");
                            bases = decoder.list(&field, Text::decode)?;
                        }
                        "imagetags" => {
                            out.warn("imageTags", "images");
                            image_tags = decoder.list(&field, fields::image)?;
                        }
                        _ => out.field(decoder, &field)?,
                    }
                }
            }
        }
        if !says_something {
            return Err(empty(decoder.file));
        }
        out.resources.append(&mut bases);
        out.images.append(&mut image_tags);
        out.component = kind.0 == "Component";
        if !matches!(kind.0.as_str(), "" | "Kustomization" | "Component") {
            return Err(Error::invalid(format!(
                "kind should be Kustomization or Component, not {:?}",
                kind.0
            ))
            .in_field("kind")
            .at(decoder.file, kind.1));
        }
        let (kind_name, wanted) = if out.component {
            ("Component", "kustomize.config.k8s.io/v1alpha1")
        } else {
            ("Kustomization", "kustomize.config.k8s.io/v1beta1")
        };
        if !api_version.0.is_empty() && api_version.0 != wanted {
            return Err(
                Error::invalid(format!("apiVersion for {kind_name} should be {wanted}"))
                    .in_field("apiVersion")
                    .at(decoder.file, api_version.1),
            );
        }
        Ok(out)
    }

    fn field(&mut self, decoder: Decoder<'_>, field: &Field<'_>) -> Result<()> {
        let (value, path) = (field.value, field.path.as_str());
        match field.name.as_str() {
            "metadata" => fields::metadata(decoder, value, path)?,
            "openapi" => self.openapi = decoder.string_map(value, path)?,
            "nameprefix" => self.name_prefix = decoder.string(value, path)?,
            "namesuffix" => self.name_suffix = decoder.string(value, path)?,
            "namespace" => self.namespace = decoder.string(value, path)?,
            "commonlabels" => {
                self.warn("commonLabels", "labels");
                self.common_labels = decoder.string_map(value, path)?;
            }
            "labels" => self.labels = decoder.list(field, Label::decode)?,
            "commonannotations" => self.common_annotations = decoder.string_map(value, path)?,
            "patchesstrategicmerge" => {
                self.warn("patchesStrategicMerge", "patches");
                self.patches_strategic_merge = decoder.list(field, Text::decode)?;
            }
            "patchesjson6902" => {
                self.warn("patchesJson6902", "patches");
                self.patches_json6902 = decoder.list(field, PatchEntry::decode)?;
            }
            "patches" => self.patches = decoder.list(field, PatchEntry::decode)?,
            "images" => self.images = decoder.list(field, fields::image)?,
            "replacements" => self.replacements = decoder.list(field, ReplacementEntry::decode)?,
            "replicas" => self.replicas = decoder.list(field, Replica::decode)?,
            "vars" => {
                self.warn("vars", "replacements");
                self.vars = decoder.list(field, Var::decode)?;
            }
            "sortoptions" => self.sort_options = Some(SortOptions::decode(decoder, value, path)?),
            "resources" => self.resources = decoder.list(field, Text::decode)?,
            "components" => self.components = decoder.list(field, Text::decode)?,
            "crds" => self.crds = decoder.list(field, Text::decode)?,
            "configmapgenerator" => {
                self.config_map_generator = decoder.list(field, GeneratorArgs::decode)?;
            }
            "secretgenerator" => self.secret_generator = decoder.list(field, SecretArgs::decode)?,
            "helmglobals" => {
                for field in decoder.fields(value, path)? {
                    match field.name.as_str() {
                        "charthome" | "confighome" => {
                            decoder.string(field.value, &field.path)?;
                        }
                        _ => decoder.unknown(&field, &["chartHome", "configHome"])?,
                    }
                }
            }
            "helmcharts" | "helmchartinflationgenerator" => {
                if value.items().is_none_or(|charts| !charts.is_empty()) {
                    return Err(Error::refused("Helm charts are not rendered in a build")
                        .in_field(path)
                        .at(decoder.file, value.span)
                        .hint("render the chart into files, or let a HelmRelease install it"));
                }
            }
            "generatoroptions" => {
                self.generator_options = Some(GeneratorOptions::decode(decoder, value, path)?);
            }
            "configurations" => self.configurations = decoder.list(field, Text::decode)?,
            "generators" => self.generators = decoder.list(field, Text::decode)?,
            "transformers" => self.transformers = decoder.list(field, Text::decode)?,
            "validators" => self.validators = decoder.list(field, Text::decode)?,
            "buildmetadata" => self.build_metadata = decoder.strings(value, path)?,
            _ => decoder.unknown(field, &FIELDS)?,
        }
        Ok(())
    }

    fn warn(&mut self, old: &str, new: &str) {
        self.warnings.push(format!(
            "'{old}' is deprecated. Please use '{new}' instead."
        ));
    }
}

fn empty(file: &str) -> Error {
    Error::new(ErrorKind::Invalid, "kustomization.yaml is empty")
        .in_file(file)
        .hint("name something in `resources`")
}
