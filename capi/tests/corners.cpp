// Corners in which gemmlowp's SIMD code and its portable code differ. Compiled with its headers for each, and with
// ours; a line a product.
#include "public/gemmlowp.h"

#include <cstdio>
#include <cstdlib>
#include <tuple>
#include <vector>

using namespace gemmlowp;
typedef std::int32_t i32;

struct Random {
    std::uint64_t state;

    // An LCG's upper bits.
    int in(int low, int high) {
        state = state * 6364136223846793005 + 1442695040888963407;
        return low + int((state >> 33) % std::uint64_t(high - low + 1));
    }
};

template <typename Out, typename Pipeline>
void product(Random &random, const char *corner, const Pipeline &pipeline) {
    const int m = random.in(1, 30), k = random.in(1, 30), n = random.in(1, 30);
    std::vector<std::uint8_t> a(std::size_t(m * k)), b(std::size_t(k * n));
    std::vector<Out> c(std::size_t(m * n));
    for (auto memory : {&a, &b}) {
        for (auto &code : *memory) code = std::uint8_t(random.in(0, 255));
    }
    const MatrixMap<const std::uint8_t, MapOrder::RowMajor> lhs(a.data(), m, k);
    const MatrixMap<const std::uint8_t, MapOrder::ColMajor> rhs(b.data(), k, n);
    MatrixMap<Out, MapOrder::ColMajor> result(c.data(), m, n);
    GemmContext context;
    GemmWithOutputPipeline<std::uint8_t, Out, DefaultL8R8BitDepthParams>(&context, lhs, rhs, &result, -128, -100,
                                                                         pipeline);
    std::uint64_t hash = 1;
    for (Out code : c) hash = hash * 31 + std::uint64_t(std::int64_t(code));
    std::printf("%s %llx\n", corner, static_cast<unsigned long long>(hash));
}

int main(int, char **argument) {
    const i32 least = -0x7fffffff - 1;
    const OutputStageSaturatingCastToUint8 u8 = {};
    const OutputStageSaturatingCastToInt16 i16 = {};
    Random random = {1};
    for (int i = 0; i < std::atoi(argument[1]); i++) {
        const i32 multiplier = (1 << 30) + random.in(0, (1 << 30) - 1);
        const OutputStageQuantizeDownInt32ToUint8Scale integer = {random.in(-9999, 9999), random.in(1, 500),
                                                                  random.in(0, 20)};
        const OutputStageQuantizeDownInt32ByFixedPoint fixed = {multiplier, random.in(1, 20), random.in(0, 127)};
        const OutputStageScaleInt32ByFixedPointAndExponent right = {multiplier, random.in(-20, -1),
                                                                    random.in(0, 127)};
        const OutputStageScaleInt32ByFixedPointAndExponent left = {multiplier, random.in(1, 8), 0};
        const OutputStageScaleInt32ByFixedPointAndExponent overflowing = {multiplier, random.in(9, 20), 0};
        const OutputStageScaleInt32ByFixedPointAndExponent smallest = {least, 30, 0};
        product<i32>(random, "sums", std::make_tuple());
        product<std::uint8_t>(random, "integer", std::make_tuple(integer, u8));
        product<std::int16_t>(random, "fixed-point", std::make_tuple(fixed, i16));
        product<std::uint8_t>(random, "shift-right", std::make_tuple(right, u8));
        product<std::int16_t>(random, "shift-left", std::make_tuple(left, i16));
        product<std::int16_t>(random, "shift-left-overflow", std::make_tuple(overflowing, i16));
        product<i32>(random, "least-times-least", std::make_tuple(smallest));
    }
}
