//! A Pipeline as a picture of characters: a pure function of its objects.

use std::fmt::Write as _;

use fairway_types::check::{Evidence, Verdict};
use fairway_types::pipeline::{StageStatus, VerifiedVersion};
use fairway_types::promotion::{Phase, PromotionStatus};
use fairway_types::{Pipeline, Promotion};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::commands::promotion::{attention, glyph, short_commit, time};
use crate::output::{Paint, Tone, age_since, cut, readiness};

/// Characters before the text of a detail, label included.
const INDENT: usize = 18;

/// Stages from top to bottom, each with its version, what happens in it and why it waits. `promotions` are those of the
/// Pipeline, the newest first.
pub(crate) fn picture(
    pipeline: &Pipeline,
    promotions: &[Promotion],
    now: Timestamp,
    paint: Paint,
) -> String {
    let mut drawing = Drawing {
        text: String::new(),
        now,
        paint,
    };
    drawing.title(pipeline);
    let status = pipeline.status.clone().unwrap_or_default();
    let names = || pipeline.spec.stages.iter().map(|stage| &stage.name);
    let widest = names().map(|name| name.chars().count()).max().unwrap_or(0);
    let versions = status
        .stages
        .iter()
        .filter_map(|stage| stage.version.as_ref());
    let version_width = versions
        .map(|version| version.chars().count())
        .max()
        .unwrap_or(1)
        .min(20);
    let last = pipeline.spec.stages.len().saturating_sub(1);
    for (index, stage) in pipeline.spec.stages.iter().enumerate() {
        let unknown = StageStatus::default();
        let known = status.stage(&stage.name).unwrap_or(&unknown);
        let of_stage: Vec<&Promotion> = promotions
            .iter()
            .filter(|promotion| promotion.spec.stage == stage.name)
            .collect();
        let running = known
            .promotion
            .as_ref()
            .and_then(|name| {
                of_stage
                    .iter()
                    .find(|promotion| promotion.name_any() == *name)
            })
            .copied();
        let verified = known
            .version
            .as_ref()
            .and_then(|version| status.verified(&stage.name, version));
        drawing.stage(
            &format!("{:widest$}", stage.name),
            version_width,
            known,
            verified,
            running,
        );
        let rail = if index == last { ' ' } else { '│' };
        if let Some(promotion) = running {
            drawing.promotion(rail, promotion);
        }
        let failed = of_stage
            .first()
            .filter(|newest| running.is_none_or(|running| running.name_any() != newest.name_any()))
            .filter(|newest| is_failure(newest));
        if let Some(promotion) = failed {
            drawing.failed(rail, promotion);
        }
        drawing.waits(rail, known, index > 0 && !stage.auto, &pipeline.name_any());
        if index != last {
            drawing.text.push_str(" │\n");
        }
    }
    for blocked in &status.blocked_versions {
        let line = format!(
            "{} is blocked: failed in {} {} ago: {}",
            blocked.version,
            blocked.stage,
            drawing.ago(blocked.since),
            blocked.reason
        );
        drawing.line(Tone::Bad, "\n ✗ ", &line);
        drawing.line(
            Tone::Dim,
            "   ",
            &format!(
                "fairway unblock {} {}",
                pipeline.name_any(),
                blocked.version
            ),
        );
    }
    drawing.text
}

fn is_failure(promotion: &Promotion) -> bool {
    let phase = promotion.status.as_ref().map(|status| status.phase);
    matches!(
        phase,
        Some(Phase::Failed | Phase::RolledBack | Phase::Rejected)
    )
}

struct Drawing {
    text: String,
    now: Timestamp,
    paint: Paint,
}

impl Drawing {
    fn title(&mut self, pipeline: &Pipeline) {
        let moves = &pipeline.spec.moves;
        let what = match (&moves.image, &moves.git_repository) {
            (Some(image), _) => format!("image {}", image.name),
            (_, Some(repository)) => format!(
                "{} of GitRepository {}",
                repository.field.as_str(),
                repository.name
            ),
            _ => format!("paths {}", moves.paths.join(", ")),
        };
        let title = format!(
            "Pipeline {}/{}",
            pipeline.namespace().unwrap_or_default(),
            pipeline.name_any()
        );
        let _ = writeln!(
            self.text,
            "{}   {}",
            self.paint.paint(Tone::Bold, &title),
            self.paint.paint(Tone::Dim, &what)
        );
        if pipeline.spec.suspend {
            self.line(
                Tone::Busy,
                "",
                "suspended: no promotion begins, and nothing is committed",
            );
        }
        let ready = readiness(&serde_json::to_value(pipeline).unwrap_or_default());
        if !ready.is_ready() {
            let tone = if ready.status == "False" {
                Tone::Bad
            } else {
                Tone::Busy
            };
            self.line(tone, "", &ready.message);
        }
        self.text.push('\n');
    }

