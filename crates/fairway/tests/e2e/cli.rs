//! What the commands print and how they exit: 0 done, 1 not so, 2 misuse, 3 failed.

use std::path::{Path, PathBuf};

use fairway_testkit::{GitServer, Kubectl, Output};
use serde_json::{Value, json};

use crate::binary::{Home, files, reference};
use crate::cluster::documents;
use crate::demo::Demo;
use crate::small::small_repository;

/// The cells of a table, without the ages.
fn cells(output: &Output) -> Vec<Vec<String>> {
    assert_eq!(output.code, 0, "{output:?}");
    output
        .stdout
        .lines()
        .map(|line| {
            let cells = line
                .split("   ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty());
            let mut cells: Vec<String> = cells.map(str::to_owned).collect();
            cells.pop();
            cells
        })
        .collect()
}

fn rows(expected: &[&[&str]]) -> Vec<Vec<String>> {
    let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
    expected.iter().map(row).collect()
}

fn error(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    assert!(output.stderr.starts_with("error: "), "{output:?}");
    for word in words {
        assert!(
            output.stderr.contains(word),
            "{word:?} is not in {output:?}"
        );
    }
}

/// A demo with one cluster, and the head of its repository.
async fn small_demo() -> (Demo, String) {
    let git = small_repository("example.com/web:1.0").await;
    let home = Home::new();
    let url = git.url();
    let demo = Demo::start(
        home,
        &["demo", "--repo", &url],
        "The demo runs until Ctrl-C",
    )
    .await;
    let output = demo.process.stdout();
    assert!(output.contains("\nconverged in "), "{output}");
    (demo, git.head().unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_looks_around_and_steers() {
    let (demo, head) = small_demo().await;
    looks(&demo, &head).await;
    steers(&demo, &head).await;
    differs(&demo).await;
}

async fn looks(demo: &Demo, head: &str) {
    let revision = format!("main@sha1:{}", &head[..8]);
    let message = format!("Applied revision: main@sha1:{head}");
    let header: &[&str] = &["NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE"];
    assert_eq!(
        cells(&demo.fairway(&["get", "kustomizations"]).await),
        rows(&[
            header,
            &["flux-system", &revision, "False", "True", &message],
            &["web-one", &revision, "False", "True", &message],
        ])
    );
    let stored = format!("stored artifact for revision 'main@sha1:{head}'");
    assert_eq!(
        cells(&demo.fairway(&["get", "sources", "git"]).await),
        rows(&[
            header,
            &["flux-system", &revision, "False", "True", &stored]
        ])
    );
    let clusters = cells(&demo.fairway(&["get", "clusters"]).await);
    assert_eq!(clusters.len(), 2, "{clusters:?}");
    assert_eq!(clusters[1][..2], ["one", "dev"]);
    let fleets = cells(&demo.fairway(&["get", "fks", "-A"]).await);
    assert_eq!(
        fleets[0],
        [
            "NAMESPACE",
            "NAME",
            "CLUSTERS",
            "SUSPENDED",
            "READY",
            "MESSAGE"
        ]
    );
    assert_eq!(
        fleets[1][..5],
        ["flux-system", "web", "1/1", "False", "True"]
    );
    let all = demo.fairway(&["get", "all", "-A"]).await.stdout;
    for name in [
        "gitrepository/flux-system",
        "cluster/one",
        "fleetkustomization/web",
        "kustomization/web-one",
    ] {
        assert!(all.contains(name), "{all}");
    }
    let ready = demo
        .fairway(&["get", "ks", "--status-selector", "ready=false"])
        .await;
    assert_eq!((ready.code, &*ready.stdout), (1, ""), "{ready:?}");
    let output = demo.fairway(&["get", "ks", "web-one", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(list["items"][0]["kind"], "Kustomization");
    assert_eq!(list["items"][0]["metadata"]["name"], "web-one");
    let output = demo.fairway(&["get", "ks", "web-one", "-o", "yaml"]).await;
    assert_eq!(documents(&output.stdout)[0]["metadata"]["name"], "web-one");

    let tree = demo.fairway(&["tree", "kustomization", "web-one"]).await;
    assert_eq!(
        (tree.code, &*tree.stdout),
        (
            0,
            "Kustomization/flux-system/web-one\n└── Deployment/default/web\n"
        )
    );
    let tree = demo.fairway(&["tree", "ks", "flux-system"]).await;
    assert_eq!(
        tree.stdout,
        "Kustomization/flux-system/flux-system\n\
         ├── FleetKustomization/flux-system/web\n\
         ├── Kustomization/flux-system/flux-system\n\
         └── GitRepository/flux-system/flux-system\n"
    );
    let events = demo
        .fairway(&["events", "--for", "Kustomization/web-one"])
        .await;
    assert_eq!(events.code, 0, "{events:?}");
    assert!(events.stdout.starts_with("LAST SEEN"), "{events:?}");
    assert!(
        events.stdout.contains("Deployment/default/web created"),
        "{events:?}"
    );
    let warnings = demo
        .fairway(&[
            "events",
            "--types",
            "Warning",
            "--for",
            "Kustomization/web-one",
        ])
        .await;
    assert_eq!((warnings.code, &*warnings.stdout), (0, ""), "{warnings:?}");

    let missing = demo.fairway(&["get", "ks", "nope"]).await;
    error(
        &missing,
        3,
        &["Kustomization flux-system/nope is not there", "hint: "],
    );
    let missing = demo.fairway(&["tree", "ks", "nope"]).await;
    error(
        &missing,
        3,
        &["Kustomization flux-system/nope is not there", "hint: "],
    );
    error(
        &demo.fairway(&["events", "--for", "web"]).await,
        2,
        &["KIND/NAME"],
    );
    error(
        &demo.at("nowhere", &["get", "all"]).await,
        3,
        &["nowhere", "hint: "],
    );
    error(
        &demo.at("one", &["get", "fks"]).await,
        3,
        &["does not know the kind", "fairway install"],
    );
    assert_eq!(demo.fairway(&["get", "nonsense"]).await.code, 2);
}

async fn steers(demo: &Demo, head: &str) {
    let revision = format!("main@sha1:{}", &head[..8]);
    let output = demo
        .fairway(&["reconcile", "kustomization", "web-one", "--with-source"])
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        output.stdout,
        format!(
            "► GitRepository flux-system/flux-system annotated\n✔ GitRepository at revision {revision}\n\
             ► Kustomization flux-system/web-one annotated\n✔ Kustomization at revision {revision}\n"
        )
    );
    for arguments in [["cluster", "one"], ["fleetkustomization", "web"]] {
        let output = demo
            .fairway(&[&["reconcile"], &arguments[..]].concat())
            .await;
        assert_eq!(output.code, 0, "{output:?}");
    }

    let output = demo
        .fairway(&["suspend", "source", "git", "flux-system"])
        .await;
    assert_eq!(
        (output.code, &*output.stdout),
        (0, "GitRepository flux-system/flux-system suspended\n")
    );
    let output = demo
        .fairway(&["reconcile", "source", "git", "flux-system"])
        .await;
    error(
        &output,
        3,
        &[
            "is suspended",
            "fairway resume source git flux-system -n flux-system",
        ],
    );
    let clone = demo.clone().await;
    clone.replace("web/web.yaml", "web:1.0", "web:1.1").unwrap();
    clone.commit_and_push("web 1.1").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let one = demo.cluster("one").await;
    assert_eq!(
        one.image("default", "web").await,
        "example.com/web:1.0",
        "a suspended source moved"
    );
    let output = demo
        .fairway(&["resume", "source", "git", "flux-system"])
        .await;
    assert_eq!(
        (output.code, &*output.stdout),
        (0, "GitRepository flux-system/flux-system resumed\n")
    );
    let output = demo
        .fairway(&["reconcile", "ks", "web-one", "--with-source"])
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(one.image("default", "web").await, "example.com/web:1.1");
    let output = demo.fairway(&["suspend", "kustomization", "nope"]).await;
    error(&output, 3, &["is not there"]);
}

/// `diff kustomization`: what would change and what not, and never the value of a Secret.
async fn differs(demo: &Demo) {
    let home = &demo.home;
    let clone = demo.clone().await;
    let web = clone.read("web/web.yaml").unwrap();
    home.write("same/web.yaml", &web);
    let output = demo
        .fairway(&["diff", "kustomization", "web-one", "--path", "same"])
        .await;
    assert_eq!((output.code, &*output.stdout), (0, ""), "{output:?}");

    // A Secret that is there, changed by the local folder; another that is new.
    let secret = |name: &str, value: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\nstringData: {{password: {value}}}\n"
        )
    };
    clone
        .write("web/secret.yaml", &secret("login", "correct-horse"))
        .unwrap();
    clone.commit_and_push("A secret").await.unwrap();
    let output = demo
        .fairway(&["reconcile", "ks", "web-one", "--with-source"])
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    let changed = web.replace("web:1.1", "web:1.2")
        + &secret("login", "battery-staple")
        + &secret("new", "hunter22");
    home.write("changed/web.yaml", &changed);
    let output = demo
        .fairway(&["diff", "ks", "web-one", "--path", "changed"])
        .await;
    assert_eq!(output.code, 1, "{output:?}");
    for line in [
        "► Secret/default/login changed",
        "► Secret/default/new created",
        "► Deployment/default/web changed",
    ] {
        assert!(output.stdout.contains(line), "{output:?}");
    }
    assert!(output.stdout.contains("web:1.2"), "{output:?}");
    let all = format!("{output:?}");
    for value in ["correct-horse", "battery-staple", "hunter22"] {
        let encoded = base64(value);
        assert!(
            !all.contains(value) && !all.contains(&encoded),
            "{value} is shown: {all}"
        );
    }
    // What is gone from the folder would be pruned.
    home.write("less/web.yaml", &web);
    let output = demo
        .fairway(&["diff", "ks", "web-one", "--path", "less"])
        .await;
    assert_eq!(
        (output.code, &*output.stdout),
        (1, "► Secret/default/login deleted\n"),
        "{output:?}"
    );
    let one = demo.cluster("one").await;
    assert!(
        one.get("Secret", "default", "new").await.is_none(),
        "diff wrote"
    );
    assert!(
        one.get("Secret", "default", "login").await.is_some(),
        "diff deleted"
    );
}

fn base64(text: &str) -> String {
    let bytes = k8s_openapi::ByteString(text.as_bytes().to_vec());
    serde_json::to_value(bytes)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

/// The folders of the reference repository that have a kustomization file.
fn kustomizations() -> Vec<PathBuf> {
    let all = files(&reference());
    let files = all
        .keys()
        .filter(|path| path.ends_with("kustomization.yaml"));
    files
        .map(|path| path.parent().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_folder_builds_as_kubectl_builds_it() {
    if !Kubectl::available() {
        eprintln!("skipped: there is no kubectl to compare with");
        return;
    }
    let home = Home::new();
    let kubectl = Kubectl::new("{}").unwrap();
    let folders = kustomizations();
    assert!(folders.len() > 30, "{folders:?}");
    for folder in folders {
        let folder = folder.to_str().unwrap();
        let expected = kubectl.ok(&["kustomize", folder]).await.unwrap();
        let output = home.run(&["build", folder]).await;
        assert_eq!(output.code, 0, "{folder}: {output:?}");
        assert!(
            output.stdout == expected,
            "{folder}:\n{}\n--- kubectl:\n{expected}",
            output.stdout
        );
    }
}

#[tokio::test]
async fn a_build_that_fails_names_file_and_field() {
    let home = Home::new();
    home.write("app/kustomization.yaml", "resources:\n  - nowhere.yaml\n");
    let output = home.run(&["build", "app"]).await;
    error(
        &output,
        3,
        &["kustomization.yaml:2", "resources[0]", "nowhere.yaml"],
    );
    assert_eq!(output.stdout, "");
    error(&home.run(&["build", "missing"]).await, 3, &["missing"]);
    // Without a folder it is the one that we are in, as for kustomize.
    error(&home.run(&["build"]).await, 3, &["kustomization.yaml"]);
    let output = home.run(&["build", "app", "--enable-alpha-plugins"]).await;
    error(&output, 2, &["--enable-alpha-plugins", "hint: "]);
}

#[tokio::test]
async fn a_build_into_a_folder_writes_a_file_for_each_object() {
    let home = Home::new();
    home.write("app/kustomization.yaml", "resources: [a.yaml]\n");
    home.write(
        "app/a.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    );
    let into = home.write("out/placeholder", "");
    let folder = into.parent().unwrap();
    let output = home
        .run(&["build", "app", "-o", folder.to_str().unwrap()])
        .await;
    assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{output:?}");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(
        read("v1_service_web.yaml"),
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
    );
    assert!(read("v1_namespace_shop.yaml").contains("kind: Namespace"));
}

#[tokio::test]
async fn build_kustomization_builds_as_the_controller_does() {
    let home = Home::new();
    home.write(
        "app/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {region: '${REGION}'}\n",
    );
    let file = home.write(
        "ks.yaml",
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: app, namespace: flux-system}\n\
         spec: {interval: 1m, path: ./app, prune: true, targetNamespace: shop, sourceRef: {kind: GitRepository, name: x},\n  \
         postBuild: {substitute: {REGION: eu-west-1}}, commonMetadata: {labels: {team: web}}}\n",
    );
    let arguments = [
        "build",
        "kustomization",
        "app",
        "--path",
        "app",
        "--kustomization-file",
    ];
    let mut arguments = arguments.to_vec();
    arguments.extend([file.to_str().unwrap(), "--dry-run"]);
    let output = home.run(&arguments).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        documents(&output.stdout),
        [json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "map", "namespace": "shop", "labels": {"team": "web"}},
            "data": {"region": "eu-west-1"},
        })]
    );
    let output = home
        .run(&[
            "build",
            "kustomization",
            "app",
            "--path",
            "app",
            "--dry-run",
        ])
        .await;
    error(&output, 2, &["--kustomization-file"]);
}

