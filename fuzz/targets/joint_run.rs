//! Anything at all in place of runs that travel jointly.

#![no_main]
carnet_fuzz::decodes!("joint run");
