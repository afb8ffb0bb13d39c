//! Helm's own words for what happens to a release: operations, hook events, delete policies, statuses.
//!
//! In: the names in release records and annotations. Out: enums. Refuses: nothing; an unknown name becomes
//! `Unknown`.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer};

/// Defines an enum whose variants have names in Helm's records. Any other name is `Unknown`.
macro_rules! named {
    ($(#[$doc:meta])* $Name:ident { $($(#[$variant_doc:meta])* $Variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $Name {
            $($(#[$variant_doc])* $Variant,)+
            /// A name that Helm does not know.
            Unknown,
        }

        impl $Name {
            /// The name in a release record; `unknown` for an unknown one.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)+
                    Self::Unknown => "unknown",
                }
            }

            /// The variant with this name in a release record.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($name => Self::$Variant,)+
                    _ => Self::Unknown,
                }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from_name(&Cow::<str>::deserialize(deserializer)?))
            }
        }
    };
}

named! {
    /// When a hook runs (helm `pkg/release/v1/hook.go`, HookEvent).
    Event {
        /// Before an install creates the resources.
        PreInstall = "pre-install",
        /// After an install has created the resources.
        PostInstall = "post-install",
        /// Before `helm uninstall` deletes the resources.
        PreDelete = "pre-delete",
        /// After `helm uninstall` has deleted the resources.
        PostDelete = "post-delete",
        /// Before an upgrade changes the resources.
        PreUpgrade = "pre-upgrade",
        /// After an upgrade has changed the resources.
        PostUpgrade = "post-upgrade",
        /// Before a rollback changes the resources.
        PreRollback = "pre-rollback",
        /// After a rollback has changed the resources.
        PostRollback = "post-rollback",
        /// During `helm test`.
        Test = "test",
    }
}

named! {
    /// When Helm deletes the object of a hook (helm `pkg/release/v1/hook.go`, HookDeletePolicy).
    DeletePolicy {
        /// Before the hook is created: the object of an earlier run. The default.
        BeforeHookCreation = "before-hook-creation",
        /// After all hooks of the event have succeeded.
        HookSucceeded = "hook-succeeded",
        /// After the hook has failed.
        HookFailed = "hook-failed",
    }
}

named! {
    /// The status of a revision (helm `pkg/release/common/status.go`).
    Status {
        /// It was installed, and nothing has replaced it.
        Deployed = "deployed",
        /// The release was uninstalled with `--keep-history`.
        Uninstalled = "uninstalled",
        /// A later revision has replaced it.
        Superseded = "superseded",
        /// Its operation failed.
        Failed = "failed",
        /// `helm uninstall` is running.
        Uninstalling = "uninstalling",
        /// `helm install` is running, or was interrupted.
        PendingInstall = "pending-install",
        /// `helm upgrade` is running, or was interrupted.
        PendingUpgrade = "pending-upgrade",
        /// `helm rollback` is running, or was interrupted.
        PendingRollback = "pending-rollback",
    }
}

named! {
    /// Who merges what is applied with what exists (helm `pkg/release/v1/release.go`, ApplyMethod).
    ApplyMethod {
        /// The client: Helm 3, and releases that Helm 3 began.
        ClientSide = "csa",
        /// The API server, which patches a hook onto an object that exists.
        ServerSide = "ssa",
    }
}

/// What is done to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `helm install`, or the first `helm upgrade --install`.
    Install,
    /// `helm upgrade`.
    Upgrade,
    /// `helm rollback`, or the automatic rollback of `--rollback-on-failure`.
    Rollback,
}

impl Operation {
    /// The operation that is under way for a revision with this status; `None` if none is.
    pub fn pending(status: Status) -> Option<Self> {
        match status {
            Status::PendingInstall => Some(Self::Install),
            Status::PendingUpgrade => Some(Self::Upgrade),
            Status::PendingRollback => Some(Self::Rollback),
            Status::Deployed
            | Status::Uninstalled
            | Status::Superseded
            | Status::Failed
            | Status::Uninstalling
            | Status::Unknown => None,
        }
    }

    /// The name of the command: `upgrade`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
        }
    }

    /// The event of the hooks that run at a stage of this operation.
    pub fn event(self, stage: Stage) -> Event {
        match (self, stage) {
            (Self::Install, Stage::Pre) => Event::PreInstall,
            (Self::Install, Stage::Post) => Event::PostInstall,
            (Self::Upgrade, Stage::Pre) => Event::PreUpgrade,
            (Self::Upgrade, Stage::Post) => Event::PostUpgrade,
            (Self::Rollback, Stage::Pre) => Event::PreRollback,
            (Self::Rollback, Stage::Post) => Event::PostRollback,
        }
    }
}

/// When the hooks of an operation run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the resources are applied.
    Pre,
    /// After the resources are applied, and those that left the release are deleted.
    Post,
}

impl Stage {
    /// `pre` or `post`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

impl Event {
    /// Whether the event is part of an install, upgrade or rollback, and not of `helm test` or
    /// `helm uninstall`.
    pub fn is_of_operation(self) -> bool {
        match self {
            Self::PreInstall
            | Self::PostInstall
            | Self::PreUpgrade
            | Self::PostUpgrade
            | Self::PreRollback
            | Self::PostRollback => true,
            Self::PreDelete | Self::PostDelete | Self::Test | Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_by_the_status() {
        for (status, expected) in [
            ("pending-install", Some(Operation::Install)),
            ("pending-upgrade", Some(Operation::Upgrade)),
            ("pending-rollback", Some(Operation::Rollback)),
            ("deployed", None),
            ("superseded", None),
            ("failed", None),
            ("uninstalling", None),
            ("uninstalled", None),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(
                Operation::pending(Status::from_name(status)),
                expected,
                "{status}"
            );
        }
    }
}