    fn stage(
        &mut self,
        name: &str,
        version_width: usize,
        known: &StageStatus,
        verified: Option<&VerifiedVersion>,
        running: Option<&Promotion>,
    ) {
        let (mark, tone) = if running.is_some() {
            ("◐", Tone::Busy)
        } else if known.version.is_none() {
            ("○", Tone::Dim)
        } else if known.healthy {
            ("●", Tone::Good)
        } else {
            ("●", Tone::Bad)
        };
        let version = known.version.as_deref().unwrap_or("-");
        let health = format!("{}/{} healthy", known.healthy_clusters, known.clusters);
        let health = self.paint.paint(
            if known.healthy {
                Tone::Good
            } else {
                Tone::Busy
            },
            &health,
        );
        let proof = match verified {
            Some(record) => format!("   verified {} ago", self.ago(record.at)),
            None => String::new(),
        };
        let _ = writeln!(
            self.text,
            " {} {}  {version:version_width$}  {health}{}",
            self.paint.paint(tone, mark),
            self.paint.paint(Tone::Bold, name),
            self.paint.paint(Tone::Dim, &proof)
        );
    }

    /// What goes on.
    fn promotion(&mut self, rail: char, promotion: &Promotion) {
        let status = promotion.status.clone().unwrap_or_default();
        let to = status.to.as_deref().or(promotion.spec.version.as_deref());
        let since = status.since(status.phase);
        let phase = format!(
            "{} → {}  {} for {}",
            status.from.as_deref().unwrap_or("-"),
            to.unwrap_or("-"),
            status.phase,
            age_since(since, self.now)
        );
        let by = match &promotion.spec.requested_by {
            Some(who) => format!("   ({}, requested by {who})", promotion.name_any()),
            None => format!("   ({})", promotion.name_any()),
        };
        self.detail(
            rail,
            promotion.spec.intent.as_str(),
            Tone::Busy,
            &format!("{phase}{by}"),
        );
        for gate in &status.gates {
            self.check(rail, "gate", gate);
        }
        for wave in &status.waves {
            let text = format!(
                "{} of {}, {} cluster{}: {}",
                wave.name,
                wave.fleet,
                wave.clusters,
                if wave.clusters == 1 { "" } else { "s" },
                wave.state
            );
            self.detail(rail, "wave", tone_of_wave(&wave.state), &text);
        }
        self.progress(rail, &status);
        for check in &status.verification {
            self.check(rail, "check", check);
        }
        if let Some(request) = &status.pull_request {
            let text = format!("{} waits to be merged", request.url);
            self.detail(rail, "pull request", Tone::Busy, &text);
        }
        if let Some(hold) = &status.hold {
            let text = format!(
                "{} at {} for {}: {}",
                hold.clusters.join(", "),
                short_commit(&hold.commit),
                self.ago(hold.since),
                hold.reason
            );
            self.detail(rail, "held", Tone::Bad, &text);
        }
        if let Some(failure) = &status.failure {
            self.detail(rail, "failed", Tone::Bad, failure);
        }
        if let Some(message) = attention(&status) {
            self.detail(rail, "needs you", Tone::Bad, &message);
        }
    }

    fn progress(&mut self, rail: char, status: &PromotionStatus) {
        let Some(progress) = &status.progress else {
            return;
        };
        let text = format!(
            "{} of {} healthy with it",
            progress.healthy, progress.clusters
        );
        let tone = if progress.healthy == progress.clusters {
            Tone::Good
        } else {
            Tone::Busy
        };
        self.detail(rail, "clusters", tone, &text);
        for trouble in progress.waiting.iter().take(3) {
            let text = format!("{}: {}", trouble.cluster, trouble.message);
            self.detail(rail, "", Tone::Dim, &text);
        }
        let more = progress.waiting.len().saturating_sub(3);
        if more > 0 {
            self.detail(rail, "", Tone::Dim, &format!("and {more} more"));
        }
    }

    fn check(&mut self, rail: char, label: &str, evidence: &Evidence) {
        let tone = match evidence.verdict {
            Verdict::Passed => Tone::Good,
            Verdict::Pending => Tone::Busy,
            Verdict::Failed | Verdict::Revoked => Tone::Bad,
        };
        let mut text = format!("{} {}", glyph(evidence.verdict), evidence.name);
        if !evidence.message.is_empty() {
            let _ = write!(text, ": {}", evidence.message);
        }
        self.detail(rail, label, tone, &text);
    }

