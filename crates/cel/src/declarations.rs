//! The functions that there are, with the types that they take and give.

use std::{collections::HashMap, sync::LazyLock};

use crate::types::Type;

/// A way to call a function.
#[derive(Debug, PartialEq)]
pub(crate) struct Overload {
    /// Called on its first argument: `a.f(b)`.
    pub member: bool,
    pub arguments: Vec<Type>,
    pub result: Type,
}

/// Functions by name.
pub(crate) type Functions = HashMap<&'static str, Vec<Overload>>;

/// What Kubernetes' expressions may call.
pub(crate) static KUBERNETES: LazyLock<Functions> = LazyLock::new(|| {
    read(&[
        include_str!("declarations/common.txt"),
        include_str!("declarations/kubernetes.txt"),
    ])
});

/// What Flux's expressions may call.
pub(crate) static FLUX: LazyLock<Functions> = LazyLock::new(|| {
    read(&[
        include_str!("declarations/common.txt"),
        include_str!("declarations/flux.txt"),
    ])
});

fn read(files: &[&'static str]) -> Functions {
    let mut functions = Functions::new();
    for line in files.iter().flat_map(|file| file.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, overloads) = line.split_once(' ').expect("a name and its overloads");
        let known = functions.entry(name).or_default();
        known.extend(overloads.split("; ").map(overload));
    }
    functions
}

/// `target.(arguments) result`.
fn overload(text: &'static str) -> Overload {
    let mut reader = Reader(text);
    let target = (!text.starts_with('(')).then(|| reader.kind());
    if target.is_some() {
        reader.expect('.');
    }
    let mut arguments: Vec<Type> = target.into_iter().collect();
    let member = !arguments.is_empty();
    reader.expect('(');
    if !reader.take(')') {
        arguments.push(reader.kind());
        while reader.take(',') {
            reader.expect(' ');
            arguments.push(reader.kind());
        }
        reader.expect(')');
    }
    reader.expect(' ');
    let result = reader.kind();
    assert_eq!(reader.0, "", "{text}");
    Overload {
        member,
        arguments,
        result,
    }
}

struct Reader(&'static str);

impl Reader {
    fn take(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, c: char) {
        assert!(self.take(c), "{c:?} expected: {}", self.0);
    }

    fn parts(&mut self) -> Vec<Type> {
        self.expect('(');
        let mut parts = vec![self.kind()];
        while self.take(',') {
            self.expect(' ');
            parts.push(self.kind());
        }
        self.expect(')');
        parts
    }

    fn kind(&mut self) -> Type {
        let end = self
            .0
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
            .unwrap_or(self.0.len());
        // The dot before the arguments of a method is not part of the name.
        let word = self.0[..end].trim_end_matches('.');
        self.0 = &self.0[word.len()..];
        match word {
            "dyn" => Type::Dyn,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "list" => Type::list(self.parts().remove(0)),
            "optional_type" => Type::optional(self.parts().remove(0)),
            "type" => Type::Type(self.parts().remove(0).into()),
            "map" => {
                let [key, value] = <[Type; 2]>::try_from(self.parts()).expect("key and value");
                Type::Map(key.into(), value.into())
            }
            _ => match word.chars().next() {
                Some(name @ 'A'..='B') if word.len() == 1 => Type::Parameter(name),
                _ => Type::Opaque(word),
            },
        }
    }
}

/// The type that a name stands for where it is no variable, such as `int` in `type(x) == int`.
pub(crate) fn named(name: &str) -> Option<Type> {
    let kind = match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "int" => Type::Int,
        "list" => Type::list(Type::Dyn),
        "map" => Type::Map(Type::Dyn.into(), Type::Dyn.into()),
        "null_type" => Type::Null,
        "optional_type" => Type::optional(Type::Dyn),
        "string" => Type::String,
        "type" => Type::Type(Type::Dyn.into()),
        "uint" => Type::Uint,
        _ => return None,
    };
    Some(Type::Type(kind.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read() {
        let a = || Type::Parameter('A');
        assert_eq!(
            overload("optional_type(A).(A) A"),
            Overload {
                member: true,
                arguments: vec![Type::optional(a()), a()],
                result: a(),
            }
        );
        assert_eq!(
            overload("(string) net.IP"),
            Overload {
                member: false,
                arguments: vec![Type::String],
                result: Type::Opaque("net.IP"),
            }
        );
        assert_eq!(
            overload("net.IP.() int").arguments,
            [Type::Opaque("net.IP")]
        );
        assert!(KUBERNETES.len() > 100 && FLUX.len() > 60);
    }
}
