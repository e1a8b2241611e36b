//! API servers that count what they are asked: simulated ones or real ones.

use std::collections::BTreeMap;
use std::fmt;

use fairway_testkit::Fleet;
use fairway_testkit::real::{Assets, Clusters, Settings};

pub(crate) const HUB: &str = "management";

/// A hub and workload clusters.
pub(crate) enum Servers {
    Simulated(Fleet, Vec<String>),
    Real(Clusters, Vec<String>),
}

/// What was asked: cluster, verb, resource, how often. Verbs are small letters; server-side apply is `patch` or `apply`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<(String, String, String), u64>);

fn names(clusters: usize) -> Vec<String> {
    (0..clusters).map(|index| format!("c{index}")).collect()
}

impl Servers {
    pub(crate) async fn simulated(clusters: usize) -> Self {
        let names = names(clusters);
        let mut all = vec![HUB];
        all.extend(names.iter().map(String::as_str));
        Self::Simulated(Fleet::start(&all).await.unwrap(), names)
    }

    pub(crate) async fn real(assets: &Assets, clusters: usize) -> Self {
        let names = names(clusters);
        let mut all = vec![Settings::new(HUB)];
        all.extend(names.iter().map(|name| Settings::new(name)));
        Self::Real(Clusters::start(assets, all).await.unwrap(), names)
    }

    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Simulated(_, names) | Self::Real(_, names) => names,
        }
    }

    pub(crate) fn kubeconfig(&self, name: &str) -> String {
        match self {
            Self::Simulated(fleet, _) => fleet.kubeconfig_for(name).unwrap(),
            Self::Real(clusters, _) => clusters.get(name).unwrap().kubeconfig().to_owned(),
        }
    }

    /// What all clusters were asked so far.
    pub(crate) async fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for name in self.names().iter().map(String::as_str).chain([HUB]) {
            match self {
                Self::Simulated(fleet, _) => {
                    for ((verb, resource), count) in fleet.server().request_counts(name).unwrap() {
                        counts.add(name, &verb, &resource, count);
                    }
                }
                Self::Real(clusters, _) => {
                    let client = clusters.get(name).unwrap().client().await.unwrap();
                    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
                    let text = client.request_text(request).await.unwrap();
                    counts.read(name, &text);
                }
            }
        }
        counts
    }
}

impl Counts {
    fn add(&mut self, cluster: &str, verb: &str, resource: &str, count: u64) {
        let key = (cluster.to_owned(), verb.to_lowercase(), resource.to_owned());
        *self.0.entry(key).or_default() += count;
    }

    /// Takes `apiserver_request_total` of a metrics page.
    fn read(&mut self, cluster: &str, page: &str) {
        for line in page.lines() {
            let Some(rest) = line.strip_prefix("apiserver_request_total{") else {
                continue;
            };
            let (labels, count) = rest.rsplit_once("} ").unwrap();
            let label = |name: &str| {
                let pairs = labels
                    .split("\",")
                    .filter_map(|pair| pair.split_once("=\""));
                let mut values = pairs
                    .filter(|(key, _)| *key == name)
                    .map(|(_, value)| value);
                values
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches('"')
                    .to_owned()
            };
            let mut resource = label("resource");
            if !label("subresource").is_empty() {
                resource = format!("{resource}/{}", label("subresource"));
            }
            let count = count.parse::<f64>().unwrap() as u64;
            self.add(cluster, &label("verb"), &resource, count);
        }
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let more = self.0.iter().map(|(key, count)| {
            let before = before.0.get(key).copied().unwrap_or(0);
            (key.clone(), count - before)
        });
        Self(more.filter(|(_, count)| *count > 0).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &str, u64)> {
        self.0.iter().map(|((cluster, verb, resource), count)| {
            (cluster.as_str(), verb.as_str(), resource.as_str(), *count)
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sums: BTreeMap<(bool, &str, &str), u64> = BTreeMap::new();
        for (cluster, verb, resource, count) in self.iter() {
            *sums.entry((cluster == HUB, verb, resource)).or_default() += count;
        }
        for ((is_hub, verb, resource), count) in sums {
            let place = if is_hub { "hub" } else { "clusters" };
            write!(f, "\n  {place}: {count} × {verb} {resource}")?;
        }
        Ok(())
    }
}
