//! Diff, staged server-side apply, inventory, prune, health and drift on one cluster.
