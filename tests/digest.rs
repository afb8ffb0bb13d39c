//! Another implementation of the digest agrees: the Python program in `docs/digest.md`, which shares no code with
//! the policy, prints the tables of that page. The unit tests compare the tables with the policy.

use std::{
    env,
    io::{ErrorKind, Write},
    process::{Command, Stdio},
};

const DOCUMENT: &str = include_str!("../docs/digest.md");

/// The rows of all tables that have vectors.
fn rows() -> Vec<&'static str> {
    DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---") && line.contains('`'))
        .collect()
}

fn program() -> &'static str {
    let (_, program) = DOCUMENT.split_once("```python\n").expect("a program");
    program.split_once("```").expect("its end").0
}

#[test]
fn python_reproduces_the_vectors() {
    let started = Command::new("python3")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut python = match started {
        Ok(python) => python,
        Err(error) if error.kind() == ErrorKind::NotFound && env::var_os("CI").is_none() => {
            println!("skipped: python3 is not installed");
            return;
        }
        Err(error) => panic!("python3: {error}"),
    };
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin.write_all(program().as_bytes()).expect("written");
    drop(stdin);
    let output = python.wait_with_output().expect("an output");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).expect("text");
    let printed: Vec<_> = printed.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(printed, rows());
    assert_eq!(printed.len(), 22);
}
