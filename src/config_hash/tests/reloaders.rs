//! The annotations of Reloader and Wave, through whole judgements: which configs are recorded, and what is told.

use super::*;

/// A namespace with ConfigMaps `app`, `flags` and `other` and Secret `db`, in which only annotations choose a workload.
fn annotated() -> Shop {
    let mut shop = Shop::empty();
    shop.set(json!({"configHash": {"workloads": "annotated"}}));
    shop.put("ConfigMap/flags", "beta=on");
    shop.put("ConfigMap/other", "x=y");
    shop.put("Secret/db", "user=root, password=x");
    shop
}

/// A Deployment that uses ConfigMaps `app` and `flags` and one key of Secret `db`; annotations as `annotation=value`,
/// those of the pod template after `template:`.
fn web_of_three(annotations: &[&str]) -> Value {
    let mut object = web_with(json!({
        "envFrom": [{"configMapRef": {"name": "app"}}, {"configMapRef": {"name": "flags"}}],
        "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "db", "key": "user"}}}],
    }));
    for annotation in annotations {
        let (key, value) = annotation.split_once('=').unwrap();
        let (place, key) = match key.strip_prefix("template:") {
            Some(key) => (TEMPLATE, key),
            None => (OBJECT, key),
        };
        annotations::set(&mut object, place, key, Some(value.to_owned())).unwrap();
    }
    object
}

/// What is recorded of the workload (`-`: nothing), and what is told.
fn answer(mut shop: Shop, annotations: &[&str]) -> Vec<String> {
    let answer = shop.answer(Operation::Create, web_of_three(annotations));
    let recorded = answer
        .iter()
        .find_map(|line| line.strip_prefix("configs: "));
    let told = answer.iter().filter(|line| line.starts_with("warning: "));
    [recorded.unwrap_or("-").to_owned()]
        .into_iter()
        .chain(told.cloned())
        .collect()
}

const APP: &str = "ConfigMap/app mode=dark";
const FLAGS: &str = "ConfigMap/flags beta=on";
const DB: &str = "Secret/db user=root";
const WHOLE_DB: &str = "Secret/db user=root+password=x";

#[test]
fn what_is_recorded_is_what_the_annotations_ask_for() {
    for (case, annotations, expected) in [
        ("nothing", &[][..], "-".to_owned()),
        (
            "auto",
            &["reloader.stakater.com/auto=TRUE"],
            format!("{APP}, {FLAGS}, {DB}"),
        ),
        (
            "auto for ConfigMaps, on the template",
            &["template:configmap.reloader.stakater.com/auto=true"],
            format!("{APP}, {FLAGS}"),
        ),
        (
            "a list, with what exists and is not named, and what does not exist",
            &["configmap.reloader.stakater.com/reload=flags,other,gone"],
            format!("{FLAGS}, ConfigMap/gone absent, ConfigMap/other x=y"),
        ),
        (
            "a listed Secret counts with all its keys",
            &["secret.reloader.stakater.com/reload=db"],
            WHOLE_DB.to_owned(),
        ),
        (
            "auto without what is excluded",
            &[
                "reloader.stakater.com/auto=true",
                "configmaps.exclude.reloader.stakater.com/reload=flags",
                "secrets.exclude.reloader.stakater.com/reload=db",
            ],
            APP.to_owned(),
        ),
        (
            "Wave",
            &[
                "wave.pusher.com/update-on-config-change=true",
                "wave.pusher.com/extra-configmaps=shop/other",
            ],
            format!("{APP}, {FLAGS}, ConfigMap/other x=y, {DB}"),
        ),
        (
            "our list beside Reloader's",
            &[
                "configmap.reloader.stakater.com/reload=app",
                "rollout-guard/extra-configmaps=flags",
            ],
            format!("{APP}, {FLAGS}"),
        ),
        (
            "our annotation beside Reloader's list",
            &[
                "rollout-guard/enabled=true",
                "configmap.reloader.stakater.com/reload=other",
                "configmaps.exclude.reloader.stakater.com/reload=app",
            ],
            format!("{FLAGS}, ConfigMap/other x=y, {DB}"),
        ),
        (
            "what is excluded counts if our list names it",
            &[
                "rollout-guard/extra-configmaps=app",
                "configmap.reloader.stakater.com/auto=true",
                "configmaps.exclude.reloader.stakater.com/reload=app,flags",
            ],
            APP.to_owned(),
        ),
    ] {
        assert_eq!(answer(annotated(), annotations), [expected], "{case}");
    }
}

