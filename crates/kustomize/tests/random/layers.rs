//! Random kustomizations over random objects: bases, components and overlays.

use std::fmt::Write as _;

use crate::dice::Dice;
use crate::objects::{Id, object};
use crate::values::{NAMES, NAMESPACES, pairs, text, value};

/// The files of a build that starts at `top`.
pub(crate) fn tree(seed: u64) -> Vec<(String, String)> {
    let mut dice = Dice::new(seed);
    let dice = &mut dice;
    let mut files = Vec::new();
    let mut ids = Vec::new();
    let bases = 1 + dice.below(2);
    let mut layers: Vec<String> = Vec::new();
    for at in 0..bases {
        let path = format!("base{at}");
        let resources = objects(dice, &mut files, &mut ids, &path);
        kustomization(dice, &mut files, &path, &resources, &[], &ids);
        layers.push(format!("../{path}"));
    }
    let mut components = Vec::new();
    for at in 0..dice.below(3).saturating_sub(1) + usize::from(dice.percent(15)) {
        let path = format!("part{at}");
        kustomization(dice, &mut files, &path, &[], &[], &ids);
        components.push(format!("../{path}"));
    }
    if dice.percent(40) {
        let resources = std::mem::take(&mut layers);
        kustomization(dice, &mut files, "middle", &resources, &[], &ids);
        layers.push("../middle".to_owned());
    }
    let mut resources = layers;
    if dice.percent(30) {
        resources.extend(objects(dice, &mut files, &mut ids, "top"));
    }
    kustomization(dice, &mut files, "top", &resources, &components, &ids);
    files
}

type Files = Vec<(String, String)>;

fn objects(dice: &mut Dice, files: &mut Files, ids: &mut Vec<Id>, path: &str) -> Vec<String> {
    let mut names = Vec::new();
    for at in 0..=dice.below(4) {
        let mut texts = Vec::new();
        for _ in 0..=dice.below(2) {
            let id = Id::random(dice);
            if ids.contains(&id) && !dice.percent(2) {
                continue;
            }
            texts.push(object(dice, &id));
            ids.push(id);
        }
        let name = format!("r{at}.yaml");
        let separator = dice.pick(&["---\n", "---\n# comment\n", "---\n---\n"]);
        files.push((format!("{path}/{name}"), texts.join(separator)));
        names.push(name);
    }
    names
}

fn kustomization(
    dice: &mut Dice,
    files: &mut Files,
    path: &str,
    resources: &[String],
    components: &[String],
    ids: &[Id],
) {
    let mut out = String::new();
    if path.starts_with("part") {
        out.push_str("apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n");
    }
    for (field, entries) in [("resources", resources), ("components", components)] {
        if !entries.is_empty() {
            let _ = writeln!(out, "{field}:");
            for entry in entries {
                let _ = writeln!(out, "- {entry}");
            }
        }
    }
    for (percent, field) in [
        (16, "namePrefix"),
        (10, "nameSuffix"),
        (16, "namespace"),
        (8, "commonLabels"),
        (10, "commonAnnotations"),
        (14, "labels"),
        (15, "images"),
        (5, "replicas"),
        (22, "generators"),
        (24, "patches"),
        (10, "replacements"),
        (4, "sortOptions"),
        (5, "buildMetadata"),
        (6, "generatorOptions"),
        (4, "vars"),
        (6, "configurations"),
        (6, "transformers"),
        (3, "patchesStrategicMerge"),
        (3, "patchesJson6902"),
    ] {
        if dice.percent(percent) {
            out.push_str(&feature(dice, files, path, field, ids));
        }
    }
    files.push((format!("{path}/kustomization.yaml"), out));
}

