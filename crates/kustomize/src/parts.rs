//! What a kustomization takes in: the resources of files, and what other kustomizations come to.

use std::sync::Arc;

use crate::accumulate::{Accumulated, Context};
use crate::error::{Error, ErrorKind, Result};
use crate::kustomization::Text;
use crate::parallel;
use crate::read;
use crate::resource::Resource;
use crate::resources::Resources;
use crate::target::Target;
use crate::tree::EntryKind;

/// Resources that one build may hold.
const MAX_RESOURCES: usize = 200_000;
/// From so many entries on, several threads pay.
const MANY: usize = 4;

/// What one entry comes to.
enum Part {
    File(Vec<Resource>),
    Base(Accumulated),
}

impl Target<'_> {
    /// Takes in files and directories, in their order.
    pub(crate) fn resources(
        &self,
        context: &mut Context,
        all: &mut Accumulated,
        paths: &[Text],
    ) -> Result<()> {
        if let Some(parts) = self.parts_at_once(context, paths) {
            for (path, (part, warnings)) in paths.iter().zip(parts) {
                context.warnings.extend(warnings);
                self.take_in(all, path, part?)?;
            }
            return Ok(());
        }
        for path in paths {
            let part = self.part(context, path)?;
            self.take_in(all, path, part)?;
        }
        Ok(())
    }

    /// The parts by several threads, each with its warnings; none where that does not pay. Entries do not know of
    /// each other but for one thing: the schema that one brings is that of the ones after it.
    fn parts_at_once(
        &self,
        context: &Context,
        paths: &[Text],
    ) -> Option<Vec<(Result<Part>, Vec<String>)>> {
        if context.forked || paths.len() < MANY || parallel::threads() < 2 {
            return None;
        }
        let is_base = |path: &Text| {
            let found = self.loader.find(&path.content);
            matches!(found, Ok(Some((EntryKind::Dir, _))))
        };
        if paths.iter().filter(|path| is_base(path)).take(MANY).count() < MANY {
            return None;
        }
        let parts = parallel::map(paths.iter().collect(), |path| {
            let mut fork = context.fork();
            let part = self.part(&mut fork, path);
            (part, fork)
        });
        let same_schema = |(_, fork): &(_, Context)| fork.own_schema == context.own_schema;
        parts.iter().all(same_schema).then(|| {
            let without_context = |(part, fork): (_, Context)| (part, fork.warnings);
            parts.into_iter().map(without_context).collect()
        })
    }

    fn take_in(&self, all: &mut Accumulated, path: &Text, part: Part) -> Result<()> {
        match part {
            Part::File(resources) => all.resources.append_all(resources),
            Part::Base(base) => all.merge(base),
        }
        .map_err(|error| self.place(error, path))?;
        if all.resources.len() > MAX_RESOURCES {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("the build holds more than {MAX_RESOURCES} resources"),
            ));
        }
        Ok(())
    }

    fn part(&self, context: &mut Context, path: &Text) -> Result<Part> {
        let found = self
            .loader
            .find(&path.content)
            .map_err(|error| self.place(error, path))?;
        match found {
            Some((EntryKind::File, file)) => self.file_resources(path, &file).map(Part::File),
            _ => self.base(context, path).map(Part::Base),
        }
    }

    /// What the kustomization of another directory comes to.
    fn base(&self, context: &mut Context, path: &Text) -> Result<Accumulated> {
        let loader = self
            .loader
            .enter(&path.content)
            .map_err(|error| self.place(error, path))?;
        let shared = context.bases;
        // What is written into annotations depends on the way that led to the base.
        match shared.filter(|_| self.origin.is_none() && !context.own_schema) {
            Some(bases) => bases.accumulate(&loader, context, |loader, context| {
                self.accumulate_base(context, &self.inside(loader, path)?, path)
            }),
            None => self.accumulate_base(context, &self.inside(loader, path)?, path),
        }
    }

    fn accumulate_base(
        &self,
        context: &mut Context,
        nested: &Target<'_>,
        path: &Text,
    ) -> Result<Accumulated> {
        nested.use_schema(context)?;
        if nested.kustomization.component {
            return Err(self.place(
                Error::invalid(format!(
                    "expected kind != 'Component' for path '{}'",
                    nested.loader.tree.shown(&nested.loader.root)
                ))
                .hint("name it in `components`"),
                path,
            ));
        }
        nested.accumulate(context, Accumulated::default())
    }

    fn file_resources(&self, path: &Text, file: &str) -> Result<Vec<Resource>> {
        self.loader
            .permit(file)
            .map_err(|error| self.place(error, path))?;
        let bytes = self
            .loader
            .tree
            .read(file)
            .map_err(|error| self.place(error.into(), path))?;
        let mut resources = read::resources(file, &bytes)?;
        let source: Arc<str> = Arc::from(file);
        for resource in &mut resources {
            resource.source = Some(Arc::clone(&source));
        }
        if let Some(origin) = &self.origin {
            let origin = origin.append(&path.content).to_yaml();
            for resource in &mut resources {
                resource.set_origin(&origin);
            }
        }
        // kustomize checks a file by itself first.
        let mut one = Resources::default();
        one.append_all(resources)
            .map_err(|error| error.in_file(file))?;
        Ok(one.into_items())
    }
}
