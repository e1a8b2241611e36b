//! The functions that expressions run with.

use std::sync::{Arc, LazyLock};

use cel::Env;

use crate::{library, meter, sets};

static FLUX: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let added = cel::extensions::strings(&mut env)
        .and_then(|()| cel::extensions::encoders(&mut env))
        .and_then(|()| sets::extension(&mut env))
        .and_then(|()| meter::extension(&mut env));
    added.expect("no two extensions declare the same function");
    Arc::new(env)
});

static EVERYTHING: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let added = cel::extensions::strings(&mut env)
        .and_then(|()| cel::extensions::encoders(&mut env))
        .and_then(|()| cel::extensions::lists(&mut env))
        .and_then(|()| sets::extension(&mut env))
        .and_then(|()| meter::extension(&mut env))
        .and_then(|()| library::extension(&mut env));
    added.expect("no two extensions declare the same function");
    Arc::new(env)
});

/// What Flux's expressions run with.
pub(crate) fn flux() -> Arc<Env> {
    FLUX.clone()
}

/// What Kubernetes' expressions run with, and more: what they may call is decided when they are read.
pub(crate) fn everything() -> Arc<Env> {
    EVERYTHING.clone()
}