fn feature(dice: &mut Dice, files: &mut Files, path: &str, field: &str, ids: &[Id]) -> String {
    let id = ids[dice.below(ids.len())].clone();
    match field {
        "namePrefix" => format!("namePrefix: {}\n", dice.pick(&["p-", "web-", "x", "'1'"])),
        "nameSuffix" => format!("nameSuffix: {}\n", dice.pick(&["-s", "'-2'", ".z"])),
        "namespace" => format!("namespace: {}\n", dice.pick(&NAMESPACES)),
        "commonLabels" | "commonAnnotations" => format!("{field}:\n{}", pairs(dice, "  ")),
        "labels" => {
            let mut out = format!("labels:\n- pairs:\n{}", pairs(dice, "    "));
            if dice.percent(40) {
                out.push_str("  includeSelectors: true\n");
            } else if dice.percent(50) {
                out.push_str("  includeTemplates: true\n");
            }
            if dice.percent(15) {
                out.push_str("  fields:\n  - path: spec/size\n    kind: Widget\n    create: true\n");
            }
            out
        }
        "images" => {
            let name = dice.pick(&["nginx", "redis", "host:5000/nginx", "busybox", "ng.nx"]);
            let change = dice.pick(&[
                "newTag: v2", "newTag: '3.0'", "newName: other/image", "digest: sha256:ff", "newName: h:1/i\n  newTag: q", "tagSuffix: -x",
            ]);
            format!("images:\n- name: {name}\n  {change}\n")
        }
        "replicas" if !matches!(id.kind, "Deployment" | "StatefulSet") => String::new(),
        "replicas" => format!("replicas:\n- name: {}\n  count: {}\n", id.name, dice.below(9)),
        "generators" => generators(dice, files, path),
        "generatorOptions" => format!(
            "generatorOptions:\n  {}\n",
            dice.pick(&["disableNameSuffixHash: true", "labels: {made: here}", "annotations: {made: 'yes'}", "immutable: true"])
        ),
        "patches" => {
            let mut out = "patches:\n".to_owned();
            for at in 0..=dice.below(3) {
                let id = ids[dice.below(ids.len())].clone();
                out.push_str(&patch(dice, files, path, at, &id));
            }
            out
        }
        "patchesStrategicMerge" => {
            files.push((format!("{path}/old.yaml"), merge_patch(dice, &id)));
            "patchesStrategicMerge:\n- old.yaml\n".to_owned()
        }
        "patchesJson6902" => {
            files.push((format!("{path}/old-json.yaml"), json_patch(dice, &id)));
            let (group, version) = id.api.split_once('/').unwrap_or(("", id.api));
            format!(
                "patchesJson6902:\n- path: old-json.yaml\n  target:\n    group: '{group}'\n    version: {version}\n    kind: {}\n    name: {}\n",
                id.kind, id.name
            )
        }
        "replacements" => {
            let to = ids[dice.below(ids.len())].clone();
            replacement(dice, &id, &to)
        }
        "sortOptions" => dice
            .pick(&[
                "sortOptions: {order: fifo}\n",
                "sortOptions: {order: legacy}\n",
                "sortOptions:\n  order: legacy\n  legacySortOptions:\n    orderFirst: [Secret, Widget]\n    orderLast: [Namespace, Service]\n",
            ])
            .to_owned(),
        "buildMetadata" => format!(
            "buildMetadata: [{}]\n",
            dice.pick(&["originAnnotations", "transformerAnnotations", "managedByLabel", "originAnnotations, transformerAnnotations"])
        ),
        "vars" => {
            let path = dice.pick(&["metadata.name", "metadata.name", "kind", "metadata.namespace"]);
            format!(
                "vars:\n- name: VAR\n  objref:\n    apiVersion: {}\n    kind: {}\n    name: {}\n  fieldref:\n    fieldpath: {path}\n",
                id.api, id.kind, id.name
            )
        }
        "configurations" => {
            let text = dice.pick(&[
                "nameReference:\n- kind: ConfigMap\n  fieldSpecs:\n  - path: spec/map/name\n    kind: Widget\n",
                "images:\n- path: spec/image\n  kind: Widget\n",
                "commonLabels:\n- path: spec/map\n  kind: Widget\n  create: true\n",
                "namePrefix:\n- path: spec/size\n  kind: Widget\n",
                "varReference:\n- path: data\n  kind: ConfigMap\n",
                "replicas:\n- path: spec/size\n  kind: Widget\n  create: true\n",
                "namespace:\n- path: spec/ns\n  kind: Widget\n  create: true\n",
            ]);
            files.push((format!("{path}/config.yaml"), (*text).to_owned()));
            "configurations: [config.yaml]\n".to_owned()
        }
        "transformers" => {
            let text = dice.pick(&[
                "apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: t}\nprefix: t-\nfieldSpecs: [{path: metadata/name}]\n",
                "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: t}\nlabels: {by: t}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
                "apiVersion: builtin\nkind: NamespaceTransformer\nmetadata: {name: t, namespace: viat}\nunsetOnly: true\nfieldSpecs: [{path: metadata/namespace, create: true}]\n",
                "apiVersion: builtin\nkind: AnnotationsTransformer\nmetadata: {name: t}\nannotations: {by: t}\nfieldSpecs: [{path: metadata/annotations, create: true}]\n",
                "apiVersion: builtin\nkind: ImageTagTransformer\nmetadata: {name: t}\nimageTag: {name: nginx, newTag: t}\n",
                "apiVersion: builtin\nkind: ReplicaCountTransformer\nmetadata: {name: t}\nreplica: {name: web, count: 7}\nfieldSpecs: [{path: spec/replicas, create: true, kind: Deployment}]\n",
            ]);
            files.push((format!("{path}/transformer.yaml"), (*text).to_owned()));
            "transformers: [transformer.yaml]\n".to_owned()
        }
        _ => String::new(),
    }
}

