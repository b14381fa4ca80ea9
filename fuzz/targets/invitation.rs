//! Anything at all in place of invitations.

#![no_main]
carnet_fuzz::decodes!("invitation");
