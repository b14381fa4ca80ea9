//! Who writes: the practice, its nodes, their certificates.
