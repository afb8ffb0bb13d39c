//! Whether Helm does what the plan says.
//!
//! In: a plan, and the requests that Helm sent. Out: how far Helm came. Refuses: a request that differs from the
//! plan.
//!
//! The plan says what happens to each object, in order. Which requests follow depends on the objects that exist
//! before: deleting an absent object is answered with 404, and applying an existing object is a patch, or no
//! request if nothing changes.

use std::collections::BTreeSet;
use std::fmt;

use cluster_tests::Verb;
use helm_plan::lifecycle::Operation;
use helm_plan::manifest::ObjectId;
use helm_plan::plan::{Action, Presence};
use serde_json::Value;

use crate::expect::Expectation;
use crate::run::{Recorded, Request};

/// How far Helm came while it agreed with the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Course {
    /// To the end.
    Completed,
    /// To a hook that collides with an existing object.
    Conflict,
    /// The same, but no record shows that the object exists, so the plan continues.
    UnknownConflict,
    /// To a hook that fails while it runs, or to an object that the API server rejects. A record cannot
    /// predict that.
    Broken,
}

impl Course {
    /// The plan predicted everything that happened.
    pub(crate) fn is_predicted(self) -> bool {
        matches!(self, Course::Completed | Course::Conflict)
    }
}

/// A request that the plan predicts.
#[derive(Debug, Clone)]
struct Expected {
    object: ObjectId,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Something that happens after its deletion to an object that goes slowly, or to what is in it: it may have gone by then,
    /// or not.
    InDeletion {
        is_delete: bool,
        is_certain: bool,
    },
    Delete {
        code: u16,
    },
    /// A create, or a patch with server-side apply.
    Create {
        code: u16,
    },
    /// An apply of an existing object: this many patches.
    Change {
        least: usize,
        most: usize,
    },
}

impl Form {
    fn is_delete(self) -> bool {
        matches!(
            self,
            Form::Delete { .. }
                | Form::InDeletion {
                    is_delete: true,
                    ..
                }
        )
    }

    /// How many patches of an object that exists, at least and at most. `None` if it is something else.
    fn patches(self) -> Option<(usize, usize)> {
        match self {
            Form::Change { least, most } => Some((least, most)),
            Form::Create { code: 200 } => Some((1, 1)),
            Form::Create { .. } | Form::Delete { .. } | Form::InDeletion { .. } => None,
        }
    }
}

/// Compares the requests and the final state. The error says what differs.
pub(crate) fn compare(recorded: &Recorded, expectation: &Expectation) -> Result<Course, String> {
    let (mut expected, end) = predict(recorded, expectation)?;
    expect_second_prunes(&mut expected, recorded);
    let failed = !recorded.output.status.success();
    let reached = |end: &ObjectId| {
        let mut requests = recorded.requests.iter();
        requests.any(|r| r.object == *end && r.verb == Verb::Create && r.code == 409)
    };
    let course = match end {
        End::Whole if !failed => Course::Completed,
        End::Conflict(end) if failed && reached(&end) => Course::Conflict,
        End::UnknownConflict(end) if failed && reached(&end) => Course::UnknownConflict,
        _ if failed => Course::Broken,
        _ => return Err("Helm should fail, but it succeeded".to_owned()),
    };
    let actual = match course {
        Course::Completed | Course::Conflict => recorded.requests.as_slice(),
        Course::UnknownConflict | Course::Broken => before_failure(recorded, expectation)?,
    };
    compare_requests(&expected, actual, expectation, course)?;
    if course.is_predicted() {
        compare_end(recorded, expectation)?;
    }
    Ok(course)
}

