//! What can be told of an expression before it is evaluated: its size and the names it uses.

use std::collections::BTreeSet;

use cel::{
    common::ast::{EntryExpr, Expr},
    parser::Expression as Ast,
};

/// First parts of the names of functions such as `base64.encode`.
pub(super) const NAMESPACES: [&str; 7] = [
    "base64", "optional", "sets", "strings", "google", "ip", "lists",
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

/// The parts of a node, in order.
pub(super) fn parts_of(node: &Ast) -> Vec<&Ast> {
    children(node).into_iter().map(|(part, _)| part).collect()
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

/// Shows every node, without recursion.
pub(super) fn each<'a>(ast: &'a Ast, show: &mut impl FnMut(&'a Ast)) {
    let mut open = vec![ast];
    while let Some(node) = open.pop() {
        show(node);
        open.extend(children(node).into_iter().map(|(child, _)| child));
    }
}