#[test]
fn with_workloads_all_annotations_add_and_exclude() {
    for (case, annotations, expected) in [
        ("nothing", &[][..], format!("{APP}, {FLAGS}, {DB}")),
        (
            "auto is off",
            &["reloader.stakater.com/auto=false"],
            "-".to_owned(),
        ),
        (
            "auto is off for Secrets",
            &["secret.reloader.stakater.com/auto=false"],
            format!("{APP}, {FLAGS}"),
        ),
        (
            "auto is off, but for a list",
            &[
                "reloader.stakater.com/auto=false",
                "configmap.reloader.stakater.com/reload=other",
            ],
            "ConfigMap/other x=y".to_owned(),
        ),
        (
            "a list and an exclusion",
            &[
                "configmap.reloader.stakater.com/reload=other",
                "configmaps.exclude.reloader.stakater.com/reload=flags",
            ],
            format!("{APP}, ConfigMap/other x=y, {DB}"),
        ),
    ] {
        let mut shop = annotated();
        shop.set(json!({}));
        assert_eq!(answer(shop, annotations), [expected], "{case}");
    }
}

/// The annotations of the configs.
#[test]
fn configs_can_be_marked_and_ignored() {
    let marked = |ignored: &str| {
        let mut shop = annotated();
        shop.annotate_config("ConfigMap/flags", "reloader.stakater.com/match", "true");
        shop.annotate_config("Secret/db", "reloader.stakater.com/match", "1");
        shop.annotate_config(ignored, "reloader.stakater.com/ignore", "true");
        shop
    };
    let search = &["reloader.stakater.com/search=true"];
    let auto = &["reloader.stakater.com/auto=true"];
    assert_eq!(answer(marked("ConfigMap/other"), search), [FLAGS]);
    assert_eq!(
        answer(marked("ConfigMap/app"), auto),
        [format!("{FLAGS}, {DB}")]
    );
    let both = [search[0], "rollout-guard/extra-configmaps=app"];
    assert_eq!(
        answer(marked("ConfigMap/other"), &both),
        [format!("{APP}, {FLAGS}")]
    );
}

#[test]
fn what_does_not_count_is_told_and_the_rest_counts() {
    for (annotations, expected) in [
        (
            &["reloader.stakater.com/auto=yes"][..],
            &[
                "-",
                "warning: Deployment/web: annotation reloader.stakater.com/auto is \"yes\", which counts as \"false\", as in Reloader",
            ][..],
        ),
        (
            &["configmap.reloader.stakater.com/reload=fl.*,other"],
            &[
                "ConfigMap/flags beta=on, ConfigMap/other x=y",
                "warning: Deployment/web: annotation configmap.reloader.stakater.com/reload: \"fl.*\" is a pattern, which only finds configs that the pod template names; list others by name",
            ],
        ),
        (
            &[
                "wave.pusher.com/update-on-config-change=true",
                "wave.pusher.com/extra-secrets=kubewarden/key",
                "secrets.exclude.reloader.stakater.com/reload=db",
            ],
            &[
                "ConfigMap/app mode=dark, ConfigMap/flags beta=on",
                "warning: Deployment/web: annotation wave.pusher.com/extra-secrets names \"kubewarden/key\", but only configs in the namespace of the workload count",
            ],
        ),
        (
            &[
                "secret.reloader.stakater.com/auto=true",
                "deployment.reloader.stakater.com/pause-period=5m",
            ],
            &[
                DB,
                "warning: Deployment/web: annotation deployment.reloader.stakater.com/pause-period is not supported: hold rollouts back with rollout-guard/freeze",
            ],
        ),
        // Reloader itself may see to this workload.
        (
            &["deployment.reloader.stakater.com/pause-period=5m"],
            &["-"],
        ),
    ] {
        assert_eq!(
            answer(annotated(), annotations),
            expected,
            "{annotations:?}"
        );
    }
}

#[test]
fn a_listed_config_rolls_out() {
    let mut shop = annotated();
    shop.add(web_of_three(&[
        "configmap.reloader.stakater.com/reload=other",
    ]));
    shop.put("ConfigMap/app", "mode=light");
    let same = shop.stored.clone();
    shop.answer(Operation::Update, same.clone());
    assert_eq!(template_of(&shop.stored), template_of(&same), "not listed");
    shop.put("ConfigMap/other", "x=z");
    let answer = shop.answer(Operation::Update, same.clone());
    assert_ne!(template_of(&shop.stored), template_of(&same));
    assert_eq!(
        answer.last().unwrap(),
        "audit config-changed: ConfigMap other"
    );
}
