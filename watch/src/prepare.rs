//! Checks, ready to probe.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use alerting::secret::SecretError;
use prober::tls::{TlsOptions, config};
use prober::{Family, Pauses, Route, Target};
use rustls::ClientConfig;

use crate::checks::{Addresses, CheckFile, Header, Plan};
use crate::error::Invalid;
use crate::probing::{PreparedCheck, PreparedChecks};
use crate::target::{AddressError, host_and_port};

/// Makes the checks of a check file ready; what many checks share (root certificates) is read once.
///
/// # Errors
/// Names the check and what is wrong with it.
pub(crate) fn prepare(file: &CheckFile) -> Result<PreparedChecks, Invalid> {
    prepare_with(file, &BTreeMap::new())
}

/// The same where files of root certificates are not on this host: `roots` has their text, by their paths as the check file names them.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_with(file: &CheckFile, roots: &BTreeMap<PathBuf, Arc<str>>) -> Result<PreparedChecks, Invalid> {
    let mut shared: HashMap<TlsOptions, Arc<ClientConfig>> = HashMap::new();
    let mut build = |plan: Plan| -> Result<Arc<PreparedCheck>, Invalid> {
        let target = target(file, &plan, roots, &mut shared).map_err(|e| Invalid(format!("check {:?}: {e}", plan.check.name)))?;
        Ok(Arc::new(PreparedCheck { plan, target }))
    };
    let checks: Result<Vec<Arc<PreparedCheck>>, Invalid> = file.plans()?.into_iter().map(&mut build).collect();
    Ok(Arc::new(checks?))
}

/// What a check names is not to be had.
#[derive(Debug, thiserror::Error)]
enum Unready {
    /// Certificates or keys.
    #[error(transparent)]
    Tls(#[from] std::io::Error),
    /// The value of a header.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Whom to connect to.
    #[error(transparent)]
    Address(#[from] AddressError),
}

fn target(
    file: &CheckFile,
    plan: &Plan,
    roots: &BTreeMap<PathBuf, Arc<str>>,
    shared: &mut HashMap<TlsOptions, Arc<ClientConfig>>,
) -> Result<Target, Unready> {
    let check = &plan.check;
    let ca = check.ca.clone().or_else(|| file.defaults.ca.clone());
    let options = TlsOptions {
        roots: ca.as_ref().and_then(|path| roots.get(path)).cloned(),
        ca,
        insecure: check.insecure,
        only: plan.only,
        certificate: check.certificate.clone().zip(check.key.clone()),
        alpn: match check.alpn.as_slice() {
            [] => plan.kind.usual_protocols(),
            given => given.to_vec(),
        },
        resume: check.resume,
        key_log: std::env::var_os("SSLKEYLOGFILE").is_some(),
    };
    let tls = match shared.get(&options).filter(|_| !options.resume) {
        Some(tls) => Arc::clone(tls),
        None => {
            let tls = Arc::new(config(&options)?);
            shared.insert(options, Arc::clone(&tls));
            tls
        }
    };
    let headers = check.headers.iter().map(|(name, value)| {
        let value = match value {
            Header::Plain(value) => value.clone(),
            Header::Secret(secret) => secret.read()?,
        };
        Ok((name.clone(), value))
    });
    let headers: Vec<(String, String)> = headers.collect::<Result<_, SecretError>>()?;
    Ok(Target {
        host: plan.host.clone(),
        port: plan.port,
        connect_to: check.connect_to.as_deref().map(|to| host_and_port(to, Some(plan.port))).transpose()?,
        address: None,
        server_name: check.server_name.clone(),
        family: match check.addresses {
            Addresses::Race | Addresses::Each => Family::Any,
            Addresses::V4 => Family::V4,
            Addresses::V6 => Family::V6,
        },
        tls: Some(tls),
        request: plan.kind.request(headers),
        timeout: plan.timeout.0,
        pauses: Pauses::default(),
        route: Route::default(),
    })
}
