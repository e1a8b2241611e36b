//! `fairway tree`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fairway_types::ObjectId;
use kube::Client;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::kinds::{Kind, explain};
use crate::args::{Format, Global, TreeArgs, TreeCommand};
use crate::exit::{Hinted, Outcome};
use crate::hub;

/// A Kustomization and what it manages.
struct Node {
    subject: String,
    children: Vec<Node>,
}

/// Prints the objects of a Kustomization as a tree.
pub(crate) async fn run(global: &Global, args: TreeArgs) -> anyhow::Result<Outcome> {
    let TreeCommand::Kustomization {
        name,
        compact,
        output,
    } = args.what;
    let client = hub::client(global).await?;
    let known = kustomizations(&client, global).await?;
    let key = (global.namespace.clone(), name.clone());
    if !known.contains_key(&key) {
        return Err(Hinted::new(
            format!("Kustomization {}/{name} is not there", global.namespace),
            "`fairway get kustomizations -A` lists what is",
        )
        .into());
    }
    let node = grow(&key, &known, compact, 0);
    match output {
        Format::Json => println!("{}", serde_json::to_string_pretty(&to_json(&node))?),
        Format::Yaml => print!("{}", fairway_yaml::emit::to_string(&to_json(&node))),
        Format::Table => print!("{}", draw(&node)),
    }
    Ok(Outcome::Done)
}

type Inventories = BTreeMap<(String, String), Vec<ObjectId>>;

async fn kustomizations(client: &Client, global: &Global) -> anyhow::Result<Inventories> {
    let list = Kind::Kustomization
        .api(client, None)
        .list(&ListParams::default())
        .await
        .map_err(|error| explain(error, Kind::Kustomization, "", &global.namespace))?;
    let mut known = BTreeMap::new();
    for object in list.items {
        let ids = object.data["status"]["inventory"]["entries"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                entry["id"]
                    .as_str()
                    .and_then(|id| id.parse::<ObjectId>().ok())
            })
            .collect();
        let namespace = object.metadata.namespace.unwrap_or_default();
        known.insert((namespace, object.metadata.name.unwrap_or_default()), ids);
    }
    Ok(known)
}

/// The depth is bounded: a Kustomization that applies itself is shown once.
fn grow(key: &(String, String), known: &Inventories, compact: bool, depth: usize) -> Node {
    let mut children = Vec::new();
    for id in known.get(key).into_iter().flatten() {
        let child = (id.namespace.clone(), id.name.clone());
        let nested = id.kind == "Kustomization"
            && id.group == fairway_types::names::KUSTOMIZE_GROUP
            && &child != key;
        if nested && known.contains_key(&child) && !compact && depth < 8 {
            children.push(grow(&child, known, compact, depth + 1));
        } else {
            children.push(Node {
                subject: id.subject(),
                children: Vec::new(),
            });
        }
    }
    Node {
        subject: format!("Kustomization/{}/{}", key.0, key.1),
        children,
    }
}

fn to_json(node: &Node) -> Value {
    let mut value = json!({"resource": node.subject});
    if !node.children.is_empty() {
        value["resources"] = node.children.iter().map(to_json).collect();
    }
    value
}

fn draw(node: &Node) -> String {
    fn below(node: &Node, indent: &str, text: &mut String) {
        for (index, child) in node.children.iter().enumerate() {
            let last = index + 1 == node.children.len();
            let (branch, next) = if last {
                ("└── ", "    ")
            } else {
                ("├── ", "│   ")
            };
            let _ = writeln!(text, "{indent}{branch}{}", child.subject);
            below(child, &format!("{indent}{next}"), text);
        }
    }
    let mut text = format!("{}\n", node.subject);
    below(node, "", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_nested_kustomizations_and_stops_at_itself() {
        let id = |text: &str| text.parse::<ObjectId>().unwrap();
        let key = |name: &str| ("flux-system".to_owned(), name.to_owned());
        let known = Inventories::from([
            (
                key("root"),
                vec![
                    id("flux-system_root_kustomize.toolkit.fluxcd.io_Kustomization"),
                    id("flux-system_apps_kustomize.toolkit.fluxcd.io_Kustomization"),
                ],
            ),
            (key("apps"), vec![id("default_web_apps_Deployment")]),
        ]);
        let text = draw(&grow(&key("root"), &known, false, 0));
        assert_eq!(
            text,
            "Kustomization/flux-system/root\n\
             ├── Kustomization/flux-system/root\n\
             └── Kustomization/flux-system/apps\n    \
                 └── Deployment/default/web\n"
        );
    }
}
