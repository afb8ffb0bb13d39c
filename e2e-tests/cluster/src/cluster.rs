//! Starts and stops the cluster.

use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

use crate::audit::AuditLevel;
use crate::credentials::{Credentials, User};
use crate::poll::wait_until;
use crate::processes::Processes;
use crate::tools::Tools;

/// A start takes seconds, but much longer while the machine compiles.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The controllers that tests need: for rollouts, garbage collection, the deletion of namespaces, and built-in roles
/// (a controller builds `view`).
///
/// The controller for Jobs is not among them. There is no kubelet to run their pods, so `HookCompleter` ends them instead.
const CONTROLLERS: [&str; 8] = [
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "statefulset-controller",
];

/// Options for starting a cluster.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How much the audit log tells about each request.
    pub audit_level: AuditLevel,
}

/// A running cluster. Dropping it stops its processes and removes its files.
pub struct Cluster {
    // Dropped in this order: the processes before the folder they write to.
    processes: Mutex<Processes>,
    client: Client,
    runtime: Runtime,
    tools: Tools,
    credentials: Credentials,
    server: String,
    folder: TempDir,
}

impl Cluster {
    /// Starts a cluster with the default options.
    ///
    /// # Errors
    /// A program cannot be built or run, or the API server does not become ready.
    pub fn start() -> Result<Cluster> {
        Cluster::start_with(Options::default())
    }

    /// Starts a cluster and waits until its API server is ready.
    ///
    /// # Errors
    /// A program cannot be built or run, or the API server does not become ready.
    pub fn start_with(options: Options) -> Result<Cluster> {
        let tools = Tools::build()?;
        let folder = tempfile::Builder::new()
            .prefix("cluster-tests-")
            .tempdir()?;
        let [etcd_port, server_port] = free_ports()?;
        let server = format!("https://127.0.0.1:{server_port}");
        let credentials = Credentials::create(folder.path(), &server)?;
        fs::write(
            folder.path().join(AUDIT_POLICY),
            options.audit_level.policy().to_string(),
        )?;

        // Both at once: the API server waits for etcd.
        let mut processes = Processes::new(folder.path())?;
        processes.start("etcd", &tools.path("etcd"), etcd_flags(etcd_port))?;
        processes.start(
            "kube-apiserver",
            &tools.path("kube-apiserver"),
            apiserver_flags(&credentials, etcd_port, server_port),
        )?;

        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let client = runtime.block_on(connect(&credentials.kubeconfig(User::Admin)))?;
        wait_until("the API server is ready", START_LIMIT, || {
            processes.check()?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            let answer = runtime.block_on(client.request_text(request));
            Ok(answer.is_ok().then_some(()))
        })?;
        // It gives up after ten seconds without a healthy API server, which takes longer while the machine compiles.
        processes.start(
            "kube-controller-manager",
            &tools.path("kube-controller-manager"),
            controller_manager_flags(&credentials),
        )?;
        Ok(Cluster {
            processes: Mutex::new(processes),
            client,
            runtime,
            tools,
            credentials,
            server,
            folder,
        })
    }

    /// The address of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The certificate of the authority of the API server.
    pub fn ca_file(&self) -> PathBuf {
        self.credentials.ca_file()
    }

    /// A certificate for servers of this machine, signed by [`Cluster::ca_file`], and its key.
    pub fn serving_certificate(&self) -> (PathBuf, PathBuf) {
        let credentials = &self.credentials;
        (credentials.serving_certificate(), credentials.serving_key())
    }

    /// The administrator's kubeconfig file.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of(User::Admin)
    }

    /// The kubeconfig file of a user.
    pub fn kubeconfig_of(&self, user: User) -> PathBuf {
        self.credentials.kubeconfig(user)
    }

    /// The bearer token of a user.
    pub fn token(&self, user: User) -> &str {
        self.credentials.token(user)
    }

    /// The administrator's client, for use inside [`Cluster::block_on`].
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Waits for a future, such as a request of [`Cluster::client`].
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Checks that all its programs run.
    ///
    /// # Errors
    /// One of them has ended. The error shows the end of its log.
    pub fn check(&self) -> Result<()> {
        let mut processes = self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        processes.check()
    }

    /// Creates a namespace.
    ///
    /// # Errors
    /// The API server rejected it.
    pub fn create_namespace(&self, name: &str) -> Result<()> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let namespaces = Api::<Namespace>::all(self.client());
        self.block_on(namespaces.create(&PostParams::default(), &namespace))
            .with_context(|| format!("cannot create namespace {name}"))?;
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn tool(&self, program: &str) -> PathBuf {
        self.tools.path(program)
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The audit log of the API server: one JSON document per line.
    pub fn audit_log(&self) -> PathBuf {
        self.folder().join(AUDIT_LOG)
    }
}

// All paths are relative to the folder of the cluster, in which the processes run.
const AUDIT_POLICY: &str = "audit-policy.json";
const AUDIT_LOG: &str = "audit.log";

fn etcd_flags(port: u16) -> Vec<String> {
    let url = format!("http://127.0.0.1:{port}");
    let flags = [
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        // The data is not needed after a crash.
        "--unsafe-no-fsync".to_owned(),
    ];
    flags.into()
}

fn apiserver_flags(credentials: &Credentials, etcd_port: u16, port: u16) -> Vec<String> {
    let file = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
    let flags = [
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        file("tls-cert-file", credentials.serving_certificate()),
        file("tls-private-key-file", credentials.serving_key()),
        file("token-auth-file", credentials.token_table()),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        file(
            "service-account-signing-key-file",
            credentials.service_account_key(),
        ),
        file(
            "service-account-key-file",
            credentials.service_account_public_key(),
        ),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        // ServiceAccount would reject pods until a controller has created the service account of the namespace.
        // StorageObjectInUseProtection would keep deleted claims until a controller has checked that no pod uses them.
        "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection".to_owned(),
        format!("--audit-policy-file={AUDIT_POLICY}"),
        format!("--audit-log-path={AUDIT_LOG}"),
        // A request is in the log before its answer is complete, and the log is never rotated.
        "--audit-log-mode=blocking".to_owned(),
        "--audit-log-maxsize=100000".to_owned(),
    ];
    flags.into()
}

fn controller_manager_flags(credentials: &Credentials) -> Vec<String> {
    let kubeconfig = credentials.kubeconfig(User::ControllerManager);
    let flags = [
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--controllers={}", CONTROLLERS.join(",")),
        "--leader-elect=false".to_owned(),
        // It needs no port, because nobody connects to it.
        "--secure-port=0".to_owned(),
    ];
    flags.into()
}

async fn connect(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Ports that were free a moment ago. They are held at the same time, so they differ.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut listeners = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
