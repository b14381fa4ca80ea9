//! Anything at all in place of entries.

#![no_main]
carnet_fuzz::decodes!("entry");
