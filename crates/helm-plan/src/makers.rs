//! What makes or fills Secrets and ConfigMaps in a cluster, besides Helm.
//!
//! In: the resources of a release. Out: [`Makers`], which tells for an object what would make it again.
//! Refuses: nothing.
//!
//! Known makers count by their kind and the field that names what they make. Kinds that only use what they
//! name (a ServiceMonitor, a Gateway listener) make nothing. Of other custom kinds nobody knows: where their
//! `spec` names a Secret or ConfigMap, they may make it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Value;

use crate::{
    consumers::has_pods,
    manifest::{Object, ObjectId},
    metadata,
};

/// What makes an object, or fills a key of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// Another object of the release: a Certificate, an ExternalSecret, …
    Object(ObjectId),
    /// The controller that owns the live object: `ExternalSecret db`.
    Controller(String),
    /// Another field manager of the live object.
    FieldManager(String),
    /// A controller that an annotation or label of the object itself names.
    Annotation(&'static str),
    /// The controller of Kubernetes that makes the ServiceAccount `default` in each namespace.
    ServiceAccountController,
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(id) => id.fmt(f),
            Self::Controller(owner) => write!(f, "its owner {owner}"),
            Self::FieldManager(manager) => write!(f, "its field manager {manager:?}"),
            Self::Annotation(key) => write!(f, "the controller that reads {key}"),
            Self::ServiceAccountController => f.write_str("Kubernetes"),
        }
    }
}

impl Maker {
    /// What fills an object that has an annotation or label for it.
    pub(crate) fn that_fills(object: &Object) -> Option<Self> {
        metadata::filled_by(&object.body).map(Self::Annotation)
    }
}

/// How a maker treats what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Makes {
    /// The whole object. Without it, the object is not there, or goes with it.
    Object,
    /// Only keys of an object that is there.
    Keys,
}

/// A kind of config, a namespace (empty: any) and a name.
type Key<'a> = (&'static str, &'a str, String);

/// What the resources of a release make other than by its manifest: the first maker of each.
#[derive(Debug, Default)]
pub(crate) struct Makers<'a> {
    objects: BTreeMap<Key<'a>, &'a Object>,
    /// What they make or fill.
    keys: BTreeMap<Key<'a>, &'a Object>,
    /// Custom resources that nothing is known about, by their namespace and what their `spec` names.
    unknown: BTreeMap<(&'a str, &'a str), &'a Object>,
}

impl<'a> Makers<'a> {
    pub(crate) fn of(resources: impl Iterator<Item = &'a Object>) -> Self {
        let mut makers = Self::default();
        for maker in resources {
            let namespace = maker.id.namespace.as_str();
            match known(maker) {
                Some(made) => {
                    // Makers of the whole cluster make it in namespaces that they choose.
                    let namespace = match maker.id.kind.as_str() {
                        "Bundle" | "ClusterExternalSecret" => "",
                        _ => namespace,
                    };
                    for (kind, name, makes) in made {
                        let key = (kind, namespace, name);
                        if makes == Makes::Object {
                            makers.objects.entry(key.clone()).or_insert(maker);
                        }
                        makers.keys.entry(key).or_insert(maker);
                    }
                }
                // A custom workload names what its pods need.
                None if maker.id.is_custom() && !only_uses(&maker.id.group) && !has_pods(maker) => {
                    let mut names = BTreeSet::new();
                    collect_names(maker.body.get("spec").unwrap_or(&Value::Null), &mut names);
                    for name in names {
                        makers.unknown.entry((namespace, name)).or_insert(maker);
                    }
                }
                None => {}
            }
        }
        makers
    }

    /// What makes an object again when it is deleted.
    pub(crate) fn of_object(&self, id: &ObjectId) -> Option<Maker> {
        if is_default_account(id) {
            return Some(Maker::ServiceAccountController);
        }
        self.find(id, &self.objects)
    }

    /// What fills an object that stays.
    pub(crate) fn of_key(&self, id: &ObjectId) -> Option<Maker> {
        self.find(id, &self.keys)
    }

    fn find(&self, id: &ObjectId, known: &BTreeMap<Key<'a>, &'a Object>) -> Option<Maker> {
        let kind = config_kind(id)?;
        let known = find_known(id, kind, known);
        let unknown = || {
            let key = (id.namespace.as_str(), id.name.as_str());
            self.unknown.get(&key).copied()
        };
        let maker = known.or_else(unknown)?;
        Some(Maker::Object(maker.id.clone()))
    }

    /// Whether one of them is known to make an object, rather than supposed because it names it.
    pub(crate) fn surely_make(&self, id: &ObjectId) -> bool {
        config_kind(id).is_some_and(|kind| find_known(id, kind, &self.objects).is_some())
    }
}

