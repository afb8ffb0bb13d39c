//! A way to the API server that can be cut.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use cluster_tests::{Cluster, User};
use serde_json::Value;

/// Passes connections on to the API server until it is dropped.
pub(crate) struct Relay {
    state: Arc<State>,
    port: u16,
}

struct State {
    to: String,
    is_cut: AtomicBool,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    pub(crate) fn start(cluster: &Cluster) -> Result<Relay> {
        let to = cluster.server().strip_prefix("https://");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            to: to.context("https")?.to_owned(),
            is_cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                // A connection that cannot be passed on is closed, as that of a server that is away.
                let _ = accepting.pass_on(connection);
            }
        });
        Ok(Relay { state, port })
    }

    /// A kubeconfig file that leads here.
    pub(crate) fn kubeconfig(&self, cluster: &Cluster, folder: &Path) -> Result<PathBuf> {
        let text = fs::read_to_string(cluster.kubeconfig_of(User::Refresh))?;
        let mut config: Value = serde_json::from_str(&text)?;
        let server = config.pointer_mut("/clusters/0/cluster/server");
        *server.context("no server")? = format!("https://127.0.0.1:{}", self.port).into();
        let path = folder.join("relay.kubeconfig");
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Ends all connections, and lets none in.
    pub(crate) fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Relaxed);
        self.state.close();
    }

    pub(crate) fn mend(&self) {
        self.state.is_cut.store(false, Ordering::Relaxed);
    }
}

impl State {
    fn pass_on(&self, client: TcpStream) -> io::Result<()> {
        if self.is_cut.load(Ordering::Relaxed) {
            return Ok(());
        }
        let server = TcpStream::connect(&self.to)?;
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        self.open().extend([client, server]);
        Ok(())
    }

    fn close(&self) {
        for connection in self.open().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        self.state.close();
        // So that the thread sees it.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}
