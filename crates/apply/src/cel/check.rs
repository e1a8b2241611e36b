//! What can be told of an expression before it is evaluated: its size, the names it uses, the type of its result.

use std::collections::BTreeSet;

use cel::{
    common::ast::{EntryExpr, Expr, LiteralValue, operators},
    parser::Expression as Ast,
};

/// The type of a result, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    /// Known only when the expression is evaluated.
    Dyn,
    Other(&'static str),
}

/// Names that are types, not variables.
const TYPES: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// First parts of the names of functions such as `base64.encode`.
pub(super) const NAMESPACES: [&str; 5] = ["base64", "optional", "sets", "strings", "google"];

/// Functions by the type of their result.
const FUNCTIONS: [(&str, Type); 58] = [
    ("base64.decode", Type::Other("bytes")),
    ("base64.encode", Type::Other("string")),
    ("bool", Type::Bool),
    ("bytes", Type::Other("bytes")),
    ("charAt", Type::Other("string")),
    ("contains", Type::Bool),
    ("double", Type::Other("double")),
    ("duration", Type::Other("google.protobuf.Duration")),
    ("dyn", Type::Dyn),
    ("endsWith", Type::Bool),
    ("format", Type::Other("string")),
    ("getDate", Type::Other("int")),
    ("getDayOfMonth", Type::Other("int")),
    ("getDayOfWeek", Type::Other("int")),
    ("getDayOfYear", Type::Other("int")),
    ("getFullYear", Type::Other("int")),
    ("getHours", Type::Other("int")),
    ("getMilliseconds", Type::Other("int")),
    ("getMinutes", Type::Other("int")),
    ("getMonth", Type::Other("int")),
    ("getSeconds", Type::Other("int")),
    ("hasValue", Type::Bool),
    ("indexOf", Type::Other("int")),
    ("int", Type::Other("int")),
    ("join", Type::Other("string")),
    ("lastIndexOf", Type::Other("int")),
    ("lowerAscii", Type::Other("string")),
    ("matches", Type::Bool),
    ("optional.none", Type::Other("optional_type")),
    ("optional.of", Type::Other("optional_type")),
    ("optional.ofNonZeroValue", Type::Other("optional_type")),
    ("or", Type::Other("optional_type")),
    ("orValue", Type::Dyn),
    ("replace", Type::Other("string")),
    ("reverse", Type::Other("string")),
    ("sets.contains", Type::Bool),
    ("sets.equivalent", Type::Bool),
    ("sets.intersects", Type::Bool),
    ("size", Type::Other("int")),
    ("split", Type::Other("list(string)")),
    ("startsWith", Type::Bool),
    ("string", Type::Other("string")),
    ("strings.quote", Type::Other("string")),
    ("substring", Type::Other("string")),
    ("timestamp", Type::Other("google.protobuf.Timestamp")),
    ("trim", Type::Other("string")),
    ("type", Type::Other("type")),
    ("uint", Type::Other("uint")),
    ("upperAscii", Type::Other("string")),
    ("value", Type::Dyn),
    (operators::EQUALS, Type::Bool),
    (operators::NOT_EQUALS, Type::Bool),
    (operators::LESS, Type::Bool),
    (operators::LESS_EQUALS, Type::Bool),
    (operators::GREATER, Type::Bool),
    (operators::GREATER_EQUALS, Type::Bool),
    (operators::IN, Type::Bool),
    (operators::LOGICAL_NOT, Type::Bool),
];

/// The parts of a node, and the names that the last of them may use.
fn children(node: &Ast) -> Vec<(&Ast, Option<&str>)> {
    let plain = |node| (node, None);
    match &node.expr {
        Expr::Call(call) => call
            .target
            .iter()
            .map(AsRef::as_ref)
            .chain(&call.args)
            .map(plain)
            .collect(),
        Expr::Comprehension(loops) => vec![
            plain(&loops.iter_range),
            plain(&loops.accu_init),
            (&loops.loop_cond, Some(&loops.iter_var)),
            (&loops.loop_step, Some(&loops.iter_var)),
            plain(&loops.result),
        ],
        Expr::List(list) => list.elements.iter().map(plain).collect(),
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|entry| parts(&entry.expr))
            .map(plain)
            .collect(),
        Expr::Struct(fields) => fields
            .entries
            .iter()
            .flat_map(|entry| parts(&entry.expr))
            .map(plain)
            .collect(),
        Expr::Select(select) => vec![plain(&select.operand)],
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

fn parts(entry: &EntryExpr) -> Vec<&Ast> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

/// Depth and number of nodes, found without recursion.
pub(super) fn size(ast: &Ast) -> (usize, usize) {
    let (mut deepest, mut nodes) = (0, 0);
    let mut open = vec![(ast, 1)];
    while let Some((node, depth)) = open.pop() {
        deepest = deepest.max(depth);
        nodes += 1;
        open.extend(
            children(node)
                .into_iter()
                .map(|(child, _)| (child, depth + 1)),
        );
    }
    (deepest, nodes)
}

/// The names that are used freely, which is to say not bound by a macro.
pub(super) fn variables(ast: &Ast) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    free(ast, &mut Vec::new(), &mut |name, _, bound| {
        if !bound {
            names.insert(name.to_owned());
        }
    });
    names
}

