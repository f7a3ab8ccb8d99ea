// gemmlowp's interface over zeropoint: engines that include gemmlowp's header of this name include this one instead.
//
// Results are those of gemmlowp's portable code, bit for bit; where its SIMD code differs from that, so does this.
#ifndef ZEROPOINT_GEMMLOWP_PUBLIC_GEMMLOWP_H_
#define ZEROPOINT_GEMMLOWP_PUBLIC_GEMMLOWP_H_

#include "../internal/context.h"
#include "../internal/form.h"
#include "../internal/multiply.h"
#include "bit_depth.h"
#include "map.h"
#include "output_stages.h"

namespace gemmlowp {

// result = output_pipeline((lhs + lhs_offset) * (rhs + rhs_offset)), with offsets of each row of lhs and each
// column of rhs: VectorMap or VectorDup. A product of depth 0 leaves the result as it is.
template <typename InputScalar, typename OutputScalar, typename BitDepthParams, MapOrder LhsOrder, MapOrder RhsOrder,
          MapOrder ResultOrder, typename LhsOffset, typename RhsOffset, typename OutputPipelineType,
          typename GemmContextType>
void GemmWithOutputPipelinePC(GemmContextType *context, const MatrixMap<const InputScalar, LhsOrder> &lhs,
                              const MatrixMap<const InputScalar, RhsOrder> &rhs,
                              MatrixMap<OutputScalar, ResultOrder> *result, const LhsOffset &lhs_offset,
                              const RhsOffset &rhs_offset, const OutputPipelineType &output_pipeline) {
    namespace own = zeropoint_internal;
    static_assert(std::is_same<InputScalar, std::uint8_t>::value || std::is_same<InputScalar, std::int8_t>::value,
                  "zeropoint: operands are uint8 or int8");
    static_assert(LhsOffset::kShape == VectorShape::Col && RhsOffset::kShape == VectorShape::Row,
                  "zeropoint: offsets of lhs are a column, those of rhs a row");
    assert(lhs.cols() == rhs.rows() && lhs.rows() == result->rows() && rhs.cols() == result->cols());
    if (lhs.cols() == 0 || result->rows() == 0 || result->cols() == 0) return;
    own::multiply(context, own::Operand<InputScalar>(lhs, lhs_offset, lhs.rows()),
                  own::Operand<InputScalar>(rhs, rhs_offset, rhs.cols()),
                  own::form_of<OutputScalar>(output_pipeline, result->rows(), result->cols()),
                  own::View<OutputScalar>::of(*result));
}

// The same with one offset a side.
template <typename InputScalar, typename OutputScalar, typename BitDepthParams, MapOrder LhsOrder, MapOrder RhsOrder,
          MapOrder ResultOrder, typename OutputPipelineType, typename GemmContextType>
void GemmWithOutputPipeline(GemmContextType *context, const MatrixMap<const InputScalar, LhsOrder> &lhs,
                            const MatrixMap<const InputScalar, RhsOrder> &rhs,
                            MatrixMap<OutputScalar, ResultOrder> *result, int lhs_offset, int rhs_offset,
                            const OutputPipelineType &output_pipeline) {
    const VectorDup<const std::int32_t, VectorShape::Col> lhs_offsets(lhs_offset, lhs.rows());
    const VectorDup<const std::int32_t, VectorShape::Row> rhs_offsets(rhs_offset, rhs.cols());
    GemmWithOutputPipelinePC<InputScalar, OutputScalar, BitDepthParams>(context, lhs, rhs, result, lhs_offsets,
                                                                        rhs_offsets, output_pipeline);
}

// The same with the oldest pipeline: (x + result_offset) * result_mult_int / 2^result_shift.
template <typename Scalar, typename BitDepthParams, MapOrder LhsOrder, MapOrder RhsOrder, MapOrder ResultOrder,
          typename GemmContextType>
void Gemm(GemmContextType *context, const MatrixMap<const Scalar, LhsOrder> &lhs,
          const MatrixMap<const Scalar, RhsOrder> &rhs, MatrixMap<Scalar, ResultOrder> *result, int lhs_offset,
          int rhs_offset, int result_offset, int result_mult_int, int result_shift) {
    GemmWithOutputPipeline<Scalar, Scalar, BitDepthParams>(
        context, lhs, rhs, result, lhs_offset, rhs_offset,
        MakeStandardOutputPipeline(result_offset, result_mult_int, result_shift));
}

} // namespace gemmlowp

#endif
