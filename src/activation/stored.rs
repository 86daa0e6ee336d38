//! The activations of tensors in bf16 and f16: widened to f32, computed as there, rounded once at the store.

use super::{Activation, backward, from_output, one_input};
use crate::context::Context;
use crate::element::{bf16, f16};
use crate::error::Result;

macro_rules! stored {
    ($type:ident, $forward:ident $forward_in_place:ident $derivative:ident $derivative_in_place:ident
     $backward:ident $backward_in_place:ident $backward_over_z:ident $from_output:ident $from_output_in_place:ident) => {
        #[doc = concat!("[`activation_forward_f32`](super::activation_forward_f32) of tensors in ", stringify!($type), ": arithmetic in f32, one rounding at the store.")]
        pub fn $forward(ctx: &Context, act: Activation, act_param: f32, z: &[$type], y: &mut [$type]) -> Result {
            one_input(stringify!($forward), ctx, false, act, act_param, Some(z), y)
        }
        #[doc = concat!("[`", stringify!($forward), "`] written over its input.")]
        pub fn $forward_in_place(ctx: &Context, act: Activation, act_param: f32, z: &mut [$type]) -> Result {
            one_input(stringify!($forward), ctx, false, act, act_param, None, z)
        }
        #[doc = concat!("[`activation_derivative_f32`](super::activation_derivative_f32) of tensors in ", stringify!($type), ": arithmetic in f32, one rounding at the store.")]
        pub fn $derivative(ctx: &Context, act: Activation, act_param: f32, z: &[$type], d: &mut [$type]) -> Result {
            one_input(stringify!($derivative), ctx, true, act, act_param, Some(z), d)
        }
        #[doc = concat!("[`", stringify!($derivative), "`] written over its input.")]
        pub fn $derivative_in_place(ctx: &Context, act: Activation, act_param: f32, z: &mut [$type]) -> Result {
            one_input(stringify!($derivative), ctx, true, act, act_param, None, z)
        }
        #[doc = concat!("[`activation_backward_f32`](super::activation_backward_f32) of tensors in ", stringify!($type), ": arithmetic in f32, so φ' is not rounded to the storage before the product; one rounding at the store.")]
        pub fn $backward(
            ctx: &Context,
            act: Activation,
            act_param: f32,
            z: &[$type],
            dy: &[$type],
            dz: &mut [$type],
        ) -> Result {
            backward(stringify!($backward), ctx, act, act_param, Some(z), Some(dy), dz)
        }
        #[doc = concat!("[`", stringify!($backward), "`] written over dy.")]
        pub fn $backward_in_place(
            ctx: &Context,
            act: Activation,
            act_param: f32,
            z: &[$type],
            dy: &mut [$type],
        ) -> Result {
            backward(stringify!($backward), ctx, act, act_param, Some(z), None, dy)
        }
        #[doc = concat!("[`", stringify!($backward), "`] written over z.")]
        pub fn $backward_over_z(
            ctx: &Context,
            act: Activation,
            act_param: f32,
            z: &mut [$type],
            dy: &[$type],
        ) -> Result {
            backward(stringify!($backward), ctx, act, act_param, None, Some(dy), z)
        }
        #[doc = concat!(
            "[`activation_backward_from_output_f32`](super::activation_backward_from_output_f32) of tensors in ",
            stringify!($type),
            ": y has been rounded to fewer digits, so that more is lost of φ' where it saturates. Keep z if you can."
        )]
        pub fn $from_output(
            ctx: &Context,
            act: Activation,
            act_param: f32,
            y: &[$type],
            dy: &[$type],
            dz: &mut [$type],
        ) -> Result {
            from_output(stringify!($from_output), ctx, act, act_param, y, Some(dy), dz)
        }
        #[doc = concat!("[`", stringify!($from_output), "`] written over dy.")]
        pub fn $from_output_in_place(
            ctx: &Context,
            act: Activation,
            act_param: f32,
            y: &[$type],
            dy: &mut [$type],
        ) -> Result {
            from_output(stringify!($from_output), ctx, act, act_param, y, None, dy)
        }
    };
}

stored!(bf16, activation_forward_bf16 activation_forward_in_place_bf16
    activation_derivative_bf16 activation_derivative_in_place_bf16
    activation_backward_bf16 activation_backward_in_place_bf16 activation_backward_over_z_bf16
    activation_backward_from_output_bf16 activation_backward_from_output_in_place_bf16);
stored!(f16, activation_forward_f16 activation_forward_in_place_f16
    activation_derivative_f16 activation_derivative_in_place_f16
    activation_backward_f16 activation_backward_in_place_f16 activation_backward_over_z_f16
    activation_backward_from_output_f16 activation_backward_from_output_in_place_f16);
