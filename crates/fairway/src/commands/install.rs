//! `fairway install`.

use crate::args::Global;
use crate::exit::Outcome;
use crate::{hub, setup};

/// Applies what a management cluster needs, or prints it.
pub(crate) async fn run(global: &Global, export: bool) -> anyhow::Result<Outcome> {
    let objects = setup::hub_objects()?;
    if export {
        print!("{}", fairway_yaml::emit::documents(&objects));
        return Ok(Outcome::Done);
    }
    setup::install(&hub::client(global).await?).await?;
    println!(
        "installed: {} objects; start the reconcilers with `fairway controller`",
        objects.len()
    );
    Ok(Outcome::Done)
}
