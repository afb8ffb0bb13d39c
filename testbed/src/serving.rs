//! The command `serve`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{self, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use testbed::serve::{CA_FILE, Options, Server};
use testbed::{Kind, Policy};
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Args)]
pub(crate) struct ServerArgs {
    /// The cluster for look-ups, and the user: those of the current context
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Where to listen; port 0 chooses a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A folder for ca.pem and the certificate, so that the next start uses the same ones; by default a
    /// temporary folder
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// A kind that the policy may look up; can be repeated
    #[arg(long, value_name = "VERSION/KIND")]
    grant: Vec<Kind>,
    /// Where to write the decisions, as one JSON object per line
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

impl ServerArgs {
    /// Prints `{"url": "https://127.0.0.1:PORT/validate", "ca": "PATH"}` when ready, and returns after a signal.
    pub(crate) fn serve(self, policy: Policy, settings: Value) -> anyhow::Result<()> {
        // First of all, so that no signal is missed.
        let mut signals = Signals::catch()?;
        let (certificates, _removed_at_the_end) = match self.cert_dir {
            Some(folder) => (folder, None),
            None => {
                let folder = tempfile::Builder::new().prefix("testbed-").tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let ca = path::absolute(certificates.join(CA_FILE))?;
        let server = Server::start(Options {
            settings,
            grants: self.grant,
            listen: self.listen,
            certificates: Some(certificates),
            // The program does not use them, and may run for a long time.
            keep_decisions: false,
            log: self.log,
            ..Options::new(policy, self.kubeconfig)
        })?;

        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", json!({"url": server.url(), "ca": ca}))?;
        stdout.flush()?;
        signals.wait();
        server.stop()
    }
}

struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let [terminate, interrupt] = {
            let _inside = runtime.enter();
            [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            ]
        };
        Ok(Self {
            runtime,
            terminate,
            interrupt,
        })
    }

    fn wait(&mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        });
    }
}
