//! A target for each kind of thing that is decoded: the decoders of the mutation campaign
//! (`simulations/src/decoders.rs`), so that both try the same.

#[doc(hidden)]
pub use carnet_simulations::decoders::{Decoder, one};
#[doc(hidden)]
pub use libfuzzer_sys::fuzz_target;

/// The target of the decoder with this name.
#[macro_export]
macro_rules! decodes {
    ($name:literal) => {
        thread_local! {
            static DECODER: $crate::Decoder = $crate::one($name).expect("a decoder of this name");
        }
        $crate::fuzz_target!(|bytes: &[u8]| {
            DECODER.with(|decoder| decoder.read(bytes));
        });
    };
}
