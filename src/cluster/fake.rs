//! A cluster made of objects, for tests.
//!
//! The testbed answers the look-ups, in the words of policy-server, and [`Host`] reads its answers as it
//! does in the policy.

use std::cell::RefCell;

use serde_json::Value;

use super::{Cluster, Host, List, LookupError, ObjectRef, Review, Scope};

/// What the host answers, or its text of refusal.
type HostAnswer = Result<Vec<u8>, String>;

/// Answers look-ups from its objects, and notes them.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// What is in the cluster.
    pub objects: Vec<Value>,
    /// Older versions of some objects, which lists still show: a watch cache may lag behind.
    pub outdated: Vec<Value>,
    /// The look-ups that fail: `Secret shop/db`, `Secret shop/*` or `Secret */*` for a list.
    pub failing: Vec<String>,
    /// The kinds that the policy was not granted: `v1/Secret`.
    pub denied: Vec<String>,
    /// What users may not read, as resource and namespace: `secrets bank`.
    pub forbidden: Vec<String>,
    /// What was looked up, in order: `Kind namespace/name [fields]`, `Kind namespace/* [selector]`, or `may user of
    /// groups get resource namespace?`.
    pub asked: RefCell<Vec<String>>,
}

impl Objects {
    /// A cluster that has these objects and answers every look-up.
    pub fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        Self {
            objects: objects.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Notes a look-up.
    fn note(&self, target: &str, details: &str) {
        let look_up = format!("{target} [{details}]");
        self.asked.borrow_mut().push(look_up);
    }

    /// The host that answers one look-up, of this object or list.
    fn host(
        &self,
        api_version: &str,
        kind: &str,
        target: &str,
        objects: Vec<Value>,
    ) -> Host<impl Fn(&str, &[u8]) -> HostAnswer> {
        let mut cluster = testbed::Objects::new(objects);
        if self.failing.iter().any(|failing| failing == target) {
            cluster = cluster.failing(api_version, kind, None, "the API server is away");
        }
        if self.denied.contains(&format!("{api_version}/{kind}")) {
            cluster = cluster.denied(api_version, kind);
        }
        Host::new(move |operation: &str, payload: &[u8]| {
            // wapc_guest puts the first words in front.
            testbed::answer(&cluster, operation, payload)
                .map_err(|error| format!("Host error: {error}"))
        })
    }
}

impl Cluster for Objects {
    fn get(&self, object: ObjectRef<'_>, fields: &[&str]) -> Result<Option<Value>, LookupError> {
        let target = object.to_string();
        self.note(&target, &fields.join(", "));
        let host = self.host(
            object.api_version,
            object.kind,
            &target,
            self.objects.clone(),
        );
        host.get(object, fields)
    }

    fn list(&self, list: &List<'_>) -> Result<Vec<Value>, LookupError> {
        let namespace = match list.scope {
            Scope::Namespace(namespace) => namespace,
            Scope::Cluster | Scope::Within(_) => "*",
        };
        let target = format!("{} {namespace}/*", list.kind);
        self.note(&target, list.label_selector);
        // Of two versions of an object, the later one counts.
        let objects = [self.objects.as_slice(), &self.outdated].concat();
        let host = self.host(list.api_version, list.kind, &target, objects);
        host.list(list)
    }

    fn may_read(&self, review: &Review<'_>) -> Result<bool, LookupError> {
        let Review {
            user,
            groups,
            group,
            resource,
            namespace,
        } = review;
        let dot = if group.is_empty() { "" } else { "." };
        let groups = groups.join(", ");
        let question = format!("may {user} of {groups} get {resource}{dot}{group} {namespace}?");
        self.asked.borrow_mut().push(question);
        Ok(!self.forbidden.contains(&format!("{resource} {namespace}")))
    }
}