/// Compares the order for each object, and the order of all requests unless Helm sends some at the same time.
fn compare_requests(
    expected: &[Expected],
    actual: &[Request],
    expectation: &Expectation,
    course: Course,
) -> Result<(), String> {
    let objects: BTreeSet<_> = expected
        .iter()
        .map(|expected| &expected.object)
        .chain(actual.iter().map(|request| &request.object))
        .collect();
    for id in objects {
        let expected: Vec<_> = expected
            .iter()
            .filter(|e| e.object == *id)
            .cloned()
            .collect();
        // Nothing of another object is between them here.
        let expected = merge_changes(expected);
        let expected: Vec<_> = expected.iter().collect();
        let mut actual: Vec<_> = actual.iter().filter(|r| r.object == *id).collect();
        if is_twice(expectation, id) {
            // The order of the two is not determined. One of them creates the object.
            let of_install = actual.len().saturating_sub(2);
            let (_, both) = actual.split_at_mut(of_install);
            both.sort_by_key(|request| request.code != 201);
        }
        match_requests(&expected, &actual, course)
            .map_err(|error| format!("{}: {error}", show(id)))?;
    }
    if is_concurrent(expectation) {
        return Ok(());
    }
    let expected: Vec<_> = expected.iter().collect();
    let actual: Vec<_> = actual.iter().collect();
    match_requests(&expected, &actual, course)
        .map_err(|error| format!("in a different order: {error}"))
}

/// Where the expected requests end.
enum End {
    /// With the last step of the plan.
    Whole,
    /// At an existing object, as the plan says.
    Conflict(ObjectId),
    /// At an existing object that the plan could not know about.
    UnknownConflict(ObjectId),
}

/// The requests that follow from the steps of the plan and from the objects that exist.
fn predict(recorded: &Recorded, expectation: &Expectation) -> Result<(Vec<Expected>, End), String> {
    let server_side = expectation.target.server_side_apply;
    // Helm 4 first takes over the fields that were applied on the client side.
    let takes_over = server_side
        && (expectation.operation == Operation::Rollback
            || expectation
                .current
                .as_ref()
                .is_some_and(|current| !current.server_side_apply));
    let mut present: BTreeSet<ObjectId> = recorded.before.keys().cloned().collect();
    let mut in_deletion: BTreeSet<ObjectId> = BTreeSet::new();
    let mut expected: Vec<Expected> = Vec::new();
    let mut end = End::Whole;
    for step in &expectation.plan.steps {
        let object = step.object.clone();
        let exists = present.contains(&object);
        let goes_later = in_deletion
            .iter()
            .any(|deleted| *deleted == object || deleted.name == object.namespace);
        let form = match (step.action, exists) {
            (Action::DeleteBeforeHook(_) | Action::DeleteAfterHook(_), true) => {
                Form::Delete { code: 200 }
            }
            (Action::DeleteBeforeHook(_) | Action::DeleteAfterHook(_), false) => {
                Form::Delete { code: 404 }
            }
            (Action::CreateHook(_) | Action::PatchHook(_) | Action::Apply, false) => {
                Form::Create { code: 201 }
            }
            (Action::CreateHook(_) | Action::PatchHook(_), true) => Form::Create {
                code: if server_side { 200 } else { 409 },
            },
            (Action::Conflict(_), true) => {
                end = End::Conflict(object.clone());
                Form::Create { code: 409 }
            }
            (Action::Conflict(_), false) => {
                return Err(format!("{} does not exist", show(&object)));
            }
            (Action::Apply, true) => Form::Change {
                least: usize::from(server_side),
                most: if takes_over { 2 } else { 1 },
            },
            (Action::Prune, true) => Form::Delete { code: 200 },
            // Helm looks first, and deletes what is there.
            (Action::Prune, false) if goes_later => Form::Delete { code: 200 },
            (Action::Prune, false) | (Action::Keep, _) => continue,
        };
        let is_delete = matches!(form, Form::Delete { .. });
        let form = match goes_later {
            true => Form::InDeletion {
                is_delete,
                is_certain: is_delete && step.action != Action::Prune,
            },
            false => form,
        };
        if is_delete && goes_slowly(&object) {
            in_deletion.insert(object.clone());
        }
        if is_delete {
            present.remove(&object);
            if object.kind == "Namespace" {
                present.retain(|inside| inside.namespace != object.name);
            }
        } else {
            present.insert(object.clone());
        }
        let is_unexpected =
            form == Form::Create { code: 409 } && !matches!(step.action, Action::Conflict(_));
        expected.push(Expected {
            object: object.clone(),
            form,
        });
        if is_unexpected {
            if is_known(expectation, &object) {
                return Err(format!("{} exists", show(&object)));
            }
            end = End::UnknownConflict(object);
            break;
        }
    }
    Ok((merge_changes(expected), end))
}

/// The API server answers the deletion of these at once, and a controller ends it when all in them has gone.
fn goes_slowly(id: &ObjectId) -> bool {
    matches!(id.kind.as_str(), "Namespace" | "CustomResourceDefinition")
}

