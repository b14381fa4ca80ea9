//! Carries sync sessions over QUIC.
