//! Anything at all in place of sealed payloads.

#![no_main]
carnet_fuzz::decodes!("sealed payload");
