//! What is seen of a cluster, for the planner.

use fairway_types::rollout::Rendered;

/// What is seen of one matching cluster at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Index of its wave.
    pub wave: usize,
    /// What it is to have.
    pub wanted: Wanted,
    /// What its Kustomization was brought to last, whatever came of it; nothing where there was none.
    pub has: Option<Rendered>,
    /// The digest that `health` is about.
    pub about: Option<String>,
    /// How its Kustomization is with that.
    pub health: Health,
    /// Why it is not there.
    pub away: Option<Away>,
    /// What a Promotion holds it at.
    pub hold: Option<Hold>,
}

/// What is rendered for a cluster at the newest revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This.
    Rendered(Rendered),
    /// It does not build at this revision.
    Broken {
        /// The revision.
        revision: String,
        /// Why it does not build.
        message: String,
    },
    /// It is not known yet; until it is, no cluster begins anything.
    Unknown,
}

/// How a cluster is with something that was rendered for it. Only what is said of what it may have now counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// It has it, and all is healthy.
    Healthy,
    /// It is being looked at again; what was said before still holds.
    Unsure,
    /// It is on the way.
    #[default]
    Progressing,
    /// It is on the way, and something is wrong that may pass.
    Troubled(String),
    /// It has it, and will not become healthy.
    Failed(String),
}

/// Why a cluster is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Away {
    /// It does not answer.
    Unreachable(String),
    /// It is left alone on purpose.
    Suspended,
}

/// What a Promotion holds a cluster at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What the cluster is to stay at; nothing where that cannot be had: then it stays at what it has.
    pub at: Option<Rendered>,
    /// Who asks for it, and why.
    pub reason: String,
}

/// What a wave's checks say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They pass.
    Passed,
    /// One does not.
    Failed(String),
    /// They are not through.
    Pending,
}

/// Stands for the digest of what does not build.
const BROKEN: &str = "unbuildable:";

impl Sight {
    /// How the cluster is with what it may have now.
    pub fn health_with(&self, current: Option<&Rendered>) -> &Health {
        let is_about_it =
            current.is_some_and(|current| Some(&current.digest) == self.about.as_ref());
        if is_about_it {
            &self.health
        } else {
            &Health::Progressing
        }
    }
}

impl Wanted {
    /// What is rendered, or what stands for it; nothing where it is not known.
    pub fn target(&self) -> Option<Rendered> {
        match self {
            Self::Rendered(rendered) => Some(rendered.clone()),
            Self::Broken { revision, message } => Some(Rendered {
                revision: revision.clone(),
                digest: format!("{BROKEN}{}", crate::rollout::short_hash(message)),
            }),
            Self::Unknown => None,
        }
    }
}
