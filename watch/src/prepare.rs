//! Checks, ready to probe.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderValue;
use prober::tls::{TlsOptions, config};
use prober::{Family, Pauses, Route, Target};
use rustls::ClientConfig;
use settings::Wrong;

use crate::checks::{Addresses, CheckFile, Plan};
use crate::probing::{PreparedCheck, PreparedChecks};
use crate::target::host_and_port;

/// Makes the checks of a check file ready; what many checks share (root certificates) is read once.
///
/// # Errors
/// Names the check and what is wrong with it, with its place in the file.
pub(crate) fn prepare(file: &CheckFile) -> Result<PreparedChecks, Wrong> {
    prepare_with(file, &BTreeMap::new())
}

/// The same where files of root certificates are not on this host: `roots` has their text, by their paths as the check file names them.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_with(file: &CheckFile, roots: &BTreeMap<PathBuf, Arc<str>>) -> Result<PreparedChecks, Wrong> {
    let mut shared: HashMap<TlsOptions, Arc<ClientConfig>> = HashMap::new();
    let mut build = |(n, plan): (usize, Plan)| -> Result<Arc<PreparedCheck>, Wrong> {
        let target = target(file, &plan, roots, &mut shared).map_err(|unready| match unready {
            Unready::Default(wrong) => wrong,
            Unready::Own(wrong) => wrong.of(&format!("check {:?}", plan.check.name)).within(n).within("check"),
        })?;
        Ok(Arc::new(PreparedCheck { plan, target }))
    };
    let checks: Result<Vec<Arc<PreparedCheck>>, Wrong> = file.planned()?.into_iter().enumerate().map(&mut build).collect();
    Ok(Arc::new(checks?))
}

/// What a check names is not to be had.
enum Unready {
    /// Its own field says so.
    Own(Wrong),
    /// A default does.
    Default(Wrong),
}

impl From<Wrong> for Unready {
    fn from(wrong: Wrong) -> Self {
        Unready::Own(wrong)
    }
}

/// Which of the files that TLS needs cannot be used.
fn unusable(error: &std::io::Error, options: &TlsOptions, of_defaults: bool) -> Unready {
    let what = error.to_string();
    let names = |path: &Path| what.contains(&path.display().to_string());
    match &options.certificate {
        Some((chain, _)) if names(chain) => Wrong::at("certificate", what).into(),
        Some((_, key)) if names(key) => Wrong::at("key", what).into(),
        Some(_) | None if of_defaults => Unready::Default(Wrong::at("ca", what).within("defaults")),
        Some(_) if options.ca.is_none() => Wrong::at("certificate", what).into(),
        Some(_) | None => Wrong::at("ca", what).into(),
    }
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
            let of_defaults = check.ca.is_none() && options.ca.is_some();
            let tls = Arc::new(config(&options).map_err(|e| unusable(&e, &options, of_defaults))?);
            shared.insert(options, Arc::clone(&tls));
            tls
        }
    };
    let headers = check.headers.iter().map(|(name, value)| {
        let value = value.read().map_err(|e| Wrong::at(name, e.to_string()).within("headers"))?;
        if HeaderValue::from_str(&value).is_err() {
            return Err(Wrong::at(name, "the header's value has a character that none may have").within("headers"));
        }
        Ok((name.clone(), value))
    });
    let headers: Vec<(String, String)> = headers.collect::<Result<_, Wrong>>()?;
    let to = check.connect_to.as_deref().map(|to| host_and_port(to, Some(plan.port))).transpose();
    Ok(Target {
        host: plan.host.clone(),
        port: plan.port,
        connect_to: to.map_err(|e| Wrong::at("connect_to", e.to_string()))?,
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