fn generators(dice: &mut Dice, files: &mut Files, path: &str) -> String {
    let (field, name) = if dice.percent(60) {
        ("configMapGenerator", dice.pick(&["settings", "web"]))
    } else {
        ("secretGenerator", dice.pick(&["keys", "web"]))
    };
    let mut out = format!("{field}:\n- name: {name}\n");
    if path.starts_with("top") || path.starts_with("middle") || path.starts_with("part") {
        let behavior = dice.pick(&["", "", "", "", "merge", "replace", "create"]);
        if !behavior.is_empty() {
            let _ = writeln!(out, "  behavior: {behavior}");
        }
    }
    if dice.percent(10) {
        let _ = writeln!(out, "  namespace: {}", dice.pick(&NAMESPACES));
    }
    if dice.percent(80) {
        let _ = writeln!(
            out,
            "  literals:\n  - key={}\n  - b={}",
            dice.pick(&["value", "12", "yes", "'q'", "a=b", "line # x"]),
            dice.below(9)
        );
    }
    if dice.percent(25) {
        files.push((
            format!("{path}/env.txt"),
            "# comment\nA=1\n\nB= spaced \nC=\"q\"\n".to_owned(),
        ));
        out.push_str("  envs: [env.txt]\n");
    }
    if dice.percent(25) {
        let content = dice.pick(&[
            "one\ntwo\n",
            "no newline",
            "\ttab\n",
            "trailing  \nx",
            "a: b\n\n",
            "äöü\n",
            "",
        ]);
        files.push((format!("{path}/file.txt"), (*content).to_owned()));
        let _ = writeln!(out, "  files: [{}file.txt]", dice.pick(&["", "renamed="]));
    }
    if dice.percent(25) {
        let options = dice.pick(&[
            "disableNameSuffixHash: true",
            "labels: {own: label}",
            "annotations: {own: note}",
            "immutable: true",
            "disableNameSuffixHash: false",
        ]);
        let _ = writeln!(out, "  options:\n    {options}");
    }
    out
}

