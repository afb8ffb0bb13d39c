//! A real Kubernetes API server with real Helm 3 and Helm 4, in one command, for tests.
//!
//! ```text
//! tools/{helm3,helm4,etcd,kubernetes}    Go modules with pinned versions
//!        │ make, once
//!        ▼
//! .cache/bin      Cluster::start: one temporary folder, ports of 127.0.0.1
//!        │           etcd ◀── kube-apiserver ◀── kube-controller-manager
//!        ▼                      ▲         │
//! kubectl, helm ────────────────┘         └──▶ audit log ──▶ steps, in the order they happened
//! ```
//!
//! `cargo run -p cluster-tests` starts one to try things out on.
//!
//! A test target is a [`Suite`] of named cases, each with a namespace of its own, that share one
//! cluster. The cluster ends with the suite, also when cases panic or the process is killed.
//!
//! What is real: admission, storage, RBAC, the audit log, garbage collection, and the controllers
//! that roll out workloads. What is not: there is no kubelet and no scheduler, so pods stay
//! `Pending`, workloads never become ready, and hook Jobs end because [`HookCompleter`] says so; it
//! runs kubectl in the place of pods that would. No `kube-root-ca.crt` appears in namespaces.

mod audit;
mod cluster;
mod command;
mod credentials;
mod environment;
mod hook_completer;
mod poll;
mod processes;
mod snapshot;
mod suite;
mod tools;
mod webhook;

pub use audit::{AuditEvent, AuditLevel, AuditMark, AuditTrail, ObjectRef, Step, Verb};
pub use cluster::{Cluster, Options};
pub use command::{HelmVersion, Output, helm_template};
pub use credentials::User;
pub use environment::from_environment;
pub use hook_completer::{FAIL_ANNOTATION, HookCompleter};
pub use poll::wait_until;
pub use processes::Processes;
pub use snapshot::{Change, ObjectId, ObjectState, Snapshot};
pub use suite::{Case, Suite};
pub use tools::workspace_program;
pub use webhook::{CLOSED_PORT, RegisteredWebhook, Webhook, creation_of};

pub use k8s_openapi;
pub use kube;
