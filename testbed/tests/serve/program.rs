//! The command `serve`: its output, and how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::api_server::ApiServer;
use crate::webhook::Reviewer;

fn serve(api: &ApiServer, arguments: &[&str]) -> Child {
    let guest = wat::parse_file(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest.wat")).unwrap();
    fs::write(api.folder().join("guest.wasm"), guest).unwrap();
    Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["serve", "--policy", "guest.wasm", "--kubeconfig"])
        .arg(api.kubeconfig())
        .args(arguments)
        .current_dir(api.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn text_of(output: &mut Option<impl Read>) -> String {
    let mut text = String::new();
    output.as_mut().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Sends a review to the program, ends it with a signal, and returns the path of its certificate.
fn review_and_end(mut program: Child, signal: &str) -> String {
    let mut stdout = BufReader::new(program.stdout.take().unwrap());
    let mut ready = String::new();
    stdout.read_line(&mut ready).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let ca = ready["ca"].as_str().unwrap();
    let reviewer = Reviewer::new(
        ready["url"].as_str().unwrap(),
        &fs::read_to_string(ca).unwrap(),
    );
    let request = json!({"uid": "1", "operation": "DELETE", "kind": {"kind": "Secret"}});
    let review = json!({"request": request}).to_string();
    let (_, answer) = reviewer.send(review).unwrap();
    assert_eq!(answer["response"]["allowed"], json!(false));

    let kill = Command::new("kill")
        .args([signal, &program.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert!(program.wait().unwrap().success());
    assert_eq!(text_of(&mut Some(stdout)), "");
    assert_eq!(text_of(&mut program.stderr), "");
    ca.to_owned()
}

#[test]
fn serves_until_sigterm() {
    let api = ApiServer::start();
    let program = serve(
        &api,
        &[
            "--cert-dir",
            "certificates",
            "--log",
            "log",
            "--grant",
            "v1/ConfigMap",
        ],
    );

    let ca = review_and_end(program, "-TERM");
    let expected = api.folder().join("certificates/ca.pem");
    assert_eq!(ca, expected.to_str().unwrap());
    let log = fs::read_to_string(api.folder().join("log")).unwrap();
    let decision: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(decision["hostCalls"][0]["answer"], "absent");
}

#[test]
fn a_restarted_program_has_the_same_certificate() {
    let api = ApiServer::start();
    let [first, second] = [(); 2].map(|()| {
        let program = serve(&api, &["--cert-dir", "certificates"]);
        fs::read_to_string(review_and_end(program, "-TERM")).unwrap()
    });
    assert_eq!(first, second);

    let key = api.folder().join("certificates/server.key");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(key, "not a key").unwrap();
    let mut program = serve(&api, &["--cert-dir", "certificates"]);
    assert_eq!(program.wait().unwrap().code(), Some(2));
    let text = text_of(&mut program.stderr);
    let expected = "error: cannot use the certificate in certificates: ";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn serves_until_sigint_and_removes_temporary_files() {
    let api = ApiServer::start();
    let ca = review_and_end(serve(&api, &[]), "-INT");
    assert!(!fs::exists(ca).unwrap());
}

#[track_caller]
fn assert_error(arguments: &[&str], expected: &str) {
    let api = ApiServer::start();
    let mut program = serve(&api, arguments);
    assert_eq!(program.wait().unwrap().code(), Some(2));
    let text = text_of(&mut program.stderr);
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn invalid_arguments() {
    assert_error(
        &["--grant", "Secret"],
        "error: invalid value 'Secret' for '--grant <VERSION/KIND>': 'Secret' is not a kind like v1/ConfigMap or apps/v1/Deployment\n",
    );
    assert_error(
        &["--log", "no-such-folder/log"],
        "error: cannot write the log no-such-folder/log: No such file or directory (os error 2)\n",
    );
}
