//! From the events of `granit-parser` to documents: anchors, merge keys, duplicates, limits.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StructureStyle, Tag};

use crate::mapping::{find_duplicate, first_wins, is_merge_key, last_wins, merged, twice};
use crate::node::{Document, Error, Kind, Node, Scalar, Span, Style};

/// How a text is read: what to make of a key that stands twice, and how much the text may ask of the
/// reader. The default limits are far above what a manifest needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What to make of a key that stands twice in one mapping.
    pub duplicate_keys: DuplicateKeys,
    /// Bytes of source.
    pub bytes: usize,
    /// Collections inside each other, through aliases too.
    pub depth: usize,
    /// Nodes of all documents together.
    pub nodes: usize,
    /// Nodes that aliases may add by repeating what they stand for.
    pub alias_nodes: usize,
    /// Bytes of text that aliases may add by repeating what they stand for.
    pub alias_bytes: usize,
}

/// What to make of a key that stands twice in one mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DuplicateKeys {
    /// An error that names both lines, as yaml.v3 and the API server have it.
    #[default]
    Refuse,
    /// The first entry counts, as in kustomize's strategic merge patches.
    FirstWins,
    /// The last entry counts, as where kustomize reads its own configuration files.
    LastWins,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            duplicate_keys: DuplicateKeys::Refuse,
            bytes: 64 << 20,
            depth: 200,
            nodes: 4_000_000,
            alias_nodes: 500_000,
            alias_bytes: 32 << 20,
        }
    }
}

/// Reads all documents of a YAML (or JSON) text, with the default [`Options`].
///
/// # Errors
///
/// The first thing that is wrong with the text, with its line and column: bad syntax, a key that stands
/// twice, an unknown or self-containing alias, or a limit that is passed.
pub fn parse(source: &str) -> Result<Vec<Document>, Error> {
    parse_with(source, Options::default())
}

/// Like [`parse()`], on bytes that must be UTF-8.
pub fn parse_bytes(source: &[u8]) -> Result<Vec<Document>, Error> {
    match std::str::from_utf8(source) {
        Ok(text) => parse(text),
        Err(error) => {
            let good = &source[..error.valid_up_to()];
            let line = good.split(|byte| *byte == b'\n').count();
            let line_start = good
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            Err(Error {
                message: "the text is not UTF-8".into(),
                line,
                column: String::from_utf8_lossy(&good[line_start..]).chars().count() + 1,
            })
        }
    }
}

/// Like [`parse()`], with options of your own.
pub fn parse_with(source: &str, options: Options) -> Result<Vec<Document>, Error> {
    let limits = Options {
        bytes: options.bytes.min(u32::MAX as usize),
        ..options
    };
    if source.len() > limits.bytes {
        return Err(Error {
            message: format!(
                "the text is {} bytes long, more than the {} allowed",
                source.len(),
                limits.bytes
            ),
            line: 1,
            column: 1,
        });
    }
    let (text, shift) = match source.strip_prefix('\u{feff}') {
        Some(text) => (text, 3),
        None => (source, 0),
    };
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: limits.depth,
        block_nesting_limit: limits.depth,
    };
    let mut builder = Builder::new(text, shift, limits);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(&error, text))?;
        builder.event(event, &span)?;
    }
    Ok(builder.documents)
}

fn syntax(error: &ScanError, text: &str) -> Error {
    let marker = error.marker();
    let rest = marker.byte_offset().and_then(|at| text.get(at..));
    let message = match (error.kind(), rest) {
        (ErrorKind::UnknownAnchor, Some(rest)) => {
            let end = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}');
            let alias = rest.split(end).next().unwrap_or_default();
            format!("alias {alias} stands for nothing: no anchor of that name comes before it")
        }
        _ => error.info(),
    };
    Error {
        message,
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// A collection whose end has not come yet.
struct Frame {
    span: Span,
    anchor: usize,
    flow: bool,
    open: Open,
}

enum Open {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(Node, Node)>,
        key: Option<Node>,
        merges: bool,
    },
}

/// What an alias stands for, and what each use of it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
    depth: usize,
}