/// Such an object that a hook deletes may still be there when Helm prunes what left the release, and is deleted once more. The plan
/// takes it to be gone.
fn expect_second_prunes(expected: &mut Vec<Expected>, recorded: &Recorded) {
    let is_deletion =
        |expected: &Expected, id: &ObjectId| expected.object == *id && expected.form.is_delete();
    for (place, request) in recorded.requests.iter().enumerate() {
        let id = &request.object;
        if !goes_slowly(id) || request.verb != Verb::Delete || request.code != 200 {
            continue;
        }
        let sent = recorded.requests.iter().take(place);
        let sent = sent.filter(|r| r.object == *id && r.verb == Verb::Delete);
        let planned = expected.iter().filter(|e| is_deletion(e, id)).count();
        if planned > 0 && sent.count() == planned {
            let again = Expected {
                object: id.clone(),
                form: Form::InDeletion {
                    is_delete: true,
                    is_certain: false,
                },
            };
            expected.insert(place.min(expected.len()), again);
        }
    }
}

/// Two documents for the same object, in an installation.
fn is_twice(expectation: &Expectation, id: &ObjectId) -> bool {
    let documents = expectation.target.resources.iter();
    let same = documents.filter(|object| object.id.clone() == *id);
    expectation.operation == Operation::Install && same.count() > 1
}

/// With two documents for one object, it is unknown which patch belongs to which document. A hook that is patched
/// onto a resource is such a document too.
fn merge_changes(expected: Vec<Expected>) -> Vec<Expected> {
    let mut merged: Vec<Expected> = Vec::new();
    for next in expected {
        if let Some(last) = merged.last_mut()
            && last.object == next.object
            && let Form::Change { least, most } = last.form
            && let Some((l, m)) = next.form.patches()
        {
            last.form = Form::Change {
                least: least + l,
                most: most + m,
            };
        } else {
            merged.push(next);
        }
    }
    merged
}

/// Whether the records show that the object exists: it is in the manifest of a current revision that succeeded.
/// Other objects may be left over from hooks or from failed operations.
fn is_known(expectation: &Expectation, id: &ObjectId) -> bool {
    let current = expectation.current.iter();
    let current = current.filter(|current| current.is_live_before(&expectation.target));
    let mut resources = current.flat_map(|current| &current.resources);
    resources.any(|object| object.id.clone() == *id)
}

/// The requests up to the failure. Those that clean up come after it.
fn before_failure<'a>(
    recorded: &'a Recorded,
    expectation: &Expectation,
) -> Result<&'a [Request], String> {
    let requests = &recorded.requests;
    let refused = requests
        .iter()
        .position(|r| r.code >= 400 && !(r.verb == Verb::Delete && r.code == 404));
    let end = match refused {
        Some(at) => at,
        None => {
            1 + last_of_failed_hook(recorded, expectation)
                .ok_or_else(|| format!("Helm failed for an unknown reason: {}", recorded.output))?
        }
    };
    let (before, after) = requests.split_at(end);
    // Helm continues with the next object if it applies all objects of a kind at once, and if it patches.
    let continues = is_concurrent(expectation)
        || after
            .first()
            .is_some_and(|refused| refused.verb == Verb::Patch);
    if continues
        || after
            .iter()
            .skip(usize::from(refused.is_some()))
            .all(|r| r.verb == Verb::Delete)
    {
        Ok(before)
    } else {
        Err("Helm continued after the failure".to_owned())
    }
}

/// Where a hook was created that failed later. Only Jobs fail while they run.
fn last_of_failed_hook(recorded: &Recorded, expectation: &Expectation) -> Option<usize> {
    let hooks = expectation.target.hooks.iter();
    let jobs: BTreeSet<_> = hooks
        .flat_map(|hook| &hook.objects)
        .filter(|object| object.id.kind == "Job")
        .filter(|object| {
            // A Job that is only patched ran before and does not run again.
            let before = recorded.before.get(&object.id).map(|state| &state.content);
            [Some(&object.body), before]
                .into_iter()
                .flatten()
                .any(fails)
        })
        .map(|object| object.id.clone())
        .collect();
    recorded
        .requests
        .iter()
        .rposition(|request| request.verb != Verb::Delete && jobs.contains(&request.object))
}

