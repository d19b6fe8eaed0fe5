//! The digests that name the KVS's blobs and directories. Nothing here relies on
//! SHA-1 resisting an attacker.

use sha1_smol::Sha1;

/// A SHA-1 digest.
pub type Digest = [u8; 20];

/// The digest of the concatenated parts.
pub fn sha1(parts: &[&[u8]]) -> Digest {
    let mut state = Sha1::new();
    for part in parts {
        state.update(part);
    }
    state.digest().bytes()
}
