//! `/healthz` and `/readyz` for the kubelet, `/metrics` for Prometheus.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, http::StatusCode, http::header::CONTENT_TYPE, routing::get};
use tokio::{net::TcpListener, time::Instant};

use crate::metrics::Metrics;

/// The loop has nothing to do for no longer than a second, so this is many turns.
const STUCK: u64 = 30;

/// Shows that the loop turns.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    since: Instant,
    last: Arc<AtomicU64>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            last: Arc::default(),
        }
    }

    pub(crate) fn beat(&self) {
        self.last
            .store(self.since.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        self.since.elapsed().as_secs().saturating_sub(last) < STUCK
    }
}

/// Answers until the program ends.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    pulse: Pulse,
) -> std::io::Result<()> {
    let status = |ok: bool| match ok {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not yet"),
    };
    let ready = Arc::clone(&metrics);
    let routes = Router::new()
        .route("/healthz", get(async move || status(pulse.is_alive())))
        .route("/readyz", get(async move || status(ready.is_ready())))
        .route(
            "/metrics",
            get(async move || {
                let text = metrics
                    .text()
                    .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR);
                text.map(|text| ([(CONTENT_TYPE, OPEN_METRICS)], text))
            }),
        );
    axum::serve(listener, routes).await
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
