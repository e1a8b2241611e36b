//! kustomize build: a tree of files in, objects out.
