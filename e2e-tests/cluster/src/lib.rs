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
//! `cargo run -p cluster-tests` starts one to try things out.
//!
//! A test target is a [`Suite`] of named cases that share one cluster. Each case has its own namespace. The cluster stops
//! when the suite ends, also if cases panic or the process is killed.
//!
//! Admission, storage, RBAC, the audit log, garbage collection, and the controllers that roll out workloads are real. There
//! is no kubelet and no scheduler, so pods stay `Pending` and workloads never become ready. [`HookCompleter`] ends hook
//! Jobs, and runs kubectl for Jobs whose pods would do so. Namespaces have no `kube-root-ca.crt`.

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
pub use tools::{gitops_program, workspace_program};
pub use webhook::{CLOSED_PORT, RegisteredWebhook, Webhook, creation_of};

pub use k8s_openapi;
pub use kube;
