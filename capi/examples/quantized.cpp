// A fully connected layer as an engine with gemmlowp has it; nothing in it names zeropoint.
#include <cstdint>
#include <cstdio>
#include <tuple>

#include "public/gemmlowp.h"

int main() {
    // 2 outputs of 3 inputs, zero point 128; 3 inputs for 2 images, zero point 1. Offsets are negated zero points.
    const std::uint8_t weights[] = {2, 128, 0, 130, 255, 127}, inputs[] = {0, 1, 2, 3, 4, 5};
    const std::int32_t bias[] = {100, -100};
    std::uint8_t outputs[4];
    using gemmlowp::MapOrder;
    const gemmlowp::MatrixMap<const std::uint8_t, MapOrder::RowMajor> lhs(weights, 2, 3);
    const gemmlowp::MatrixMap<const std::uint8_t, MapOrder::ColMajor> rhs(inputs, 3, 2);
    gemmlowp::MatrixMap<std::uint8_t, MapOrder::ColMajor> result(outputs, 2, 2);

    typedef gemmlowp::VectorMap<const std::int32_t, gemmlowp::VectorShape::Col> Bias;
    const gemmlowp::OutputStageBiasAddition<Bias> addition = {Bias(bias, 2)};
    const gemmlowp::OutputStageQuantizeDownInt32ByFixedPoint eighth = {1 << 30, 2, 10};
    const gemmlowp::OutputStageSaturatingCastToUint8 cast = {};
    gemmlowp::GemmContext context;
    context.set_max_num_threads(2);
    gemmlowp::GemmWithOutputPipeline<std::uint8_t, std::uint8_t, gemmlowp::DefaultL8R8BitDepthParams>(
        &context, lhs, rhs, &result, -128, -1, std::make_tuple(addition, eighth, cast));
    std::printf("%d %d %d %d\n", outputs[0], outputs[1], outputs[2], outputs[3]);
    return outputs[0] == 22 && outputs[1] == 0 && outputs[2] == 0 && outputs[3] == 45 ? 0 : 1;
}
