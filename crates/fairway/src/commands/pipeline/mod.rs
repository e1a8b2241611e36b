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
