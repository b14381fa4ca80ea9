//! Anything at all in place of the blocks in joint runs.

#![no_main]
carnet_fuzz::decodes!("block, unpacked");
