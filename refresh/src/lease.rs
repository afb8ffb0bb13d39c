//! Which of the replicas patches, and what it hands on to the next.
//!
//! A Lease elects the leader (kube-lease-manager). An annotation of the Lease says up to which revisions of ConfigMaps and
//! Secrets all changes are dealt with, so that the next leader does not begin again.

use std::{iter, sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    object::{ConfigKind, MANAGER},
    patch::with_causes,
    work::{Handled, Source},
};

/// `{"of": "…", "ConfigMap": 1234, "Secret/shop": 1200}`: what the leader watches, and a key for each watch.
const HANDLED: &str = "rollout-guard/handled";

/// In it: [`Place::scope`].
const SCOPE: &str = "of";

const RETRY: Duration = Duration::from_secs(1);

/// Where the Lease is, and how long it lasts without being renewed.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) identity: String,
    pub(crate) duration: Duration,
    /// What the replica watches. Another one may not have looked at the same workloads.
    pub(crate) scope: String,
}

/// The part of this replica in the election.
pub(crate) struct Election {
    client: Client,
    place: Place,
    /// Whether this replica leads.
    pub(crate) leads: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Election {
    /// Takes part until [`Election::leave`].
    pub(crate) fn join(client: Client, place: Place) -> Self {
        let (sender, leads) = watch::channel(false);
        let task = tokio::spawn(take_part(client.clone(), place.clone(), sender));
        Self {
            client,
            place,
            leads,
            task,
        }
    }

    /// What the leader has dealt with.
    pub(crate) fn handled(&self) -> impl Future<Output = Result<Handled, kube::Error>> + use<> {
        let leases = self.leases();
        let (name, scope) = (self.place.name.clone(), self.place.scope.clone());
        async move {
            let lease = leases.get_opt(&name).await?;
            let annotations = lease.and_then(|lease| lease.metadata.annotations);
            let text = annotations.and_then(|mut annotations| annotations.remove(HANDLED));
            Ok(text.map(|text| parse(&text, &scope)).unwrap_or_default())
        }
    }

    /// Tells the others.
    pub(crate) fn publish(
        &self,
        handled: Handled,
    ) -> impl Future<Output = Result<(), kube::Error>> + use<> {
        let leases = self.leases();
        let name = self.place.name.clone();
        let handled = format(&handled, &self.place.scope);
        async move {
            let patch = json!({"metadata": {"annotations": {HANDLED: handled}}});
            let parameters = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            leases
                .patch_metadata(&name, &parameters, &Patch::Merge(patch))
                .await?;
            Ok(())
        }
    }

    /// Gives the Lease back. The others look again when it would have expired.
    pub(crate) async fn leave(self) {
        drop(self.leads);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the Lease could not be given back, and expires");
        }
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.place.namespace)
    }
}

async fn take_part(client: Client, place: Place, leads: watch::Sender<bool>) {
    loop {
        let error = match lead(&client, &place, &leads).await {
            Ok(()) => return,
            Err(error) => error,
        };
        // The Lease may have been deleted: the next manager creates it.
        leads.send_replace(false);
        tracing::warn!(error = with_causes(&error), "the Lease cannot be used");
        tokio::select! {
            () = leads.closed() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Until nobody listens any more.
async fn lead(
    client: &Client,
    place: &Place,
    leads: &watch::Sender<bool>,
) -> Result<(), LeaseManagerError> {
    let seconds = place.duration.as_secs();
    let manager = LeaseManagerBuilder::new(client.clone(), &place.name)
        .with_namespace(&place.namespace)
        .with_identity(&place.identity)
        .with_duration(seconds)
        .with_grace((seconds / 3).max(1))
        .build()
        .await?;
    loop {
        tokio::select! {
            () = leads.closed() => return manager.release().await,
            state = manager.changed() => leads.send_replace(state?),
        };
    }
}

fn format(handled: &Handled, scope: &str) -> String {
    let entries = handled.iter().map(|((kind, namespace), revision)| {
        let key = match namespace {
            Some(namespace) => format!("{}/{namespace}", kind.name()),
            None => kind.name().to_owned(),
        };
        (key, json!(revision))
    });
    let scope = (SCOPE.to_owned(), json!(scope));
    serde_json::Value::Object(iter::once(scope).chain(entries).collect()).to_string()
}

/// Entries that cannot be read are left out: their changes are dealt with again.
fn parse(text: &str, scope: &str) -> Handled {
    let entries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).unwrap_or_default();
    if entries.get(SCOPE).and_then(|of| of.as_str()) != Some(scope) {
        return Handled::new();
    }
    entries
        .iter()
        .filter_map(|(key, revision)| Some((source(key)?, revision.as_u64()?)))
        .collect()
}

fn source(key: &str) -> Option<Source> {
    let (kind, namespace) = match key.split_once('/') {
        Some((kind, namespace)) => (kind, Some(Arc::from(namespace))),
        None => (key, None),
    };
    let kind = ConfigKind::ALL
        .into_iter()
        .find(|known| known.name() == kind)?;
    Some((kind, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_is_read_again() {
        let handled: Handled = [
            ((ConfigKind::ConfigMap, None), 12),
            ((ConfigKind::Secret, Some("shop".into())), u64::MAX),
        ]
        .into();
        let text = format(&handled, "a");
        assert_eq!(
            text,
            format!(r#"{{"of":"a","ConfigMap":12,"Secret/shop":{}}}"#, u64::MAX)
        );
        assert_eq!(parse(&text, "a"), handled);
        // With other flags, the leader may have left out what this one looks at.
        assert_eq!(parse(&text, "b"), Handled::new());
    }

    #[test]
    fn what_cannot_be_read_counts_as_not_dealt_with() {
        let known: Handled = [((ConfigKind::Secret, None), 3)].into();
        assert_eq!(
            parse(r#"{"of":"a","ConfigMap":"7","Pod":1,"Secret":3}"#, "a"),
            known
        );
        assert_eq!(parse("{", "a"), Handled::new());
    }
}
