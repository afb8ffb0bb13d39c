//! One of many clients. It edits its ConfigMap through the API server, and sends reviews to the webhook.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cluster_tests::kube;
use cluster_tests::{
    k8s_openapi::api::core::v1::ConfigMap,
    kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams},
    kube::client::Body,
    kube::config::{KubeConfigOptions, Kubeconfig},
};
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::program::Program;
use crate::review::{Question, Workload};

/// It has its own connections.
pub(crate) struct Client {
    number: usize,
    webhook: kube::Client,
    configs: Api<ConfigMap>,
    namespace: String,
    /// Its workload and its ConfigMap.
    name: String,
    setting: Option<String>,
    edits: usize,
    /// How many answers it received.
    pub(crate) answers: usize,
}

impl Client {
    /// Its objects are in `namespace` of `cluster`.
    pub(crate) async fn new(
        number: usize,
        program: &Program,
        cluster: kube::Client,
        namespace: &str,
    ) -> Result<Client> {
        let kubeconfig: Kubeconfig = serde_json::from_value(json!({
            "clusters": [{"name": "webhook", "cluster": {
                "server": format!("https://127.0.0.1:{}", program.port),
                "certificate-authority": program.ca_file()?,
            }}],
            "users": [{"name": "client", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "webhook", "user": "client"}}],
            "current-context": "test",
        }))?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client {
            number,
            webhook: kube::Client::try_from(config)?,
            configs: Api::namespaced(cluster, namespace),
            namespace: namespace.to_owned(),
            name: format!("web-{number}"),
            setting: None,
            edits: 0,
            answers: 0,
        })
    }

    /// Edits its ConfigMap and asks all questions, again and again until `end`.
    pub(crate) async fn ask_until(&mut self, end: Instant, others: &[&Question]) -> Result<()> {
        while Instant::now() < end {
            let own = self.edit().await?;
            let mut questions: Vec<_> = own.iter().chain(others.iter().copied()).collect();
            // So that not all clients ask the same question at the same time.
            let first = self.number % questions.len();
            questions.rotate_left(first);
            for question in questions {
                if Instant::now() >= end {
                    break;
                }
                let uid = format!("{}-{}", self.number, self.answers);
                let answer = self.ask(&question.review(&uid)?).await?;
                question.check(&uid, &answer)?;
            }
        }
        Ok(())
    }

    /// Sends a review and returns the answer.
    pub(crate) async fn ask(&mut self, review: &Value) -> Result<Value> {
        let request = Request::post("/validate")
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(serde_json::to_vec(review)?))?;
        let answer = self.webhook.send(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect_bytes().await?;
        let text = String::from_utf8_lossy(&body);
        ensure!(status == StatusCode::OK, "{status}: {text}");
        self.answers += 1;
        serde_json::from_slice(&body).with_context(|| text.into_owned())
    }

    /// Changes the content of its ConfigMap, and returns the questions about it.
    async fn edit(&mut self) -> Result<Vec<Question>> {
        self.edits += 1;
        let setting = format!("client {}, edit {}", self.number, self.edits);
        let data = [("setting".to_owned(), setting.clone())].into();
        let name = &self.name;
        if self.setting.is_none() {
            let config = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    ..ObjectMeta::default()
                },
                data: Some(data),
                ..ConfigMap::default()
            };
            self.configs.create(&PostParams::default(), &config).await?;
        } else {
            let patch = Patch::Merge(json!({"data": data}));
            self.configs
                .patch(name, &PatchParams::default(), &patch)
                .await?;
        }
        let workload = Workload {
            namespace: &self.namespace,
            name,
        };
        let questions = workload.questions(self.setting.as_deref(), &setting);
        self.setting = Some(setting);
        questions
    }
}
