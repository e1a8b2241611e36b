//! Reads expressions, within limits.

use std::fmt::Write as _;

use cel::{Env, common::ast::SourceInfo, parser::Expression as Ast};

use crate::check;

/// Longest expression, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
/// Deepest nesting, of brackets and of the tree that is evaluated.
pub(crate) const MAX_DEPTH: usize = 64;
/// Most nodes of the tree.
const MAX_NODES: usize = 4000;

/// Stack for parsing and for what nests deeply: the caller's may be that of a worker of the runtime.
const DEEP_STACK: usize = 64 * 1024 * 1024;
/// What nests no deeper is evaluated on the caller's stack.
const SHALLOW: usize = 16;

/// Runs on a stack of its own.
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(DEEP_STACK);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

/// Runs what nests so deeply on a stack that is large enough.
pub(crate) fn at_depth<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    if depth <= SHALLOW {
        Some(work())
    } else {
        deep(work)
    }
}

/// An expression that was read.
pub(crate) struct Parsed {
    pub ast: Ast,
    pub info: SourceInfo,
    pub depth: usize,
}

/// Reads an expression; else says what is wrong, and where that is known.
pub(crate) fn read(env: &Env, source: &str) -> Result<Parsed, String> {
    if source.len() > MAX_LENGTH {
        return Err(format!("it is longer than {MAX_LENGTH} bytes"));
    }
    deep(|| parse(env, source)).unwrap_or_else(|| Err("it cannot be parsed".to_owned()))
}

fn parse(env: &Env, source: &str) -> Result<Parsed, String> {
    let (ast, info) = env
        .parser()
        .max_recursion_depth(MAX_DEPTH as u16)
        .error_recovery_limit(3)
        .parse_with_source_info(source)
        .map_err(|errors| {
            let problems = errors.errors.into_iter().map(|error| {
                let (line, column) = error.pos;
                let at = |n: isize| usize::try_from(n).unwrap_or(1).max(1);
                ((at(line), at(column)), error.msg)
            });
            report(source, problems.collect())
        })?;
    let (depth, nodes) = check::size(&ast);
    if depth > MAX_DEPTH || nodes > MAX_NODES {
        return Err(format!(
            "it nests deeper than {MAX_DEPTH} or has more than {MAX_NODES} parts"
        ));
    }
    Ok(Parsed { ast, info, depth })
}

impl Parsed {
    /// Tells of problems at nodes.
    pub(crate) fn report(&self, source: &str, problems: Vec<(u64, String)>) -> String {
        let placed = problems.into_iter().map(|(id, text)| {
            let at = check::position(source, self.info.offset_for(id));
            (at, text)
        });
        report(source, placed.collect())
    }
}

/// Problems with the lines that they are in, as Kubernetes shows them.
fn report(source: &str, mut problems: Vec<((usize, usize), String)>) -> String {
    problems.sort_by_key(|(at, _)| *at);
    let mut shown = String::new();
    for ((line, column), text) in problems {
        if !shown.is_empty() {
            shown.push('\n');
        }
        let _ = write!(shown, "ERROR: <input>:{line}:{column}: {text}");
        if let Some(line) = source.split('\n').nth(line - 1) {
            let line = line.replace('\t', " ");
            let mut rest = line.chars();
            let dots: String = rest
                .by_ref()
                .take(column - 1)
                .map(|c| if c.len_utf8() > 1 { '．' } else { '.' })
                .collect();
            let mark = match rest.next() {
                Some(c) if c.len_utf8() > 1 => '＾',
                _ => '^',
            };
            let _ = write!(shown, "\n | {line}\n | {dots}{mark}");
        }
    }
    shown
}
