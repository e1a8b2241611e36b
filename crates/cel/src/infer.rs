//! Finds the type of an expression, and what is wrong with it before it ever runs.

mod unify;

use std::collections::HashMap;

use cel::{
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
    parser::Expression as Ast,
};

use crate::{
    declarations::{self, Functions, Overload},
    types::Type,
};
use unify::is_wider;

/// Something that is wrong, and the node where.
pub(crate) type Problem = (u64, String);

/// The type of an expression over these variables, and what is wrong with it.
pub(crate) fn infer(
    ast: &Ast,
    functions: &Functions,
    variables: &dyn Fn(&str) -> Option<Type>,
) -> (Type, Vec<Problem>) {
    let mut inference = Inference {
        functions,
        variables,
        scopes: Vec::new(),
        bound: HashMap::new(),
        changes: Vec::new(),
        unknowns: 0,
        problems: Vec::new(),
    };
    let kind = inference.node(ast);
    (inference.settled(&kind, true), inference.problems)
}

struct Inference<'a> {
    functions: &'a Functions,
    variables: &'a dyn Fn(&str) -> Option<Type>,
    /// Names that macros bind, innermost last.
    scopes: Vec<(&'a str, Type)>,
    /// What is found out of the unknowns.
    bound: HashMap<usize, Type>,
    /// What `bound` held before each change: what is tried and does not fit is taken back.
    changes: Vec<(usize, Option<Type>)>,
    unknowns: usize,
    problems: Vec<Problem>,
}

impl<'a> Inference<'a> {
    fn problem(&mut self, id: u64, text: String) -> Type {
        self.problems.push((id, text));
        Type::Error
    }

    fn unknown(&mut self) -> Type {
        self.unknowns += 1;
        Type::Unknown(self.unknowns)
    }

    /// The type with what is known put in; what is not known becomes `dyn` at the end.
    fn settled(&self, kind: &Type, finally: bool) -> Type {
        match kind {
            Type::Unknown(number) => match self.bound.get(number) {
                Some(found) => self.settled(found, finally),
                None if finally => Type::Dyn,
                None => kind.clone(),
            },
            other => other.rebuilt(|part| self.settled(part, finally)),
        }
    }

    fn name(&self, name: &str) -> Option<Type> {
        let bound = self.scopes.iter().rev().find(|(bound, _)| *bound == name);
        bound
            .map(|(_, kind)| kind.clone())
            .or_else(|| (self.variables)(name))
            .or_else(|| declarations::named(name))
    }

    fn undeclared(&mut self, id: u64, name: &str) -> Type {
        let text = format!("undeclared reference to '{name}' (in container '')");
        self.problem(id, text)
    }

