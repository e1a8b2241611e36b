//! `authorizer`: may somebody do something?

use std::{any::Any, fmt, sync::Arc};

use cel::{
    DeclarationError, Env,
    common::{
        types::{CelBool, CelString, STRING_TYPE, Type},
        value::{CowVal, StaticVal, Val},
    },
};

use super::{Arguments, Outcome, argument, failed, text};
use crate::{meter, values::Value};

/// Answers questions about what is allowed.
pub trait Authorizer: Send + Sync {
    /// Whether it is allowed.
    fn decide(&self, question: &Question) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// Namespace and name of a service account that is asked about; else it is the user of the request.
    pub service_account: Option<(String, String)>,
    /// What it is about.
    pub subject: Subject,
    /// What is to be done with it.
    pub verb: String,
}

/// What a [`Question`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "these are the words of Kubernetes")]
pub enum Subject {
    /// A path that is no resource.
    Path(String),
    /// A resource; what is not said is empty.
    Resource {
        group: String,
        resource: String,
        subresource: String,
        namespace: String,
        name: String,
    },
}

impl Default for Subject {
    fn default() -> Self {
        Self::Path(String::new())
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
}

impl Value {
    /// The variable `authorizer`.
    pub fn authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        Self(Box::new(Check {
            authorizer,
            question: Question::default(),
            stage: Stage::Authorizer,
            decision: Decision::default(),
        }))
    }

    /// The variable `authorizer.requestResource`.
    pub fn resource_check(authorizer: Arc<dyn Authorizer>, subject: Subject) -> Self {
        Self(Box::new(Check {
            authorizer,
            question: Question {
                subject,
                ..Question::default()
            },
            stage: Stage::Resource,
            decision: Decision::default(),
        }))
    }
}

/// How far a question is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decided,
}

static AUTHORIZER: Type = named("Authorizer");
static PATH: Type = named("PathCheck");
static GROUP: Type = named("GroupCheck");
static RESOURCE: Type = named("ResourceCheck");
static DECISION: Type = named("Decision");

const fn named(word: &'static str) -> Type {
    Type::new_unspecified_type(word)
}

#[derive(Clone)]
struct Check {
    authorizer: Arc<dyn Authorizer>,
    question: Question,
    stage: Stage,
    decision: Decision,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.stage, self.question)
    }
}

impl StaticVal for Check {}

impl Val for Check {
    fn get_type(&self) -> &Type {
        match self.stage {
            Stage::Authorizer => &AUTHORIZER,
            Stage::Path => &PATH,
            Stage::Group => &GROUP,
            Stage::Resource => &RESOURCE,
            Stage::Decided => &DECISION,
        }
    }

