//! `buildMetadata`: where a resource comes from, and what changed it, as annotations.

/// Where something comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The file or directory, seen from the kustomization that is built.
    pub(crate) path: String,
    pub(crate) configured_in: String,
    /// apiVersion, kind, name and namespace of the generator or transformer.
    pub(crate) configured_by: Option<[String; 4]>,
}

impl Origin {
    /// The origin of what this one names by `path`.
    pub(crate) fn append(&self, path: &str) -> Self {
        Self {
            path: clean(&self.path, path),
            ..Self::default()
        }
    }

    /// A generator or transformer of the kustomization file here.
    pub(crate) fn builtin(&self, file: &str, kind: &str) -> Self {
        Self {
            path: String::new(),
            configured_in: clean(&self.path, file),
            configured_by: Some([
                "builtin".to_owned(),
                kind.to_owned(),
                String::new(),
                String::new(),
            ]),
        }
    }

    /// As an annotation's value.
    pub(crate) fn to_yaml(&self) -> String {
        self.lines("")
    }

    /// As an item of a list of origins, appended to `list`.
    pub(crate) fn append_to(&self, list: &str) -> String {
        let lines = self.lines("  ");
        format!("{list}- {}", lines.strip_prefix("  ").unwrap_or(&lines))
    }

    fn lines(&self, indent: &str) -> String {
        let mut out = String::new();
        line(&mut out, indent, "path", &self.path);
        line(&mut out, indent, "configuredIn", &self.configured_in);
        if let Some(texts) = &self.configured_by {
            out.push_str(indent);
            out.push_str("configuredBy:\n");
            let deeper = format!("{indent}  ");
            for (key, value) in ["apiVersion", "kind", "name", "namespace"]
                .iter()
                .zip(texts)
            {
                line(&mut out, &deeper, key, value);
            }
        }
        out
    }
}

/// Adds a line, unless it would be empty.
fn line(out: &mut String, indent: &str, key: &str, value: &str) {
    if !value.is_empty() {
        for part in [indent, key, ": ", &quoted(value), "\n"] {
            out.push_str(part);
        }
    }
}

/// The text as a YAML scalar.
fn quoted(text: &str) -> String {
    fairway_yaml::emit::to_string(&serde_json::Value::String(text.to_owned()))
        .trim_end()
        .to_owned()
}

/// `path` seen from `base`, both of which may climb up.
fn clean(base: &str, path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if out.last().is_some_and(|last| *last != "..") => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    if out.is_empty() {
        ".".to_owned()
    } else {
        out.join("/")
    }
}

/// The path of an origin in an annotation's value.
pub(crate) fn path_of(annotation: &str) -> Option<String> {
    let document = fairway_yaml::parse(annotation).ok()?.into_iter().next()?;
    document
        .root
        .get("path")
        .map(|path| crate::node::text(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_built_directory() {
        let origin = Origin::default().append("../base").append("cm.yaml");
        assert_eq!(origin.to_yaml(), "path: ../base/cm.yaml\n");
        let builtin = Origin::default()
            .append("../base")
            .builtin("kustomization.yaml", "ConfigMapGenerator");
        assert_eq!(
            builtin.append_to(""),
            "- configuredIn: ../base/kustomization.yaml\n  configuredBy:\n    apiVersion: builtin\n    kind: ConfigMapGenerator\n"
        );
    }
}
