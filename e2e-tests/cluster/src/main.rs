//! Runs a cluster to try things out, until Enter is pressed.

use std::io;

use anyhow::Result;
use cluster_tests::{Cluster, HelmVersion, User};

fn main() -> Result<()> {
    let cluster = Cluster::start()?;
    let _hook_completer = cluster.complete_hooks();
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    for helm in HelmVersion::ALL {
        let program = cluster.helm_command(helm, User::Admin);
        println!("alias {helm}={}", program.get_program().display());
    }
    println!("# Press Enter to stop the cluster.");
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}
