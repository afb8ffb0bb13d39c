//! Scenarios on which the plan and Helm once disagreed. The file is long because it contains the charts.

use anyhow::{Context, Result, bail, ensure};
use cluster_tests::{HelmVersion, Suite};
use helm_plan::record::Driver;

use crate::judge::{Agreed, judge};
use crate::scenario::{Command, Scenario};

struct Regression {
    name: &'static str,
    /// The documents of each chart.
    charts: &'static [&'static [&'static str]],
    commands: &'static [&'static str],
    /// The findings of the last command, by version of Helm: `helm3: hook-conflict Job a`.
    findings: &'static [&'static str],
}

/// A Deployment that needs the ConfigMap `a`.
const WEB: &str = "\
---
kind: Deployment
apiVersion: apps/v1
metadata:
  name: web
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: app
          image: app
          envFrom:
            - configMapRef: {name: a}
";

/// A Deployment that needs a key of the Secret `b`.
const WEB_WITH_KEY: &str = "\
---
kind: Deployment
apiVersion: apps/v1
metadata:
  name: web
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: app
          image: app
          env:
            - name: USER
              valueFrom: {secretKeyRef: {name: b, key: user}}
";

const WEB_WITHOUT_NEEDS: &str = "\
---
kind: Deployment
apiVersion: apps/v1
metadata:
  name: web
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers: [{name: app, image: app}]
";

const WEB_AS_ACCOUNT: &str = "\
---
kind: Deployment
apiVersion: apps/v1
metadata:
  name: web
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      serviceAccountName: a
      containers: [{name: app, image: app}]
";

const FAILING_JOB: &str = "\
---
kind: Job
apiVersion: batch/v1
metadata:
  name: migrate
  annotations:
    helm.sh/hook: pre-upgrade
    cluster-tests/fail: 'true'
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: app, image: app}
";

