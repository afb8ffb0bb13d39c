//! A stub of an API server, which returns prepared answers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// Serves ConfigMaps and Namespaces, and listens until it is dropped.
pub(crate) struct ApiServer {
    runtime: Option<Runtime>,
    state: Arc<ApiState>,
    folder: TempDir,
}

#[derive(Default)]
struct ApiState {
    answers: Mutex<HashMap<String, Answer>>,
    requests: Mutex<Vec<String>>,
    watchers: Mutex<Vec<UnboundedSender<String>>>,
    released: watch::Sender<bool>,
}

#[derive(Clone)]
enum Answer {
    Json(u16, Value),
    /// The same, but not before [`ApiServer::release`].
    Held(u16, Value),
}

impl ApiServer {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let state = Arc::new(ApiState::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        let server = {
            let _inside = runtime.enter();
            axum_server::from_tcp(listener).unwrap()
        };
        runtime.spawn(server.serve(router.into_make_service()));

        let folder = tempfile::tempdir().unwrap();
        write_kubeconfig(&folder.path().join("kubeconfig"), address);
        let api = Self {
            runtime: Some(runtime),
            state,
            folder,
        };
        api.answer(
            "/api/v1",
            200,
            json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                {"name": "configmaps", "kind": "ConfigMap", "namespaced": true,
                 "singularName": "configmap", "verbs": []},
                {"name": "namespaces", "kind": "Namespace", "namespaced": false,
                 "singularName": "namespace", "verbs": []},
            ]}),
        );
        api
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets the answer for a path. Without one, the answer is 404.
    pub(crate) fn answer(&self, path: &str, status: u16, body: Value) {
        self.set(path, Answer::Json(status, body));
    }

    /// The same, but requests wait until [`Self::release`].
    pub(crate) fn hold(&self, path: &str, status: u16, body: Value) {
        self.set(path, Answer::Held(status, body));
    }

    fn set(&self, path: &str, answer: Answer) {
        let mut answers = self.state.answers.lock().unwrap();
        answers.insert(path.to_owned(), answer);
    }

    /// Answers the waiting requests, and stops holding requests.
    pub(crate) fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Sends an event to each watch.
    pub(crate) fn send_event(&self, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object}).to_string() + "\n";
        for watcher in self.state.watchers.lock().unwrap().iter() {
            watcher.send(event.clone()).unwrap();
        }
    }

    /// Paths and queries of the requests so far, without those for the discovery of the API.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.state.requests.lock().unwrap();
        let asked = requests.iter().filter(|path| *path != "/api/v1");
        asked.cloned().collect()
    }

    pub(crate) fn watches(&self) -> usize {
        self.state.watchers.lock().unwrap().len()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The Status that an API server sends with an error.
pub(crate) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
           "code": code, "reason": reason, "message": message})
}

async fn answer(State(state): State<Arc<ApiState>>, uri: Uri) -> Response {
    state.requests.lock().unwrap().push(uri.to_string());
    if uri
        .query()
        .is_some_and(|query| query.contains("watch=true"))
    {
        let (sender, events) = mpsc::unbounded_channel();
        state.watchers.lock().unwrap().push(sender);
        return Body::from_stream(stream(events)).into_response();
    }

    let answer = state.answers.lock().unwrap().get(uri.path()).cloned();
    let (code, body) = match answer {
        Some(Answer::Json(code, body)) => (code, body),
        Some(Answer::Held(code, body)) => {
            state
                .released
                .subscribe()
                .wait_for(|&released| released)
                .await
                .unwrap();
            (code, body)
        }
        None => (404, status(404, "NotFound", "not found")),
    };
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

fn stream(
    events: UnboundedReceiver<String>,
) -> impl futures::Stream<Item = Result<String, Infallible>> {
    futures::stream::unfold(events, |mut events| async {
        let event = events.recv().await?;
        Some((Ok(event), events))
    })
}

fn write_kubeconfig(path: &Path, server: SocketAddr) {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stub", "cluster": {"server": format!("http://{server}")}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "stub", "user": "test"}}],
        "current-context": "test",
    });
    std::fs::write(path, kubeconfig.to_string()).unwrap();
}
