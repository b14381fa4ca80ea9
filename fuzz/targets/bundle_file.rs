//! Anything at all in place of files to import.

#![no_main]
carnet_fuzz::decodes!("gzipped bundle");
