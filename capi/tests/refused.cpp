// Pipelines that the normal form cannot express: each does not compile, with a message. One is chosen by WHICH.
#include "public/gemmlowp.h"

using namespace gemmlowp;

int main() {
    const OutputStageQuantizeDownInt32ByFixedPoint scale = {1 << 30, 3, 0};
    const OutputStageBiasAddition<VectorDup<const std::int32_t, VectorShape::Row>> bias = {};
    const OutputStageClamp clamp = {0, 9};
    const OutputStageSaturatingCastToUint8 cast = {};
    static_cast<void>(bias), static_cast<void>(clamp), static_cast<void>(cast);
    const auto pipeline =
#if WHICH == 0 // compiles
        std::make_tuple(bias, scale, clamp, cast);
#elif WHICH == 1 // zeropoint: a bias addition behind the scaling or a clamp
        std::make_tuple(scale, bias, cast);
#elif WHICH == 2 // zeropoint: a scaling behind another scaling or a clamp
        std::make_tuple(scale, scale, cast);
#elif WHICH == 3 // zeropoint: a scaling behind another scaling or a clamp
        std::make_tuple(clamp, scale, cast);
#elif WHICH == 4 // zeropoint: a stage behind the cast
        std::make_tuple(scale, cast, clamp);
#elif WHICH == 5 // zeropoint: the pipeline has to end with the saturating cast to the type of the result
        std::make_tuple(scale);
#elif WHICH == 6 // zeropoint: the pipeline has to end with the saturating cast to the type of the result
        std::make_tuple(scale, OutputStageSaturatingCastToInt16());
#elif WHICH == 7 // zeropoint: the normal form has no such stage
        std::make_tuple(scale, OutputStageTanh{0, 1}, cast);
#elif WHICH == 8 // zeropoint: the normal form has no such stage
        std::make_tuple(scale, OutputStageTruncatingCastToUint8());
#elif WHICH == 9 // zeropoint: a bias addition behind the scaling or a clamp
        std::make_tuple(clamp, bias, cast);
#elif WHICH == 10 // zeropoint: the pipeline has to end with the saturating cast to the type of the result
        std::tuple<>();
#endif
    const std::uint8_t codes[1] = {1};
    std::uint8_t result[1];
    const MatrixMap<const std::uint8_t, MapOrder::RowMajor> lhs(codes, 1, 1), rhs(codes, 1, 1);
    MatrixMap<std::uint8_t, MapOrder::RowMajor> out(result, 1, 1);
    GemmContext context;
    GemmWithOutputPipeline<std::uint8_t, std::uint8_t, DefaultL8R8BitDepthParams>(&context, lhs, rhs, &out, 0, 0,
                                                                                  pipeline);
}
