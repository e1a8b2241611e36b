//! Read, emit and edit YAML the way kubectl and kustomize do.
