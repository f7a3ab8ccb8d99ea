//! One block of memory for all activations.
