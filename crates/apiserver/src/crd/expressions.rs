//! `x-kubernetes-validations`: rules in CEL about custom resources.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use fairway_cel::{Answer, Budget, Failure, Type, Value as CelValue, Variables};
use fairway_schema::structural::{Additional, ListType, Schema};
use serde_json::{Map, Value};

use super::rule::{Rule, join, rooted};
use super::shape;
use crate::status::FieldError;

/// The rules of one schema, compiled when they are first asked.
#[derive(Debug)]
pub(crate) struct Rules {
    schema: Arc<Schema>,
    any: bool,
    root: OnceLock<Option<Node>>,
}

impl Rules {
    /// The rules of a schema.
    pub(crate) fn new(schema: Arc<Schema>) -> Self {
        Self {
            any: has_rules(&schema),
            schema,
            root: OnceLock::new(),
        }
    }

    /// The schema that they stand in.
    pub(crate) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// What is wrong with an object; what was wrong before and did not change is only warned of.
    pub(crate) fn check(
        &self,
        object: &Value,
        old: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Vec<FieldError> {
        let root = self
            .root
            .get_or_init(|| Node::new(&self.schema, &self.schema, shape::of(&self.schema)));
        let Some(root) = root else { return Vec::new() };
        let mut run = Run {
            budget: Budget::default(),
            stopped: false,
            errors: Vec::new(),
            warnings,
        };
        root.check(&self.schema, object, old, false, "", &mut run);
        run.errors
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }
}

fn has_rules(schema: &Schema) -> bool {
    let of_checks = schema
        .checks
        .as_ref()
        .is_some_and(|checks| !checks.rules.is_empty() || checks.all_of.iter().any(has_rules));
    of_checks
        // Built-in definitions, which metadata is of, may refer to themselves and have no rules.
        || schema.name.is_none()
            && (schema.properties.values().any(|node| has_rules(node))
                || schema.items.as_ref().is_some_and(|node| has_rules(node))
                || matches!(&schema.additional, Additional::Schema(node) if has_rules(node)))
}

/// The rules at one place of a schema and below.
#[derive(Debug)]
struct Node {
    rules: Vec<Rule>,
    kind: Type,
    properties: BTreeMap<String, Node>,
    items: Option<Box<Node>>,
    additional: Option<Box<Node>>,
    all_of: Vec<Node>,
}

struct Run<'a> {
    budget: Budget,
    /// The budget is spent, or a rule cost too much alone: nothing more is asked.
    stopped: bool,
    errors: Vec<FieldError>,
    warnings: &'a mut Vec<String>,
}

impl Node {
    /// `rules` has the rules, `schema` the types: they differ in `allOf`.
    fn new(rules: &Schema, schema: &Schema, kind: Option<Type>) -> Option<Self> {
        if !has_rules(rules) {
            return None;
        }
        let kind = kind?;
        let below = |rules: &Schema, schema: &Schema| Node::new(rules, schema, shape::of(schema));
        let checks = rules.checks.as_deref();
        let properties = rules.properties.iter().filter_map(|(name, node)| {
            let schema = schema.properties.get(name)?;
            Some((name.clone(), below(node, schema)?))
        });
        let additional = match (&rules.additional, &schema.additional) {
            (Additional::Schema(rules), Additional::Schema(schema)) => below(rules, schema),
            _ => None,
        };
        let items = rules.items.as_ref().zip(schema.items.as_ref());
        Some(Self {
            properties: properties.collect(),
            additional: additional.map(Box::new),
            items: items
                .and_then(|(rules, schema)| below(rules, schema))
                .map(Box::new),
            all_of: checks
                .map_or(&[][..], |checks| &checks.all_of)
                .iter()
                .filter_map(|rules| Node::new(rules, schema, Some(kind.clone())))
                .collect(),
            rules: checks
                .map_or(&[][..], |checks| &checks.rules)
                .iter()
                .filter_map(|rule| Rule::new(rule, schema, &kind))
                .collect(),
            kind,
        })
    }