struct Builder<'s> {
    text: &'s str,
    shift: u32,
    limits: Options,
    documents: Vec<Document>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    alias_nodes: usize,
    alias_bytes: usize,
    /// Where the last scalar, alias or bracket ends; a block collection ends with its last one.
    last_end: u32,
}

impl<'s> Builder<'s> {
    fn new(text: &'s str, shift: u32, limits: Options) -> Self {
        Builder {
            text,
            shift,
            limits,
            documents: Vec::new(),
            frames: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            alias_nodes: 0,
            alias_bytes: 0,
            last_end: 0,
        }
    }

    fn event(&mut self, event: Event<'_>, span: &granit_parser::Span) -> Result<(), Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let span = self.span(span);
                self.count(span)?;
                self.last_end = self.last_end.max(span.end);
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    self.check_first_indent(&text, span)?;
                }
                let text = match style {
                    // What is not there comes as a tilde of no length.
                    ScalarStyle::Plain if span.start == span.end => String::new(),
                    _ => text.into_owned(),
                };
                let node = Node {
                    kind: Kind::Scalar(Scalar {
                        text,
                        style: style_of(style),
                        tag: tag.as_deref().map(short_tag),
                    }),
                    span,
                };
                self.finish(node, anchor)
            }
            Event::SequenceStart(style, anchor, _) => {
                self.open(span, anchor, style, Open::Seq(Vec::new()))
            }
            Event::MappingStart(style, anchor, _) => self.open(
                span,
                anchor,
                style,
                Open::Map {
                    entries: Vec::new(),
                    key: None,
                    merges: false,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let byte = |marker: granit_parser::Marker| {
            u32::try_from(marker.byte_offset().unwrap_or_default()).unwrap_or(u32::MAX)
        };
        let start = byte(span.start);
        Span {
            line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
            column: u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX),
            start: start + self.shift,
            end: byte(span.end).max(start) + self.shift,
        }
    }

    /// Where no digit says how far a block is indented, its first line does, and in that a tab does not count.
    fn check_first_indent(&self, text: &str, span: Span) -> Result<(), Error> {
        if !text.trim_start_matches('\n').starts_with('\t') {
            return Ok(());
        }
        // The span starts at the first character; the header ends the line before, or one above empty lines.
        let before = self.text[..(span.start - self.shift) as usize].trim_end();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let line = line.split(" #").next().unwrap_or_default();
        let header = line.split_whitespace().next_back().unwrap_or_default();
        if header.contains(|c: char| c.is_ascii_digit()) {
            return Ok(());
        }
        Err(Error::new(
            "found a tab character where an indentation space is expected",
            span,
        ))
    }

    fn count(&mut self, span: Span) -> Result<(), Error> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(Error::new(
                format!("the text holds more than {} values", self.limits.nodes),
                span,
            ));
        }
        Ok(())
    }

    fn too_deep(&self, span: Span) -> Error {
        Error::new(
            format!("values are nested more than {} deep", self.limits.depth),
            span,
        )
    }

    fn open(
        &mut self,
        span: &granit_parser::Span,
        anchor: usize,
        style: StructureStyle,
        open: Open,
    ) -> Result<(), Error> {
        let mut span = self.span(span);
        let flow = style == StructureStyle::Flow;
        if let (Open::Seq(_), false) = (&open, flow) {
            self.start_at_dash(&mut span);
        }
        self.count(span)?;
        if self.frames.len() >= self.limits.depth {
            return Err(self.too_deep(span));
        }
        self.frames.push(Frame {
            span,
            anchor,
            flow,
            open,
        });
        Ok(())
    }

    /// The span of a sequence that is not indented below its key comes without the first dash.
    fn start_at_dash(&self, span: &mut Span) {
        let is_value = matches!(
            self.frames.last(),
            Some(Frame {
                open: Open::Map { key: Some(_), .. },
                ..
            })
        );
        let before = &self.text[..(span.start - self.shift) as usize];
        let dash = before.trim_end_matches([' ', '\t']);
        if let Some(rest) = dash.strip_suffix('-')
            && is_value
            && rest.ends_with(['\n', '\r', ' ', '\t'])
        {
            let back = (before.len() - rest.len()) as u32;
            span.start -= back;
            span.column = span.column.saturating_sub(back).max(1);
        }
    }

    fn close(&mut self, end: &granit_parser::Span) -> Result<(), Error> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let mut span = frame.span;
        if frame.flow {
            self.last_end = self.span(end).end;
        }
        span.end = self.last_end.max(span.start);
        let kind = match frame.open {
            Open::Seq(items) => Kind::Seq(items),
            Open::Map {
                entries, merges, ..
            } => {
                let entries = match find_duplicate(&entries) {
                    None => entries,
                    Some((first, again)) => match self.limits.duplicate_keys {
                        DuplicateKeys::Refuse => return Err(twice(first, again)),
                        DuplicateKeys::FirstWins => first_wins(entries),
                        DuplicateKeys::LastWins => last_wins(entries),
                    },
                };
                Kind::Map(if merges { merged(entries)? } else { entries })
            }
        };
        self.finish(Node { kind, span }, frame.anchor)
    }

    /// Puts a whole node where it belongs: into the open collection, or as the document's root.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Error> {
        if anchor != 0 {
            let (nodes, bytes, depth) = cost(&node);
            self.spend(nodes, bytes, node.span)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    bytes,
                    depth,
                },
            );
        }
        self.place(node);
        Ok(())
    }

    fn place(&mut self, node: Node) {
        let Some(frame) = self.frames.last_mut() else {
            self.documents.push(Document { root: node });
            return;
        };
        match &mut frame.open {
            Open::Seq(items) => items.push(node),
            Open::Map {
                entries,
                key,
                merges,
            } => match key.take() {
                None => {
                    *merges = *merges || is_merge_key(&node);
                    *key = Some(node);
                }
                Some(key) => entries.push((key, node)),
            },
        }
    }

    fn alias(&mut self, id: usize, span: &granit_parser::Span) -> Result<(), Error> {
        let name = span.slice(self.text).unwrap_or("*").to_owned();
        let span = self.span(span);
        self.last_end = span.end;
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(Error::new(
                format!("alias {name} stands inside the value that it repeats"),
                span,
            ));
        };
        let (nodes, bytes, depth) = (anchored.nodes, anchored.bytes, anchored.depth);
        if self.frames.len() + depth > self.limits.depth {
            return Err(self.too_deep(span));
        }
        self.spend(nodes, bytes, span)?;
        let node = self.anchors[&id].node.clone();
        self.place(node);
        Ok(())
    }

    /// Counts copies made for an anchor or an alias, so that a small text cannot grow without bounds.
    fn spend(&mut self, nodes: usize, bytes: usize, span: Span) -> Result<(), Error> {
        self.alias_nodes += nodes;
        self.alias_bytes += bytes;
        if self.alias_nodes > self.limits.alias_nodes || self.alias_bytes > self.limits.alias_bytes
        {
            return Err(Error::new(
                "aliases make the document too large (excessive aliasing)",
                span,
            ));
        }
        Ok(())
    }
}

/// Nodes, bytes of text and depth of a subtree.
fn cost(node: &Node) -> (usize, usize, usize) {
    let sum = |(nodes, bytes, depth): (usize, usize, usize), child: &Node| {
        let (n, b, d) = cost(child);
        (nodes + n, bytes + b, depth.max(d + 1))
    };
    match &node.kind {
        Kind::Scalar(scalar) => (1, scalar.text.len(), 0),
        Kind::Seq(items) => items.iter().fold((1, 0, 1), sum),
        Kind::Map(entries) => entries
            .iter()
            .flat_map(|(key, value)| [key, value])
            .fold((1, 0, 1), sum),
    }
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}

fn short_tag(tag: &Tag) -> Box<str> {
    match tag.parts() {
        ("tag:yaml.org,2002:", suffix) => format!("!!{suffix}"),
        (handle, suffix) => match format!("{handle}{suffix}") {
            long if long.starts_with("tag:yaml.org,2002:") => {
                long.replacen("tag:yaml.org,2002:", "!!", 1)
            }
            short => short,
        },
    }
    .into()
}
