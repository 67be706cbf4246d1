//! A real nginx as an edge.

use std::net::SocketAddr;
use std::path::Path;

use crate::Error;
use crate::certs::Certificates;

/// Writes a configuration for one foreground process; gives the arguments for `nginx`.
///
/// # Errors
/// If the configuration cannot be written.
pub fn arguments(folder: &Path, listen: &[SocketAddr], certificates: &Certificates, backlog: u32) -> Result<Vec<String>, Error> {
    let listens: String = listen.iter().map(|a| format!("        listen {a} ssl backlog={backlog};\n")).collect();
    let folder_name = folder.display();
    // One process, as the user who runs the lab: rootless namespaces have no other.
    let text = format!(
        "user root root;\ndaemon off;\nmaster_process off;\npid {folder_name}/nginx.pid;\nerror_log {folder_name}/nginx-error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n    access_log off;\n    client_body_temp_path {folder_name}/t1;\n    proxy_temp_path {folder_name}/t2;\n    \
         fastcgi_temp_path {folder_name}/t3;\n    uwsgi_temp_path {folder_name}/t4;\n    scgi_temp_path {folder_name}/t5;\n    \
         server {{\n{listens}        ssl_certificate {};\n        ssl_certificate_key {};\n        \
         ssl_protocols TLSv1.2 TLSv1.3;\n        location / {{ return 200 \"ok\\n\"; }}\n    }}\n}}\n",
        certificates.chain.display(),
        certificates.key.display(),
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, text).map_err(Error::system(format!("writing {}", path.display())))?;
    Ok(vec!["-e".into(), format!("{folder_name}/nginx-error.log"), "-c".into(), path.display().to_string()])
}
