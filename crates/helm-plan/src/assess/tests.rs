use super::*;
use crate::testing::{config, live, mounts, revision};

/// Many configs leave, each is needed: what was asked for, and how many findings stay.
fn assessed(
    configs: usize,
    mut answer: impl FnMut(usize) -> Result<Live, String>,
) -> Result<(usize, usize, usize), String> {
    let names: Vec<_> = (0..configs).map(|n| format!("c{n}")).collect();
    let configs: Vec<_> = names.iter().map(|name| config(name)).collect();
    let workloads: Vec<_> = names.iter().map(|name| mounts(name, name)).collect();
    let all: Vec<&dyn std::fmt::Display> = configs
        .iter()
        .chain(&workloads)
        .map(|doc| doc as _)
        .collect();
    let left: Vec<&dyn std::fmt::Display> = workloads.iter().map(|doc| doc as _).collect();
    let (current, target) = (revision(1, &all).release(), revision(2, &left).release());
    let mut asked = Vec::new();
    let assessed = assess(
        Operation::Upgrade,
        Some(&current),
        target,
        |api_version, id| {
            assert_eq!(api_version, "v1");
            assert!(!asked.contains(id), "{id} twice");
            asked.push(id.clone());
            answer(asked.len())
        },
    );
    let assessed = assessed.map_err(|error| error.to_string())?;
    Ok((asked.len(), assessed.findings.len(), assessed.not_looked_at))
}

#[test]
fn live_objects_are_asked_for_once_and_decide() {
    assert_eq!(assessed(3, |_| Ok(live(false))), Ok((3, 3, 0)));
    assert_eq!(assessed(3, |_| Ok(live(true))), Ok((3, 0, 0)));
    assert_eq!(assessed(3, |_| Ok(Live::Absent)), Ok((3, 0, 0)));
    assert_eq!(assessed(3, |_| Ok(Live::Unknown)), Ok((3, 3, 0)));
}

#[test]
fn what_is_beyond_the_limit_is_counted() {
    assert_eq!(assessed(40, |_| Ok(live(true))), Ok((32, 8, 8)));
}

#[test]
fn a_failed_look_up_is_an_error() {
    let failed = assessed(3, |n| match n {
        2 => Err("the API server is away".to_owned()),
        _ => Ok(live(true)),
    });
    assert_eq!(failed, Err("the API server is away".to_owned()));
}
