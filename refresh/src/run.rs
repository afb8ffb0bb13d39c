//! The loop: what is seen goes into the queue, and what is due is patched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    api::apps::v1::{DaemonSet, Deployment, StatefulSet},
    jiff::{Timestamp, tz::TimeZone},
};
use kube::{Client, api::ApiResource, core::GroupVersionKind, discovery};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::{JoinError, JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    args::{Args, Workloads},
    lease::{Election, Place},
    metrics::Metrics,
    object::{Choice, GroupKind},
    pace::{Pace, Rate, Window, is_open},
    patch::{Outcome, Patcher, Report, list},
    serve::{Pulse, serve},
    watch::{Scope, Seen, Watch},
    work::{Handled, Timing, Work},
};

/// Patches on the way at the same time.
const AT_ONCE: usize = 16;

/// Those of them in one namespace, so that a slow webhook does not hold up the others.
const IN_ONE_NAMESPACE: usize = 8;

/// The loop turns at least this often.
const TURN: Duration = Duration::from_secs(1);

/// The longest silence of the API server.
const READ_LIMIT: Duration = Duration::from_secs(295);

/// The same for the Lease, which must not wait so long.
const LEASE_READ_LIMIT: Duration = Duration::from_secs(5);

/// How long an answer about the Lease is waited for. After an election, nothing else happens meanwhile.
const LEASE_LIMIT: Duration = Duration::from_secs(1);

/// How often the others are told while there is always something to do.
const PUBLISH: Duration = Duration::from_millis(500);

/// How often the others listen.
const LISTEN: Duration = Duration::from_secs(2);

/// How long patches on the way are waited for in the end.
const GOODBYE: Duration = Duration::from_secs(10);

/// The first pause after a patch that failed, or that the policy did not see.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Runs until it is told to end.
pub(crate) async fn run(args: Args) -> Result<()> {
    let mut config = kube::Config::infer()
        .await
        .context("no access to a cluster")?;
    // A server that is gone without a word. Watches are asked for anew within 290 seconds (kube-runtime).
    config.read_timeout = Some(READ_LIMIT);
    let own_namespace = config.default_namespace.clone();
    let client = Client::try_from(config.clone())?;
    config.read_timeout = Some(LEASE_READ_LIMIT);
    let lease_client = Client::try_from(config)?;
    let kinds = kinds(&client, &args.kinds).await?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("--listen {}", args.listen))?;
    tracing::info!(address = %listener.local_addr()?, "serves /healthz, /readyz and /metrics");
    let metrics = Arc::new(Metrics::new());
    let pulse = Pulse::new();
    tokio::spawn(serve(listener, Arc::clone(&metrics), pulse.clone()));

    let identity = match args.identity.clone() {
        Some(identity) => identity,
        None => format!(
            "{}-{}",
            std::process::id(),
            Timestamp::now().as_nanosecond()
        ),
    };
    let scope = Arc::new(scope(&args, kinds.clone()));
    let (sender, seen) = mpsc::channel(1024);
    for watch in scope.watches() {
        let watching =
            Arc::clone(&scope).run(watch, client.clone(), Arc::clone(&metrics), sender.clone());
        tokio::spawn(watching);
    }
    let place = Place {
        namespace: args.lease_namespace.clone().unwrap_or(own_namespace),
        name: args.lease.clone(),
        identity: identity.clone(),
        duration: args.lease_duration,
        scope: scope.fingerprint(),
    };
    let mut refresh = Refresh {
        work: Work::new(timing(&args), !args.namespaces.is_empty()),
        pace: pace(&args),
        windows: args.windows,
        patcher: Patcher::new(client.clone(), kinds, args.dry_run, identity),
        patches: JoinSet::new(),
        unlisted: scope.watches().into_iter().collect(),
        // A dry run leaves the Lease to those that patch.
        election: (!args.dry_run).then(|| Election::join(lease_client, place)),
        leads: args.dry_run,
        taken_over: Handled::new(),
        published: Handled::new(),
        unpublished_since: None,
        heard_at: Instant::now(),
        handing_over: None,
        metrics,
    };
    refresh.turn(seen, &pulse).await?;
    refresh.end().await;
    Ok(())
}

