//! The ten clusters of the reference architecture.

use std::collections::BTreeMap;

use crate::setup::Registration;

const ENVIRONMENTS: [(&str, &str); 3] = [
    ("dev", "cc-1001"),
    ("staging", "cc-1002"),
    ("prod", "cc-2001"),
];
const REGIONS: [&str; 3] = ["us-west-2", "us-east-1", "eu-west-1"];

/// The nine workload clusters with their labels.
pub(crate) fn registrations() -> Vec<Registration> {
    let of = |(environment, cost_center): (&str, &str), region: &str| Registration {
        name: format!("{environment}-{region}"),
        namespace: fairway_types::names::SYSTEM_NAMESPACE.to_owned(),
        labels: BTreeMap::from(
            [
                ("environment", environment),
                ("region", region),
                ("cluster-type", "workload"),
                ("team", "platform"),
                ("cost-center", cost_center),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        ),
    };
    ENVIRONMENTS
        .into_iter()
        .flat_map(|environment| REGIONS.map(|region| of(environment, region)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_reference_repository() {
        let files = crate::reference::files("https://example.com/r.git", "main");
        for registration in registrations() {
            let path = format!(
                "clusters/{}/cluster.yaml",
                registration.name.replacen('-', "/", 1)
            );
            let (_, bytes) = files
                .iter()
                .find(|(name, _)| *name == path)
                .expect("each cluster has its file");
            let object = fairway_yaml::parse(std::str::from_utf8(bytes).unwrap()).unwrap()[0]
                .to_json()
                .unwrap();
            assert_eq!(
                object,
                crate::setup::cluster_object(&registration),
                "{path}"
            );
        }
    }
}
