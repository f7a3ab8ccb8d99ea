//! The table of operators: the engine chooses one by the types of its inputs.

use crate::edge::{Input, Op};
use crate::tensor::Type::{self, F32, I8, I32, U8};
use crate::{conv, matmul};

const fn input(name: &'static str, element: Type) -> Input {
    Input { name, element, optional: false }
}

const fn optional(name: &'static str, element: Type) -> Input {
    Input { name, element, optional: true }
}

/// `op!` of all types, each once as a constant of [`Type`] and once as a type.
macro_rules! each {
    ($op:ident by a b) => { [$op!(U8 U8), $op!(U8 I8), $op!(I8 U8), $op!(I8 I8)] };
    ($op:ident by a b y) => {
        [
            $op!(U8 u8 U8 U8 u8), $op!(U8 u8 U8 I8 i8), $op!(U8 u8 I8 U8 u8), $op!(U8 u8 I8 I8 i8),
            $op!(I8 i8 U8 U8 u8), $op!(I8 i8 U8 I8 i8), $op!(I8 i8 I8 U8 u8), $op!(I8 i8 I8 I8 i8),
        ]
    };
}

macro_rules! integer {
    (U8 $b:ident) => { integer!(U8 u8 $b) };
    (I8 $b:ident) => { integer!(I8 i8 $b) };
    ($a:ident $code:ident $b:ident) => {
        Op::new(
            c"MatMulInteger",
            const { &[input("A", $a), input("B", $b), optional("a_zero_point", $a), optional("b_zero_point", $b)] },
            I32,
            matmul::create::<$code, i32>,
        )
    };
}

macro_rules! product {
    ($a:ident $code:ident $b:ident $y:ident $out:ident) => {
        Op::new(
            c"QLinearMatMul",
            const {
                &[
                    input("a", $a),
                    input("a_scale", F32),
                    input("a_zero_point", $a),
                    input("b", $b),
                    input("b_scale", F32),
                    input("b_zero_point", $b),
                    input("y_scale", F32),
                    input("y_zero_point", $y),
                ]
            },
            $y,
            matmul::create::<$code, $out>,
        )
    };
}

macro_rules! convolution {
    ($x:ident $code:ident $w:ident $y:ident $out:ident) => {
        Op::new(
            c"QLinearConv",
            const {
                &[
                    input("x", $x),
                    input("x_scale", F32),
                    input("x_zero_point", $x),
                    input("w", $w),
                    input("w_scale", F32),
                    input("w_zero_point", $w),
                    input("y_scale", F32),
                    input("y_zero_point", $y),
                    optional("B", I32),
                ]
            },
            $y,
            conv::create::<$code, $out>,
        )
    };
}

static INTEGER: [Op; 4] = each!(integer by a b);
static PRODUCT: [Op; 8] = each!(product by a b y);
static CONVOLUTION: [Op; 8] = each!(convolution by a b y);

/// All operators.
pub(crate) fn all() -> impl Iterator<Item = &'static Op> {
    INTEGER.iter().chain(&PRODUCT).chain(&CONVOLUTION)
}
