//! The protocol over TLS, with a client that trusts the certificate of the server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use testbed::serve::{Decision, Options, Server};
use testbed::{HostError, Policy, wasmi};
use tokio::runtime::Runtime;

use crate::api_server::ApiServer;
use crate::wait_until;

const APP: &str = "/api/v1/namespaces/shop/configmaps/app";

/// A guest that the tests of the engine use too.
fn policy(guest: &str) -> Policy {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    Policy::of(&wat::parse_file(tests.join(guest)).unwrap(), wasmi).unwrap()
}

fn options(api: &ApiServer, guest: &str) -> Options {
    Options {
        grants: vec!["v1/ConfigMap".parse().unwrap()],
        // The machine that runs the tests may be slow.
        time_limit: Duration::from_secs(60),
        ..Options::new(policy(guest), api.kubeconfig())
    }
}

fn start(api: &ApiServer) -> Server {
    Server::start(options(api, "guest.wat")).unwrap()
}

/// Lets the API server answer the look-up of the guest.
fn answer_app(api: &ApiServer) {
    api.answer(APP, 200, config_map());
}

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": "shop"}})
}

fn review(uid: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Secret"},
            "resource": {"group": "", "version": "v1", "resource": "secrets"},
            "namespace": "shop",
            "name": "db",
            "operation": "CREATE",
            "userInfo": {},
            "object": {"seen": false},
        },
    })
}

/// A client that trusts one authority, with its own runtime.
pub(crate) struct Reviewer {
    client: Client,
    runtime: Runtime,
}

impl Reviewer {
    pub(crate) fn new(url: &str, ca_pem: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = url.trim_end_matches("/validate");
        let kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "clusters": [{"name": "webhook", "cluster": {
                "server": server, "certificate-authority-data": STANDARD.encode(ca_pem),
            }}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "webhook", "user": "test"}}],
            "current-context": "test",
        }))
        .unwrap();
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            Client::try_from(config.unwrap()).unwrap()
        });
        Self { client, runtime }
    }

    fn of(server: &Server) -> Self {
        Self::new(&server.url(), server.ca_pem())
    }

    pub(crate) fn send(
        &self,
        body: impl Into<Vec<u8>>,
    ) -> Result<(StatusCode, Value), kube::Error> {
        self.send_as("application/json", body)
    }

    fn send_as(
        &self,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Result<(StatusCode, Value), kube::Error> {
        let request = Request::post("/validate")
            .header(CONTENT_TYPE, content_type)
            .body(Body::from(body.into()))
            .unwrap();
        self.runtime.block_on(async {
            let answer = self.client.send(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect_bytes().await?;
            Ok((status, serde_json::from_slice(&body).unwrap()))
        })
    }
}

#[test]
fn a_mutation_is_answered_with_a_patch() {
    let api = ApiServer::start();
    answer_app(&api);
    let server = start(&api);

    let (status, answer) = Reviewer::of(&server).send(review("1").to_string()).unwrap();
    let patch = STANDARD.encode(r#"[{"op":"replace","path":"/seen","value":true}]"#);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer,
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {
                "uid": "1", "allowed": true, "patchType": "JSONPatch", "patch": patch,
                "auditAnnotations": null, "warnings": null,
            },
        })
    );
}

#[test]
fn a_rejection_is_answered_with_a_status() {
    let api = ApiServer::start();
    let server = start(&api);

    let (status, answer) = Reviewer::of(&server).send(review("1").to_string()).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer["response"],
        json!({
            "uid": "1", "allowed": false,
            "status": {"code": 500, "message": "internal server error: Guest call failure: Callback evaluation failure: Cannot find v1/ConfigMap named 'app' inside of namespace 'Some(\"shop\")'"},
            "auditAnnotations": null, "warnings": null,
        })
    );
}

