//! What people are told about a deletion: rejection, warnings, audit text.
//!
//! In: what is taken away, and who needs it, or why that is not known. Out: a [`Verdict`]. Refuses: nothing.

use super::{
    consumers::{Consumer, Consumers, Doubt, Error},
    taken::Taken,
};
use crate::{
    annotations::ALLOW_DELETE,
    request::Request,
    settings::{DeletionLevel, LookupFailure},
    verdict::{Verdict, one_line},
};

const PAGE: &str = concat!(
    env!("CARGO_PKG_REPOSITORY"),
    "/blob/main/docs/deletion-guard.md"
);

/// The answer if it is known who needs it.
pub(super) fn verdict(
    request: &Request,
    taken: &Taken<'_>,
    consumers: &Consumers,
    level: DeletionLevel,
) -> Verdict {
    if consumers.is_empty() {
        return Verdict::accept();
    }
    let in_use = format!("{taken}: {}", summary(consumers));
    let is_certain = consumers.found.iter().any(|one| one.doubt.is_none());
    let rejects = level == DeletionLevel::Reject && is_certain;
    let verdict = match rejects && !request.dry_run {
        true => {
            return Verdict::reject(rejection(taken, consumers)).audit("deletion-in-use", in_use);
        }
        false => Verdict::accept().audit("deletion-in-use", in_use),
    };
    let verdict = match rejects {
        true => verdict.warn(format!(
            "{taken} is in use; this request would be rejected if it were no dry run"
        )),
        false => verdict,
    };
    let warned = consumers
        .found
        .iter()
        .map(|consumer| warning(taken, consumer));
    let verdict = warned.fold(verdict, Verdict::warn);
    match consumers.not_read {
        0 => verdict,
        more => verdict.warn(format!("{taken}: {more} more workloads may require it")),
    }
}

/// The answer if it is not known.
pub(super) fn not_checked(
    taken: &Taken<'_>,
    error: &Error,
    level: DeletionLevel,
    lookup_failure: LookupFailure,
) -> Verdict {
    let text = format!("it is not known who needs {taken}: {error}");
    match (level, lookup_failure) {
        (DeletionLevel::Reject, LookupFailure::Reject) => {
            let paragraphs = [
                format!("{}: {}.", refused(taken), one_line(&text)),
                anyway(taken),
                "To accept all such requests: set `lookupFailure: warn` in this policy's settings"
                    .to_owned(),
                more(),
            ];
            Verdict::undecided(paragraphs.join("\n\n"))
        }
        _ => Verdict::accept()
            .warn(&text)
            .audit("deletion-not-checked", text),
    }
}

fn warning(taken: &Taken<'_>, consumer: &Consumer) -> String {
    match taken.keys {
        None => format!("{taken} is in use: {}", sentence(consumer)),
        Some(_) => format!("{taken} loses keys that are in use: {}", sentence(consumer)),
    }
}

/// `Deployment web requires its key mode`
fn sentence(consumer: &Consumer) -> String {
    let keys: Vec<_> = consumer.keys.iter().map(String::as_str).collect();
    let what = match keys.as_slice() {
        [] => "it".to_owned(),
        [key] => format!("its key {key}"),
        keys => format!("its keys {}", keys.join(", ")),
    };
    let until = consumer
        .until_rolled_out
        .as_ref()
        .map(|owner| format!(" until the rollout of {owner} is done"));
    let doubt = consumer.doubt.as_ref().map(doubt).unwrap_or_default();
    format!(
        "{consumer} requires {what}{}{doubt}",
        until.unwrap_or_default()
    )
}

fn doubt(doubt: &Doubt) -> String {
    match doubt {
        Doubt::ScaledToZero => " when it is scaled up".to_owned(),
        Doubt::Suspended => " when it is resumed".to_owned(),
        Doubt::OwnerUnknown(error) => format!(", unless its owner is gone: {error}"),
        Doubt::Hook => ", but it is a hook, which its tool may create again".to_owned(),
        Doubt::MayBeHelm => {
            ", but Helm is at work on a release of this name in another namespace".to_owned()
        }
        Doubt::HelmUnknown(error) => format!(", but Helm may be at work: {error}"),
    }
}

/// `Deployment web, CronJob nightly and 2 more`
fn summary(consumers: &Consumers) -> String {
    let names: Vec<_> = consumers.found.iter().map(Consumer::to_string).collect();
    let names = names.join(", ");
    match consumers.not_read {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

fn rejection(taken: &Taken<'_>, consumers: &Consumers) -> String {
    let because = match taken.keys {
        None => "it is in use",
        Some(_) => "it would lose keys that are in use",
    };
    let mut lines = vec![format!("{}, because {because}.", refused(taken))];
    let found = &consumers.found;
    lines.extend(found.iter().map(|one| format!("{}.", sentence(one))));
    if let more @ 1.. = consumers.not_read {
        lines.push(format!("{more} more workloads may require it."));
    }
    lines.push("Pods that start, or containers that restart, would fail.".to_owned());

    let mut ways_out = vec!["Fix it in one of these ways:".to_owned()];
    if found.iter().any(|one| one.until_rolled_out.is_some()) {
        ways_out.push(
            "- wait until the rollout is done, and try again; Flux and Argo CD (with retries) do so by themselves"
                .to_owned(),
        );
    }
    ways_out.push(
        "- first delete these workloads, or change them so that they do without it, then try again"
            .to_owned(),
    );
    [lines.join("\n"), ways_out.join("\n"), anyway(taken), more()].join("\n\n")
}

/// `ConfigMap app in namespace shop was not deleted`
fn refused(taken: &Taken<'_>) -> String {
    let (namespace, done) = (taken.namespace, what_happens(taken));
    format!("{taken} in namespace {namespace} was not {done}")
}

fn what_happens(taken: &Taken<'_>) -> &'static str {
    match taken.keys {
        None => "deleted",
        Some(_) => "changed",
    }
}

fn anyway(taken: &Taken<'_>) -> String {
    let (namespace, name) = (taken.namespace, taken.name);
    let kind = taken.kind.name().to_ascii_lowercase();
    format!(
        "To do it anyway: kubectl annotate -n {namespace} {kind} {name} {ALLOW_DELETE}=true, and try again"
    )
}

fn more() -> String {
    format!("More about the deletion guard: {PAGE}")
}
