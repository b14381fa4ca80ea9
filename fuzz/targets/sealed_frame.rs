//! Anything at all in place of what is sealed, by somebody who has the key.

#![no_main]
carnet_fuzz::decodes!("sealed frame");
