//! Base64 (RFC 4648), in which Flux carries bytes in JSON.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Writes padding. Like a broker's decoder, it accepts text without padding,
/// and ignores the bits of the last character beyond whole bytes.
const FLUX: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The length of `len` bytes once encoded.
pub fn encoded_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// Encodes bytes as text.
pub fn encode(bytes: &[u8]) -> String {
    FLUX.encode(bytes)
}

/// Decodes text. None if it is not base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    FLUX.decode(text).ok()
}
