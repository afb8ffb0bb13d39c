//! Gives up in time.
//!
//! In: a cluster, how long it may be asked, and a clock. Out: the same cluster, as long as there is time. Refuses:
//! look-ups after that, with [`Cause::OutOfTime`].
//!
//! This is the only module that reads a clock, and it only refuses look-ups by it. The caller treats them like any look-up
//! that failed, so no decision depends on the time, and an answer says what was not read.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Cause, Cluster, List, LookupError, ObjectRef, Review};

/// A cluster that is asked nothing more once the time for look-ups is over. policy-server interrupts an evaluation
/// without a word, so the answer must be given before.
pub struct InTime<C, T> {
    cluster: C,
    limit: Duration,
    /// The time since the evaluation began.
    elapsed: T,
}

/// Measures the time since this call, with the monotonic clock of WASI.
pub fn stopwatch() -> impl Fn() -> Duration {
    let start = Instant::now();
    move || start.elapsed()
}

impl<C: Cluster, T: Fn() -> Duration> InTime<C, T> {
    /// Look-ups that begin within this time are made; `elapsed` is the time since the evaluation began.
    pub fn new(cluster: C, limit: Duration, elapsed: T) -> Self {
        Self {
            cluster,
            limit,
            elapsed,
        }
    }

    /// The cluster, if there is time for another look-up.
    fn for_look_up(&self, object: impl FnOnce() -> String) -> Result<&C, LookupError> {
        if (self.elapsed)() < self.limit {
            return Ok(&self.cluster);
        }
        Err(LookupError {
            object: object(),
            cause: Cause::OutOfTime,
        })
    }
}

impl<C: Cluster, T: Fn() -> Duration> Cluster for InTime<C, T> {
    fn get(&self, object: ObjectRef<'_>, fields: &[&str]) -> Result<Option<Value>, LookupError> {
        self.for_look_up(|| object.to_string())?.get(object, fields)
    }

    fn list(&self, list: &List<'_>) -> Result<Vec<Value>, LookupError> {
        self.for_look_up(|| list.name())?.list(list)
    }

    fn may_read(&self, review: &Review<'_>) -> Result<bool, LookupError> {
        self.for_look_up(|| format!("the permission to get {}", review.resource))?
            .may_read(review)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::*;
    use crate::{
        cluster::{Host, Scope, fake::Objects},
        judge,
        request::Request,
        settings::Settings,
        verdict::Verdict,
    };

    /// A cluster whose look-ups take a time each, by a clock that only they move.
    struct Slow<'a> {
        objects: &'a Objects,
        takes: Duration,
        now: &'a Cell<Duration>,
    }

