//! The server's side of SCRAM-SHA-256 (RFC 5802 and 7677), without channel binding. The password is not normalized: use printable ASCII.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SecureRandom as _;
use ring::{digest, hmac, pbkdf2, rand};

const ITERATIONS: u32 = 4096;

/// What the server keeps of an exchange, from the client's first message on.
pub(super) struct Exchange {
    nonce: String,
    salt: [u8; 16],
    client_first: String,
    server_first: String,
}

impl Exchange {
    /// Reads the client's first message, `n,,n=user,r=nonce`. `None` if it is malformed or asks for channel binding.
    pub(super) fn begin(message: &[u8]) -> Option<Exchange> {
        let message = std::str::from_utf8(message).ok()?;
        let client_first = message.strip_prefix("n,,").or_else(|| message.strip_prefix("y,,"))?.to_owned();
        let client_nonce = client_first.split(',').find_map(|part| part.strip_prefix("r="))?;
        let (mut own, mut salt) = ([0; 18], [0; 16]);
        let random = rand::SystemRandom::new();
        random.fill(&mut own).ok()?;
        random.fill(&mut salt).ok()?;
        let nonce = format!("{client_nonce}{}", BASE64.encode(own));
        let server_first = format!("r={nonce},s={},i={ITERATIONS}", BASE64.encode(salt));
        Some(Exchange { nonce, salt, client_first, server_first })
    }

    /// The server's first message.
    pub(super) fn challenge(&self) -> &str {
        &self.server_first
    }

    /// Checks the client's last message. Returns the server's last one if the client knows the password.
    pub(super) fn finish(&self, message: &[u8], password: &str) -> Option<String> {
        let message = std::str::from_utf8(message).ok()?;
        let (unproved, proof) = message.rsplit_once(",p=")?;
        let nonce = unproved.split(',').find_map(|part| part.strip_prefix("r="))?;
        if nonce != self.nonce || !matches!(unproved.split(',').next(), Some("c=biws" | "c=eSws")) {
            return None;
        }
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, NonZeroU32::new(ITERATIONS)?, &self.salt, password.as_bytes(), &mut salted);
        let signed = format!("{},{},{unproved}", self.client_first, self.server_first);
        let client_key = mac(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = mac(stored.as_ref(), signed.as_bytes());
        let proof = BASE64.decode(proof).ok().filter(|proof| proof.len() == digest::SHA256_OUTPUT_LEN)?;
        let key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(one, other)| one ^ other).collect();
        // The digests of the keys are compared, so that the time that it takes tells nothing of the key.
        if digest::digest(&digest::SHA256, &key).as_ref() != stored.as_ref() {
            return None;
        }
        let server_key = mac(&salted, b"Server Key");
        Some(format!("v={}", BASE64.encode(mac(server_key.as_ref(), signed.as_bytes()))))
    }
}

fn mac(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}