fn config_kind(id: &ObjectId) -> Option<&'static str> {
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Secret") => Some("Secret"),
        ("", "ConfigMap") => Some("ConfigMap"),
        _ => None,
    }
}

fn find_known<'a>(
    id: &ObjectId,
    kind: &'static str,
    known: &BTreeMap<Key<'a>, &'a Object>,
) -> Option<&'a Object> {
    let mut namespaces = [id.namespace.as_str(), ""].into_iter();
    let found = namespaces.find_map(|namespace| known.get(&(kind, namespace, id.name.clone())));
    found.copied()
}

/// What a maker makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// The Secret or ConfigMap.
    pub(crate) id: ObjectId,
    /// Kubernetes deletes it with its maker, which owns it. Otherwise it stays, or nobody knows.
    pub(crate) is_owned: bool,
}

/// The objects that an object makes as a whole.
pub(crate) fn made_by(object: &Object) -> Vec<Made> {
    let made = known(object).unwrap_or_default().into_iter();
    made.filter(|(_, _, makes)| *makes == Makes::Object)
        .map(|(kind, name, _)| Made {
            id: ObjectId {
                group: String::new(),
                kind: kind.to_owned(),
                namespace: object.id.namespace.clone(),
                name,
            },
            is_owned: owns(object),
        })
        .collect()
}

/// Whether a maker is the owner of what it makes. Those of the whole cluster choose their namespaces, so
/// that it is not certain what they make.
fn owns(object: &Object) -> bool {
    let text = |path: &str| object.body.pointer(path).and_then(Value::as_str);
    match (object.id.group.as_str(), object.id.kind.as_str()) {
        ("external-secrets.io", "ExternalSecret") => {
            matches!(text("/spec/target/creationPolicy"), None | Some("Owner"))
        }
        ("bitnami.com", "SealedSecret") => {
            let template = object.body.pointer("/spec/template");
            let skips = |template| {
                let key = "sealedsecrets.bitnami.com/skip-set-owner-references";
                metadata::annotation(template, key) == Some("true")
            };
            !template.is_some_and(skips)
        }
        ("secrets.infisical.com", _) => {
            text("/spec/managedSecretReference/creationPolicy") == Some("Owner")
        }
        ("kubernetes-client.io", "ExternalSecret")
        | ("onepassword.com", "OnePasswordItem")
        | ("kafka.strimzi.io", "KafkaUser")
        | ("ricoberger.de", "VaultSecret")
        | ("isindir.github.com", "SopsSecret")
        | ("secretgenerator.mittwald.de" | "secrets.hashicorp.com", _) => true,
        _ => false,
    }
}

fn is_default_account(id: &ObjectId) -> bool {
    id.group.is_empty() && id.kind == "ServiceAccount" && id.name == "default"
}

/// Groups whose kinds name Secrets and ConfigMaps that others make.
fn only_uses(group: &str) -> bool {
    const GROUPS: [&str; 13] = [
        "argoproj.io",
        "configuration.konghq.com",
        "gateway.envoyproxy.io",
        "gateway.networking.k8s.io",
        "keda.sh",
        "kustomize.toolkit.fluxcd.io",
        "monitoring.coreos.com",
        "networking.istio.io",
        "projectcontour.io",
        "security.istio.io",
        "serving.knative.dev",
        "traefik.containo.us",
        "traefik.io",
    ];
    GROUPS.contains(&group)
}

