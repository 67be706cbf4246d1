//! Harness failures: what failed, where, and what to do.

/// A failure of the lab itself; never of a peer under test.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("{what}: {source}{}", hint(.source))]
    System {
        /// What was tried, and where.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A helper program failed.
    #[error("{what}: {detail}")]
    Helper {
        /// What was tried.
        what: String,
        /// What it said, and what to do.
        detail: String,
    },
}

impl Error {
    /// Says what was being tried when the system refused.
    pub fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Error::System { what, source }
    }

    /// The same for errors of the `nix` crate.
    pub fn errno(what: impl Into<String>) -> impl FnOnce(nix::Error) -> Self {
        let what = what.into();
        move |errno| Error::System { what, source: errno.into() }
    }

    /// A helper program failed, and why.
    pub fn helper(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Error::Helper { what: what.into(), detail: detail.into() }
    }
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            " (the lab needs root, or unprivileged user namespaces: `sysctl kernel.unprivileged_userns_clone kernel.apparmor_restrict_unprivileged_userns`)"
        }
        std::io::ErrorKind::StorageFull => " (free some space; what was written so far is kept)",
        std::io::ErrorKind::NotFound => " (is it installed?)",
        _ => "",
    }
}
