//! The name of the Kustomization that a FleetKustomization keeps for a cluster.

use sha2::{Digest, Sha256};

use crate::build::finish::hex;

/// Names of Kustomizations become label values (`kustomize.toolkit.fluxcd.io/name`), which end at 63 bytes.
pub(super) const MAX_NAME: usize = 63;

const HASH: usize = 8;

/// `<fleet>-<cluster>`; where that is too long it is cut and ends in a hash of the whole.
///
/// ```
/// # use fairway_controller::fleet::child_name;
/// assert_eq!(child_name("apps", "prod-eu-west-1"), "apps-prod-eu-west-1");
/// ```
pub fn child_name(fleet: &str, cluster: &str) -> String {
    let whole = format!("{fleet}-{cluster}");
    if whole.len() <= MAX_NAME {
        return whole;
    }
    let digest = Sha256::digest(format!("{fleet}/{cluster}"));
    let hash = hex(&digest[..HASH / 2]);
    let mut end = MAX_NAME - HASH - 1;
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{hash}", whole[..end].trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let (a, b) = (
            child_name("platform", &"x".repeat(70)),
            child_name("platform", &"x".repeat(71)),
        );
        assert_eq!(a.len(), MAX_NAME);
        assert_ne!(a, b);
        assert!(a.starts_with("platform-xxx"));
        // the same text cut at another place is another pair
        assert_ne!(
            child_name(&"a".repeat(40), &"b".repeat(40)),
            child_name(&format!("{}-b", "a".repeat(40)), &"b".repeat(38))
        );
    }

    proptest! {
        #[test]
        fn is_a_label_value(fleet in "[a-z]([a-z0-9.-]{0,60}[a-z0-9])?", cluster in "[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?") {
            let name = child_name(&fleet, &cluster);
            prop_assert!(name.len() <= MAX_NAME);
            prop_assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(name.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
