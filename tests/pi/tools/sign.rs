//! Signs files as `mien update` wants them.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use minisign::KeyPair;

/// Writes FILE.minisig beside each file, by a key that is nobody else's; the public half.
pub fn sign(files: &[PathBuf]) -> anyhow::Result<String> {
    let keys = KeyPair::generate_unencrypted_keypair()?;
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
        let name = file.file_name().and_then(|name| name.to_str());
        let signature = minisign::sign(Some(&keys.pk), &keys.sk, &bytes[..], name, None)?;
        let beside = file.with_added_extension("minisig");
        fs::write(&beside, signature.into_string())
            .with_context(|| format!("can't write {}", beside.display()))?;
    }
    Ok(keys.pk.to_base64())
}
