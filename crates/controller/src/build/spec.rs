//! The fields of a Kustomization that change what a build produces.

use fairway_kustomize::{Image, Options, Patch, RootEdits, Selector};
use fairway_types::KustomizationSpec;
use fairway_types::kustomization::TargetSelector;

/// `spec.path` relative to the root of the source: `./a//b/` is `a/b`. `..` never leads out of the root.
pub fn path(spec: &KustomizationSpec) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in spec.path.as_deref().unwrap_or_default().split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The build options of a Kustomization, Flux's way.
pub fn options(spec: &KustomizationSpec) -> Options {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let selector = |target: &TargetSelector| Selector {
        group: text(&target.group),
        version: text(&target.version),
        kind: text(&target.kind),
        name: text(&target.name),
        namespace: text(&target.namespace),
        label_selector: text(&target.label_selector),
        annotation_selector: text(&target.annotation_selector),
    };
    Options {
        root: RootEdits {
            namespace: spec.target_namespace.clone(),
            name_prefix: spec.name_prefix.clone(),
            name_suffix: spec.name_suffix.clone(),
            patches: spec
                .patches
                .iter()
                .map(|patch| Patch {
                    patch: patch.patch.clone(),
                    target: patch.target.as_ref().map(selector),
                })
                .collect(),
            images: spec
                .images
                .iter()
                .map(|image| Image {
                    name: image.name.clone(),
                    new_name: text(&image.new_name),
                    new_tag: text(&image.new_tag),
                    digest: text(&image.digest),
                    ..Image::default()
                })
                .collect(),
            components: spec.components.clone(),
            ignore_missing_components: spec.ignore_missing_components,
            build_metadata: spec.build_metadata.clone(),
        },
        ..Options::flux()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let at = |path: &str| {
            self::path(&KustomizationSpec {
                path: Some(path.into()),
                ..Default::default()
            })
        };
        assert_eq!(at("./clusters//dev/"), "clusters/dev");
        assert_eq!(at("/"), "");
        assert_eq!(at("../../etc"), "etc");
        assert_eq!(at("a/../b/./c"), "b/c");
        assert_eq!(self::path(&KustomizationSpec::default()), "");
    }
}