    fn node(&mut self, node: &'a Ast) -> Type {
        match &node.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::String,
                LiteralValue::UInt(_) => Type::Uint,
            },
            Expr::Ident(name) => match self.name(name) {
                Some(kind) => kind,
                None => self.undeclared(node.id, name),
            },
            Expr::Select(select) => {
                if !select.test
                    && let Some(kind) = dotted(node).and_then(|name| self.name(&name))
                {
                    return kind;
                }
                let operand = self.node(&select.operand);
                let field = self.field(node.id, &operand, &select.field, false);
                if select.test { Type::Bool } else { field }
            }
            Expr::Call(call) => self.call(node.id, call),
            Expr::List(list) => {
                let mut item = None;
                for (index, element) in list.elements.iter().enumerate() {
                    let optional = list.optional_indices.contains(&index);
                    item = Some(self.element(element, optional, item));
                }
                let item = item.unwrap_or_else(|| self.unknown());
                Type::list(item)
            }
            Expr::Map(map) => {
                let (mut key, mut value) = (None, None);
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        key = Some(self.element(&entry.key, false, key));
                        value = Some(self.element(&entry.value, entry.optional, value));
                    }
                }
                let key = key.unwrap_or_else(|| self.unknown());
                let value = value.unwrap_or_else(|| self.unknown());
                Type::Map(key.into(), value.into())
            }
            Expr::Struct(made) => self.undeclared(node.id, &made.type_name),
            Expr::Comprehension(loops) => self.comprehension(loops),
            Expr::Unspecified => Type::Error,
        }
    }

    /// One more element of a literal whose elements were of a type so far.
    fn element(&mut self, node: &'a Ast, optional: bool, before: Option<Type>) -> Type {
        let mut kind = self.node(node);
        if optional {
            kind = match self.settled(&kind, false) {
                Type::Optional(inner) => (*inner).clone(),
                other if other.is_open() => other,
                other => {
                    let text = mismatch(&Type::optional(other.clone()), &other);
                    self.problem(node.id, text)
                }
            };
        }
        let Some(before) = before else { return kind };
        if self.fits(&before, &kind) {
            if is_wider(&before, &kind) {
                before
            } else {
                kind
            }
        } else {
            let text = mismatch(&self.settled(&before, true), &self.settled(&kind, true));
            self.problem(node.id, text)
        }
    }

    fn field(&mut self, id: u64, operand: &Type, field: &str, optional: bool) -> Type {
        let operand = self.settled(operand, false);
        let (target, wrapped) = match &operand {
            Type::Optional(inner) => ((**inner).clone(), true),
            other => (other.clone(), false),
        };
        let kind = match &target {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.kind.clone(),
                None => self.problem(id, format!("undefined field '{field}'")),
            },
            Type::Unknown(_) => {
                self.fits(&Type::Dyn, &target);
                Type::Dyn
            }
            other if other.is_open() => Type::Dyn,
            Type::Opaque(_) => self.problem(id, format!("undefined field '{field}'")),
            other => {
                let text = format!("type '{other}' does not support field selection");
                self.problem(id, text);
                Type::Dyn
            }
        };
        if wrapped || optional {
            Type::optional(kind)
        } else {
            kind
        }
    }

    fn call(&mut self, id: u64, call: &'a CallExpr) -> Type {
        let name = call.func_name.as_str();
        if name == operators::OPT_SELECT
            && let [operand, field] = call.args.as_slice()
            && let Expr::Literal(LiteralValue::String(field)) = &field.expr
        {
            let operand = self.node(operand);
            return self.field(id, &operand, field.inner(), true);
        }
        let mut arguments: Vec<Type> = call.args.iter().map(|node| self.node(node)).collect();
        if matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR) {
            let mut wrong = false;
            for (node, kind) in call.args.iter().zip(&arguments) {
                if !self.fits(kind, &Type::Bool) {
                    let text = mismatch(&Type::Bool, &self.settled(kind, true));
                    self.problem(node.id, text);
                    wrong = true;
                }
            }
            return if wrong { Type::Error } else { Type::Bool };
        }
        if let Some(target) = &call.target {
            // `sets.contains` is a name, not a method of `sets`.
            let qualified = dotted(target).map(|prefix| format!("{prefix}.{name}"));
            if let Some(qualified) = qualified
                && let Some((name, overloads)) = self.functions.get_key_value(qualified.as_str())
            {
                return self.resolve(id, name, overloads, &arguments, false);
            }
            arguments.insert(0, self.node(target));
        }
        match self.functions.get(name) {
            Some(overloads) => self.resolve(id, name, overloads, &arguments, call.target.is_some()),
            None => self.undeclared(id, name),
        }
    }

    /// The result of the overloads that the arguments fit.
    fn resolve(
        &mut self,
        id: u64,
        name: &str,
        overloads: &[Overload],
        arguments: &[Type],
        member: bool,
    ) -> Type {
        let mut result: Option<Type> = None;
        for overload in overloads {
            if overload.member != member || overload.arguments.len() != arguments.len() {
                continue;
            }
            let mut parameters = HashMap::new();
            let wanted: Vec<Type> = overload
                .arguments
                .iter()
                .map(|kind| self.fresh(kind, &mut parameters))
                .collect();
            let mark = self.changes.len();
            let fit = arguments
                .iter()
                .zip(&wanted)
                .all(|(argument, wanted)| self.unify(argument, wanted));
            if !fit {
                self.take_back(mark);
                continue;
            }
            let found = self.fresh(&overload.result, &mut parameters);
            let found = self.settled(&found, false);
            result = Some(match result {
                None => found,
                Some(first) if first == Type::Dyn || first == found => first,
                Some(_) => Type::Dyn,
            });
        }
        result.unwrap_or_else(|| {
            let mut shown = arguments
                .iter()
                .map(|kind| self.settled(kind, true).to_string());
            let target = if member {
                shown.next().map(|target| target + ".").unwrap_or_default()
            } else {
                String::new()
            };
            let shown: Vec<String> = shown.collect();
            let text = format!(
                "found no matching overload for '{name}' applied to '{target}({})'",
                shown.join(", ")
            );
            self.problem(id, text)
        })
    }

    /// A declared type with new unknowns for its parameters.
    fn fresh(&mut self, kind: &Type, parameters: &mut HashMap<char, Type>) -> Type {
        match kind {
            Type::Parameter(name) => match parameters.get(name) {
                Some(known) => known.clone(),
                None => {
                    let made = self.unknown();
                    parameters.insert(*name, made.clone());
                    made
                }
            },
            other => other.rebuilt(|part| self.fresh(part, parameters)),
        }
    }

    fn comprehension(&mut self, loops: &'a ComprehensionExpr) -> Type {
        let range = self.node(&loops.iter_range);
        let gathered = self.node(&loops.accu_init);
        let item = match self.settled(&range, false) {
            Type::List(item) => (*item).clone(),
            Type::Map(key, _) => (*key).clone(),
            unknown @ Type::Unknown(_) => {
                self.fits(&Type::Dyn, &unknown);
                Type::Dyn
            }
            open if open.is_open() => Type::Dyn,
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.problem(loops.iter_range.id, text)
            }
        };
        self.scopes.push((&loops.accu_var, gathered.clone()));
        self.scopes.push((&loops.iter_var, item));
        let condition = self.node(&loops.loop_cond);
        self.demand(&Type::Bool, &condition, loops.loop_cond.id);
        let step = self.node(&loops.loop_step);
        self.demand(&gathered, &step, loops.loop_step.id);
        self.scopes.pop();
        let result = self.node(&loops.result);
        self.scopes.pop();
        self.settled(&result, false)
    }

    fn demand(&mut self, wanted: &Type, found: &Type, id: u64) {
        if !self.fits(wanted, found) {
            let text = mismatch(&self.settled(wanted, true), &self.settled(found, true));
            self.problem(id, text);
        }
    }
}

fn mismatch(expected: &Type, found: &Type) -> String {
    format!("expected type '{expected}' but found '{found}'")
}

/// `a.b.c` for selections on a name.
fn dotted(node: &Ast) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", dotted(&select.operand)?, select.field))
        }
        _ => None,
    }
}
