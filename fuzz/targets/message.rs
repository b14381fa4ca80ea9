//! Anything at all in place of messages.

#![no_main]
carnet_fuzz::decodes!("message");