fn patch(dice: &mut Dice, files: &mut Files, path: &str, at: usize, id: &Id) -> String {
    let json = dice.percent(45);
    let text = if json {
        json_patch(dice, id)
    } else {
        merge_patch(dice, id)
    };
    let mut out = if dice.percent(50) {
        let name = format!("patch{at}.yaml");
        files.push((format!("{path}/{name}"), text));
        format!("- path: {name}\n")
    } else {
        let body: Vec<String> = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("- patch: |-\n{}", body.concat())
    };
    if json || dice.percent(30) {
        out.push_str("  target:\n");
        match dice.below(6) {
            0 => out.push_str("    labelSelector: app\n"),
            1 => {
                let _ = writeln!(out, "    name: {}.*", &id.name[..1]);
            }
            2 => {
                let _ = writeln!(out, "    kind: {}|Service", id.kind);
            }
            _ => {
                let _ = writeln!(out, "    kind: {}\n    name: {}", id.kind, id.name);
            }
        }
        if dice.percent(10) {
            let _ = writeln!(out, "    namespace: {}", dice.pick(&NAMESPACES));
        }
    }
    if dice.percent(8) {
        out.push_str("  options:\n    allowNameChange: true\n");
    }
    out
}

fn merge_patch(dice: &mut Dice, id: &Id) -> String {
    let mut out = match dice.below(8) {
        0 => object(dice, id),
        1 => return format!("{}$patch: delete\n", id.head()),
        _ => id.head(),
    };
    if out.matches('\n').count() > 6 {
        return out;
    }
    match dice.below(5) {
        0 => {
            let _ = write!(out, "  labels:\n{}", pairs(dice, "    "));
        }
        1 => out.push_str(dice.pick(&[
            "  annotations: null\n",
            "  labels: {app: null}\n",
            "  annotations: {}\n",
            "  finalizers: [a, b]\n",
        ])),
        _ => {}
    }
    match id.kind {
        "Deployment" | "StatefulSet" => {
            out.push_str("spec:\n");
            if dice.percent(40) {
                let _ = writeln!(out, "  replicas: {}", dice.pick(&["3", "null", "'3'"]));
            }
            out.push_str("  template:\n    spec:\n");
            out.push_str(dice.pick(&[
                "      containers:\n      - name: main\n        image: patched\n",
                "      containers:\n      - name: extra\n        image: new\n      - name: side\n        $patch: delete\n",
                "      containers:\n      - name: main\n        env:\n        - name: TWO\n          value: patched\n        - name: NEW\n          value: '1'\n",
                "      containers:\n      - name: main\n        ports:\n        - containerPort: 80\n          name: http\n        - containerPort: 90\n",
                "      containers:\n      - $patch: replace\n      - name: only\n        image: one\n",
                "      volumes:\n      - name: v\n        emptyDir: {}\n      - name: n\n        emptyDir: {}\n",
                "      volumes: null\n",
                "      $patch: replace\n      containers: []\n",
                "      tolerations: [{key: a}]\n      nodeSelector: {a: b}\n",
                "      initContainers:\n      - name: init\n        image: nginx\n        command: [a, b]\n",
            ]));
        }
        "Service" => out.push_str(dice.pick(&[
            "spec:\n  ports:\n  - port: 80\n    targetPort: 8080\n",
            "spec:\n  ports:\n  - port: 81\n    protocol: TCP\n    name: more\n",
            "spec:\n  type: NodePort\n  selector: null\n",
        ])),
        "ConfigMap" | "Secret" => {
            let _ = writeln!(
                out,
                "data:\n  key: {}\n  added: {}",
                dice.pick(&["null", "new", "'7'", "7"]),
                text(dice)
            );
        }
        "Widget" => {
            let _ = writeln!(
                out,
                "spec:\n  size: {}\n  map: {}",
                value(dice, 1),
                value(dice, 2)
            );
        }
        _ => out.push_str("extra: {patched: yes}\n"),
    }
    out
}

