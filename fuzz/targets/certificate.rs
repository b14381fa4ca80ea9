//! Anything at all in place of certificates.

#![no_main]
carnet_fuzz::decodes!("certificate");