    fn check(
        &self,
        schema: &Schema,
        value: &Value,
        old: Option<&Value>,
        unchanged: bool,
        path: &str,
        run: &mut Run<'_>,
    ) {
        if value.is_null() || run.stopped {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        let unchanged = old.map_or(unchanged, |old| old == value);
        self.ask(schema, value, old, unchanged, path, run);
        for node in &self.all_of {
            node.check(schema, value, old, unchanged, path, run);
        }
        match value {
            Value::Object(map) => self.fields(schema, map, old, unchanged, path, run),
            Value::Array(list) => {
                let (Some(node), Some(items)) = (&self.items, &schema.items) else {
                    return;
                };
                for (index, item) in list.iter().enumerate() {
                    let old = correlated(schema, item, old);
                    let path = format!("{path}[{index}]");
                    node.check(items, item, old, unchanged, &path, run);
                }
            }
            _ => {}
        }
    }

    fn fields(
        &self,
        schema: &Schema,
        map: &Map<String, Value>,
        old: Option<&Value>,
        unchanged: bool,
        path: &str,
        run: &mut Run<'_>,
    ) {
        for (name, value) in map {
            let old = old.and_then(|old| old.get(name));
            if let (Some(node), Some(schema)) =
                (self.properties.get(name), schema.properties.get(name))
            {
                node.check(schema, value, old, unchanged, &join(path, name), run);
            } else if let (Some(node), Additional::Schema(schema)) =
                (&self.additional, &schema.additional)
            {
                node.check(
                    schema,
                    value,
                    old,
                    unchanged,
                    &format!("{path}[{name}]"),
                    run,
                );
            }
        }
    }

    fn ask(
        &self,
        schema: &Schema,
        value: &Value,
        old: Option<&Value>,
        unchanged: bool,
        path: &str,
        run: &mut Run<'_>,
    ) {
        if self.rules.is_empty() {
            return;
        }
        let word: Value = schema.kind.word().into();
        let failed = |detail: String| FieldError::invalid(rooted(path), &word, &detail);
        let this = CelValue::typed(value, &self.kind);
        let before = old.map(|old| CelValue::typed(&aligned(schema, value, old), &self.kind));
        let plain = Variables::default().with("self", this);
        let optional = plain
            .clone()
            .with("oldSelf", CelValue::optional(before.clone()));
        let plain = match before {
            Some(before) => plain.with("oldSelf", before),
            None => plain,
        };
        for rule in &self.rules {
            let program = match &rule.program {
                Ok(program) => program,
                Err(why) => {
                    run.errors
                        .push(failed(format!("rule compile error: {why}")));
                    continue;
                }
            };
            if rule.is_transition() && old.is_none() && !rule.optional {
                continue;
            }
            let variables = if rule.optional { &optional } else { &plain };
            match program.run(variables, &mut run.budget) {
                Ok(Answer::Bool(true)) => {}
                Ok(_) => {
                    let detail = rule.detail(variables, &mut run.budget);
                    let error = rule.violation(schema, value, path, &detail);
                    if unchanged && !rule.is_transition() {
                        run.warnings.push(error.to_string());
                    } else {
                        run.errors.push(error);
                    }
                }
                Err(Failure::Exhausted) => {
                    run.stopped = true;
                    run.errors.push(failed(if run.budget.is_spent() {
                        "validation failed due to running out of cost budget, no further validation rules will be run".to_owned()
                    } else {
                        format!(
                            "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                            rule.shown()
                        )
                    }));
                    return;
                }
                Err(Failure::Evaluation(why)) if why.starts_with("no such overload") => {
                    run.errors.push(failed(format!(
                        "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                        rule.shown()
                    )));
                }
                Err(Failure::Evaluation(why)) => {
                    run.errors
                        .push(failed(format!("{why} evaluating rule: {}", rule.shown())));
                }
            }
        }
    }
}

/// The old item with the same keys.
fn correlated<'v>(schema: &Schema, item: &Value, old: Option<&'v Value>) -> Option<&'v Value> {
    let ListType::Map(keys) = &schema.list else {
        return None;
    };
    let same = |old: &&Value| keys.iter().all(|key| old.get(key) == item.get(key));
    old?.as_array()?.iter().find(same)
}

/// The old value with the items of sets and of lists with keys in the order of the new ones: their order means nothing,
/// and so must not make them differ.
fn aligned(schema: &Schema, new: &Value, old: &Value) -> Value {
    match (new, old) {
        (Value::Array(new), Value::Array(before)) => {
            let items: &Schema = schema.items.as_ref().map_or(Schema::unknown(), |node| node);
            let twin = |item: &Value| match &schema.list {
                ListType::Map(_) => correlated(schema, item, Some(old)),
                ListType::Set => before.iter().find(|old| *old == item),
                ListType::Atomic => None,
            };
            let mut ordered: Vec<(&Value, Option<&Value>)> = new
                .iter()
                .filter_map(|item| Some((twin(item)?, Some(item))))
                .collect();
            for item in before {
                if !ordered.iter().any(|(known, _)| std::ptr::eq(*known, item)) {
                    ordered.push((item, None));
                }
            }
            let ordered = ordered.into_iter().map(|(old, new)| match new {
                Some(new) => aligned(items, new, old),
                None => old.clone(),
            });
            ordered.collect()
        }
        (Value::Object(new), Value::Object(old)) => {
            let fields = old.iter().map(|(name, old)| {
                let value = match (schema.field(name), new.get(name)) {
                    (Some(schema), Some(new)) => aligned(schema, new, old),
                    _ => old.clone(),
                };
                (name.clone(), value)
            });
            Value::Object(fields.collect())
        }
        _ => old.clone(),
    }
}
