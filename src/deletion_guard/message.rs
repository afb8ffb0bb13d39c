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

/// The answer to what is taken, by who needs it.
pub(super) fn verdict(
    request: &Request,
    taken: &Taken<'_>,
    consumers: &Consumers,
    level: DeletionLevel,
    lookup_failure: LookupFailure,
) -> Verdict {
    let rejects = level == DeletionLevel::Reject && !request.dry_run;
    if rejects && consumers.are_certain() {
        return Verdict::reject(rejection(taken, consumers))
            .audit("deletion-in-use", summary(taken, consumers));
    }
    if let Some(error) = &consumers.failed
        && rejects
        && lookup_failure == LookupFailure::Reject
    {
        return Verdict::undecided(undecided(taken, error));
    }
    let mut verdict = Verdict::accept();
    if level == DeletionLevel::Reject && request.dry_run && consumers.are_certain() {
        verdict = verdict.warn(format!(
            "{taken} is in use; this request would be rejected if it were no dry run"
        ));
    }
    for consumer in &consumers.found {
        verdict = verdict.warn(warning(taken, consumer));
    }
    if consumers.others {
        verdict = verdict.warn(format!("{taken} may be in use by others too"));
    }
    if let Some(error) = &consumers.failed {
        let text = unknown(taken, consumers, error);
        verdict = verdict.warn(&text).audit("deletion-not-checked", text);
    }
    match consumers.found.is_empty() {
        true => verdict,
        false => verdict.audit("deletion-in-use", summary(taken, consumers)),
    }
}

fn undecided(taken: &Taken<'_>, error: &Error) -> String {
    let refused = refused(taken);
    [
        format!(
            "{refused}, because it is not known who needs it: {}.",
            one_line(&error.to_string())
        ),
        anyway(taken),
        "To accept all such requests: set `lookupFailure: warn` in this policy's settings"
            .to_owned(),
        more(),
    ]
    .join("\n\n")
}

/// `it is not known who needs ConfigMap app: …`
fn unknown(taken: &Taken<'_>, consumers: &Consumers, error: &Error) -> String {
    let other = match consumers.found.is_empty() {
        true => "",
        false => " else",
    };
    format!("it is not known who{other} needs {taken}: {error}")
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
    let doubt = consumer
        .doubt
        .as_ref()
        .map(|one| format!(", but {}", doubt(one)));
    let doubt = doubt.unwrap_or_default();
    format!(
        "{consumer} requires {what}{}{doubt}",
        until.unwrap_or_default()
    )
}

fn doubt(doubt: &Doubt) -> String {
    match doubt {
        Doubt::ScaledToZero => "is scaled to 0".to_owned(),
        Doubt::Suspended => "is suspended".to_owned(),
        Doubt::OwnerUnknown(error) => format!("its owner may be gone: {error}"),
        Doubt::NamespaceUnknown(error) => format!("the namespace may be being deleted: {error}"),
        Doubt::Hook => "it is a hook, which its tool may create again".to_owned(),
        Doubt::MadeAgain(key) => format!("the controller that reads {key} may create it again"),
        Doubt::Replaced => "its tool may create it again (force)".to_owned(),
        Doubt::PrunedFirst => {
            "Argo CD prunes before it applies (set the sync option PruneLast=true)".to_owned()
        }
        Doubt::MayBeHelm => "Helm may be at work on its release".to_owned(),
        Doubt::HelmFailed => "its release has failed, and Helm may be cleaning up".to_owned(),
        Doubt::HelmUnknown(error) => format!("Helm may be at work: {error}"),
    }
}

/// `ConfigMap app: Deployment web, CronJob nightly and others`
fn summary(taken: &Taken<'_>, consumers: &Consumers) -> String {
    let names: Vec<_> = consumers.found.iter().map(Consumer::to_string).collect();
    let others = if consumers.others { " and others" } else { "" };
    format!("{taken}: {}{others}", names.join(", "))
}

fn rejection(taken: &Taken<'_>, consumers: &Consumers) -> String {
    let because = match taken.keys {
        None => "it is in use",
        Some(_) => "it would lose keys that are in use",
    };
    let mut lines = vec![format!("{}, because {because}.", refused(taken))];
    let found = &consumers.found;
    lines.extend(found.iter().map(|one| format!("{}.", sentence(one))));
    if consumers.others {
        lines.push("Others may require it too.".to_owned());
    }
    if let Some(error) = &consumers.failed {
        let unknown = unknown(taken, consumers, error);
        lines.push(format!("And {}.", one_line(&unknown)));
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
        "To do it anyway: kubectl annotate -n {namespace} {kind} {name} {ALLOW_DELETE}=true --overwrite, and try again"
    )
}

fn more() -> String {
    format!("More about the deletion guard: {PAGE}")
}
