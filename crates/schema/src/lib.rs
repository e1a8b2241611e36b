//! Merge keys, list-map keys and structural schemas of Kubernetes types.
