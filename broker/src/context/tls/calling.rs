//! TLS of connections that the server makes itself.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::sign::SingleCertAndKey;

use super::load::{Files, authorities, certificate, of_the_system, provider, versions};
use crate::conf::options::CallingTls;

/// How it is done by these options: whom the server takes for who he says, and what it shows itself.
///
/// # Errors
/// What is wrong with which file.
pub(crate) fn calling(options: &CallingTls) -> Result<Arc<ClientConfig>, String> {
    let mut files = Files::default();
    let provider = Arc::new(provider(options.suites.as_deref(), options.curves.as_deref()));
    let roots = match &options.ca_file {
        Some(path) => authorities(&files.read(path)?).map_err(|why| format!("{}: {why}", path.display()))?,
        None => of_the_system().ok_or("the system trusts no authority: name yours with ca_file in resolver_tls")?,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| format!("ca_file: {error}"))?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(options.only_1_3, &provider))
        .map_err(|error| error.to_string())?
        .with_webpki_verifier(verifier);
    let config = match &options.certificate {
        Some(pair) => {
            let shown = certificate(&mut files, pair, &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}
