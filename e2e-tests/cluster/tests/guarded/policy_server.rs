//! The real policy-server instead of the testbed: `POLICY_SERVER=policy-server make e2e-tests`. It loads
//! annotated-policy.wasm, which `make annotated-policy.wasm` builds with kwctl.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cluster_tests::{Cluster, User, wait_until};
use serde_json::json;
use tempfile::TempDir;

use crate::example_policy::ExamplePolicy;

/// Stops when it is dropped.
pub(crate) struct PolicyServer {
    pub(crate) port: u16,
    child: Child,
    folder: TempDir,
}

/// The program, if the environment names one.
pub(crate) fn program() -> Option<OsString> {
    env::var_os("POLICY_SERVER")
}

impl PolicyServer {
    pub(crate) fn start(
        program: &OsString,
        cluster: &Cluster,
        example: &ExamplePolicy,
    ) -> Result<PolicyServer> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../annotated-policy.wasm");
        let module = module
            .canonicalize()
            .context("annotated-policy.wasm: `make annotated-policy.wasm` builds it")?;
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let grants = example.grants();
        let grants = grants
            .iter()
            .map(|kind| json!({"apiVersion": kind.api_version, "kind": kind.kind}));
        let policies = json!({"guard": {
            "module": format!("file://{}", module.display()),
            "allowedToMutate": true,
            "settings": example.settings,
            "contextAwareResources": grants.collect::<Vec<_>>(),
            // The Kubewarden controller writes this for cluster-wide policies.
            "hostCapabilities": ["*"],
        }});
        fs::write(at("policies.yml"), policies.to_string())?;
        let (certificate, key) = cluster.serving_certificate();
        let (port, probe) = (free_port()?, free_port()?);
        let log = File::create(at("log"))?;
        let child = Command::new(program)
            .env("KUBECONFIG", cluster.kubeconfig_of(User::Restricted))
            .env("HOME", folder.path())
            .env_remove("RUST_BACKTRACE")
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
            .args(["--readiness-probe-port", &probe.to_string()])
            .arg("--cert-file")
            .arg(certificate)
            .arg("--key-file")
            .arg(key)
            .arg("--policies")
            .arg(at("policies.yml"))
            .arg("--policies-download-dir")
            .arg(at("policies"))
            .arg("--sigstore-cache-dir")
            .arg(at("sigstore"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let mut server = PolicyServer {
            port,
            child,
            folder,
        };
        wait_until("policy-server listens", Duration::from_secs(60), || {
            if let Some(status) = server.child.try_wait()? {
                bail!("policy-server: {status}\n{}", server.log());
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })?;
        Ok(server)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PolicyServer {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot stop policy-server: {error}");
        }
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
