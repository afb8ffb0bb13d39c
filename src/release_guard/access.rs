//! What may be looked up for a request.
//!
//! In: the request, and an object that a record names. Out: whether the requesting user may read it. Refuses: a review
//! for which there is no time; one that fails counts as a no.
//!
//! The objects of a record can name any namespace, and whoever creates a record reads the answer. So what the
//! user could not read himself is not looked up: no answer tells whether it exists.

use std::cell::RefCell;

use helm_plan::manifest::ObjectId;

use crate::{
    cluster::{Cluster, LookupError, Review},
    request::Request,
};

/// The reviews of one request, each made once.
pub(super) struct Access<'a> {
    cluster: &'a dyn Cluster,
    request: &'a Request,
    /// By group, kind and namespace. They are few; a map would add to the size of the policy.
    known: RefCell<Vec<(String, bool)>>,
}

impl<'a> Access<'a> {
    pub(super) fn new(cluster: &'a dyn Cluster, request: &'a Request) -> Self {
        Self {
            cluster,
            request,
            known: RefCell::default(),
        }
    }

    /// Whether the object may be looked up, or what would change that. In the namespace of the request everything
    /// may: the user writes there, and learns what exists from the conflicts.
    pub(super) fn may_look_at(&self, id: &ObjectId) -> Result<Result<(), String>, LookupError> {
        let ObjectId {
            group,
            kind,
            namespace,
            ..
        } = id;
        if self.may_read(group, kind, namespace)? {
            return Ok(Ok(()));
        }
        let (dot, within) = (
            if group.is_empty() { "" } else { "." },
            if namespace.is_empty() {
                ""
            } else {
                " in namespace "
            },
        );
        Ok(Err(format!(
            "let the user of this request get {}{dot}{group}{within}{namespace}",
            plural(kind)
        )))
    }

    /// Whether the user may read all objects of a kind in a namespace (empty for cluster-scoped kinds).
    pub(super) fn may_read(
        &self,
        group: &str,
        kind: &str,
        namespace: &str,
    ) -> Result<bool, LookupError> {
        if !namespace.is_empty() && namespace == self.request.namespace {
            return Ok(true);
        }
        let key = format!("{group}/{kind}/{namespace}");
        let mut known = self.known.borrow_mut();
        if let Some((_, answer)) = known.iter().find(|(other, _)| *other == key) {
            return Ok(*answer);
        }
        let answer = self.cluster.may_read(&Review {
            user: self.request.user(),
            groups: self.request.groups(),
            group,
            resource: &plural(kind),
            namespace,
        })?;
        known.push((key, answer));
        Ok(answer)
    }
}

/// The resource of a kind, in English. Kubernetes itself names all but one so, and most operators do. A review of
/// a wrong name is answered with no.
fn plural(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    let has_vowel_before_y = ["ay", "ey", "oy", "uy"]
        .iter()
        .any(|end| kind.ends_with(end));
    if kind == "endpoints" {
        return kind;
    }
    match kind.strip_suffix('y') {
        Some(stem) if !has_vowel_before_y => format!("{stem}ies"),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| kind.ends_with(end)) => kind + "es",
        _ => kind + "s",
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        Resource,
        api::{
            apps::v1::{Deployment, StatefulSet},
            batch::v1::{CronJob, Job},
            core::v1::{
                ConfigMap, Endpoints, Namespace, PersistentVolumeClaim, Pod, Secret, Service,
                ServiceAccount,
            },
            networking::v1::{Ingress, IngressClass, NetworkPolicy},
            rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
            scheduling::v1::PriorityClass,
            storage::v1::StorageClass,
        },
    };
    use serde_json::json;

    use super::*;
    use crate::cluster::fake::Objects;

    #[test]
    fn resources_are_named_as_in_kubernetes() {
        macro_rules! assert_named {
            ($($Kind:ident)*) => {$(
                assert_eq!(plural($Kind::KIND), $Kind::URL_PATH_SEGMENT);
            )*};
        }
        assert_named!(
            ConfigMap Secret ServiceAccount PersistentVolumeClaim Pod Service Endpoints Namespace Deployment
            StatefulSet Job CronJob Ingress IngressClass NetworkPolicy Role RoleBinding ClusterRole
            ClusterRoleBinding PriorityClass StorageClass
        );
        for (kind, expected) in [
            ("Gateway", "gateways"),
            ("Switch", "switches"),
            ("Box", "boxes"),
        ] {
            assert_eq!(plural(kind), expected);
        }
    }

    #[test]
    fn each_kind_of_another_namespace_is_reviewed_once() {
        let request = Request {
            namespace: "shop".to_owned(),
            user_info: json!({"username": "jenkins", "groups": ["ci", null, "system:authenticated"]}),
            ..Request::default()
        };
        let cluster = Objects {
            forbidden: vec!["secrets bank".to_owned()],
            ..Objects::default()
        };
        let access = Access::new(&cluster, &request);
        for (group, kind, namespace, expected) in [
            ("", "Secret", "shop", true),
            ("", "Secret", "bank", false),
            ("", "Secret", "bank", false),
            ("", "ConfigMap", "bank", true),
            ("rbac.authorization.k8s.io", "ClusterRole", "", true),
            ("rbac.authorization.k8s.io", "ClusterRole", "", true),
        ] {
            let id = ObjectId {
                group: group.to_owned(),
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                name: "a".to_owned(),
            };
            assert_eq!(
                access.may_look_at(&id).map(|may| may.is_ok()),
                Ok(expected),
                "{id} in {namespace}"
            );
        }
        assert_eq!(
            *cluster.asked.borrow(),
            [
                "may jenkins of ci, system:authenticated get secrets bank?",
                "may jenkins of ci, system:authenticated get configmaps bank?",
                "may jenkins of ci, system:authenticated get clusterroles.rbac.authorization.k8s.io ?",
            ]
        );
    }

    /// A cluster-scoped object is not in the namespace of a request that is in none.
    #[test]
    fn cluster_scoped_objects_are_reviewed_and_it_is_said_what_is_missing() {
        let request = Request::default();
        let cluster = Objects {
            forbidden: vec!["clusterroles ".to_owned(), "secrets bank".to_owned()],
            ..Objects::default()
        };
        let access = Access::new(&cluster, &request);
        let id = |group: &str, kind: &str, namespace: &str| ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: "a".to_owned(),
        };
        for (id, expected) in [
            (
                id("rbac.authorization.k8s.io", "ClusterRole", ""),
                "let the user of this request get clusterroles.rbac.authorization.k8s.io",
            ),
            (
                id("", "Secret", "bank"),
                "let the user of this request get secrets in namespace bank",
            ),
        ] {
            assert_eq!(access.may_look_at(&id), Ok(Err(expected.to_owned())));
        }
    }
}
