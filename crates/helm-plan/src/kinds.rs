//! What is known of kinds: whether they live in a namespace, whether they run to completion, and where
//! they have their pod template.

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace. Custom kinds count as such: both revisions then get the same namespace, and match
    /// as they do in Helm, unless only one of them names a namespace.
    Namespaced,
    /// In none.
    Cluster,
}

/// The scope of a kind. `group` is empty for the core group.
pub fn scope(group: &str, kind: &str) -> Scope {
    match CLUSTER_SCOPED.contains(&(group, kind)) {
        true => Scope::Cluster,
        false => Scope::Namespaced,
    }
}

/// Whether objects of the kind run to completion: such a hook is created, done, and then deleted without
/// harm.
pub fn runs_to_completion(group: &str, kind: &str) -> bool {
    matches!((group, kind), ("batch", "Job") | ("", "Pod"))
}

/// Whether an operator rather than Kubernetes itself serves the group.
pub fn is_custom(group: &str) -> bool {
    group.contains('.') && !group.ends_with(".k8s.io")
}

/// Where an object has its pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodTemplate {
    /// The object is a pod itself.
    Object,
    /// `spec.template`, by the definition of the kind.
    SpecTemplate,
    /// `spec.jobTemplate.spec.template`.
    JobTemplate,
    /// The kind is not one of Kubernetes with pods: `spec.template` counts where it reads as a pod
    /// template.
    Unknown,
}

/// Where objects of a kind have their pod template.
pub fn pod_template(group: &str, kind: &str) -> PodTemplate {
    match (group, kind) {
        ("", "Pod") => PodTemplate::Object,
        ("batch", "CronJob") => PodTemplate::JobTemplate,
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => PodTemplate::SpecTemplate,
        _ => PodTemplate::Unknown,
    }
}

/// Kinds of Kubernetes itself that do not live in a namespace (`kubectl api-resources
/// --namespaced=false`, with those of older versions).
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
