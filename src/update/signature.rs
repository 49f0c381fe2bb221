//! Signatures as the tool minisign makes them: Ed25519 over a file's BLAKE2b hash, and over a comment.

use minisign_verify::{Error, PublicKey, Signature};

/// Why a signature does not hold.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The key is none.
    #[error("it is no public key as minisign prints it (the line that begins with RW)")]
    Key,
    /// The signature is none, or cut short.
    #[error("the signature is no whole .minisig file: {0}")]
    Form(Error),
    /// It is of the kind that signs a file without hashing it.
    #[error("the signature is of minisign's old kind; sign again with `minisign -SH`")]
    Legacy,
    /// It is another's, or of another file.
    #[error("the signature does not hold: {0}")]
    Wrong(Error),
}

/// Reads a public key.
pub fn key(text: &str) -> Result<PublicKey, SignatureError> {
    PublicKey::from_base64(text).map_err(|_| SignatureError::Key)
}

/// What the signer says of a file, if these bytes are what was signed.
pub fn verify(key: &PublicKey, bytes: &[u8], signature: &str) -> Result<String, SignatureError> {
    let signature = Signature::decode(signature).map_err(SignatureError::Form)?;
    key.verify(bytes, &signature, false).map_err(|error| match error {
        Error::UnexpectedAlgorithm | Error::UnsupportedLegacyMode => SignatureError::Legacy,
        error => SignatureError::Wrong(error),
    })?;
    Ok(signature.trusted_comment().to_owned())
}