    fn cel_type() -> &'static Type {
        &AUTHORIZER
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

/// What asking costs, as Kubernetes counts it.
const COST: usize = 35_000;

/// Declares the functions.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let text_of = || vec![STRING_TYPE];
    env.add_member_overload(
        "path",
        "authorizer_path",
        AUTHORIZER.to_owned(),
        text_of(),
        |args| {
            if text(&args, 1)?.trim().is_empty() {
                return Err(failed("path must not be empty"));
            }
            step(args, Stage::Path, |question, text| {
                question.subject = Subject::Path(text);
            })
        },
    )?;
    env.add_member_overload(
        "group",
        "authorizer_group",
        AUTHORIZER.to_owned(),
        text_of(),
        |args| {
            step(args, Stage::Group, |question, text| {
                question.subject = Subject::Resource {
                    group: text,
                    resource: String::new(),
                    subresource: String::new(),
                    namespace: String::new(),
                    name: String::new(),
                };
            })
        },
    )?;
    env.add_member_overload(
        "serviceAccount",
        "authorizer_serviceaccount",
        AUTHORIZER.to_owned(),
        vec![STRING_TYPE, STRING_TYPE],
        |args| {
            let name = text(&args, 2)?.to_owned();
            if !is_name(&name, true) {
                return Err(failed("Invalid service account name"));
            }
            if !is_name(text(&args, 1)?, false) {
                return Err(failed("Invalid service account namespace"));
            }
            step(args, Stage::Authorizer, |question, namespace| {
                question.service_account = Some((namespace, name));
            })
        },
    )?;
    env.add_member_overload(
        "resource",
        "groupcheck_resource",
        GROUP.to_owned(),
        text_of(),
        |args| {
            if text(&args, 1)?.trim().is_empty() {
                return Err(failed("resource must not be empty"));
            }
            part(args, |subject| match subject {
                Subject::Resource { resource, .. } => Some(resource),
                Subject::Path(_) => None,
            })
        },
    )?;
    env.add_member_overload(
        "subresource",
        "resourcecheck_subresource",
        RESOURCE.to_owned(),
        text_of(),
        |args| {
            part(args, |subject| match subject {
                Subject::Resource { subresource, .. } => Some(subresource),
                Subject::Path(_) => None,
            })
        },
    )?;
    env.add_member_overload(
        "namespace",
        "resourcecheck_namespace",
        RESOURCE.to_owned(),
        text_of(),
        |args| {
            part(args, |subject| match subject {
                Subject::Resource { namespace, .. } => Some(namespace),
                Subject::Path(_) => None,
            })
        },
    )?;
    env.add_member_overload(
        "name",
        "resourcecheck_name",
        RESOURCE.to_owned(),
        text_of(),
        |args| {
            part(args, |subject| match subject {
                Subject::Resource { name, .. } => Some(name),
                Subject::Path(_) => None,
            })
        },
    )?;
    // RBAC, which is all there is, knows no selectors.
    for (name, id) in [
        ("fieldSelector", "authorizer_fieldselector"),
        ("labelSelector", "authorizer_labelselector"),
    ] {
        env.add_member_overload(name, id, RESOURCE.to_owned(), text_of(), |args| {
            step(args, Stage::Resource, |_, _| {})
        })?;
    }
    for (id, kind) in [
        ("pathcheck_check", &PATH),
        ("resourcecheck_check", &RESOURCE),
    ] {
        env.add_member_overload("check", id, kind.to_owned(), text_of(), |args| {
            meter::charge(COST)?;
            let mut check = argument::<Check>(&args, 0)?.clone();
            text(&args, 1)?.clone_into(&mut check.question.verb);
            check.decision = check.authorizer.decide(&check.question);
            check.stage = Stage::Decided;
            Ok(CowVal::owned(check))
        })?;
    }
    let decision = || DECISION.to_owned();
    env.add_member_overload("allowed", "decision_allowed", decision(), vec![], |args| {
        let allowed = argument::<Check>(&args, 0)?.decision.allowed;
        Ok(CowVal::owned(CelBool::from(allowed)))
    })?;
    env.add_member_overload("reason", "decision_reason", decision(), vec![], |args| {
        let reason = argument::<Check>(&args, 0)?.decision.reason.clone();
        Ok(CowVal::owned(CelString::from(reason)))
    })?;
    env.add_member_overload("errored", "decision_errored", decision(), vec![], |_| {
        Ok(CowVal::owned(CelBool::from(false)))
    })?;
    env.add_member_overload("error", "decision_error", decision(), vec![], |_| {
        Ok(CowVal::owned(CelString::from(String::new())))
    })
}

fn step<'b, 'v>(
    args: Arguments<'b, 'v>,
    stage: Stage,
    say: impl FnOnce(&mut Question, String),
) -> Outcome<'b, 'v> {
    let mut check = argument::<Check>(&args, 0)?.clone();
    say(&mut check.question, text(&args, 1)?.to_owned());
    check.stage = stage;
    Ok(CowVal::owned(check))
}

fn part<'b, 'v>(
    args: Arguments<'b, 'v>,
    of: impl FnOnce(&mut Subject) -> Option<&mut String>,
) -> Outcome<'b, 'v> {
    step(args, Stage::Resource, |question, text| {
        if let Some(part) = of(&mut question.subject) {
            *part = text;
        }
    })
}

/// Whether it is a DNS label, or several with dots between them.
fn is_name(name: &str, dotted: bool) -> bool {
    let longest = if dotted { 253 } else { 63 };
    let label = |label: &str| {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.starts_with(word)
            && label.ends_with(word)
            && label.chars().all(|c| word(c) || c == '-')
    };
    name.len() <= longest
        && if dotted {
            name.split('.').all(label)
        } else {
            label(name)
        }
}
