//! Whether types can be the same, and what that says of those that are not known yet.

use super::Inference;
use crate::types::Type;

impl Inference<'_> {
    /// Whether two types can be the same; what that says of unknowns is kept if they can.
    pub(super) fn fits(&mut self, a: &Type, b: &Type) -> bool {
        let mark = self.changes.len();
        let fit = self.unify(a, b);
        if !fit {
            self.take_back(mark);
        }
        fit
    }

    pub(super) fn take_back(&mut self, mark: usize) {
        for (number, before) in self.changes.drain(mark..).rev() {
            match before {
                Some(kind) => self.bound.insert(number, kind),
                None => self.bound.remove(&number),
            };
        }
    }

    fn set(&mut self, number: usize, kind: Type) {
        let before = self.bound.insert(number, kind);
        self.changes.push((number, before));
    }

    pub(super) fn unify(&mut self, a: &Type, b: &Type) -> bool {
        match (a, b) {
            (a, b) if a == b => true,
            (other, Type::Unknown(number)) | (Type::Unknown(number), other) => {
                self.bind(*number, other)
            }
            (a, b) if a.is_open() || b.is_open() => true,
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Optional(_)
                    | Type::Object(_)
                    | Type::Opaque(_)
                    | Type::Timestamp
                    | Type::Duration
            ),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Object(a), Type::Object(b)) => a.name == b.name,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.unify(a, b)
            }
            (Type::Map(ak, av), Type::Map(bk, bv)) => self.unify(ak, bk) && self.unify(av, bv),
            _ => false,
        }
    }

    fn bind(&mut self, number: usize, kind: &Type) -> bool {
        if let Some(known) = self.bound.get(&number).cloned() {
            if !self.unify(kind, &known) {
                return false;
            }
            let wider = if is_wider(kind, &known) { kind } else { &known };
            if *wider != known && !self.mentions(number, wider) {
                self.set(number, wider.clone());
            }
            return true;
        }
        // Two names for one unknown are no news.
        if self.settled(kind, false) == Type::Unknown(number) {
            return true;
        }
        if self.mentions(number, kind) {
            return false;
        }
        self.set(number, kind.clone());
        true
    }

    fn mentions(&self, number: usize, kind: &Type) -> bool {
        match kind {
            Type::Unknown(other) if *other == number => true,
            Type::Unknown(other) => self
                .bound
                .get(other)
                .is_some_and(|kind| self.mentions(number, kind)),
            other => other
                .parts()
                .into_iter()
                .any(|part| self.mentions(number, part)),
        }
    }
}

/// Whether the first of two types that fit says no more than the second.
pub(super) fn is_wider(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Error | Type::Unknown(_), _) => true,
        (_, Type::Dyn | Type::Error | Type::Unknown(_)) => false,
        (a, b) => {
            std::mem::discriminant(a) == std::mem::discriminant(b)
                && a.parts()
                    .into_iter()
                    .zip(b.parts())
                    .all(|(a, b)| is_wider(a, b))
        }
    }
}