/// What an object makes, if its kind is known to make something: kind, name, and whether the whole object.
fn known(object: &Object) -> Option<Vec<(&'static str, String, Makes)>> {
    let text = |path: &str| {
        let text = object.body.pointer(path).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let own = || Some(object.id.name.clone());
    let secret = |name: Option<String>, makes| {
        Some(
            name.into_iter()
                .map(|name| ("Secret", name, makes))
                .collect(),
        )
    };
    let each = |list: &str, field: &str| {
        let items = object.body.pointer(list).and_then(Value::as_array);
        let names = items
            .into_iter()
            .flatten()
            .filter_map(|item| item.pointer(field)?.as_str());
        let names: Vec<_> = names
            .map(|name| ("Secret", name.to_owned(), Makes::Object))
            .collect();
        names
    };
    match (object.id.group.as_str(), object.id.kind.as_str()) {
        ("cert-manager.io", "Certificate") => secret(text("/spec/secretName"), Makes::Object),
        ("cert-manager.io", "Issuer" | "ClusterIssuer") => {
            secret(text("/spec/acme/privateKeySecretRef/name"), Makes::Object)
        }
        ("external-secrets.io", "ExternalSecret") => external_secret(object, "/spec", own()),
        ("external-secrets.io", "ClusterExternalSecret") => {
            let name = text("/spec/externalSecretName").or_else(own);
            external_secret(object, "/spec/externalSecretSpec", name)
        }
        ("kubernetes-client.io", "ExternalSecret")
        | ("bitnami.com", "SealedSecret")
        | ("onepassword.com", "OnePasswordItem")
        | ("kafka.strimzi.io", "KafkaUser")
        | ("ricoberger.de", "VaultSecret")
        | ("secretgenerator.mittwald.de", _) => secret(own(), Makes::Object),
        ("secrets.hashicorp.com", _) => {
            // Unless it is told to create the Secret, it fills one that is there.
            let creates =
                object.body.pointer("/spec/destination/create") == Some(&Value::Bool(true));
            let makes = if creates { Makes::Object } else { Makes::Keys };
            secret(text("/spec/destination/name"), makes)
        }
        ("secrets.infisical.com", _) => {
            let mut made = each("/spec/managedKubeSecretReferences", "/secretName");
            let one = text("/spec/managedSecretReference/secretName");
            made.extend(one.map(|name| ("Secret", name, Makes::Object)));
            Some(made)
        }
        ("secrets.doppler.com", _) => secret(text("/spec/managedSecret/name"), Makes::Object),
        ("k8s.bitwarden.com", _) => secret(text("/spec/secretName"), Makes::Object),
        ("redhatcop.redhat.io", "VaultSecret") => secret(text("/spec/output/name"), Makes::Object),
        ("isindir.github.com", "SopsSecret") => Some(each("/spec/secretTemplates", "/name")),
        ("secrets-store.csi.x-k8s.io", "SecretProviderClass") => {
            Some(each("/spec/secretObjects", "/secretName"))
        }
        ("trust.cert-manager.io", "Bundle") => {
            let target = |kind, path: &str| {
                let target = object.body.pointer(path)?;
                (!target.is_null()).then(|| (kind, object.id.name.clone(), Makes::Object))
            };
            let config_map = target("ConfigMap", "/spec/target/configMap");
            let secret = target("Secret", "/spec/target/secret");
            Some(config_map.into_iter().chain(secret).collect())
        }
        ("networking.k8s.io", "Ingress") if asks_cert_manager(object) => {
            Some(each("/spec/tls", "/secretName"))
        }
        ("gateway.networking.k8s.io", "Gateway") if asks_cert_manager(object) => {
            let listeners = object
                .body
                .pointer("/spec/listeners")
                .and_then(Value::as_array);
            let references = listeners.into_iter().flatten();
            let references =
                references.filter_map(|one| one.pointer("/tls/certificateRefs")?.as_array());
            let names = references
                .flatten()
                .filter_map(|one| one.get("name")?.as_str());
            Some(
                names
                    .map(|name| ("Secret", name.to_owned(), Makes::Object))
                    .collect(),
            )
        }
        _ => {
            // Crossplane's kinds, of any group.
            let name = text("/spec/writeConnectionSecretToRef/name")?;
            secret(Some(name), Makes::Object)
        }
    }
}

/// The target of an ExternalSecret. With `creationPolicy: Merge` it only fills one, with `None` nothing.
fn external_secret(
    object: &Object,
    spec: &str,
    own: Option<String>,
) -> Option<Vec<(&'static str, String, Makes)>> {
    let text = |path: &str| {
        object
            .body
            .pointer(&format!("{spec}/target/{path}"))?
            .as_str()
    };
    let makes = match text("creationPolicy") {
        Some("None") => return Some(Vec::new()),
        Some("Merge") => Makes::Keys,
        Some(_) | None => Makes::Object,
    };
    let kind = match text("manifest/kind") {
        Some("ConfigMap") => "ConfigMap",
        Some(_) | None => "Secret",
    };
    let name = text("name").map(str::to_owned).or(own);
    Some(name.into_iter().map(|name| (kind, name, makes)).collect())
}

/// cert-manager makes Certificates for Ingresses and Gateways with these annotations.
fn asks_cert_manager(object: &Object) -> bool {
    const ANNOTATIONS: [&str; 3] = [
        "cert-manager.io/cluster-issuer",
        "cert-manager.io/issuer",
        "kubernetes.io/tls-acme",
    ];
    let has = |key: &&str| metadata::annotation(&object.body, key).is_some();
    ANNOTATIONS.iter().any(has)
}

/// Collects the texts in a value. Labels do not count: charts give their objects and their labels the same
/// names.
fn collect_names<'a>(body: &'a Value, names: &mut BTreeSet<&'a str>) {
    match body {
        Value::String(text) => {
            names.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        Value::Object(fields) => {
            for (field, value) in fields {
                let is_label = matches!(
                    field.as_str(),
                    "labels" | "annotations" | "selector" | "matchLabels"
                );
                if !is_label {
                    collect_names(value, names);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
