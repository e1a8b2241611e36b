//! `fairway events`.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};

use super::kinds::{Kind, scope};
use crate::args::{EventsArgs, Global};
use crate::exit::{Misuse, Outcome};
use crate::hub;
use crate::output::{Table, age_since};

/// Prints the events of Flux's and Fairway's objects, oldest first.
pub(crate) async fn run(global: &Global, args: EventsArgs) -> anyhow::Result<Outcome> {
    let object = args.object.as_deref().map(parse).transpose()?;
    let client = hub::client(global).await?;
    let api: Api<Event> = match scope(global, args.all_namespaces) {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut seen = BTreeSet::new();
    loop {
        let mut events = api.list(&ListParams::default()).await?.items;
        events.retain(|event| is_wanted(event, object.as_ref(), &args.types));
        events.sort_by_key(at);
        let mut table = Table::new(["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
        for event in &events {
            let key = (event.metadata.uid.clone(), event.count);
            if seen.insert(key) {
                table.row(row(event));
            }
        }
        if !table.is_empty() {
            print!("{}", table.render(seen.len() == events.len()));
        } else if seen.is_empty() && !args.watch {
            eprintln!("there are no events");
        }
        if !args.watch {
            return Ok(Outcome::Done);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Outcome::Done),
        }
    }
}

fn parse(text: &str) -> anyhow::Result<(String, String)> {
    let (kind, name) = text.split_once('/').ok_or_else(|| {
        Misuse(format!(
            "--for {text}: write KIND/NAME, for example Kustomization/apps"
        ))
    })?;
    Ok((kind.to_owned(), name.to_owned()))
}

fn is_wanted(event: &Event, object: Option<&(String, String)>, types: &[String]) -> bool {
    let involved = &event.involved_object;
    let kind = involved.kind.as_deref().unwrap_or_default();
    let ours = Kind::ALL.iter().any(|known| known.name() == kind);
    let named = object.is_none_or(|(wanted, name)| {
        wanted.eq_ignore_ascii_case(kind) && involved.name.as_deref() == Some(name)
    });
    let typed = types.is_empty()
        || types.iter().any(|wanted| {
            event
                .type_
                .as_deref()
                .is_some_and(|is| is.eq_ignore_ascii_case(wanted))
        });
    (ours || object.is_some()) && named && typed
}

fn at(event: &Event) -> Option<jiff::Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or(event.event_time.as_ref().map(|time| time.0))
        .or(event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0))
}

fn row(event: &Event) -> [String; 5] {
    let involved = &event.involved_object;
    [
        age_since(at(event), jiff::Timestamp::now()),
        event.type_.clone().unwrap_or_default(),
        event.reason.clone().unwrap_or_default(),
        format!(
            "{}/{}",
            involved.kind.as_deref().unwrap_or("-"),
            involved.name.as_deref().unwrap_or("-")
        ),
        event.message.clone().unwrap_or_default(),
    ]
}
