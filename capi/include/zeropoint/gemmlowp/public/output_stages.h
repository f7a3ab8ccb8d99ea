// The stages of gemmlowp's output pipelines. A pipeline is a std::tuple of them, in the order
//   bias additions - one scaling - clamps - a saturating cast
// any of which may be left out; only the cast may not, unless the result is int32. Another order does not compile.
#ifndef ZEROPOINT_GEMMLOWP_PUBLIC_OUTPUT_STAGES_H_
#define ZEROPOINT_GEMMLOWP_PUBLIC_OUTPUT_STAGES_H_

#include <cstdint>
#include <tuple>

#include "map.h"

namespace gemmlowp {

// (x + result_offset) * result_mult_int / 2^result_shift, rounded to nearest, ties away from zero.
struct OutputStageQuantizeDownInt32ToUint8Scale {
    std::int32_t result_offset;
    std::int32_t result_mult_int;
    std::int32_t result_shift;
};

// The same with vectors along rows or columns.
template <VectorShape tShape>
struct OutputStageQuantizeDownInt32ToUint8ScalePC {
    VectorMap<const std::int32_t, tShape> result_offset;
    VectorMap<const std::int32_t, tShape> result_mult_int;
    std::int32_t result_shift;
};

// x * result_fixedpoint_multiplier / 2^31 / 2^result_shift, both divisions rounded, + result_offset_after_shift.
struct OutputStageQuantizeDownInt32ByFixedPoint {
    std::int32_t result_fixedpoint_multiplier;
    std::int32_t result_shift;
    std::int32_t result_offset_after_shift;
};
using OutputStageQuantizeDownInt32ToUint8ScaleByFixedPoint = OutputStageQuantizeDownInt32ByFixedPoint;

// x * result_fixedpoint_multiplier * 2^(result_exponent - 31), + result_offset_after_shift; a left shift saturates.
struct OutputStageScaleInt32ByFixedPointAndExponent {
    std::int32_t result_fixedpoint_multiplier;
    std::int32_t result_exponent;
    std::int32_t result_offset_after_shift;
};

// The same with vectors along rows or columns.
template <VectorShape tShape>
struct OutputStageScaleInt32ByFixedPointAndExponentPC {
    VectorMap<const std::int32_t, tShape> result_fixedpoint_multiplier;
    VectorMap<const std::int32_t, tShape> result_exponent;
    std::int32_t result_offset_after_shift;
};

// x + bias_vector(row or column).
template <typename VectorType>
struct OutputStageBiasAddition {
    VectorType bias_vector;
};

struct OutputStageClamp {
    std::int32_t min;
    std::int32_t max;
};

struct OutputStageSaturatingCastToUint8 {};
struct OutputStageSaturatingCastToInt8 {};
struct OutputStageSaturatingCastToInt16 {};

// These two exist, but no pipeline that has them compiles.
struct OutputStageTruncatingCastToUint8 {};
struct OutputStageTanh {
    std::int32_t real_zero_as_int32;
    std::int32_t real_amplitude_as_int32;
};

using StandardOutputPipeline = std::tuple<OutputStageQuantizeDownInt32ToUint8Scale, OutputStageSaturatingCastToUint8>;

inline StandardOutputPipeline MakeStandardOutputPipeline(std::int32_t result_offset, std::int32_t result_mult_int,
                                                         std::int32_t result_shift) {
    return StandardOutputPipeline({result_offset, result_mult_int, result_shift}, {});
}

template <VectorShape tShape>
std::tuple<OutputStageQuantizeDownInt32ToUint8ScalePC<tShape>, OutputStageSaturatingCastToUint8>
MakeStandardOutputPipeline(const VectorMap<const std::int32_t, tShape> &result_offset,
                           const VectorMap<const std::int32_t, tShape> &result_mult_int, std::int32_t result_shift) {
    return std::make_tuple(
        OutputStageQuantizeDownInt32ToUint8ScalePC<tShape>{result_offset, result_mult_int, result_shift},
        OutputStageSaturatingCastToUint8());
}

} // namespace gemmlowp

#endif