    impl Slow<'_> {
        fn wait(&self) -> &Objects {
            self.now.set(self.now.get() + self.takes);
            self.objects
        }
    }

    impl Cluster for Slow<'_> {
        fn get(
            &self,
            object: ObjectRef<'_>,
            fields: &[&str],
        ) -> Result<Option<Value>, LookupError> {
            self.wait().get(object, fields)
        }

        fn list(&self, list: &List<'_>) -> Result<Vec<Value>, LookupError> {
            self.wait().list(list)
        }

        fn may_read(&self, review: &Review<'_>) -> Result<bool, LookupError> {
            self.wait().may_read(review)
        }
    }

    /// The answer if each look-up takes so many milliseconds, and how many were made.
    fn judged(request: &Value, settings: Value, objects: &Objects, takes: u64) -> (Verdict, usize) {
        let request: Request = serde_json::from_value(request.clone()).unwrap();
        let settings = Settings::parse(&settings).unwrap();
        let now = Cell::default();
        let slow = Slow {
            objects,
            takes: Duration::from_millis(takes),
            now: &now,
        };
        let before = objects.asked.borrow().len();
        let cluster = InTime::new(slow, settings.time_for_look_ups(), || now.get());
        let verdict = judge(&request, &settings, &cluster);
        let made = objects.asked.borrow().len() - before;
        (verdict, made)
    }

    fn metadata(name: &str) -> Value {
        json!({"name": name, "namespace": "shop"})
    }

    /// A Deployment that uses 30 ConfigMaps, and these.
    fn web() -> (Value, Objects) {
        let name = |n: usize| format!("config-{n:02}");
        let configs = (0..30).map(|n| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(&name(n)), "data": {"a": "b"}})
        });
        let from: Vec<_> = (0..30)
            .map(|n| json!({"configMapRef": {"name": name(n)}}))
            .collect();
        let request = json!({
            "uid": "1", "operation": "CREATE", "name": "web", "namespace": "shop",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "object": {
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("web"),
                "spec": {"template": {"spec": {"containers": [{"name": "web", "envFrom": from}]}}},
            },
        });
        (request, Objects::new(configs))
    }

    const SLOW: &str = "the API server is slow, and the time for look-ups is over; \
                        raise timeoutEvalSeconds of the policy, and in its settings";

    #[test]
    fn a_workload_is_answered_before_policy_server_interrupts() {
        let (request, configs) = web();
        let (quick, made) = judged(&request, json!({}), &configs, 29);
        assert!(!quick.is_rejected() && quick.warnings.is_empty());
        assert_eq!(made, 30);

        let not_read = |n| format!("ConfigMap shop/config-{n:02} cannot be read: {SLOW}");
        let (rejected, made) = judged(&request, json!({}), &configs, 100);
        assert_eq!(made, 9);
        assert_eq!(
            rejected,
            Verdict::undecided(format!(
                "Deployment/web: its config cannot be hashed: {}. Nothing was changed. \
                 `lookupFailure: warn` would admit it without a config hash.",
                not_read(9)
            ))
        );
        let (warned, made) = judged(&request, json!({"lookupFailure": "warn"}), &configs, 200);
        assert_eq!(made, 5);
        assert_eq!(
            warned,
            Verdict::accept()
                .warn(format!(
                    "Deployment/web gets no config hash: {}",
                    not_read(5)
                ))
                .audit("config-not-read", not_read(5))
        );
        // An answer for each outcome, whatever the time was exactly.
        assert_eq!(judged(&request, json!({}), &configs, 112).0, rejected);

        let more = json!({"timeoutEvalSeconds": 5});
        let (patient, made) = judged(&request, more, &configs, 100);
        assert_eq!(patient, quick);
        assert_eq!(made, 30);
    }

    #[test]
    fn every_kind_of_look_up_is_refused_once_the_time_is_over() {
        let host = Host::new(|_: &str, _: &[u8]| panic!("asked"));
        let now = Cell::new(Duration::from_secs(3));
        let cluster = InTime::new(host, Duration::from_secs(3), || now.get());
        let object = ObjectRef {
            api_version: "v1",
            kind: "Secret",
            namespace: "shop",
            name: "db",
        };
        let review = Review {
            user: "jenkins",
            groups: vec![],
            group: "",
            resource: "secrets",
            namespace: "bank",
        };
        for (error, expected) in [
            (cluster.get(object, &[]).unwrap_err(), "Secret shop/db"),
            (
                cluster
                    .list(&List::of("v1", "Secret", Scope::Namespace("shop")))
                    .unwrap_err(),
                "the list of Secrets in namespace shop",
            ),
            (
                cluster
                    .list(&List::of("v1", "Secret", Scope::Cluster))
                    .unwrap_err(),
                "the list of Secrets",
            ),
            (
                cluster.may_read(&review).unwrap_err(),
                "the permission to get secrets",
            ),
        ] {
            assert_eq!(
                error.to_string(),
                format!("{expected} cannot be read: {SLOW}")
            );
        }
    }

    #[test]
    fn a_stopwatch_runs() {
        let elapsed = stopwatch();
        let first = elapsed();
        assert!(first <= elapsed());
    }
}
