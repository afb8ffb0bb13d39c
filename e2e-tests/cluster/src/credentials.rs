//! Keys, certificates and tokens of one cluster. They are created at its start and removed at its end.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

/// A user of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// A member of `system:masters`, who may do everything.
    Admin,
    /// The user `restricted`, who may do only what the RBAC objects of a test allow.
    Restricted,
    /// The user `refresh`, for another program with the rights of its RBAC objects alone.
    Refresh,
    /// The controllers. Their own name distinguishes them in the audit log.
    ControllerManager,
}

impl User {
    const ALL: [User; 4] = [
        User::Admin,
        User::Restricted,
        User::Refresh,
        User::ControllerManager,
    ];

    /// The user name that RBAC objects and the audit log use.
    pub fn name(self) -> &'static str {
        match self {
            User::Admin => "admin",
            User::Restricted => "restricted",
            User::Refresh => "refresh",
            User::ControllerManager => "system:kube-controller-manager",
        }
    }

    fn groups(self) -> &'static str {
        match self {
            // The built-in role of the controller manager allows little more than requesting a token for each
            // controller, which does not work here.
            User::Admin | User::ControllerManager => "system:masters",
            User::Restricted | User::Refresh => "",
        }
    }

    fn file_stem(self) -> &'static str {
        match self {
            User::Admin => "admin",
            User::Restricted => "restricted",
            User::Refresh => "refresh",
            User::ControllerManager => "kube-controller-manager",
        }
    }
}

/// The files for the configuration of the API server and its clients.
#[derive(Debug)]
pub(crate) struct Credentials {
    folder: PathBuf,
    admin_token: String,
    restricted_token: String,
    refresh_token: String,
    controller_manager_token: String,
}

impl Credentials {
    /// Writes everything into `folder`, for an API server at `server`.
    pub(crate) fn create(folder: &Path, server: &str) -> Result<Credentials> {
        let credentials = Credentials {
            folder: folder.to_owned(),
            admin_token: random_token()?,
            restricted_token: random_token()?,
            refresh_token: random_token()?,
            controller_manager_token: random_token()?,
        };
        credentials.write_certificates()?;
        let mut tokens = String::new();
        for user in User::ALL {
            let (token, name, groups) = (credentials.token(user), user.name(), user.groups());
            writeln!(tokens, "{token},{name},{name},{groups}")?;
            let kubeconfig = json!({
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": {
                    "server": server, "certificate-authority": credentials.ca_file(),
                }}],
                "users": [{"name": user.name(), "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user.name()}}],
                "current-context": "test",
            });
            fs::write(credentials.kubeconfig(user), kubeconfig.to_string())?;
        }
        fs::write(credentials.token_table(), tokens)?;
        Ok(credentials)
    }

    fn write_certificates(&self) -> Result<()> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name
            .push(DnType::CommonName, "cluster-tests");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate()?;
        fs::write(self.ca_file(), ca.self_signed(&ca_key)?.pem())?;

        let key = KeyPair::generate()?;
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate =
            CertificateParams::new(names)?.signed_by(&key, &Issuer::new(ca, ca_key))?;
        fs::write(self.serving_certificate(), certificate.pem())?;
        fs::write(self.serving_key(), key.serialize_pem())?;

        let key = KeyPair::generate()?;
        fs::write(self.service_account_key(), key.serialize_pem())?;
        fs::write(self.service_account_public_key(), key.public_key_pem())?;
        Ok(())
    }

    pub(crate) fn token(&self, user: User) -> &str {
        match user {
            User::Admin => &self.admin_token,
            User::Restricted => &self.restricted_token,
            User::Refresh => &self.refresh_token,
            User::ControllerManager => &self.controller_manager_token,
        }
    }

    pub(crate) fn kubeconfig(&self, user: User) -> PathBuf {
        self.folder.join(format!("{}.kubeconfig", user.file_stem()))
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    pub(crate) fn serving_certificate(&self) -> PathBuf {
        self.folder.join("apiserver.crt")
    }

    pub(crate) fn serving_key(&self) -> PathBuf {
        self.folder.join("apiserver.key")
    }

    pub(crate) fn service_account_key(&self) -> PathBuf {
        self.folder.join("service-account.key")
    }

    pub(crate) fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("service-account.pub")
    }

    pub(crate) fn token_table(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).context("no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
