//! Does Helm do what the plan says?
//!
//! The plan says what happens to each object, in order; what was there before says which requests
//! that makes: a delete of what is absent is answered 404, an apply of what is there is a patch or,
//! without a change, nothing at all.

use std::collections::BTreeSet;
use std::fmt;

use cluster_tests::Verb;
use rollout_guard::release_guard::manifest::ObjectId;
use rollout_guard::release_guard::plan::{Action, Operation, Presence};
use serde_json::Value;

use crate::expect::Expectation;
use crate::run::{Recorded, Request};

/// How far Helm came, in agreement with the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Course {
    /// To the end.
    Completed,
    /// To the hook that meets an object that exists.
    Conflict,
    /// The same, but no record tells that the object exists, so that the plan goes on.
    UnknownConflict,
    /// To a hook that fails while it runs, or an object that the API server refuses: nothing in a
    /// record foretells that.
    Broken,
}

impl Course {
    /// The plan foretold all that happened.
    pub(crate) fn is_foretold(self) -> bool {
        matches!(self, Course::Completed | Course::Conflict)
    }
}

/// A request that the plan foretells.
#[derive(Debug, Clone)]
struct Expected {
    object: ObjectId,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Delete {
        code: u16,
    },
    /// A create, or a patch with server-side apply.
    Make {
        code: u16,
    },
    /// An apply of what exists: so many patches.
    Change {
        least: usize,
        most: usize,
    },
}

/// Compares the requests and the end; the error says what differs.
pub(crate) fn compare(recorded: &Recorded, expectation: &Expectation) -> Result<Course, String> {
    let (expected, end) = foretell(recorded, expectation)?;
    let failed = !recorded.output.status.success();
    let came_to = |end: &ObjectId| {
        let mut requests = recorded.requests.iter();
        requests.any(|r| r.object == *end && r.verb == Verb::Create && r.code == 409)
    };
    let course = match end {
        End::Whole if !failed => Course::Completed,
        End::Conflict(end) if failed && came_to(&end) => Course::Conflict,
        End::UnknownConflict(end) if failed && came_to(&end) => Course::UnknownConflict,
        _ if failed => Course::Broken,
        _ => return Err("Helm was to fail, and did not".to_owned()),
    };
    let actual = match course {
        Course::Completed | Course::Conflict => recorded.requests.as_slice(),
        Course::UnknownConflict | Course::Broken => before_the_break(recorded, expectation)?,
    };
    compare_requests(&expected, actual, expectation, course)?;
    if course.is_foretold() {
        compare_end(recorded, expectation)?;
    }
    Ok(course)
}

/// In order for each object, and over all where Helm does one thing after another.
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
        let expected: Vec<_> = expected.iter().filter(|e| e.object == *id).collect();
        let mut actual: Vec<_> = actual.iter().filter(|r| r.object == *id).collect();
        if is_twice(expectation, id) {
            // Which of the two comes first is not determined; one of them makes the object.
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
    match_requests(&expected, &actual, course).map_err(|error| format!("in another order: {error}"))
}

/// Where the expected requests end.
enum End {
    /// With the plan.
    Whole,
    /// At an object that exists, as the plan says.
    Conflict(ObjectId),
    /// At an object that exists, and the plan could not know.
    UnknownConflict(ObjectId),
}

/// The requests that the plan's steps make of the objects that are there.
fn foretell(
    recorded: &Recorded,
    expectation: &Expectation,
) -> Result<(Vec<Expected>, End), String> {
    let server_side = expectation.target.server_side_apply;
    // Helm 4 first takes over what it applied on the client side.
    let takes_over = server_side
        && (expectation.operation == Operation::Rollback
            || expectation
                .current
                .as_ref()
                .is_some_and(|current| !current.server_side_apply));
    let mut present: BTreeSet<ObjectId> = recorded.before.keys().cloned().collect();
    let mut expected: Vec<Expected> = Vec::new();
    let mut end = End::Whole;
    for step in &expectation.plan.steps {
        let object = step.object.clone();
        let is_there = present.contains(&object);
        let form = match (step.action, is_there) {
            (Action::DeleteBeforeHook(_) | Action::DeleteAfterHook(_), true) => {
                Form::Delete { code: 200 }
            }
            (Action::DeleteBeforeHook(_) | Action::DeleteAfterHook(_), false) => {
                Form::Delete { code: 404 }
            }
            (Action::CreateHook(_) | Action::PatchHook(_) | Action::Apply, false) => {
                Form::Make { code: 201 }
            }
            (Action::CreateHook(_) | Action::PatchHook(_), true) => Form::Make {
                code: if server_side { 200 } else { 409 },
            },
            (Action::Conflict(_), true) => {
                end = End::Conflict(object.clone());
                Form::Make { code: 409 }
            }
            (Action::Conflict(_), false) => {
                return Err(format!("{} does not exist", show(&object)));
            }
            (Action::Apply, true) => Form::Change {
                least: usize::from(server_side),
                most: if takes_over { 2 } else { 1 },
            },
            (Action::Prune, true) => Form::Delete { code: 200 },
            (Action::Prune, false) | (Action::Keep, _) => continue,
        };
        if matches!(form, Form::Delete { .. }) {
            present.remove(&object);
        } else {
            present.insert(object.clone());
        }
        let is_surprise =
            form == Form::Make { code: 409 } && !matches!(step.action, Action::Conflict(_));
        expected.push(Expected {
            object: object.clone(),
            form,
        });
        if is_surprise {
            if is_known(expectation, &object) {
                return Err(format!("{} exists", show(&object)));
            }
            end = End::UnknownConflict(object);
            break;
        }
    }
    Ok((merge_changes(expected), end))
}

