//! Flux's kustomize-controller. There is no source-controller: the status of the source is that of the test.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Result, ensure};
use cluster_tests::{Case, Suite, wait_until};
use tempfile::TempDir;

use super::{
    Kind, LIMIT, Program, STATUS, application, free_port, install_kinds, kind, run, write_files,
};
use crate::deletions::{FLUX, apply, exists, guard, make_ready, pods_of_first_rollout};

pub(super) fn add_to(suite: &mut Suite) {
    suite.case("gitops, Flux, reject: config goes when the rollout is done, and the teardown is not held up", |case| {
        renamed_config(case, "reject")
    });
    suite.case("gitops, Flux, warn: config goes at once", |case| {
        renamed_config(case, "warn")
    });
}

/// The kinds that the controller watches.
const KINDS: [Kind; 4] = [
    // The status of a source is set with the rest of it.
    kind(
        "source.toolkit.fluxcd.io/v1/GitRepository",
        "gitrepositories",
        "",
    ),
    kind(
        "source.toolkit.fluxcd.io/v1/OCIRepository",
        "ocirepositories",
        "",
    ),
    kind("source.toolkit.fluxcd.io/v1/Bucket", "buckets", ""),
    kind(
        "kustomize.toolkit.fluxcd.io/v1/Kustomization",
        "kustomizations",
        STATUS,
    ),
];

/// Answers each request with the file that it names, until it is dropped.
struct Archives {
    folder: TempDir,
    port: u16,
    ends: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Archives {
    fn serve() -> Result<Archives> {
        let folder = tempfile::tempdir()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let ends = Arc::new(AtomicBool::new(false));
        let (path, is_over) = (folder.path().to_owned(), Arc::clone(&ends));
        let server = thread::spawn(move || {
            for connection in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                // The client asks again.
                let _ = connection.and_then(|mut connection| {
                    let mut head = [0; 4096];
                    let read = connection.read(&mut head)?;
                    let head =
                        String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned();
                    let name = head.split_whitespace().nth(1).unwrap_or_default();
                    let body = fs::read(path.join(name.trim_start_matches('/')))?;
                    write!(
                        connection,
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    )?;
                    connection.write_all(&body)
                });
            }
        });
        Ok(Archives {
            folder,
            port,
            ends,
            server: Some(server),
        })
    }

    /// The source in this version, with these files.
    fn publish(&self, case: &Case<'_>, version: &str, files: &[(String, String)]) -> Result<()> {
        let source = tempfile::tempdir()?;
        write_files(source.path(), files)?;
        let archive = self.folder.path().join(format!("{version}.tar.gz"));
        run(Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(source.path())
            .arg("."))?;
        let sum = run(Command::new("sha256sum").arg(&archive))?;
        let sum = sum.split_whitespace().next().unwrap_or_default();
        let port = self.port;
        apply(
            case,
            &format!(
                "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app}}
spec: {{interval: 1h, url: 'https://example.com/app'}}
status:
  artifact:
    revision: 'main@sha1:{version}'
    digest: 'sha256:{sum}'
    path: {version}.tar.gz
    url: 'http://127.0.0.1:{port}/{version}.tar.gz'
    lastUpdateTime: '2026-01-01T00:00:00Z'
"
            ),
        )
    }
}

impl Drop for Archives {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // It wakes up, and ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.server.take().map(JoinHandle::join);
    }
}

const KUSTOMIZATION: &str = "
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app}
spec:
  interval: 1h
  retryInterval: 3s
  path: ./
  prune: true
  timeout: 30s
  sourceRef: {kind: GitRepository, name: app}
";

fn renamed_config(case: &Case<'_>, level: &str) -> Result<()> {
    install_kinds(case, &KINDS)?;
    let archives = Archives::serve()?;
    let namespace = format!("RUNTIME_NAMESPACE={}", case.namespace);
    let health = format!("--health-addr=127.0.0.1:{}", free_port()?);
    let flux = Program::start(
        case,
        "kustomize-controller",
        FLUX,
        &[&namespace],
        &[
            "--watch-all-namespaces=false",
            "--enable-leader-election=false",
            "--metrics-addr=0",
            &health,
            "--http-retry=1",
            "--requeue-dependency=2s",
            "--concurrent=2",
            "--interval-jitter-percentage=0",
            "--max-retry-delay=2s",
        ],
    )?;
    let target = format!("  targetNamespace: {}\n", case.namespace);
    let condition = |field: &str| -> Result<String> {
        let path = format!("--output=jsonpath={{.status.conditions[?(@.type=='Ready')].{field}}}");
        Ok(case
            .kubectl(&["get", "kustomization", "app", &path])?
            .stdout)
    };
    let waits = |what: &str, is: &dyn Fn() -> Result<bool>| {
        wait_until(what, LIMIT, || Ok(is()?.then_some(())))
            .map_err(|error| error.context(flux.end_of_log()))
    };

    archives.publish(case, "v1", &application("app-v1", "", &["extra"]))?;
    apply(case, &[KUSTOMIZATION, &target].concat())?;
    waits("the first version", &|| Ok(condition("status")? == "True"))?;
    pods_of_first_rollout(case)?;
    let example = match level {
        // As in the example: people are warned, Flux is rejected.
        "reject" => guard(case, "warn")?,
        _ => {
            let guard = crate::example_policy::ExamplePolicy::read("deletion-guard-policy.yaml");
            let mut example = guard?;
            example.settings["deletionGuard"]["rejectFor"]["users"] = serde_json::json!([]);
            crate::deletions::started(case, &example)?
        }
    };
    archives.publish(case, "v2", &application("app-v2", "", &[]))?;
    // Nobody needs it.
    waits("the unused config is pruned", &|| {
        Ok(!exists(case, "configmap/extra")?)
    })?;
    ensure!(exists(case, "configmap/app-v2")?);
    match level {
        "reject" => {
            waits("the rejection", &|| {
                Ok(condition("reason")? == "PruneFailed")
            })?;
            let message = condition("message")?;
            ensure!(
                message.contains("until the rollout of Deployment web is done"),
                "{message}"
            );
            ensure!(exists(case, "configmap/app-v1")?);
            make_ready(case)?;
            waits("the config is pruned", &|| {
                Ok(!exists(case, "configmap/app-v1")?)
            })?;
            waits("it is ready again", &|| Ok(condition("status")? == "True"))?;
        }
        _ => waits("the config is pruned", &|| {
            Ok(!exists(case, "configmap/app-v1")?)
        })?,
    }
    case.kubectl(&["delete", "kustomization", "app", "--wait=false"])?
        .success()?;
    waits("the end of the application", &|| {
        Ok(!exists(case, "kustomization/app")?
            && !exists(case, "deployment/web")?
            && !exists(case, "configmap/app-v2")?)
    })?;
    drop(example);
    Ok(())
}
