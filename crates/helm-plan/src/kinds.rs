//! What is known about kinds: whether they live in a namespace, whether they run to completion, and where
//! their pod template and their claims for storage are.
//!
//! In: a group and a kind. Out: the fact. Refuses: nothing; an unknown kind counts as a custom one.

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In a namespace. Custom kinds count as namespaced: both revisions then get the same namespace, and
    /// match as they do in Helm, unless only one of them names a namespace.
    Namespaced,
    /// In no namespace.
    Cluster,
}

/// The scope of a kind. `group` is empty for the core group.
pub(crate) fn scope(group: &str, kind: &str) -> Scope {
    match CLUSTER_SCOPED.contains(&(group, kind)) {
        true => Scope::Cluster,
        false => Scope::Namespaced,
    }
}

/// Whether objects of a kind run to completion. Such a hook can be deleted without harm once it is done.
pub(crate) fn runs_to_completion(group: &str, kind: &str) -> bool {
    matches!((group, kind), ("batch", "Job") | ("", "Pod"))
}

/// Whether an operator rather than Kubernetes itself defines the kinds of a group.
pub(crate) fn is_custom(group: &str) -> bool {
    group.contains('.') && !group.ends_with(".k8s.io")
}

/// Whether custom resources of a kind are done once they have run, like a Job.
pub(crate) fn is_custom_run(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("argoproj.io", "Workflow" | "AnalysisRun" | "Experiment")
            | ("tekton.dev", "TaskRun" | "PipelineRun")
            | ("cr.kanister.io", "ActionSet")
            | ("k6.io", "K6" | "TestRun")
    )
}

/// Where in an object its pod template is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodTemplate {
    /// The object is a pod itself.
    Object,
    /// `spec.template`, by the definition of the kind.
    SpecTemplate,
    /// `spec.jobTemplate.spec.template`.
    JobTemplate,
    /// The kind is not one that Kubernetes itself runs as pods: `spec.template` counts if it can be read
    /// as a pod template.
    Unknown,
}

/// Where the pod template of an object of a kind is.
pub(crate) fn pod_template(group: &str, kind: &str) -> PodTemplate {
    match (group, kind) {
        ("", "Pod") => PodTemplate::Object,
        ("batch", "CronJob") => PodTemplate::JobTemplate,
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => PodTemplate::SpecTemplate,
        _ => PodTemplate::Unknown,
    }
}

/// Where in an object claims for storage are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claims {
    /// The object is a claim itself.
    Object,
    /// `spec.volumeClaimTemplates`, by the definition of the kind.
    Templates,
    /// Nowhere.
    None,
    /// `spec.volumeClaimTemplates` counts beside what can be read as a pod template.
    Unknown,
}

/// Where in an object of a kind claims for storage are.
pub(crate) fn claims(group: &str, kind: &str) -> Claims {
    match (group, kind) {
        ("", "PersistentVolumeClaim") => Claims::Object,
        ("apps", "StatefulSet") => Claims::Templates,
        _ if pod_template(group, kind) == PodTemplate::Unknown => Claims::Unknown,
        _ => Claims::None,
    }
}

/// Kinds of Kubernetes itself that do not live in a namespace (`kubectl api-resources
/// --namespaced=false`, and kinds of older versions).
const CLUSTER_SCOPED: [(&str, &str); 33] = [
    ("", "ComponentStatus"),
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("certificates.k8s.io", "ClusterTrustBundle"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("networking.k8s.io", "IPAddress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("node.k8s.io", "RuntimeClass"),
    ("policy", "PodSecurityPolicy"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceSlice"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
    ("internal.apiserver.k8s.io", "StorageVersion"),
    ("storagemigration.k8s.io", "StorageVersionMigration"),
];