fn json_patch(dice: &mut Dice, id: &Id) -> String {
    let mut out = String::new();
    for _ in 0..=dice.below(2) {
        let common = |dice: &mut Dice| match dice.below(8) {
            0 => format!(
                "- op: add\n  path: /metadata/labels/added\n  value: {}\n",
                text(dice)
            ),
            1 => "- op: remove\n  path: /metadata/labels\n".to_owned(),
            2 => format!("- op: test\n  path: /kind\n  value: {}\n", id.kind),
            3 => "- op: copy\n  from: /metadata/name\n  path: /extra\n".to_owned(),
            4 | 5 => format!(
                "- op: add\n  path: /metadata/annotations\n  value: {{a: {}}}\n",
                text(dice)
            ),
            _ => format!("- op: add\n  path: /extra\n  value: {}\n", value(dice, 2)),
        };
        let operation = match (id.kind, dice.below(4)) {
            ("Deployment" | "StatefulSet", 0) => {
                format!("- op: add\n  path: /spec/replicas\n  value: {}\n", dice.below(9))
            }
            ("Deployment" | "StatefulSet", 1) => {
                "- op: replace\n  path: /spec/template/spec/containers/0/image\n  value: json:1\n".to_owned()
            }
            ("Deployment" | "StatefulSet", 2) => {
                "- op: add\n  path: /spec/template/spec/containers/-\n  value: {name: last, image: redis}\n".to_owned()
            }
            ("Widget", 0 | 1) => format!("- op: add\n  path: /spec/size\n  value: {}\n", value(dice, 1)),
            ("Service", 0) => "- op: replace\n  path: /spec/ports/0/port\n  value: 9\n".to_owned(),
            _ => common(dice),
        };
        out.push_str(&operation);
    }
    out
}

fn replacement(dice: &mut Dice, from: &Id, to: &Id) -> String {
    let source = dice.pick(&[
        "metadata.name",
        "metadata.namespace",
        "kind",
        "data.key",
        "spec.replicas",
        "metadata.labels.app",
    ]);
    let mut out = format!(
        "replacements:\n- source:\n    kind: {}\n    name: {}\n    fieldPath: {source}\n",
        from.kind, from.name
    );
    if dice.percent(20) {
        let _ = writeln!(
            out,
            "    options: {{delimiter: '{}', index: {}}}",
            dice.pick(&["-", "e"]),
            dice.below(2)
        );
    }
    let _ = writeln!(out, "  targets:\n  - select:\n      kind: {}", to.kind);
    if dice.percent(40) {
        let _ = writeln!(out, "      name: {}", dice.pick(&NAMES));
    }
    if dice.percent(20) {
        let _ = writeln!(out, "    reject:\n    - name: {}", to.name);
    }
    let path = match (to.kind, dice.below(3)) {
        ("Deployment" | "StatefulSet", 0 | 1) => dice.pick(&[
            "spec.template.spec.containers.[name=main].env.[name=ONE].value",
            "spec.template.spec.containers.*.image",
            "spec.template.spec.containers.0.image",
            "spec.replicas",
        ]),
        ("ConfigMap", 0 | 1) => "data.key",
        ("Widget", 0 | 1) => "spec.size",
        ("Service", 0 | 1) => "spec.ports.0.port",
        (_, 2) => dice.pick(&[
            "metadata.labels.app",
            "metadata.annotations.[example.org/owner]",
        ]),
        _ => "metadata.name",
    };
    let _ = writeln!(out, "    fieldPaths:\n    - '{path}'");
    match dice.below(5) {
        0 | 1 => out.push_str("    options: {create: true}\n"),
        2 => {
            let _ = writeln!(
                out,
                "    options: {{delimiter: '{}', index: {}}}",
                dice.pick(&[":", "-", "e"]),
                dice.below(4) as i64 - 1
            );
        }
        _ => {}
    }
    out
}