#[tokio::test]
async fn create_cluster_keeps_credentials_to_itself() {
    let home = Home::new();
    let kubeconfig = home.write(
        "config",
        "apiVersion: v1\nkind: Config\ncurrent-context: cloud\ncontexts: [{name: cloud, context: {cluster: cloud, user: cloud}}]\n\
         clusters: [{name: cloud, cluster: {server: 'https://127.0.0.1:1'}}]\n\
         users: [{name: cloud, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/touch, args: [ran], interactiveMode: Never}}}]\n",
    );
    let kubeconfig = kubeconfig.to_str().unwrap();
    let base = [
        "create",
        "cluster",
        "cloud",
        "--kubeconfig",
        kubeconfig,
        "--context",
        "cloud",
    ];
    let with = |more: &[&'static str]| {
        let mut all = base.to_vec();
        all.extend(more);
        all
    };
    let output = home.run(&with(&["--use-context-credentials"])).await;
    error(&output, 3, &["running a program (exec)", "service account"]);
    assert!(!home.path().join("ran").exists(), "the program ran");

    let output = home
        .run(&with(&["--export", "--label", "environment=dev"]))
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        documents(&output.stdout),
        [json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "cloud", "namespace": "flux-system", "labels": {"environment": "dev"}},
            "spec": {"kubeConfig": {"secretRef": {"name": "cloud-kubeconfig"}}},
        })]
    );
    assert!(
        output
            .stderr
            .contains("not exported: the Secret cloud-kubeconfig"),
        "{output:?}"
    );
    error(
        &home.run(&with(&["--label", "environment"])).await,
        2,
        &["KEY=VALUE"],
    );
    let output = home
        .run(&["create", "cluster", "cloud", "--kubeconfig", kubeconfig])
        .await;
    error(&output, 2, &["--context"]);

    // A static credential is exported only when asked for by name.
    let kubeconfig = home.write(
        "static",
        "apiVersion: v1\nkind: Config\ncurrent-context: cloud\ncontexts: [{name: cloud, context: {cluster: cloud, user: cloud}}]\n\
         clusters: [{name: cloud, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: cloud, user: {token: open-sesame}}]\n",
    );
    let kubeconfig = kubeconfig.to_str().unwrap();
    let base = [
        "create",
        "cluster",
        "cloud",
        "--use-context-credentials",
        "--export",
        "--context=cloud",
        "--kubeconfig",
        kubeconfig,
    ];
    let output = home.run(&base).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!format!("{output:?}").contains("open-sesame"), "{output:?}");
    let mut named = base.to_vec();
    named.push("--export-credentials");
    let output = home.run(&named).await;
    assert!(output.stdout.contains("open-sesame"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promotion_changes_one_tag_and_rollback_takes_it_back() {
    const OVERLAY: &str = "apps/orders/overlays/prod/kustomization.yaml";
    let git = GitServer::start_with("fleet", &reference()).await.unwrap();
    let home = Home::new();
    let url = git.url();
    let run = async |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--repo", &url, "--author", "Pat <pat@example.org>"]);
        home.run(&all).await
    };
    let head = git.head().unwrap();
    let output = run(&["promote", "orders", "--to", "prod", "--dry-run"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        output.stdout,
        format!(
            "orders: prod 2.1.3 → 2.2.0   ({OVERLAY}: ghcr.io/example/orders)\nnot pushed: --dry-run\n"
        )
    );
    assert_eq!(git.head().unwrap(), head, "a dry run pushed");

    let before = git.clone_to_work().await.unwrap().read(OVERLAY).unwrap();
    let output = run(&["promote", "orders", "--to", "prod"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let promoted = git.head().unwrap();
    assert_eq!(
        git.repository()
            .changed_paths(Some(head), promoted)
            .unwrap(),
        [OVERLAY]
    );
    let after = git.clone_to_work().await.unwrap().read(OVERLAY).unwrap();
    assert_eq!(
        after,
        before.replace("newTag: 2.1.3", "newTag: 2.2.0"),
        "no other byte changes"
    );
    let output = run(&["promote", "orders", "--to", "prod"]).await;
    assert_eq!(
        (output.code, &*output.stdout),
        (0, "orders in prod is at 2.2.0 already; nothing to do\n")
    );

    let output = run(&["rollback", "orders", "--stage", "prod"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stdout.contains("orders in prod is back at 2.1.3"),
        "{output:?}"
    );
    let clone = git.clone_to_work().await.unwrap();
    assert_eq!(clone.read(OVERLAY).unwrap(), before);
    assert_eq!(
        git.repository()
            .commit(git.head().unwrap())
            .unwrap()
            .parents,
        [promoted]
    );

    error(
        &run(&["promote", "orders", "--to", "dev"]).await,
        2,
        &["--version"],
    );
    error(
        &run(&["promote", "nope", "--to", "prod"]).await,
        3,
        &["apps/nope/overlays/prod", "hint: "],
    );
    error(
        &run(&["promote", "orders", "--to", "prod", "--tag", "a b"]).await,
        2,
        &["no image tag"],
    );
}

#[tokio::test]
async fn init_writes_the_reference_repository_into_an_empty_folder_only() {
    let home = Home::new();
    let url = "https://git.example.org/fleet.git";
    let output = home.run(&["init", "fleet", "--url", url]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let written = relative(&home.path().join("fleet"));
    let source = relative(&reference());
    assert_eq!(
        written.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        source.iter().map(|(path, _)| path).collect::<Vec<_>>()
    );
    let text: String = written
        .iter()
        .map(|(_, bytes)| String::from_utf8_lossy(bytes))
        .collect();
    assert!(text.contains(&format!("url: {url}")));
    let again = home.run(&["init", "fleet"]).await;
    assert!(again.code == 2 || again.code == 3, "{again:?}");
    error(&again, again.code, &["fleet", "empty", "hint: "]);
    assert_eq!(
        relative(&home.path().join("fleet")),
        written,
        "a refused init wrote"
    );
}

/// Files by their path below a folder.
fn relative(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = files(folder).into_iter();
    all.filter(|(path, _)| path.is_file())
        .map(|(path, bytes)| (path.strip_prefix(folder).unwrap().to_owned(), bytes))
        .collect()
}

#[tokio::test]
async fn the_rest_of_the_surface() {
    let home = Home::new();
    let output = home.run(&["completion", "bash"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output.stdout.contains("_fairway()") && output.stdout.contains("complete "),
        "{output:?}"
    );
    let output = home.run(&["--version"]).await;
    assert_eq!(
        output.stdout,
        format!("fairway {}\n", env!("CARGO_PKG_VERSION"))
    );
    let output = home.run(&["install", "--export"]).await;
    let kinds: Vec<Value> = documents(&output.stdout)
        .into_iter()
        .map(|object| object["kind"].clone())
        .collect();
    assert!(
        kinds.contains(&json!("CustomResourceDefinition")),
        "{kinds:?}"
    );
    assert!(kinds.contains(&json!("ClusterRoleBinding")), "{kinds:?}");
    // No kubeconfig: said with what to do.
    error(
        &home.run(&["get", "all"]).await,
        3,
        &["found no kubeconfig", "--kubeconfig"],
    );
    error(
        &home.run(&["demo", "try", "drift"]).await,
        3,
        &["no demo is running", "fairway demo"],
    );
    assert_eq!(home.run(&["fly"]).await.code, 2);
    assert_eq!(home.run(&["demo", "--bare", "--once"]).await.code, 2);
    assert!(
        files(&home.path()).is_empty() && files(&home.tmp()).is_empty(),
        "something was left"
    );
}