const REGRESSIONS: &[Regression] = &[
    // With client-side apply, an install creates objects without checking whether they exist, and sends all objects of a
    // kind.
    Regression {
        name: "install: an object that is a hook and a regular resource",
        charts: &[&["\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-install
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: b
"]],
        commands: &["install v1"],
        findings: &["helm3: hook-conflict ConfigMap a"],
    },
    Regression {
        name: "install: two documents for one object",
        charts: &[&["\
---
kind: HorizontalPodAutoscaler
apiVersion: autoscaling/v1
metadata:
  name: a
spec:
  maxReplicas: 2
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
---
kind: HorizontalPodAutoscaler
apiVersion: autoscaling/v2
metadata:
  name: a
spec:
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
"]],
        commands: &["install v1"],
        findings: &["helm3: hook-conflict HorizontalPodAutoscaler a"],
    },
    // The object that the hook of v2 created was pruned, which only the record of v1 shows.
    Regression {
        name: "rollback: a hook is patched onto a resource that may take one patch or two",
        charts: &[&["\
---
kind: Secret
apiVersion: v1
metadata:
  name: a
data: {user: YWRtaW4=}
---
kind: Secret
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: post-rollback
    helm.sh/hook-delete-policy: hook-failed
data: {user: YWRtaW4=}
"]],
        commands: &["install v1", "rollback 1"],
        findings: &["helm3: hook-conflict Secret a"],
    },
    Regression {
        name: "a hook whose object was pruned by its own upgrade",
        charts: &[
            &["\
---
kind: Secret
apiVersion: v1
metadata:
  name: a
"],
            &["\
---
kind: Secret
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-upgrade
"],
            &["\
---
kind: Secret
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-delete-policy: hook-failed
"],
        ],
        commands: &["install v1", "upgrade v2", "upgrade v3"],
        // The live object decides: it is gone.
        findings: &[],
    },
    // The new record has the hooks of revision 1, which succeeded only at that time.
    Regression {
        name: "the hooks in the record of a rollback show an older run",
        charts: &[
            &["\
---
kind: Role
apiVersion: rbac.authorization.k8s.io/v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-install
    helm.sh/hook-delete-policy: hook-succeeded
rules: []
"],
            &["\
---
kind: Role
apiVersion: rbac.authorization.k8s.io/v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-upgrade
rules: []
"],
            &["\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: other
"],
        ],
        commands: &["install v1", "upgrade v2", "rollback 1", "upgrade v3"],
        findings: &[],
    },
    Regression {
        name: "a hook that does not run changes no config",
        charts: &[
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-install
data:
  url: '1'
  user: admin
",
                WEB,
            ],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-install
data:
  url: '2'
",
                WEB,
            ],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[],
    },
    // The API server adds stringData to data, and removes nothing.
    Regression {
        name: "a key that is removed from stringData stays",
        charts: &[
            &[
                "\
---
kind: Secret
apiVersion: v1
metadata:
  name: b
stringData:
  url: '1'
  user: admin
",
                WEB_WITH_KEY,
            ],
            &[
                "\
---
kind: Secret
apiVersion: v1
metadata:
  name: b
stringData:
  url: '1'
",
                WEB_WITH_KEY,
            ],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[],
    },
    Regression {
        name: "a key that is removed from data is deleted",
        charts: &[
            &[
                "\
---
kind: Secret
apiVersion: v1
metadata:
  name: b
data:
  url: MQ==
  user: MQ==
",
                WEB_WITH_KEY,
            ],
            &[
                "\
---
kind: Secret
apiVersion: v1
metadata:
  name: b
data:
  url: MQ==
",
                WEB_WITH_KEY,
            ],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[
            "helm3: dangling-reference Secret b",
            "helm3: no-rollout Secret b",
            "helm4: dangling-reference Secret b",
        ],
    },
    // The client removes only keys that the previous manifest had, and a hook is in no manifest.
    Regression {
        name: "a client-side merge removes no key that a hook created",
        charts: &[
            &[
                "\
---
kind: Secret
apiVersion: v1
metadata:
  name: b
  annotations:
    helm.sh/hook: pre-install
data:
  url: MQ==
  user: MQ==
",
                WEB_WITH_KEY,
            ],
            &[
                "\
---
kind: Secret
apiVersion: v1
metadata:
  name: b
data:
  url: MQ==
",
                WEB_WITH_KEY,
            ],
        ],
        commands: &["install v1", "upgrade v2 --take-ownership"],
        findings: &["helm4: dangling-reference Secret b"],
    },
    // The API server keeps the service account of a pod template that no longer names one.
    Regression {
        name: "a service account that is no longer named is still needed",
        charts: &[
            &[
                "\
---
kind: ServiceAccount
apiVersion: v1
metadata:
  name: a
",
                WEB_AS_ACCOUNT,
            ],
            &[WEB_WITHOUT_NEEDS],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[
            "helm3: dangling-reference ServiceAccount a",
            "helm4: dangling-reference ServiceAccount a",
        ],
    },
    // Revision 3 failed before it applied its `keep`.
    Regression {
        name: "keep in the manifest of a revision that failed",
        charts: &[
            &[WEB],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
",
                WEB,
            ],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/resource-policy: keep
",
                WEB,
                FAILING_JOB,
            ],
        ],
        commands: &["install v1", "upgrade v2", "upgrade v3", "rollback 1"],
        findings: &[
            "helm3: dangling-reference ConfigMap a",
            "helm4: dangling-reference ConfigMap a",
        ],
    },
    // The hook of revision 2 recreated the ConfigMap, without the `keep` of revision 1.
    Regression {
        name: "keep that an operation removed before it failed",
        charts: &[
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/resource-policy: keep
",
                WEB,
            ],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-weight: '-5'
",
                WEB,
                FAILING_JOB,
            ],
            &[WEB],
        ],
        commands: &["install v1", "upgrade v2", "upgrade v3"],
        findings: &[
            "helm3: dangling-reference ConfigMap a",
            "helm4: dangling-reference ConfigMap a",
        ],
    },
    // Revision 2 failed before it applied the ConfigMap. No hook collides with it, and it is pruned anyway.
    Regression {
        name: "an object that a failed revision would have created",
        charts: &[
            &[WEB],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
",
                WEB,
                FAILING_JOB,
            ],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-rollback
    helm.sh/hook-delete-policy: hook-failed
",
                WEB,
            ],
        ],
        commands: &["install v3", "upgrade v2", "rollback 1"],
        findings: &[
            "helm3: hook-pruned ConfigMap a",
            "helm4: hook-pruned ConfigMap a",
        ],
    },
    // Helm 4 patches the existing object with the hook. It owned the annotation and no longer sends it.
    Regression {
        name: "server-side apply removes its own keep",
        charts: &[
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/resource-policy: keep
",
                WEB,
            ],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-delete-policy: hook-failed
",
                WEB,
            ],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[
            "helm3: hook-conflict ConfigMap a",
            "helm4: hook-pruned ConfigMap a",
        ],
    },
    Regression {
        name: "server-side apply does not remove the keep of others",
        charts: &[
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
",
                WEB,
            ],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-delete-policy: hook-failed
",
                WEB,
            ],
        ],
        commands: &["install v1", "keep configmap/a", "upgrade v2"],
        findings: &["helm3: hook-conflict ConfigMap a"],
    },
    // Helm drops the namespace, so both charts have the same ClusterRole.
    Regression {
        name: "a namespace on a cluster-wide object is ignored",
        charts: &[
            &["\
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata:
  name: '{{ .Release.Namespace }}.a'
  labels: {case: '{{ .Release.Namespace }}'}
rules: []
"],
            &["\
---
kind: ClusterRole
apiVersion: rbac.authorization.k8s.io/v1
metadata:
  name: '{{ .Release.Namespace }}.a'
  labels: {case: '{{ .Release.Namespace }}'}
  namespace: '{{ .Release.Namespace }}'
rules: []
"],
        ],
        commands: &["install v1", "upgrade v2", "upgrade v1"],
        findings: &[],
    },
    // The upgrade fails, but the ConfigMap is lost anyway.
    Regression {
        name: "a conflict in the post-hooks comes after the prune",
        charts: &[
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: b
",
                WEB,
            ],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: b
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: b
  annotations:
    helm.sh/hook: post-upgrade
    helm.sh/hook-delete-policy: hook-failed
",
                WEB,
            ],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[
            "helm3: dangling-reference ConfigMap a",
            "helm3: hook-conflict ConfigMap b",
            "helm4: dangling-reference ConfigMap a",
        ],
    },
    Regression {
        name: "a list is sent in full, even if one of its objects exists",
        charts: &[
            &["\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
"],
            &["\
---
kind: List
apiVersion: v1
metadata:
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-delete-policy: hook-failed
items:
  - kind: ConfigMap
    apiVersion: v1
    metadata:
      name: a
  - kind: ConfigMap
    apiVersion: v1
    metadata:
      name: b
"],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[
            "helm3: hook-conflict ConfigMap a",
            "helm4: hook-pruned ConfigMap a",
        ],
    },
    Regression {
        name: "a Deployment that is a hook stays",
        charts: &[
            &["\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
"],
            &["\
---
kind: Deployment
apiVersion: apps/v1
metadata:
  name: web
  annotations:
    helm.sh/hook: pre-upgrade
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: app
          image: app
          envFrom:
            - configMapRef: {name: a}
"],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[
            "helm3: dangling-reference ConfigMap a",
            "helm4: dangling-reference ConfigMap a",
        ],
    },
    Regression {
        name: "the last of two documents counts",
        charts: &[
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
data:
  url: '1'
",
                WEB,
            ],
            &[
                "\
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
data:
  url: '2'
---
kind: ConfigMap
apiVersion: v1
metadata:
  name: a
data:
  url: '1'
",
                WEB,
            ],
        ],
        commands: &["install v1", "upgrade v2"],
        findings: &[],
    },
];

pub(crate) fn add_to(suite: &mut Suite) {
    for regression in REGRESSIONS {
        for helm in HelmVersion::ALL {
            let name = format!("{helm}: {}", regression.name);
            suite.case(name, move |case| {
                let agreed = match judge(case, &regression.scenario(helm)?)? {
                    Ok(agreed) => agreed,
                    Err(disagreement) => bail!("{}", disagreement.0),
                };
                regression.check_findings(helm, &agreed)
            });
        }
    }
}

impl Regression {
    fn scenario(&self, helm: HelmVersion) -> Result<Scenario> {
        let commands = self.commands.iter();
        let commands = commands.map(|command| Command::parse(command, helm));
        Ok(Scenario {
            driver: Driver::Secret,
            charts: self.charts.iter().map(|chart| chart.concat()).collect(),
            commands: commands.collect::<Result<_>>()?,
        })
    }

    fn check_findings(&self, helm: HelmVersion, agreed: &[Agreed]) -> Result<()> {
        let Agreed::Planned { findings, .. } = agreed.last().context("nothing was run")? else {
            bail!("Helm refused");
        };
        let found: Vec<_> = findings
            .iter()
            .map(|found| format!("{helm}: {} {}", found.lint, found.object))
            .collect();
        let expected = self.findings.iter();
        let expected: Vec<_> = expected
            .filter(|finding| finding.starts_with(&helm.to_string()))
            .copied()
            .collect();
        ensure!(found == expected, "found {found:?}, and not {expected:?}");
        Ok(())
    }
}