    /// What failed last.
    fn failed(&mut self, rail: char, promotion: &Promotion) {
        let status = promotion.status.clone().unwrap_or_default();
        let at = status.since(status.phase);
        let recovered = match status.recovery_millis {
            Some(millis) => format!(", healthy again in {}", time(millis)),
            None => String::new(),
        };
        let text = format!(
            "{} {} {} ago{recovered}: {}   ({})",
            status.to.as_deref().unwrap_or("-"),
            status.phase,
            age_since(at, self.now),
            status.failure.as_deref().unwrap_or_else(|| {
                status
                    .transitions
                    .last()
                    .and_then(|transition| transition.message.as_deref())
                    .unwrap_or("no reason is recorded")
            }),
            promotion.name_any()
        );
        self.detail(rail, "last", Tone::Bad, &text);
    }

    /// Why nothing goes on.
    fn waits(&mut self, rail: char, known: &StageStatus, is_manual: bool, pipeline: &str) {
        if let Some(message) = &known.message
            && !known.healthy
        {
            self.detail(rail, "health", Tone::Bad, message);
        }
        if !known.queue.is_empty() {
            self.detail(rail, "then", Tone::Dim, &known.queue.join(", "));
        }
        if let Some(frozen) = &known.frozen {
            self.detail(
                rail,
                "frozen",
                Tone::Busy,
                frozen.trim_start_matches("frozen "),
            );
        }
        for deviation in &known.deviations {
            let file = match &deviation.path {
                Some(path) => format!("   ({path})"),
                None => String::new(),
            };
            let text = format!("{} has {}{file}", deviation.cluster, deviation.version);
            self.detail(rail, "differs", Tone::Busy, &text);
        }
        if let Some(why) = &known.blocked_by {
            self.detail(rail, "waits", Tone::Dim, why);
            if is_manual && known.promotion.is_none() && known.frozen.is_none() {
                let text = format!("fairway promote {pipeline} --stage {}", known.name);
                self.detail(rail, "", Tone::Dim, &text);
            }
        }
    }

    fn detail(&mut self, rail: char, label: &str, tone: Tone, text: &str) {
        let room = self.paint.room(INDENT);
        let _ = writeln!(
            self.text,
            " {rail}   {} {}",
            self.paint.paint(Tone::Dim, &format!("{label:12}")),
            self.paint.paint(tone, &cut(text, room))
        );
    }

    fn line(&mut self, tone: Tone, before: &str, text: &str) {
        let room = self.paint.room(before.chars().count());
        let _ = writeln!(
            self.text,
            "{before}{}",
            self.paint.paint(tone, &cut(text, room))
        );
    }

    fn ago(&self, at: Timestamp) -> String {
        age_since(Some(at), self.now)
    }
}

