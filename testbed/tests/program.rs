//! The program: its output and exit codes, on which scripts rely.

// clippy.toml allows panics in tests. This tells clippy that helper functions are part of the tests.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// Runs the program in its own directory, which contains `request.json`, `cluster.json`
/// and guests. Returns its exit code and
/// output.
fn run(test: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&directory).unwrap();
    let write =
        |name: &str, value: Value| fs::write(directory.join(name), value.to_string()).unwrap();
    write(
        "request.json",
        json!({"uid": "1", "kind": {"kind": "ConfigMap"}, "operation": "CREATE", "object": {}}),
    );
    let metadata = json!({"namespace": "shop", "name": "app"});
    write(
        "cluster.json",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}),
    );

    for guest in ["guest", "trap"] {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{guest}.wat"));
        let code = wat::parse_file(text).unwrap();
        fs::write(directory.join(format!("{guest}.wasm")), code).unwrap();
    }
    let run = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
    (run.status.code(), text)
}

const REQUEST: [&str; 5] = ["run", "--policy", "guest.wasm", "--request", "request.json"];

#[test]
fn accepted() {
    let (code, text) = run(
        "accepted",
        &[&REQUEST[..], &["--cluster", "cluster.json"]].concat(),
    );

    let expected = "\
accepted, with changes

changes to the object:
  add seen = true

look-ups in the cluster:
  get_resource v1/ConfigMap shop/app: found, 83 bytes
";
    assert_eq!((code, text.as_str()), (Some(0), expected));
}

#[test]
fn rejected() {
    let (code, text) = run("rejected", &REQUEST);

    let expected = "\
rejected, code 500

message:
  internal server error: Guest call failure: Callback evaluation failure: Cannot find v1/ConfigMap named 'app' inside of namespace 'Some(\"shop\")'

look-ups in the cluster:
  get_resource v1/ConfigMap shop/app: absent
";
    assert_eq!((code, text.as_str()), (Some(1), expected));
}

#[test]
fn answers_as_json() {
    let (code, text) = run(
        "answers_as_json",
        &[&REQUEST[..], &["--output", "json"]].concat(),
    );

    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &answer["accepted"]), (Some(1), &json!(false)));
}

#[test]
fn a_file_that_is_not_a_request() {
    let run = run(
        "a_file_that_is_not_a_request",
        &["run", "--policy", "guest.wasm", "--request", "cluster.json"],
    );

    let expected = "error: cannot use cluster.json as a request: neither an AdmissionRequest, nor an AdmissionReview or a recording with one in its field `request`\n";
    assert_eq!(run, (Some(2), expected.to_owned()));
}

#[test]
fn valid_settings() {
    let run = run(
        "valid_settings",
        &["settings", "--policy", "guest.wasm", "--settings", "{}"],
    );
    assert_eq!(run, (Some(0), "the settings are valid\n".to_owned()));
}

#[test]
fn invalid_settings() {
    let invalid = "the settings are not valid: Error invoking settings validation callback: ";

    let (code, text) = run("invalid_settings", &["settings", "--policy", "trap.wasm"]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with(invalid), "{text}");

    let (code, text) = run(
        "invalid_settings",
        &["run", "--policy", "trap.wasm", "--request", "request.json"],
    );
    assert_eq!(code, Some(2));
    assert!(text.starts_with(&format!("error: {invalid}")), "{text}");
}

#[test]
fn settings_from_a_missing_file() {
    let run = run(
        "settings_from_a_missing_file",
        &[
            "settings",
            "--policy",
            "guest.wasm",
            "--settings",
            "@none.json",
        ],
    );

    let expected =
        "error: cannot read the settings none.json: No such file or directory (os error 2)\n";
    assert_eq!(run, (Some(2), expected.to_owned()));
}
