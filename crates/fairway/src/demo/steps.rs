//! The next steps that a running demo prints: blocks to copy, with absolute paths and what is to be seen.

use std::fmt::Write as _;
use std::path::Path;

use super::place::Running;

/// Six blocks. `binary` is the program that runs.
pub(crate) fn text(running: &Running, binary: &Path) -> String {
    let fairway = quoted(binary);
    let kubeconfig = quoted(&running.kubeconfig);
    let kubectl = format!("kubectl --kubeconfig {kubeconfig}");
    let clone = quoted(&running.dir.join("clone"));
    let url = &running.url;
    let branch = &running.branch;
    let overlay = "apps/orders/overlays/dev/kustomization.yaml";
    let hub = format!("{fairway} --kubeconfig {kubeconfig} --context management");
    let mut text = String::from(
        "Next steps, in another terminal (each also as `fairway demo try …`, which says what it sees):\n",
    );
    let mut block = |title: &str, what: &str, lines: &[String], expected: &str| {
        let _ = write!(text, "\n{title}   [{fairway} demo try {what}]\n");
        for line in lines {
            let _ = writeln!(text, "    {line}");
        }
        let _ = writeln!(text, "  → {expected}");
    };
    block(
        "1. See drift put back",
        "drift",
        &[
            format!(
                "{kubectl} --context prod-us-west-2 -n myapp scale deployment myapp --replicas=9"
            ),
            format!("{kubectl} --context prod-us-west-2 -n myapp get deployment myapp"),
        ],
        "within about a second it has 3 replicas again, as Git says",
    );
    block(
        "2. Push a change",
        "change",
        &[
            format!("git clone {url} {clone}"),
            format!("sed -i.bak 's/newTag: .*/newTag: 2.2.1/' {clone}/{overlay}"),
            format!(
                "git -C {clone} commit -am 'orders 2.2.1 in dev' && git -C {clone} push origin {branch}"
            ),
            format!("{hub} get kustomizations -l environment=dev"),
        ],
        "one dev cluster runs 2.2.1 within a second or two, the other two follow when it has been healthy for a moment; staging and prod only note the new revision",
    );
    block(
        "3. Break an app",
        "break",
        &[
            format!("sed -i.bak 's/newTag: .*/newTag: 2.3.0-broken/' {clone}/{overlay}"),
            format!(
                "git -C {clone} commit -am 'orders 2.3.0 in dev' && git -C {clone} push origin {branch}"
            ),
            format!("{hub} get kustomizations -l environment=dev"),
            format!("{kubectl} --context dev-us-west-2 -n orders get pods"),
            format!("git -C {clone} revert --no-edit HEAD && git -C {clone} push origin {branch}"),
        ],
        "apps-dev-us-west-2 is not Ready and names the Deployment, its old pod goes on serving, the other clusters never get it; the revert heals it",
    );
    block(
        "4. Lose a cluster",
        "outage",
        &[
            format!(
                "echo '{{\"refuse\":true}}' | {kubectl} --context management replace --raw /simulator/clusters/prod-eu-west-1/faults -f -"
            ),
            format!("{hub} get clusters"),
            format!(
                "{kubectl} --context management delete --raw /simulator/clusters/prod-eu-west-1/faults"
            ),
        ],
        "prod-eu-west-1 is not Ready and says why, the other eight go on; when it is back it catches up by itself",
    );
    block(
        "5. Promote a good version through all stages",
        "promote",
        &[
            format!("{hub} promote myapp --stage dev --version 1.5.1 --wait"),
            format!("{hub} pipeline status myapp --watch"),
            format!("{hub} audit"),
        ],
        "in each stage one region first, then the others; when all are healthy for a moment, staging and then prod take it by themselves: three commits in about half a minute",
    );
    block(
        "6. Promote a broken one",
        "rollback",
        &[
            format!("{hub} promote myapp --stage dev --version 1.6.0-broken --wait"),
            format!("{hub} pipeline status myapp"),
            format!("{hub} unblock myapp 1.6.0-broken"),
        ],
        "caught in dev-us-west-2, held there at the last good commit at once, taken back by a commit, and blocked; no other cluster ever sees it",
    );
    text
}

/// Where to look when the repository is the person's own.
pub(crate) fn look(running: &Running, contexts: &[String]) -> String {
    let kubectl = format!("kubectl --kubeconfig {}", quoted(&running.kubeconfig));
    let context = contexts.get(1).map_or(super::MANAGEMENT, String::as_str);
    let clone = quoted(&running.dir.join("clone"));
    format!(
        "Look around, in another terminal:\n\n\
         See what came of it\n    \
             {kubectl} --context {context} get kustomizations,gitrepositories -A\n    \
             {kubectl} --context {context} get pods -A\n\n\
         Push a change (the original is never written)\n    \
             git clone {} {clone}\n  \
         → what you push to {} rolls out within a second or two\n",
        running.url, running.branch
    )
}

/// The path for a shell: as it is where that is safe, else in single quotes.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let safe =
        |character: char| character.is_ascii_alphanumeric() || "/._-+,@%".contains(character);
    if text.chars().all(safe) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b.c")), "/tmp/a-b.c");
        assert_eq!(quoted(Path::new("/tmp/a b's")), r"'/tmp/a b'\''s'");
    }
}