/// The states of a wave's clusters come as one text.
fn tone_of_wave(state: &str) -> Tone {
    if state.contains("Failed") || state.contains("HeldBack") {
        Tone::Bad
    } else if state.split(", ").all(|part| part.starts_with("Done")) {
        Tone::Good
    } else {
        Tone::Busy
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const AT: &str = "2026-01-01T12:00:00Z";

    fn now() -> Timestamp {
        "2026-01-01T12:00:42Z".parse().unwrap()
    }

    fn stages(status: Value) -> Pipeline {
        let stage = |name: &str, auto: bool| json!({"name": name, "path": name, "clusterSelector": {}, "fleetRefs": [{"name": "apps"}], "auto": auto});
        serde_json::from_value(json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "myapp", "namespace": "flux-system"},
            "spec": {
                "sourceRef": {"name": "flux-system"},
                "move": {"image": {"name": "ghcr.io/example/myapp"}},
                "stages": [stage("dev", false), stage("staging", true), stage("prod", false)],
            },
            "status": status,
        }))
        .unwrap()
    }

    fn uncoloured(line: &str) -> String {
        let mut parts = line.split('\x1b');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            text + part.split_once('m').map_or("", |(_, rest)| rest)
        })
    }

    fn ready() -> Value {
        json!([{"type": "Ready", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": AT}])
    }

    fn promotion(stage: &str, status: Value) -> Promotion {
        serde_json::from_value(json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1",
            "kind": "Promotion",
            "metadata": {"name": format!("myapp-{stage}-1"), "namespace": "flux-system"},
            "spec": {"pipelineRef": {"name": "myapp"}, "stage": stage, "version": "1.5.0", "requestedBy": "ann"},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_rollout_with_gates_and_waves() {
        let pipeline = stages(json!({
            "conditions": ready(),
            "stages": [
                {"name": "dev", "version": "1.5.0", "healthy": true, "clusters": 3, "healthyClusters": 3},
                {"name": "staging", "version": "1.5.0", "clusters": 3, "healthyClusters": 1, "promotion": "myapp-staging-1",
                 "queue": ["myapp-staging-2"]},
                {"name": "prod", "version": "1.4.2", "healthy": true, "clusters": 3, "healthyClusters": 3,
                 "blockedBy": "1.5.0 is not verified in staging",
                 "deviations": [{"cluster": "prod-eu", "version": "1.4.1", "path": "clusters/prod/eu/apps/kustomization.yaml"}]},
            ],
            "versions": [{"stage": "dev", "version": "1.5.0", "at": AT, "promotion": "p"}],
        }));
        let running = promotion(
            "staging",
            json!({
                "phase": "RollingOut", "from": "1.4.2", "to": "1.5.0",
                "transitions": [{"phase": "RollingOut", "at": "2026-01-01T12:00:30Z"}],
                "gates": [{"name": "hours", "kind": "window", "verdict": "Passed", "message": "open until 18:00"}],
                "waves": [
                    {"fleet": "apps", "name": "canary", "clusters": 1, "state": "Done: 1"},
                    {"fleet": "apps", "name": "rest", "clusters": 2, "state": "Pending: 2"},
                ],
                "progress": {"clusters": 3, "healthy": 1,
                    "waiting": [{"cluster": "staging-us", "message": "Deployment/myapp/myapp: 0 of 2 are ready"}]},
                "verification": [{"name": "errors", "kind": "prometheus", "message": "not asked yet"}],
            }),
        );
        let expected = "\
Pipeline flux-system/myapp   image ghcr.io/example/myapp

 ● dev      1.5.0  3/3 healthy   verified 42s ago
 │
 ◐ staging  1.5.0  1/3 healthy
 │   promote      1.4.2 → 1.5.0  RollingOut for 12s   (myapp-staging-1, requested by ann)
 │   gate         ✔ hours: open until 18:00
 │   wave         canary of apps, 1 cluster: Done: 1
 │   wave         rest of apps, 2 clusters: Pending: 2
 │   clusters     1 of 3 healthy with it
 │                staging-us: Deployment/myapp/myapp: 0 of 2 are ready
 │   check        · errors: not asked yet
 │   then         myapp-staging-2
 │
 ● prod     1.4.2  3/3 healthy
     differs      prod-eu has 1.4.1   (clusters/prod/eu/apps/kustomization.yaml)
     waits        1.5.0 is not verified in staging
                  fairway promote myapp --stage prod
";
        let drawn = picture(&pipeline, &[running], now(), Paint::PLAIN);
        assert_eq!(drawn, expected, "{drawn}");
    }

    #[test]
    fn a_failure_what_it_blocks_and_a_freeze() {
        let pipeline = stages(json!({
            "conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": "1.6.0 failed in dev", "lastTransitionTime": AT}],
            "stages": [
                {"name": "dev", "version": "1.5.0", "healthy": true, "clusters": 3, "healthyClusters": 3},
                {"name": "staging"},
                {"name": "prod", "version": "1.4.2", "healthy": true, "clusters": 3, "healthyClusters": 3,
                 "frozen": "frozen by ann until 2026-01-02T00:00:00Z: release"},
            ],
            "blockedVersions": [{"version": "1.6.0", "stage": "dev", "since": AT, "reason": "not ready", "promotion": "p"}],
        }));
        let failed = promotion(
            "dev",
            json!({
                "phase": "RolledBack", "from": "1.5.0", "to": "1.6.0", "failure": "wave canary: dev-eu: not ready",
                "recoveryMillis": 6500, "transitions": [{"phase": "RolledBack", "at": AT}],
            }),
        );
        let expected = "\
Pipeline flux-system/myapp   image ghcr.io/example/myapp
1.6.0 failed in dev

 ● dev      1.5.0  3/3 healthy
 │   last         1.6.0 RolledBack 42s ago, healthy again in 6.5 s: wave canary: dev-eu: not ready   (myapp-dev-1)
 │
 ○ staging  -      0/0 healthy
 │
 ● prod     1.4.2  3/3 healthy
     frozen       by ann until 2026-01-02T00:00:00Z: release

 ✗ 1.6.0 is blocked: failed in dev 42s ago: not ready
   fairway unblock myapp 1.6.0
";
        let drawn = picture(
            &pipeline,
            std::slice::from_ref(&failed),
            now(),
            Paint::PLAIN,
        );
        assert_eq!(drawn, expected, "{drawn}");

        let narrow = picture(
            &pipeline,
            &[failed],
            now(),
            Paint::PLAIN.coloured().with_width(60),
        );
        let longest = narrow
            .lines()
            .map(|line| uncoloured(line).chars().count())
            .max();
        assert!(
            longest.is_some_and(|longest| longest <= 60),
            "{longest:?}\n{narrow}"
        );
        assert!(narrow.contains("\x1b["), "{narrow}");
    }
}
