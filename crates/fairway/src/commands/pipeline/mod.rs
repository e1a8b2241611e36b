//! `fairway pipeline`.

mod picture;

use std::time::Duration;

use fairway_types::Pipeline;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Client, ResourceExt as _};

use super::kinds::{Kind, explain};
use super::promotion::{pipelines, promotions_of};
use crate::args::{GetArgs, GetCommand, Global, PipelineCommand};
use crate::exit::Outcome;
use crate::hub;
use crate::output::Paint;
pub(crate) use picture::picture;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_millis(500);

/// Draws or lists.
pub(crate) async fn run(global: &Global, command: PipelineCommand) -> anyhow::Result<Outcome> {
    match command {
        PipelineCommand::List(list) => {
            let what = GetCommand::Pipelines(list);
            super::get::run(global, GetArgs { what }).await
        }
        PipelineCommand::Status { name, watch } => {
            let client = hub::client(global).await?;
            if watch {
                return draw_again(&client, global, name.as_deref()).await;
            }
            let paint = Paint::of_stdout();
            let found = find(&client, global, name.as_deref()).await?;
            if found.is_empty() {
                eprintln!("there is no Pipeline in namespace {}", global.namespace);
                return Ok(Outcome::NotSo);
            }
            print!("{}", draw(&client, &found, paint).await?);
            Ok(Outcome::Done)
        }
    }
}

/// Draws whenever something changed: over the last picture on a terminal, else below it.
async fn draw_again(
    client: &Client,
    global: &Global,
    name: Option<&str>,
) -> anyhow::Result<Outcome> {
    let terminal = console::Term::stdout();
    let (mut shown, mut lines) = (String::new(), 0);
    loop {
        let found = find(client, global, name).await?;
        let text = draw(client, &found, Paint::of_stdout()).await?;
        if terminal.is_term() {
            if text != shown {
                terminal.clear_last_lines(lines)?;
                print!("{text}");
                lines = text.lines().count();
            }
        } else if without_times(&text) != without_times(&shown) {
            println!("{text}");
        }
        shown = text;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Outcome::Done),
        }
    }
}

/// The picture without what changes by itself.
fn without_times(text: &str) -> String {
    text.split_whitespace()
        .filter(|word| !(word.ends_with('s') && word.starts_with(|c: char| c.is_ascii_digit())))
        .collect()
}

async fn find(
    client: &Client,
    global: &Global,
    name: Option<&str>,
) -> anyhow::Result<Vec<Pipeline>> {
    let namespace = &global.namespace;
    let api = pipelines(client, namespace);
    Ok(match name {
        Some(name) => vec![
            api.get(name)
                .await
                .map_err(|error| explain(error, Kind::Pipeline, name, namespace))?,
        ],
        None => {
            api.list(&ListParams::default())
                .await
                .map_err(|error| explain(error, Kind::Pipeline, "", namespace))?
                .items
        }
    })
}

async fn draw(client: &Client, pipelines: &[Pipeline], paint: Paint) -> anyhow::Result<String> {
    let mut pictures = Vec::new();
    for pipeline in pipelines {
        let namespace = pipeline.namespace().unwrap_or_default();
        let promotions = promotions_of(client, &namespace, &pipeline.name_any()).await?;
        pictures.push(picture(pipeline, &promotions, Timestamp::now(), paint));
    }
    Ok(pictures.join("\n"))
}

#[cfg(test)]
mod guide {
    //! The YAML of docs/promotion.md and of the reference repository means what it says.

    use fairway_types::FleetKustomization;
    use serde_json::Value;

    use super::*;

    const GUIDE: &str = include_str!("../../../../../docs/promotion.md");

    /// What of `written` is not in `read`: a field that nobody knows, or another value.
    fn lost(path: &str, written: &Value, read: &Value, found: &mut Vec<String>) {
        match (written, read) {
            (Value::Object(written), Value::Object(read)) => {
                for (key, value) in written {
                    let below = format!("{path}.{key}");
                    lost(&below, value, read.get(key).unwrap_or(&Value::Null), found);
                }
            }
            (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
                for (index, (written, read)) in written.iter().zip(read).enumerate() {
                    lost(&format!("{path}[{index}]"), written, read, found);
                }
            }
            // What is as by default is not written.
            (Value::String(written), Value::Null)
                if ["rollback", "halt", "Orphan"].contains(&written.as_str()) => {}
            (written, read) if written == read => {}
            _ => found.push(format!("{path}: {written} became {read}")),
        }
    }

    fn check(text: &str) -> usize {
        let mut checked = 0;
        for object in crate::setup::documents(text).unwrap() {
            let read = match object["kind"].as_str() {
                Some("Pipeline") => {
                    let pipeline: Pipeline = serde_json::from_value(object.clone()).unwrap();
                    let checks = pipeline
                        .spec
                        .stages
                        .iter()
                        .flat_map(|stage| stage.gates.iter().chain(&stage.verification));
                    for check in checks {
                        check.kind().unwrap();
                    }
                    serde_json::to_value(pipeline).unwrap()
                }
                Some("FleetKustomization") => {
                    let fleet: FleetKustomization = serde_json::from_value(object.clone()).unwrap();
                    serde_json::to_value(fleet).unwrap()
                }
                _ => continue,
            };
            let mut found = Vec::new();
            lost("", &object, &read, &mut found);
            assert!(found.is_empty(), "{found:#?}");
            checked += 1;
        }
        checked
    }

    #[test]
    fn its_yaml_is_understood() {
        let blocks = GUIDE.split("```yaml\n").skip(1);
        let checked: usize = blocks
            .map(|block| check(block.split_once("\n```").unwrap().0))
            .sum();
        assert_eq!(checked, 3);
        let files = crate::reference::files("https://example.org/x.git", "main");
        for name in [
            "promotion-rollback/myapp-pipeline.yaml",
            "flux-manifests/apps-kustomization.yaml",
        ] {
            let (_, bytes) = files.iter().find(|(path, _)| path == name).unwrap();
            assert_eq!(check(&String::from_utf8_lossy(bytes)), 1, "{name}");
        }
    }
}