#[test]
fn warnings_and_annotations_are_passed_on() {
    let api = ApiServer::start();
    let server = Server::start(options(&api, "warning.wat")).unwrap();

    let (_, answer) = Reviewer::of(&server).send(review("1").to_string()).unwrap();
    assert_eq!(
        answer["response"],
        json!({
            "uid": "1", "allowed": true,
            "status": {"message": "fine"},
            "auditAnnotations": {"a": "b"}, "warnings": ["careful"],
        })
    );
    let [decision] = server.decisions().try_into().unwrap();
    assert_eq!(decision.warnings, ["careful"]);
    assert_eq!(
        decision.audit_annotations,
        [("a".to_owned(), "b".to_owned())].into()
    );
}

#[test]
fn decisions_are_kept_and_logged() {
    let api = ApiServer::start();
    let log = api.folder().join("log");
    let server = Server::start(Options {
        log: Some(log.clone()),
        ..options(&api, "guest.wat")
    })
    .unwrap();
    let reviewer = Reviewer::of(&server);

    reviewer.send(review("1").to_string()).unwrap();
    answer_app(&api);
    reviewer.send(review("2").to_string()).unwrap();

    let decisions = server.decisions();
    let [absent, found] = decisions.as_slice() else {
        unreachable!("{decisions:?}");
    };
    assert!(!absent.allowed);
    assert!(matches!(
        absent.host_calls[0].answer,
        Err(HostError::Absent(_))
    ));
    let expected = Decision {
        uid: "2".to_owned(),
        operation: "CREATE".to_owned(),
        kind: "Secret".to_owned(),
        namespace: Some("shop".to_owned()),
        name: Some("db".to_owned()),
        allowed: true,
        code: None,
        message: None,
        warnings: vec![],
        audit_annotations: [].into(),
        patched: vec!["/seen".to_owned()],
        ..found.clone()
    };
    assert_eq!(*found, expected);

    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, [json!(absent), json!(found)]);
    assert_eq!(
        lines[1],
        json!({
            "uid": "2", "operation": "CREATE", "kind": "Secret", "namespace": "shop", "name": "db",
            "allowed": true, "code": null, "message": null, "warnings": [], "auditAnnotations": {},
            "patched": ["/seen"],
            "hostCalls": [{
                "operation": "get_resource",
                "request": {"api_version": "v1", "kind": "ConfigMap", "namespace": "shop",
                            "name": "app", "disable_cache": true},
                "answer": "found", "bytes": config_map().to_string().len(),
            }],
            "micros": found.micros,
        })
    );
}

#[test]
fn decisions_that_are_not_kept_are_logged() {
    let api = ApiServer::start();
    let log = api.folder().join("log");
    let server = Server::start(Options {
        keep_decisions: false,
        log: Some(log.clone()),
        ..options(&api, "guest.wat")
    })
    .unwrap();

    Reviewer::of(&server).send(review("1").to_string()).unwrap();
    assert_eq!(server.decisions(), []);
    assert_eq!(fs::read_to_string(log).unwrap().lines().count(), 1);
}

#[track_caller]
fn assert_not_judged(answer: (StatusCode, Value), status: StatusCode, message: &str) {
    assert_eq!(answer.0, status);
    assert_eq!(
        answer.1,
        json!({"status": status.as_u16(), "message": message})
    );
}

