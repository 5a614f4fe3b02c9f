//! Certificates and keys: the one place that reads PEM files. Each is added to `watched`, whether it can be read or not.

use super::{diagnostic::Fault, section::Section};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fs, path::PathBuf};

/// The certificates of the file that a key names, at least one. `None` if there is no such key, or if something is
/// wrong, which is noted then.
pub(super) fn certificates(
    section: &mut Section<'_>,
    name: &'static str,
    watched: &mut Vec<PathBuf>,
) -> Option<Vec<CertificateDer<'static>>> {
    read(section, name, watched, |pem| {
        let found: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        if found.is_empty() {
            return Err(Fault::new("this file holds no certificate", "a PEM file with CERTIFICATE blocks"));
        }
        Ok(found)
    })
}

/// The private key of the file that a key names, as [`certificates`].
pub(super) fn private_key(
    section: &mut Section<'_>,
    name: &'static str,
    watched: &mut Vec<PathBuf>,
) -> Option<PrivateKeyDer<'static>> {
    read(section, name, watched, |pem| {
        let remedy = "a PEM file with one PRIVATE KEY block, not encrypted";
        PrivateKeyDer::from_pem_slice(pem).map_err(|_| Fault::new("this file holds no private key", remedy))
    })
}

fn read<T>(
    section: &mut Section<'_>,
    name: &'static str,
    watched: &mut Vec<PathBuf>,
    parse: impl FnOnce(&[u8]) -> Result<T, Fault>,
) -> Option<T> {
    let file = section.text(name)?;
    let path = section.reader.directory.join(&file.text);
    let pem = fs::read(&path);
    watched.push(path);
    match pem {
        Ok(pem) => section.reader.noted(&file.span, parse(&pem)),
        Err(fault) => {
            let message = format!("cannot read `{}`: {fault}", file.text);
            section.reader.error(file.span, message, "name a PEM file that the gateway may read");
            None
        }
    }
}
