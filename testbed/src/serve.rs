//! Serves a policy as the admission webhook of a live cluster.
//!
//! ```text
//! API server ─ POST /validate, AdmissionReview ─> Server ─ Policy, on a thread of its own
//!     ^  ^                                          │         │ host calls
//!     │  └───────────── AdmissionReview ────────────┤         v
//!     └──────────────── gets and watches ───────────│──── LiveCluster
//!                                                   v
//!                          Decision: kept in memory, a line in the log (both optional)
//! ```
//!
//! Reviews that are not judged get the same answers as from policy-server, with
//! `{"message": "…", "status": 413}`:
//!
//! | status | |
//! | --- | --- |
//! | 400 | it is not JSON |
//! | 413 | it is larger than 2 MiB |
//! | 415 | its content type is not `application/json` |
//! | 422 | it is JSON, but not an AdmissionReview |
//! | 500 | the policy could not be run, or its decision could not be logged; policy-server does not say why |
//!
//! For tests of what other webhooks do to the same object, `POST /pin-images` is one that pins image digests.
//!
//! # Not supported
//!
//! There is one policy, always in the mode `protect` and allowed to mutate. There is no `/audit`, `/validate_raw` or
//! `/readiness`.

mod certificate;
mod decision;
mod webhook;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum_server::tls_rustls::RustlsConfig;
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};
use tokio::task::JoinHandle;

pub use self::certificate::CA_FILE;
use self::certificate::Tls;
pub use self::decision::Decision;
use self::decision::Decisions;
use self::webhook::Webhook;
use crate::{Kind, LiveCluster, Policy, report};

/// How long running evaluations may take after the server was stopped. This is more than an evaluation takes.
const GRACE: Duration = Duration::from_secs(5);

/// What to serve, and where.
pub struct Options {
    pub policy: Policy,
    pub settings: Value,
    /// The cluster for look-ups, and the user: those of the current context.
    pub kubeconfig: PathBuf,
    /// The kinds that the policy may look up: its `contextAwareResources`.
    pub grants: Vec<Kind>,
    /// An address of the IPv4 loopback interface, as in the certificate. Port 0 chooses a free port.
    pub listen: SocketAddr,
    /// A folder for the certificate and its key, so that a restarted server uses the same ones. If they do not exist,
    /// they are created: `ca.pem`, `server.pem` and `server.key`.
    pub certificates: Option<PathBuf>,
    /// Whether to keep the decisions for [`Server::decisions`]. Each one takes memory until the server ends.
    pub keep_decisions: bool,
    /// Where to write the decisions, as one JSON object per line. An existing file is overwritten.
    pub log: Option<PathBuf>,
    /// How long an evaluation may take. The first list of a watch may take three quarters of it.
    pub time_limit: Duration,
}

/// A policy that answers the API server of a cluster until this is dropped.
///
/// It runs on its own threads. Starting, stopping and dropping it blocks, so a task of an async runtime must not do it.
pub struct Server {
    address: SocketAddr,
    ca_pem: String,
    decisions: Arc<Decisions>,
    handle: axum_server::Handle<SocketAddr>,
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    task: JoinHandle<io::Result<()>>,
}

impl Options {
    /// The settings `{}`, a free port of 127.0.0.1, a new certificate, two seconds for an evaluation, no granted kinds,
    /// and decisions that are kept but not logged.
    pub fn new(policy: Policy, kubeconfig: impl Into<PathBuf>) -> Self {
        Self {
            policy,
            settings: json!({}),
            kubeconfig: kubeconfig.into(),
            grants: Vec::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            certificates: None,
            keep_decisions: true,
            log: None,
            time_limit: Duration::from_secs(2),
        }
    }
}

impl Server {
    /// Starts the server. When this returns, it answers reviews.
    ///
    /// # Errors
    ///
    /// When the policy rejects its settings, the kubeconfig or the address cannot be used, or the
    /// log or the certificate cannot be written.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let check = options.policy.validate_settings(&options.settings)?;
        if !check.valid {
            bail!(report::settings(&check));
        }
        let decisions = Arc::new(Decisions::new(
            options.keep_decisions,
            options.log.as_deref(),
        )?);
        let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
        let cluster = LiveCluster::connect(
            &options.kubeconfig,
            runtime.handle().clone(),
            options.grants,
        )?
        .with_list_limit(options.time_limit / 4 * 3);
        let router = Webhook::new(
            options.policy.with_time_limit(options.time_limit),
            options.settings,
            Arc::new(cluster),
            Arc::clone(&decisions),
        )
        .router();

        let tls = match &options.certificates {
            Some(folder) => Tls::kept_in(folder)?,
            None => Tls::create()?,
        };
        let listener = TcpListener::bind(options.listen)
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let handle = axum_server::Handle::new();
        let server = {
            let _inside = runtime.enter();
            axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(tls.config))?
        };
        let task = runtime.spawn(
            server
                .handle(handle.clone())
                .serve(router.into_make_service()),
        );
        Ok(Self {
            address,
            ca_pem: tls.ca_pem,
            decisions,
            handle,
            running: Some(Running { runtime, task }),
        })
    }

    /// Where to send reviews: `https://127.0.0.1:PORT/validate`.
    pub fn url(&self) -> String {
        format!("https://{}/validate", self.address)
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate, in PEM, that clients must trust: the `caBundle` of a webhook.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The decisions so far, in order. Empty if they are not kept. A decision is listed before the API server receives
    /// the answer.
    pub fn decisions(&self) -> Vec<Decision> {
        self.decisions.all()
    }

    /// Accepts no more reviews, answers the ones it has, and stops. Dropping it does the same.
    ///
    /// # Errors
    ///
    /// When a network error stopped it earlier.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> anyhow::Result<()> {
        let Some(Running { runtime, task }) = self.running.take() else {
            return Ok(());
        };
        self.handle.graceful_shutdown(Some(GRACE));
        let ended = runtime.block_on(task);
        // Does not wait for an evaluation that still waits for the API server.
        runtime.shutdown_background();
        ended??;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The clients have already seen an error.
        let _ = self.shut_down();
    }
}