#[test]
fn reviews_that_are_not_judged() {
    let api = ApiServer::start();
    let server = start(&api);
    let reviewer = Reviewer::of(&server);

    assert_not_judged(
        reviewer.send("{").unwrap(),
        StatusCode::BAD_REQUEST,
        "Failed to parse the request body as JSON: EOF while parsing an object at line 1 column 1",
    );
    assert_not_judged(
        reviewer.send("{}").unwrap(),
        StatusCode::UNPROCESSABLE_ENTITY,
        "Failed to deserialize the JSON body into the target type: missing field `request` at line 1 column 2",
    );
    let mut nameless = review("1");
    nameless["request"]["uid"].take();
    let (status, _) = reviewer.send(nameless.to_string()).unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_not_judged(
        reviewer
            .send_as("text/plain", review("1").to_string())
            .unwrap(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Expected request with `Content-Type: application/json`",
    );
    assert_eq!(server.decisions(), []);
}

#[test]
fn reviews_are_limited_to_two_mebibytes() {
    const LIMIT: usize = 2 * 1024 * 1024;
    let api = ApiServer::start();
    answer_app(&api);
    let server = start(&api);
    let reviewer = Reviewer::of(&server);
    let mut review = review("1").to_string();

    review.push_str(&" ".repeat(LIMIT - review.len()));
    let (status, _) = reviewer.send(review.clone()).unwrap();
    assert_eq!(status, StatusCode::OK);
    review.push(' ');
    assert_not_judged(
        reviewer.send(review).unwrap(),
        StatusCode::PAYLOAD_TOO_LARGE,
        "Failed to buffer the request body: length limit exceeded",
    );
}

#[test]
fn an_evaluation_has_a_time_limit() {
    let api = ApiServer::start();
    let server = Server::start(Options {
        time_limit: Duration::from_millis(1),
        ..options(&api, "endless.wat")
    })
    .unwrap();

    let (_, answer) = Reviewer::of(&server).send(review("1").to_string()).unwrap();
    assert_eq!(
        answer["response"]["status"],
        json!({"code": 500, "message": "Policy execution interrupted because it exceeded the allowed execution time"})
    );
    assert_eq!(server.decisions()[0].code, Some(500));
}

#[test]
fn the_certificate_is_checked() {
    let api = ApiServer::start();
    let [server, other] = [start(&api), start(&api)];

    let error = Reviewer::new(&server.url(), other.ca_pem())
        .send(review("1").to_string())
        .unwrap_err();
    let error = format!("{error:?}");
    assert!(error.contains("InvalidCertificate"), "{error}");
    assert_eq!(server.decisions(), []);

    let localhost = format!("https://localhost:{}/validate", server.port());
    Reviewer::new(&localhost, server.ca_pem())
        .send(review("1").to_string())
        .unwrap();
    assert_eq!(server.decisions().len(), 1);
}

#[test]
fn reviews_are_judged_in_parallel_and_before_the_server_stops() {
    let api = ApiServer::start();
    api.hold(APP, 200, config_map());
    let server = start(&api);
    let reviewers: Vec<_> = ["1", "2"]
        .map(|uid| {
            let reviewer = Reviewer::of(&server);
            std::thread::spawn(move || reviewer.send(review(uid).to_string()).unwrap())
        })
        .into();

    wait_until("both look up the ConfigMap", || api.requests().len() == 2);
    let port = server.port();
    let stopping = std::thread::spawn(move || server.stop().unwrap());
    wait_until("the server accepts no more", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    api.release();
    for reviewer in reviewers {
        let (_, answer) = reviewer.join().unwrap();
        assert_eq!(answer["response"]["allowed"], json!(true));
    }
    stopping.join().unwrap();
}

#[test]
fn a_server_that_cannot_start() {
    #[track_caller]
    fn assert_error(options: Options, start: &str) {
        let error = format!("{:#}", Server::start(options).err().unwrap());
        assert!(error.starts_with(start), "{error}");
    }

    let api = ApiServer::start();
    assert_error(
        options(&api, "trap.wat"),
        "the settings are not valid: Error invoking settings validation callback: ",
    );
    assert_error(
        Options::new(policy("guest.wat"), "no-such-file"),
        "cannot use the kubeconfig no-such-file: ",
    );
    let log = Some("no-such-folder/log".into());
    assert_error(
        Options {
            log,
            ..options(&api, "guest.wat")
        },
        "cannot write the log no-such-folder/log: ",
    );
    let server = start(&api);
    let listen = ([127, 0, 0, 1], server.port()).into();
    assert_error(
        Options {
            listen,
            ..options(&api, "guest.wat")
        },
        &format!("cannot listen on 127.0.0.1:{}: ", server.port()),
    );
}
