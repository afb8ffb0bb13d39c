//! Helm's own words for what happens to a release: operations, hook events, delete policies, statuses.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer};

/// Defines an enum whose variants have names in Helm's records; any other name is `Unknown`.
macro_rules! named {
    ($(#[$doc:meta])* $Name:ident { $($(#[$variant_doc:meta])* $Variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $Name {
            $($(#[$variant_doc])* $Variant,)+
            /// One that Helm does not know.
            Unknown,
        }

        impl $Name {
            /// As in a release record.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)+
                    Self::Unknown => "unknown",
                }
            }

            /// By its name in a release record.
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
        PreInstall = "pre-install",
        PostInstall = "post-install",
        PreDelete = "pre-delete",
        PostDelete = "post-delete",
        PreUpgrade = "pre-upgrade",
        PostUpgrade = "post-upgrade",
        PreRollback = "pre-rollback",
        PostRollback = "post-rollback",
        /// `helm test`.
        Test = "test",
    }
}

named! {
    /// When Helm deletes the object of a hook (helm `pkg/release/v1/hook.go`, HookDeletePolicy).
    DeletePolicy {
        /// The object of an earlier run, before the hook is created.
        BeforeHookCreation = "before-hook-creation",
        /// Once all hooks of the event have succeeded.
        HookSucceeded = "hook-succeeded",
        /// When the hook has failed.
        HookFailed = "hook-failed",
    }
}

named! {
    /// The status of a revision (helm `pkg/release/common/status.go`).
    Status {
        Deployed = "deployed",
        Uninstalled = "uninstalled",
        Superseded = "superseded",
        Failed = "failed",
        Uninstalling = "uninstalling",
        PendingInstall = "pending-install",
        PendingUpgrade = "pending-upgrade",
        PendingRollback = "pending-rollback",
    }
}

/// What is done to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `helm install`, and the first `helm upgrade --install`.
    Install,
    /// `helm upgrade`.
    Upgrade,
    /// `helm rollback`, and what `--rollback-on-failure` does.
    Rollback,
}

impl Operation {
    /// The operation that a revision of this status is in the middle of; `None` when it is in none.
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

    /// As in a command: `upgrade`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
        }
    }

    /// The event at which hooks of this operation run.
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
    /// After what left the release is deleted.
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
    /// Whether the event is part of an install, upgrade or rollback. Tests and deletions happen at
    /// another time.
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
