//! The protocol: an AdmissionReview in, an AdmissionReview out, in the format of policy-server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::decision::{Decision, Decisions};
use crate::{Cluster, Evaluation, Policy};

/// The limit of policy-server, which is the default of axum.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// More evaluations would slow each other down, and their time is limited. policy-server runs one per core.
const EVALUATIONS_AT_ONCE: usize = 4;

pub(super) struct Webhook {
    policy: Policy,
    settings: Value,
    cluster: Arc<dyn Cluster>,
    decisions: Arc<Decisions>,
    permits: Semaphore,
}

#[derive(Deserialize)]
struct ReviewRequest {
    request: Request,
}

/// An AdmissionRequest, and its fields that are part of a [`Decision`].
#[derive(Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Request {
    pub(super) uid: String,
    pub(super) operation: String,
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    whole: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewResponse {
    kind: &'static str,
    api_version: &'static str,
    response: AdmissionResponse,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionResponse {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<AdmissionStatus>,
    audit_annotations: Option<HashMap<String, String>>,
    warnings: Option<Vec<String>>,
}

#[derive(Serialize)]
struct AdmissionStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

/// The answer to a review that was not judged.
struct NotJudged {
    status: StatusCode,
    message: String,
}

impl Webhook {
    pub(super) fn new(
        policy: Policy,
        settings: Value,
        cluster: Arc<dyn Cluster>,
        decisions: Arc<Decisions>,
    ) -> Self {
        Self {
            policy,
            settings,
            cluster,
            decisions,
            permits: Semaphore::new(EVALUATIONS_AT_ONCE),
        }
    }

    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/validate", post(validate))
            .route("/pin-images", post(pin_images))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Arc::new(self))
    }

    /// Blocks. When this returns, the decision is recorded, even if no client waits for the answer.
    fn judge(&self, request: Request) -> anyhow::Result<ReviewResponse> {
        let start = Instant::now();
        let cluster = Arc::clone(&self.cluster);
        let evaluation = self
            .policy
            .validate(&request.whole, &self.settings, cluster)?;
        let decision = Decision::of(&request, &evaluation, start.elapsed());
        self.decisions.add(decision)?;
        Ok(ReviewResponse {
            kind: "AdmissionReview",
            api_version: "admission.k8s.io/v1",
            response: AdmissionResponse::new(request.uid, evaluation)?,
        })
    }
}

/// Another webhook, as a cluster may have one behind the policy: it gives each container image a digest, as the policy
/// verify-image-signatures does. Images that have one stay as they are.
async fn pin_images(
    review: Result<Json<ReviewRequest>, JsonRejection>,
) -> Result<Json<ReviewResponse>, NotJudged> {
    let Json(ReviewRequest { request }) = review?;
    let containers = request
        .whole
        .pointer("/object/spec/template/spec/containers");
    let images = containers.and_then(Value::as_array).into_iter().flatten();
    let pins: Vec<Value> = images
        .enumerate()
        .filter_map(|(index, container)| {
            let image = container.get("image")?.as_str()?;
            let path = format!("/spec/template/spec/containers/{index}/image");
            let pinned = format!("{image}@sha256:{}", "0".repeat(64));
            let pin = json!({"op": "replace", "path": path, "value": pinned});
            (!image.contains('@')).then_some(pin)
        })
        .collect();
    let patch = serde_json::to_vec(&pins).context("the patch cannot be written")?;
    Ok(Json(ReviewResponse {
        kind: "AdmissionReview",
        api_version: "admission.k8s.io/v1",
        response: AdmissionResponse {
            uid: request.uid,
            allowed: true,
            patch_type: Some("JSONPatch"),
            patch: Some(STANDARD.encode(patch)),
            status: None,
            audit_annotations: None,
            warnings: None,
        },
    }))
}

async fn validate(
    State(webhook): State<Arc<Webhook>>,
    review: Result<Json<ReviewRequest>, JsonRejection>,
) -> Result<Json<ReviewResponse>, NotJudged> {
    let Json(review) = review?;
    // Waiting for the permit does not count as time of the evaluation.
    let _permit = webhook
        .permits
        .acquire()
        .await
        .context("the server has stopped")?;
    let judge = {
        let webhook = Arc::clone(&webhook);
        spawn_blocking(move || webhook.judge(review.request))
    };
    Ok(Json(judge.await.context("the evaluation panicked")??))
}

impl TryFrom<Value> for Request {
    type Error = serde_json::Error;

    fn try_from(whole: Value) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct AdmissionRequest {
            uid: String,
            operation: String,
            kind: GroupVersionKind,
            namespace: Option<String>,
            name: Option<String>,
        }

        #[derive(Deserialize)]
        struct GroupVersionKind {
            kind: String,
        }

        let request = AdmissionRequest::deserialize(&whole)?;
        Ok(Self {
            uid: request.uid,
            operation: request.operation,
            kind: request.kind.kind,
            namespace: request.namespace,
            name: request.name,
            whole,
        })
    }
}

impl AdmissionResponse {
    fn new(uid: String, evaluation: Evaluation) -> anyhow::Result<Self> {
        let Evaluation {
            response, patch, ..
        } = evaluation;
        let is_patched = !patch.is_empty();
        let has_status = response.message.is_some() || response.code.is_some();
        Ok(Self {
            uid,
            allowed: response.accepted,
            patch_type: is_patched.then_some("JSONPatch"),
            patch: is_patched
                .then(|| serde_json::to_vec(&patch))
                .transpose()?
                .map(|patch| STANDARD.encode(patch)),
            status: has_status.then_some(AdmissionStatus {
                message: response.message,
                code: response.code,
            }),
            audit_annotations: response.audit_annotations,
            warnings: response.warnings,
        })
    }
}

impl From<JsonRejection> for NotJudged {
    fn from(rejection: JsonRejection) -> Self {
        Self {
            status: rejection.status(),
            message: rejection.body_text(),
        }
    }
}

impl From<anyhow::Error> for NotJudged {
    fn from(error: anyhow::Error) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: format!("{error:#}"),
        }
    }
}

impl IntoResponse for NotJudged {
    fn into_response(self) -> Response {
        let body = json!({"message": self.message, "status": self.status.as_u16()});
        (self.status, Json(body)).into_response()
    }
}