fn free<'a>(node: &'a Ast, bound: &mut Vec<&'a str>, found: &mut impl FnMut(&'a str, u64, bool)) {
    if let Expr::Ident(name) = &node.expr {
        // `@result` is what a macro gathers in.
        found(
            name,
            node.id,
            name.starts_with('@') || bound.contains(&name.as_str()),
        );
    }
    for (child, name) in children(node) {
        bound.extend(name);
        free(child, bound, found);
        if name.is_some() {
            bound.pop();
        }
    }
}

/// The first name that is none of these variables, or function that does not exist, and its node.
pub(super) fn undeclared(ast: &Ast, variables: &[&str]) -> Option<(String, u64)> {
    let mut unknown = None;
    free(ast, &mut Vec::new(), &mut |name, id, bound| {
        let known = bound
            || variables.contains(&name)
            || TYPES.contains(&name)
            || NAMESPACES.contains(&name);
        if !known {
            unknown.get_or_insert_with(|| (name.to_owned(), id));
        }
    });
    unknown.or_else(|| {
        let mut open = vec![ast];
        while let Some(node) = open.pop() {
            if let Expr::Call(call) = &node.expr {
                let name = function(call);
                let operator = name.starts_with(['_', '-', '!', '@']);
                if !operator && !FUNCTIONS.iter().any(|(known, _)| *known == name) {
                    return Some((name, node.id));
                }
            }
            open.extend(children(node).into_iter().map(|(child, _)| child));
        }
        None
    })
}

/// The name of the function that is called, with its namespace.
fn function(call: &cel::common::ast::CallExpr) -> String {
    match call.target.as_ref().map(|target| &target.expr) {
        Some(Expr::Ident(namespace)) if NAMESPACES.contains(&namespace.as_str()) => {
            format!("{namespace}.{}", call.func_name)
        }
        _ => call.func_name.clone(),
    }
}

/// The type of the result.
pub(super) fn output(node: &Ast) -> Type {
    match &node.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Bytes(_) => Type::Other("bytes"),
            LiteralValue::Double(_) => Type::Other("double"),
            LiteralValue::Int(_) => Type::Other("int"),
            LiteralValue::Null => Type::Other("null"),
            LiteralValue::String(_) => Type::Other("string"),
            LiteralValue::UInt(_) => Type::Other("uint"),
        },
        Expr::Select(select) if select.test => Type::Bool,
        Expr::Ident(name) if TYPES.contains(&name.as_str()) => Type::Other("type"),
        Expr::Ident(_) | Expr::Select(_) | Expr::Unspecified => Type::Dyn,
        Expr::List(_) => Type::Other("list"),
        Expr::Map(_) => Type::Other("map"),
        Expr::Struct(_) => Type::Other("message"),
        // What a macro gathers has the type that it starts with: a bool for `all`, a list for `map`.
        Expr::Comprehension(loops) => match &loops.result.expr {
            Expr::Ident(name) if *name == loops.accu_var => output(&loops.accu_init),
            _ => output(&loops.result),
        },
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, _) => Type::Bool,
            (operators::CONDITIONAL, [_, yes, no]) => match (output(yes), output(no)) {
                (a, b) if a == b => a,
                _ => Type::Dyn,
            },
            (
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO,
                [a, b],
            ) => match (output(a), output(b)) {
                (Type::Dyn, other) | (other, _) => other,
            },
            (operators::NEGATE, [value]) => output(value),
            _ => {
                let name = function(call);
                FUNCTIONS
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map_or(Type::Dyn, |(_, type_)| *type_)
            }
        },
    }
}

/// Line and column, from 1, of a place in a source.
pub(super) fn position(source: &str, place: Option<(u32, u32)>) -> (usize, usize) {
    let start = place.map_or(0, |(start, _)| start as usize);
    let before: String = source.chars().take(start).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

/// The fields that are selected of a name, such as `status.conditions` for `status`: what a reader looks for.
pub(super) fn attribute(ast: &Ast, name: &str) -> String {
    let mut open = vec![ast];
    while let Some(node) = open.pop() {
        if let Some(path) = path(node)
            && path.first() == Some(&name)
        {
            return path.join(".");
        }
        // The other way round than they were pushed: what stands first is found first.
        open.extend(children(node).into_iter().rev().map(|(child, _)| child));
    }
    name.to_owned()
}

fn path(mut node: &Ast) -> Option<Vec<&str>> {
    let mut steps = Vec::new();
    loop {
        match &node.expr {
            Expr::Ident(name) => {
                steps.push(name.as_str());
                steps.reverse();
                return Some(steps);
            }
            Expr::Select(select) => {
                steps.push(&select.field);
                node = &select.operand;
            }
            _ => return None,
        }
    }
}
