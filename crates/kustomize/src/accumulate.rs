//! One kustomization after the other: what it takes in, what it generates, what it changes, in kustomize's order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bases::Bases;

use crate::config::{self, TransformerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::kustomization::{Text, Var, decode};
use crate::merge_keys::MergeKeys;
use crate::plugins;
use crate::resources::Resources;
use crate::target::Target;
use crate::transform;

/// Kustomizations that one build may pass through, however often each.
const MAX_VISITS: usize = 20_000;

/// What the whole build shares.
pub(crate) struct Context<'b> {
    pub(crate) merge_keys: Arc<MergeKeys>,
    /// Whether a kustomization has named its own schema already; the first one counts.
    pub(crate) own_schema: bool,
    pub(crate) warnings: Vec<String>,
    /// What other builds made already.
    pub(crate) bases: Option<&'b Bases>,
    /// Whether this is one of several threads already.
    pub(crate) forked: bool,
    visits: Arc<AtomicUsize>,
}

impl<'b> Context<'b> {
    pub(crate) fn new(bases: Option<&'b Bases>) -> Self {
        Self {
            merge_keys: Arc::clone(MergeKeys::builtin()),
            own_schema: false,
            warnings: Vec::new(),
            bases,
            forked: false,
            visits: Arc::default(),
        }
    }

    /// For a part of the build by another thread. Its warnings are its own.
    pub(crate) fn fork(&self) -> Self {
        Self {
            merge_keys: Arc::clone(&self.merge_keys),
            own_schema: self.own_schema,
            warnings: Vec::new(),
            bases: self.bases,
            forked: true,
            visits: Arc::clone(&self.visits),
        }
    }
}

/// What was accumulated so far: resources, and the rules that came with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accumulated {
    pub(crate) resources: Resources,
    pub(crate) config: Option<Arc<TransformerConfig>>,
    pub(crate) vars: Vec<Var>,
}

impl Accumulated {
    fn merge_config(&mut self, other: &Arc<TransformerConfig>) -> Result<()> {
        self.config = Some(config::merged(self.config.take(), other)?);
        Ok(())
    }

    pub(crate) fn merge(&mut self, other: Self) -> Result<()> {
        self.resources.append_all(other.resources.into_items())?;
        if let Some(config) = &other.config {
            self.merge_config(config)?;
        }
        transform::vars::merge(&mut self.vars, other.vars)
    }
}

impl Target<'_> {
    pub(crate) fn accumulate(
        &self,
        context: &mut Context,
        mut all: Accumulated,
    ) -> Result<Accumulated> {
        if context.visits.fetch_add(1, Ordering::Relaxed) >= MAX_VISITS {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("the build passes through more than {MAX_VISITS} kustomizations"),
            ));
        }
        for warning in &self.kustomization.warnings {
            context.warnings.push(format!("{}: {warning}", self.file));
        }
        self.resources(context, &mut all, &self.kustomization.resources)?;
        self.configure(&mut all)?;
        self.generate(context, &mut all)?;
        for path in &self.kustomization.components {
            let nested = self.nested(path)?;
            nested.use_schema(context)?;
            if !nested.kustomization.component {
                return Err(self.place(
                    Error::invalid(format!(
                        "expected kind 'Component' for path '{}' but got 'Kustomization'",
                        nested.loader.tree.shown(&nested.loader.root)
                    )),
                    path,
                ));
            }
            let whole = nested.accumulate(context, all)?;
            // It worked on everything, and all of that is taken in anew.
            all = Accumulated::default();
            all.merge(whole).map_err(|error| self.place(error, path))?;
        }
        self.transform(context, &mut all)?;
        plugins::validate(self, context, &mut all)?;
        transform::vars::note(&mut all.resources, &self.kustomization.vars)
            .and_then(|()| transform::vars::merge(&mut all.vars, self.kustomization.vars.clone()))
            .map_err(|error| error.in_field("vars").in_file(&self.file))?;
        Ok(all)
    }

    /// Takes up the schema that the kustomization names, if none before it did.
    pub(crate) fn use_schema(&self, context: &mut Context) -> Result<()> {
        self.schema(context, false)
    }

    /// The schema of the root replaces the built-in one; others add to it.
    pub(crate) fn schema(&self, context: &mut Context, root: bool) -> Result<()> {
        let field = |name: &str| {
            self.kustomization
                .openapi
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value)
        };
        let here = |error: Error| error.in_field("openapi").in_file(&self.file);
        match (field("path"), field("version")) {
            (Some(_), Some(_)) if !context.own_schema => {
                return Err(here(Error::invalid(
                    "builtin version and custom schema provided, cannot use both",
                )));
            }
            (Some(path), _) => {
                let bytes = self.loader.load(path).map_err(here)?;
                if context.own_schema {
                    return Ok(());
                }
                context.own_schema = true;
                let text = String::from_utf8_lossy(&bytes);
                let mut keys = if root {
                    MergeKeys::default()
                } else {
                    (*context.merge_keys).clone()
                };
                if let Some(document) = decode::document(path, &text)? {
                    let dialect = fairway_yaml::Dialect::Kubectl;
                    let value = document
                        .to_json_as(dialect)
                        .map_err(|error| Error::syntax(&error).of_file(path))?;
                    keys.add_openapi(&value).map_err(here)?;
                }
                context.merge_keys = Arc::new(keys);
            }
            (None, Some(version)) if !context.own_schema && !version.is_empty() => {
                if version != "v1.21.2" {
                    return Err(here(
                        Error::invalid(format!(
                            "the specified OpenAPI version {version} is not built in"
                        ))
                        .hint("v1.21.2 is"),
                    ));
                }
                context.own_schema = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn configure(&self, all: &mut Accumulated) -> Result<()> {
        let mut own = Arc::clone(config::default_config());
        for path in &self.kustomization.configurations {
            let more = TransformerConfig::parse(&path.content, &self.text_of(path)?)
                .map_err(|error| self.place(error, path))?;
            own = config::merged(Some(own), &Arc::new(more))
                .map_err(|error| self.place(error, path))?;
        }
        all.merge_config(&own)?;
        for path in &self.kustomization.crds {
            let text = self.text_of(path)?;
            let more = config::from_definitions(&path.content, &text)
                .map_err(|error| self.place(error, path))?;
            all.merge_config(&Arc::new(more))
                .map_err(|error| self.place(error, path))?;
        }
        Ok(())
    }

    fn text_of(&self, path: &Text) -> Result<String> {
        let bytes = self
            .loader
            .load(&path.content)
            .map_err(|error| self.place(error, path))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.place(
                Error::new(
                    ErrorKind::Syntax,
                    format!("{} is not UTF-8 text", path.content),
                ),
                path,
            )),
        }
    }

    fn generate(&self, context: &mut Context, all: &mut Accumulated) -> Result<()> {
        let source: Arc<str> = Arc::from(self.file.as_str());
        for mut made in plugins::generated(self, context)? {
            made.resource.source = Some(Arc::clone(&source));
            all.resources
                .absorb(made.resource)
                .map_err(|error| match made.place {
                    Some((place, field)) => error.in_field(field).at(&self.file, place),
                    None => error.in_file(&self.file),
                })?;
        }
        Ok(())
    }
}
