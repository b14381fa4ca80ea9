//! Anything at all in place of changes.

#![no_main]
carnet_fuzz::decodes!("change");
