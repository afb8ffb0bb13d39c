//! Starting and stopping the cluster.

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

/// It takes seconds, but a machine that is busy compiling can stretch them.
const START_LIMIT: Duration = Duration::from_secs(120);

/// What tests look at: rollouts, garbage collection, namespaces that go away, and the built-in
/// roles (`view` is put together by a controller).
///
/// Not the controller for Jobs: there is no kubelet to run their pods, so `HookCompleter` ends
/// them instead.
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

/// What a cluster may be started with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How much the audit log tells about each request.
    pub audit_level: AuditLevel,
}

/// A running cluster. Dropping it ends its processes and removes its files.
pub struct Cluster {
    // Dropped in this order: the processes before the folder that they write to.
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
    /// A program cannot be built or run, or the API server does not get ready.
    pub fn start() -> Result<Cluster> {
        Cluster::start_with(Options::default())
    }

    /// Starts a cluster and waits until its API server is ready.
    ///
    /// # Errors
    /// A program cannot be built or run, or the API server does not get ready.
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

        // All at once: each waits for the one that it needs.
        let mut processes = Processes::new(folder.path())?;
        processes.start("etcd", &tools.path("etcd"), etcd_flags(etcd_port))?;
        processes.start(
            "kube-apiserver",
            &tools.path("kube-apiserver"),
            apiserver_flags(&credentials, etcd_port, server_port),
        )?;
        processes.start(
            "kube-controller-manager",
            &tools.path("kube-controller-manager"),
            controller_manager_flags(&credentials),
        )?;

        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let client = runtime.block_on(connect(&credentials.kubeconfig(User::Admin)))?;
        wait_until("the API server gets ready", START_LIMIT, || {
            processes.check()?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            let answer = runtime.block_on(client.request_text(request));
            Ok(answer.is_ok().then_some(()))
        })?;
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

    /// The certificate that signed the API server's.
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

    /// Waits for a future, a request of [`Cluster::client`] for instance.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Fails when one of its programs has ended, with the end of its log.
    ///
    /// # Errors
    /// That is the one.
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
    /// The API server refused.
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

    pub(crate) fn audit_log(&self) -> PathBuf {
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
        // What is lost in a crash is thrown away anyway.
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
        // ServiceAccount would refuse pods until a controller has made the namespace's service
        // account. StorageObjectInUseProtection would hold deleted claims until a controller has
        // seen that no pod uses them; none does, without a kubelet.
        "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection".to_owned(),
        format!("--audit-policy-file={AUDIT_POLICY}"),
        format!("--audit-log-path={AUDIT_LOG}"),
        // A request is in the log before its answer is complete, and the log is never rotated away.
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
        // It serves nobody: no port is needed.
        "--secure-port=0".to_owned(),
    ];
    flags.into()
}

async fn connect(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Ports that were free a moment ago. Held all at once, so that they differ.
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
