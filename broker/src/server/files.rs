//! The small files a server leaves for scripts: its process id and its ports.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Server;
use crate::error::{Error, Result};

/// Writes a file in one go.
pub(crate) fn write(path: &Path, text: String) -> Result<()> {
    std::fs::write(path, text).map_err(|source| Error::File {
        doing: "write",
        path: path.display().to_string(),
        source,
    })
}

/// Removes a file at shutdown; that it is gone already is no error, anything else is worth a line.
pub(crate) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
        _ => {}
    }
}

/// `<name that the server was started by>_<process id>.ports`, as harnesses for nats-server look for it: where a link of
/// that name stands for this server, the file is `nats-server_<process id>.ports`.
pub(crate) fn ports_path(folder: &Path) -> PathBuf {
    let started_as = std::env::args_os().next().map(PathBuf::from);
    let name = started_as
        .as_deref()
        .and_then(Path::file_name)
        .map_or("weir-server".into(), |name| name.to_string_lossy());
    folder.join(format!("{name}_{}.ports", std::process::id()))
}

/// URLs by kind of port.
pub(crate) fn ports_json(server: &Server) -> Value {
    let mut ports = serde_json::Map::new();
    let options = server.options();
    if let Some(address) = server.client_address() {
        let scheme = match options.tls.is_some() && !options.allow_non_tls {
            true => "tls",
            false => "nats",
        };
        ports.insert("nats".to_owned(), json!([format!("{scheme}://{address}")]));
    }
    if let Some(address) = server.monitor_address() {
        let scheme = if options.https.is_some() { "https" } else { "http" };
        ports.insert("monitoring".to_owned(), json!([format!("{scheme}://{address}")]));
    }
    if let Some(address) = server.websocket_address() {
        let tls = options
            .websocket
            .as_ref()
            .is_some_and(|websocket| websocket.tls.is_some());
        let scheme = if tls { "wss" } else { "ws" };
        ports.insert("websocket".to_owned(), json!([format!("{scheme}://{address}")]));
    }
    if let Some(address) = server.context.status.profiling_address() {
        ports.insert("profile".to_owned(), json!([format!("http://{address}")]));
    }
    Value::Object(ports)
}

impl Server {
    /// Writes the file with the ports, if one is wanted.
    pub(crate) fn write_ports_file(&self) -> Result<()> {
        let options = self.options();
        let Some(folder) = &options.ports_file_dir else {
            return Ok(());
        };
        let path = ports_path(folder);
        write(&path, ports_json(self).to_string())?;
        self.created(path);
        Ok(())
    }
}
