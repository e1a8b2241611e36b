//! Fetch, read trees by object id, verify, commit and push.