/// The kinds of Kubernetes, and those of the flags, as `GROUP/VERSION/KIND`.
async fn kinds(
    client: &Client,
    further: &[String],
) -> Result<BTreeMap<Arc<GroupKind>, ApiResource>> {
    let mut resources = vec![
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<DaemonSet>(&()),
    ];
    for text in further {
        let parts: Vec<_> = text.split('/').collect();
        let &[group, version, kind] = parts.as_slice() else {
            bail!(
                "--kind {text}: expected GROUP/VERSION/KIND, such as argoproj.io/v1alpha1/Rollout"
            );
        };
        let kind = GroupVersionKind::gvk(group, version, kind);
        let found = discovery::pinned_kind(client, &kind).await;
        resources.push(found.with_context(|| format!("--kind {text}"))?.0);
    }
    let named = resources.into_iter().map(|resource| {
        let kind = GroupKind {
            group: resource.group.clone(),
            kind: resource.kind.clone(),
        };
        (Arc::new(kind), resource)
    });
    Ok(named.collect())
}

fn scope(args: &Args, kinds: BTreeMap<Arc<GroupKind>, ApiResource>) -> Scope {
    Scope {
        namespaces: args
            .namespaces
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        excluded_namespaces: args.excluded_namespaces.clone(),
        workload_selector: args.workload_selector.clone(),
        config_selector: args.config_selector.clone(),
        choice: Choice {
            all: args.workloads == Workloads::All,
            image_pull_secrets: args.image_pull_secrets,
        },
        kinds,
    }
}

fn timing(args: &Args) -> Timing {
    Timing {
        delay: args.delay,
        interval: args.interval,
        retry: (FIRST_RETRY, args.max_retry.max(FIRST_RETRY)),
        unrecorded: (FIRST_RETRY, args.max_unrecorded.max(FIRST_RETRY)),
    }
}

fn pace(args: &Args) -> Pace {
    let cluster = Rate {
        each_second: args.rate,
        burst: args.burst,
    };
    let namespace = Rate {
        each_second: args.namespace_rate,
        burst: args.namespace_burst,
    };
    Pace::new(cluster, namespace, args.gentle_rate)
}

/// Never, if there is no task.
async fn ended<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T> {
    let answer = timeout(LEASE_LIMIT, answer).await;
    Ok(answer.context("no answer in time")??)
}

/// Whether this replica leads now. Never, in a dry run.
async fn leads_changed(election: &mut Option<Election>) -> Result<bool, watch::error::RecvError> {
    match election {
        Some(election) => {
            election.leads.changed().await?;
            Ok(*election.leads.borrow_and_update())
        }
        None => std::future::pending().await,
    }
}

/// What went by way of the Lease.
enum HandOver {
    Published(Handled),
    Heard(Handled),
}

struct Refresh {
    work: Work,
    pace: Pace,
    windows: Vec<Window>,
    patcher: Patcher,
    patches: JoinSet<Report>,
    /// The watches that have not listed yet what there is.
    unlisted: BTreeSet<Watch>,
    election: Option<Election>,
    leads: bool,
    /// What the leader before had dealt with, when this one was elected.
    taken_over: Handled,
    published: Handled,
    /// Since when there is something to publish.
    unpublished_since: Option<Instant>,
    heard_at: Instant,
    handing_over: Option<JoinHandle<Result<HandOver>>>,
    metrics: Arc<Metrics>,
}