/// Two documents for the same object, in an installation.
fn is_twice(expectation: &Expectation, id: &ObjectId) -> bool {
    let documents = expectation.target.resources.iter();
    let same = documents.filter(|object| object.id.clone() == *id);
    expectation.operation == Operation::Install && same.count() > 1
}

/// Two documents for one object: how many of the patches belong to which is not to be told.
fn merge_changes(expected: Vec<Expected>) -> Vec<Expected> {
    let mut merged: Vec<Expected> = Vec::new();
    for next in expected {
        if let Some(last) = merged.last_mut()
            && last.object == next.object
            && let (Form::Change { least, most }, Form::Change { least: l, most: m }) =
                (last.form, next.form)
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

/// Whether the records tell that the object exists: it is in the manifest of a current revision that
/// went through. Others may be left from hooks, or from operations that failed.
fn is_known(expectation: &Expectation, id: &ObjectId) -> bool {
    let current = expectation.current.iter();
    let current = current.filter(|current| current.is_live_before(&expectation.target));
    let mut resources = current.flat_map(|current| &current.resources);
    resources.any(|object| object.id.clone() == *id)
}

/// The requests up to the failure; what Helm does to clean up comes after it.
fn before_the_break<'a>(
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
                .ok_or_else(|| format!("Helm failed, why? {}", recorded.output))?
        }
    };
    let (before, after) = requests.split_at(end);
    // What applies of one kind at once, and what is patched, goes on with the next object.
    let goes_on = is_concurrent(expectation)
        || after
            .first()
            .is_some_and(|refused| refused.verb == Verb::Patch);
    if goes_on
        || after
            .iter()
            .skip(usize::from(refused.is_some()))
            .all(|r| r.verb == Verb::Delete)
    {
        Ok(before)
    } else {
        Err("Helm went on after the failure".to_owned())
    }
}

/// Where a hook was made that then failed. Only Jobs fail while they run.
fn last_of_failed_hook(recorded: &Recorded, expectation: &Expectation) -> Option<usize> {
    let hooks = expectation.target.hooks.iter();
    let jobs: BTreeSet<_> = hooks
        .flat_map(|hook| &hook.objects)
        .filter(|object| object.id.kind == "Job")
        .filter(|object| {
            // A Job that is patched has run before, and does not run again.
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

/// Installing creates the objects of a kind at once, and so does a hook that is a list.
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
            Form::Delete { .. } | Form::Make { .. } => (1, 1),
        };
        let mut found = 0;
        while found < most
            && rest
                .next_if(|request| expected.is_met_by(request))
                .is_some()
        {
            found += 1;
        }
        if found < least {
            return match rest.peek() {
                None if !course.is_foretold() => Ok(()),
                None => Err(format!("{expected} did not happen")),
                Some(request) => Err(format!("{request} happened, and not {expected}")),
            };
        }
    }
    match rest.next() {
        None => Ok(()),
        Some(request) => Err(format!("{request} was not to happen")),
    }
}

impl Expected {
    fn is_met_by(&self, request: &Request) -> bool {
        let is_delete = request.verb == Verb::Delete;
        self.object == request.object
            && match self.form {
                Form::Delete { code } => is_delete && request.code == code,
                Form::Make { code } => !is_delete && request.code == code,
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
            let is_there = recorded.after.contains_key(&id);
            match (expectation.plan.at_end(&id), is_there) {
                (Presence::Present, false) => {
                    return Err(format!("{} was to be there at the end", show(&id)));
                }
                (Presence::Absent, true) => {
                    return Err(format!("{} was to be gone at the end", show(&id)));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// With the namespace, which the plan's messages leave out.
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
            Form::Delete { code } => write!(f, "delete {object} {code}"),
            Form::Make { code } => write!(f, "make {object} {code}"),
            Form::Change { .. } => write!(f, "change {object}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verb, show(&self.object), self.code)
    }
}
