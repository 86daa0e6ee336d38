//! What tensors are stored as, beside float.

/// A bfloat16: the upper half of a float.
pub type ek_bf16 = u16;
/// An IEEE half: 5 bits of exponent, 10 of fraction.
pub type ek_f16 = u16;