fn fails(job: &Value) -> bool {
    let annotations = job.pointer("/metadata/annotations");
    let fails = annotations.and_then(|a| a.get(cluster_tests::FAIL_ANNOTATION));
    fails.is_some_and(|fails| fails == "true")
}

/// An install creates all objects of a kind at once, and so does a hook that is a list.
fn is_concurrent(expectation: &Expectation) -> bool {
    let mut hooks = expectation.target.hooks.iter();
    expectation.operation == Operation::Install || hooks.any(|hook| hook.objects.len() > 1)
}

fn match_requests(
    expected: &[&Expected],
    actual: &[&Request],
    course: Course,
) -> Result<(), String> {
    let mut rest = actual.iter().copied().peekable();
    for expected in expected {
        let (least, most) = match expected.form {
            Form::Change { least, most } => (least, most),
            // Nothing if it is there and does not change, or if Helm sees that it has gone.
            Form::InDeletion {
                is_delete,
                is_certain,
            } => (usize::from(is_certain), if is_delete { 1 } else { 2 }),
            Form::Delete { .. } | Form::Create { .. } => (1, 1),
        };
        let mut found = 0;
        while found < most && rest.next_if(|request| expected.matches(request)).is_some() {
            found += 1;
        }
        if found < least {
            return match rest.peek() {
                None if !course.is_predicted() => Ok(()),
                None => Err(format!("{expected} did not happen")),
                Some(request) => Err(format!("{request} happened instead of {expected}")),
            };
        }
    }
    match rest.next() {
        None => Ok(()),
        Some(request) => Err(format!("{request} is not in the plan")),
    }
}

impl Expected {
    fn matches(&self, request: &Request) -> bool {
        let is_delete = request.verb == Verb::Delete;
        self.object == request.object
            && match self.form {
                Form::InDeletion {
                    is_delete: expected,
                    ..
                } => is_delete == expected,
                Form::Delete { code } => is_delete && request.code == code,
                Form::Create { code } => !is_delete && request.code == code,
                Form::Change { .. } => request.verb == Verb::Patch && request.code == 200,
            }
    }
}

fn compare_end(recorded: &Recorded, expectation: &Expectation) -> Result<(), String> {
    let current = expectation.current.iter();
    let releases = current.chain([&expectation.target]);
    for release in releases {
        let hooks = release.hooks.iter().flat_map(|hook| &hook.objects);
        for object in release.resources.iter().chain(hooks) {
            let id = object.id.clone();
            let exists = recorded.after.contains_key(&id);
            if went_with_namespace(recorded, &id) {
                continue;
            }
            match (expectation.plan.at_end(&id), exists) {
                // It may have gone after it was changed.
                (Presence::Present, false) if !goes_later(recorded, &id) => {
                    return Err(format!("{} should exist at the end", show(&id)));
                }
                (Presence::Absent, true) => {
                    return Err(format!("{} should not exist at the end", show(&id)));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn goes_later(recorded: &Recorded, id: &ObjectId) -> bool {
    let mut requests = recorded.requests.iter();
    goes_slowly(id) && requests.any(|request| request.verb == Verb::Delete && request.object == *id)
}

/// The plan says what Helm does. What Kubernetes does after that is up to the findings.
fn went_with_namespace(recorded: &Recorded, id: &ObjectId) -> bool {
    let mut requests = recorded.requests.iter();
    requests.any(|request| {
        let deleted = &request.object;
        request.verb == Verb::Delete && deleted.kind == "Namespace" && deleted.name == id.namespace
    })
}

/// With the namespace, which the messages of the plan omit.
pub(crate) fn show(id: &ObjectId) -> String {
    let place = match id.namespace.ends_with("-other") {
        true => " (other namespace)",
        false => "",
    };
    format!("{id}{place}")
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = show(&self.object);
        match self.form {
            Form::InDeletion {
                is_delete: true, ..
            } => write!(f, "delete {object}"),
            Form::InDeletion {
                is_delete: false, ..
            } => write!(f, "create or change {object}"),
            Form::Delete { code } => write!(f, "delete {object} {code}"),
            Form::Create { code } => write!(f, "create {object} {code}"),
            Form::Change { .. } => write!(f, "change {object}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verb, show(&self.object), self.code)
    }
}