impl Refresh {
    async fn turn(&mut self, mut seen: mpsc::Receiver<Seen>, pulse: &Pulse) -> Result<()> {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut batch = Vec::new();
        loop {
            pulse.beat();
            let wake = self.patch_what_is_due();
            self.hand_over();
            self.metrics.set_sizes(self.work.sizes());
            tokio::select! {
                _ = terminated.recv() => return Ok(()),
                _ = interrupted.recv() => return Ok(()),
                received = seen.recv_many(&mut batch, 256) => {
                    if received == 0 {
                        bail!("all watches have ended");
                    }
                    for seen in batch.drain(..) {
                        self.saw(seen);
                    }
                }
                Some(report) = self.patches.join_next() => self.patched(report?),
                ended = ended(&mut self.handing_over) => self.handed_over(ended),
                changed = leads_changed(&mut self.election) => {
                    self.elected(changed.context("the election has ended")?).await;
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    fn saw(&mut self, seen: Seen) {
        let now = Instant::now();
        match seen {
            Seen::Configs(source, listed) => {
                self.work.configs_listed(&source, listed, now);
                self.listed(&Watch::Configs(source), now);
            }
            Seen::Config(id, version) => self.work.config_seen(id, version, now),
            Seen::ConfigGone(id, revision) => self.work.config_deleted(id, revision, now),
            Seen::Workloads(place, listed) => {
                let (kind, namespace) = &place;
                self.work.workloads_listed(
                    |id| {
                        let same = |namespace: &Arc<str>| *namespace == id.namespace;
                        id.kind == *kind && namespace.as_ref().is_none_or(same)
                    },
                    listed,
                    now,
                );
                self.listed(&Watch::Workloads(place), now);
            }
            Seen::Workload(id, workload) => self.work.workload_seen(&id, workload, now),
            Seen::WorkloadGone(id) => self.work.workload_deleted(&id),
            Seen::Namespaces(listed) => {
                for (namespace, opts_out) in &listed {
                    self.work.namespace_seen(namespace, *opts_out, now);
                }
                self.listed(&Watch::Namespaces, now);
            }
            Seen::Namespace(namespace, opts_out) => {
                self.work.namespace_seen(&namespace, opts_out, now);
            }
        }
    }

    fn listed(&mut self, watch: &Watch, now: Instant) {
        if self.unlisted.remove(watch) && self.unlisted.is_empty() {
            self.work.complete(now);
            self.work.taken_over(&self.taken_over);
            self.metrics.set_ready();
            let sizes = self.work.sizes();
            tracing::info!(
                workloads = sizes.workloads,
                configs = sizes.configs,
                to_check = sizes.gentle,
                "all watches run"
            );
        }
    }

    async fn elected(&mut self, leads: bool) {
        if let (true, Some(election)) = (leads, &self.election) {
            self.taken_over = match in_time(election.handled()).await {
                Ok(handled) => handled,
                // Then patches are sent again, which changes nothing.
                Err(error) => {
                    tracing::warn!("the Lease cannot be read: {error:#}");
                    Handled::new()
                }
            };
            if self.unlisted.is_empty() {
                self.work.taken_over(&self.taken_over);
            }
        }
        if leads != self.leads {
            tracing::info!(leads, "the leader was elected");
        }
        self.leads = leads;
        self.published = Handled::new();
        self.metrics.set_leads(leads);
    }

    /// Sends the patches that are due and allowed. When to look again.
    fn patch_what_is_due(&mut self) -> Instant {
        let now = Instant::now();
        let turn = now + TURN;
        let is_open = is_open(&self.windows, &Timestamp::now().to_zoned(TimeZone::UTC));
        self.metrics.set_window_open(is_open);
        if !self.leads || !self.unlisted.is_empty() || !is_open {
            return turn;
        }
        self.pace.forget_idle(now);
        let mut again = turn;
        while self.patches.len() < AT_ONCE {
            let pace = &mut self.pace;
            let work = &self.work;
            let next = work.next(now, |lane, id| {
                if work.on_the_way(&id.namespace) >= IN_ONE_NAMESPACE {
                    return false;
                }
                let permit = pace.permit(lane, &id.namespace, now);
                permit.map_err(|until| again = again.min(until)).is_ok()
            });
            let task = next.and_then(|id| self.work.begin(&id, now));
            let Some(task) = task else {
                let later = self.work.next_at().filter(|at| *at > now);
                return later.map_or(again, |at| at.min(again));
            };
            self.patches.spawn(self.patcher.clone().run(task));
        }
        again
    }

    fn patched(&mut self, report: Report) {
        let Report {
            task,
            outcome,
            after,
            warnings,
        } = &report;
        let workload = &task.workload;
        let dry_run = self.election.is_none();
        let configs = list(task);
        let result = outcome.name();
        let warnings = warnings.join("; ");
        match outcome {
            Outcome::RolledOut => {
                let after = after.as_millis();
                tracing::info!(%workload, configs, result, after_ms = after, warnings, dry_run, "patched");
            }
            Outcome::Denied(error) | Outcome::Unavailable(error) => {
                tracing::warn!(%workload, configs, result, error, "will be patched again");
            }
            Outcome::Unseen => {
                tracing::warn!(%workload, configs, result, warnings, "the policy is away; will be patched again");
            }
            Outcome::Unrecorded | Outcome::Conflict => {
                tracing::debug!(%workload, configs, result, warnings, "will be patched again");
            }
            Outcome::Recorded | Outcome::Unchanged | Outcome::Gone => {
                tracing::info!(%workload, configs, result, warnings, dry_run, "patched");
            }
        }
        self.metrics.patched(&report);
        self.work.end(
            &report.task.workload,
            report.outcome.ending(),
            Instant::now(),
        );
    }

    /// The leader tells the others up to where all is dealt with, and they listen. Patches do not wait for it.
    fn hand_over(&mut self) {
        let (Some(election), None) = (&self.election, &self.handing_over) else {
            return;
        };
        let now = Instant::now();
        if !self.unlisted.is_empty() {
            return;
        }
        if !self.leads {
            if now >= self.heard_at + LISTEN {
                self.heard_at = now;
                let handled = election.handled();
                self.handing_over = Some(tokio::spawn(async move {
                    in_time(handled).await.map(HandOver::Heard)
                }));
            }
            return;
        }
        let handled = self.work.handled();
        if handled == self.published {
            self.unpublished_since = None;
            return;
        }
        // While there is something to do, the news is old at once.
        let since = *self.unpublished_since.get_or_insert(now);
        if self.work.is_busy(now) && now < since + PUBLISH {
            return;
        }
        self.unpublished_since = None;
        let publishing = election.publish(handled.clone());
        self.handing_over = Some(tokio::spawn(async move {
            in_time(publishing)
                .await
                .map(|()| HandOver::Published(handled))
        }));
    }

    /// A failure is tried again at a next turn.
    fn handed_over(&mut self, ended: Result<Result<HandOver>, JoinError>) {
        self.handing_over = None;
        match ended.map_err(anyhow::Error::from).flatten() {
            Ok(HandOver::Published(handled)) => self.published = handled,
            Ok(HandOver::Heard(handled)) => self.work.taken_over(&handled),
            Err(error) => tracing::debug!("the Lease cannot be used: {error:#}"),
        }
    }

    /// Waits for the patches on the way, and lets another replica lead.
    async fn end(mut self) {
        let rest = async {
            while let Some(report) = self.patches.join_next().await {
                match report {
                    Ok(report) => self.patched(report),
                    Err(error) => tracing::warn!(%error, "a patch was not finished"),
                }
            }
        };
        if timeout(GOODBYE, rest).await.is_err() {
            tracing::warn!("some patches had no answer");
        }
        if self.handing_over.is_some() {
            let ended = ended(&mut self.handing_over).await;
            self.handed_over(ended);
        }
        self.hand_over();
        if self.leads && self.handing_over.is_some() {
            let ended = ended(&mut self.handing_over).await;
            self.handed_over(ended);
        }
        if let Some(election) = self.election {
            election.leave().await;
        }
    }
}
