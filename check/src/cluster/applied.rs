//! Since when a release applies a config with the content that it has.
//!
//! In: the revisions of a release. Out: an [`Applied`] for each ConfigMap and Secret of the newest one. Refuses: nothing; a config that
//! cannot be read is left out.
//!
//! Whatever its manager writes, a new label for example, gives a config a new time in `managedFields`. So the records tell more about its
//! content: `managedFields` has one time for all fields of a manager.

use std::collections::BTreeMap;

use config_digest::{Digester, content::Content};
use helm_plan::{Object, Record, Release, Status};
use pod_references::Kind;
use serde_json::Value;

use super::{Named, Time, is_complete};

/// A config that a release applies.
pub(super) struct Applied {
    /// When the first revision with this content began: its record was created then.
    pub(super) since: Time,
    /// Over all keys.
    pub(super) digest: String,
}

/// By namespace.
pub(super) type Configs = BTreeMap<(String, Named), Applied>;

/// `created`: when the record of a revision was created.
pub(super) fn applied<'a>(
    revisions: &'a [(u64, &Record, Release)],
    created: impl Fn(&Record) -> Option<&'a str>,
) -> Configs {
    let mut applied = Configs::new();
    for (_, record, release) in revisions {
        if !is_complete(record) {
            continue;
        }
        let mut before = std::mem::take(&mut applied);
        let Some(created) = created(record) else {
            continue;
        };
        if record.info.status == Status::Uninstalled {
            continue;
        }
        for object in &release.resources {
            let Some((config, content)) = config(object) else {
                continue;
            };
            let digest = digest(&content);
            let key = (object.id.namespace.clone(), config);
            let since = match before.remove(&key) {
                Some(known) if known.digest == digest => known.since,
                _ => created.to_owned(),
            };
            applied.insert(key, Applied { since, digest });
        }
    }
    applied
}

pub(super) fn digest(content: &Content) -> String {
    Digester::default().of_config(Some(content), None)
}

fn config(object: &Object) -> Option<(Named, Content)> {
    let config = Named::of(&object.id, &[Kind::ConfigMap, Kind::Secret])?;
    let mut content = config.content(&object.body).ok()?;
    // The API server moves it to `data`.
    if let (Kind::Secret, Some(Value::Object(texts))) = (config.kind, object.body.get("stringData"))
    {
        for (key, text) in texts {
            content.insert(key.clone(), text.as_str()?.as_bytes().to_vec());
        }
    }
    Some((config, content))
}
