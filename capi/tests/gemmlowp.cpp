// Random products through gemmlowp's interface. This program is compiled twice, with gemmlowp's headers and with
// ours, and has to print the same: a line a product, with a hash of the memory of its result, gaps included.
// gemmlowp COUNT      so many products of every kind gemmlowp --speed    GOP/s of some shapes: the least time of
// many; with SPEED_ONLY defined, quick to compile
#ifndef SPEED_ONLY
#include "eight_bit_int_gemm/eight_bit_int_gemm.h"
#endif
#include "public/gemmlowp.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

using namespace gemmlowp;
typedef std::int32_t i32;

struct Random {
    std::uint64_t state;

    // splitmix64
    std::uint64_t next() {
        std::uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    int in(int low, int high) { return low + int(next() % std::uint64_t(high - low + 1)); }
    bool one_in(int n) { return in(1, n) == 1; }
    i32 any() { return i32(next() >> 32); }

    // Factors as they are derived from real ones, and now and then whatever fits.
    i32 multiplier() {
        static const i32 corners[] = {0, 1, 1 << 30, 0x7fffffff, -1, i32(0x80000000), (1 << 30) - 1};
        return one_in(8) ? any() : one_in(8) ? corners[in(0, 6)] : (1 << 30) | (any() & 0x3fffffff);
    }
    i32 exponent() { return one_in(4) ? in(-31, 30) : in(-14, 2); }
    i32 shift() { return one_in(4) ? in(0, 31) : in(0, 14); }
    // What is added after scaling. Where the sum might not fit int32, gemmlowp's code is undefined: then nothing is.
    i32 after(bool shifted) { return !shifted ? 0 : one_in(6) ? in(-70000, 70000) : in(0, 127); }
    i32 bias() { return one_in(4) ? any() : in(-50000, 50000); }
    i32 bound() { return one_in(4) ? any() : in(-300, 300); }

    template <typename Draw>
    std::vector<i32> many(int count, Draw draw) {
        std::vector<i32> values;
        for (int i = 0; i < count; i++) values.push_back(draw());
        return values;
    }
};

struct Shape {
    int m, k, n;
};

GemmContext context;

#ifndef SPEED_ONLY
template <typename T, MapOrder Order>
MatrixMap<T, Order> map(std::vector<typename std::remove_const<T>::type> &memory, int rows, int cols, int gap) {
    const int length = Order == MapOrder::ColMajor ? rows : cols, lines = Order == MapOrder::ColMajor ? cols : rows;
    memory.resize(std::size_t(length + gap) * std::size_t(lines) + 1);
    return MatrixMap<T, Order>(memory.data(), rows, cols, length + gap);
}

std::uint64_t hash(const void *memory, std::size_t bytes) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (std::size_t i = 0; i < bytes; i++)
        hash = (hash ^ static_cast<const unsigned char *>(memory)[i]) * 0x100000001b3;
    return hash;
}

template <typename T>
void line(const char *kind, Shape shape, const std::vector<T> &memory) {
    std::printf("%s %d x %d x %d %016llx\n", kind, shape.m, shape.k, shape.n,
                static_cast<unsigned long long>(hash(memory.data(), memory.size() * sizeof(T))));
}

template <typename In, typename Out, MapOrder L, MapOrder R, MapOrder O, typename Pipeline>
void product(Random &random, const char *kind, Shape shape, const Pipeline &pipeline) {
    const int m = shape.m, k = shape.k, n = shape.n;
    std::vector<In> a, b;
    std::vector<Out> c;
    auto lhs = map<In, L>(a, m, k, random.in(0, 3)), rhs = map<In, R>(b, k, n, random.in(0, 3));
    auto result = map<Out, O>(c, m, n, random.in(0, 3));
    const bool extreme = random.one_in(3);
    for (auto memory : {&a, &b}) {
        for (In &code : *memory)
            code = In(extreme ? (random.in(0, 1) ? std::numeric_limits<In>::min() : std::numeric_limits<In>::max())
                              : random.any());
    }
    for (Out &code : c) code = Out(random.any());
    const MatrixMap<const In, L> from(lhs.data(), m, k, lhs.stride());
    const MatrixMap<const In, R> by(rhs.data(), k, n, rhs.stride());
    context.set_max_num_threads(random.one_in(4) ? 2 : 1);
    // Negated zero points; now and then what is none.
    const bool wild = random.one_in(5);
    auto offset = [&] {
        return wild ? random.in(-1000, 1000)
                    : random.in(-std::numeric_limits<In>::max(), -std::numeric_limits<In>::min());
    };
    if (random.one_in(3)) {
        const auto rows = random.many(m, offset), cols = random.many(n, offset);
        GemmWithOutputPipelinePC<In, Out, DefaultL8R8BitDepthParams>(
            &context, from, by, &result, VectorMap<const i32, VectorShape::Col>(rows.data(), m),
            VectorMap<const i32, VectorShape::Row>(cols.data(), n), pipeline);
    } else {
        GemmWithOutputPipeline<In, Out, DefaultL8R8BitDepthParams>(&context, from, by, &result, offset(), offset(),
                                                                   pipeline);
    }
    line(kind, shape, c);
}

template <typename Out, typename Pipeline>
void orders(Random &random, const char *kind, Shape shape, const Pipeline &pipeline) {
    const MapOrder Row = MapOrder::RowMajor, Col = MapOrder::ColMajor;
    typedef std::uint8_t In;
    // Each order of each matrix, in half of the combinations: gemmlowp takes a minute to compile as it is.
    switch (random.in(0, 3)) {
    case 0: return product<In, Out, Row, Row, Row>(random, kind, shape, pipeline);
    case 1: return product<In, Out, Row, Col, Col>(random, kind, shape, pipeline);
    case 2: return product<In, Out, Col, Row, Col>(random, kind, shape, pipeline);
    default: return product<In, Out, Col, Col, Row>(random, kind, shape, pipeline);
    }
}

// A scaling to each type of results, without and with clamps, behind no bias and behind one.
template <typename Stage, typename Bias>
void scaling(Random &random, const char *kind, Shape shape, const Stage &stage, const Bias &bias) {
    const OutputStageClamp clamp = {random.bound(), random.bound()}, other = {random.bound(), random.bound()};
    const OutputStageSaturatingCastToUint8 u8 = {};
    const OutputStageSaturatingCastToInt16 i16 = {};
    const std::string name = kind;
    switch (random.in(0, 5)) {
    case 0: return orders<std::uint8_t>(random, (name + "-u8").c_str(), shape, std::make_tuple(stage, u8));
    case 1:
        return orders<std::uint8_t>(random, ("bias-" + name + "-clamp-u8").c_str(), shape,
                                    std::make_tuple(bias, stage, clamp, u8));
    case 2:
        return orders<std::int16_t>(random, ("bias-" + name + "-i16").c_str(), shape,
                                    std::make_tuple(bias, stage, i16));
    case 3:
        return orders<std::int16_t>(random, (name + "-clamp-clamp-i16").c_str(), shape,
                                    std::make_tuple(stage, clamp, other, i16));
    case 4: return orders<std::int32_t>(random, (name + "-i32").c_str(), shape, std::make_tuple(stage));
    default: {
        const OutputStageSaturatingCastToInt8 i8 = {};
        return orders<std::int8_t>(random, (name + "-clamp-i8").c_str(), shape, std::make_tuple(stage, clamp, i8));
    }
    }
}

template <VectorShape S>
void along(Random &random, Shape shape) {
    const int count = S == VectorShape::Col ? shape.m : shape.n;
    typedef VectorMap<const i32, S> Vector;
    const auto biases = random.many(count, [&] { return random.bias(); });
    const auto multipliers = random.many(count, [&] { return random.multiplier(); });
    const bool right = random.one_in(2);
    const auto exponents = random.many(count, [&] { return right ? random.in(-31, -1) : random.exponent(); });
    const OutputStageBiasAddition<Vector> bias = {Vector(biases.data(), count)};
    const std::string axis = S == VectorShape::Col ? "-rows" : "-cols";
    switch (random.in(0, 7)) {
    case 0: return orders<i32>(random, "sums", shape, std::make_tuple());
    case 1: return orders<i32>(random, ("bias-i32" + axis).c_str(), shape, std::make_tuple(bias, bias));
    case 2:
        return orders<std::uint8_t>(random, ("bias-u8" + axis).c_str(), shape,
                                    std::make_tuple(bias, OutputStageSaturatingCastToUint8()));
    case 3: {
        const OutputStageQuantizeDownInt32ToUint8Scale stage = {
            random.bias(), random.one_in(4) ? random.any() : random.in(1, 1000), random.shift()};
        return scaling(random, "integer", shape, stage, bias);
    }
    case 4: {
        const auto factors = random.many(count, [&] { return random.in(-20, 1000); });
        const OutputStageQuantizeDownInt32ToUint8ScalePC<S> stage = {Vector(biases.data(), count),
                                                                     Vector(factors.data(), count), random.shift()};
        return scaling(random, ("integer" + axis).c_str(), shape, stage, bias);
    }
    case 5: {
        const i32 shift = random.shift();
        const OutputStageQuantizeDownInt32ByFixedPoint stage = {random.multiplier(), shift, random.after(shift > 0)};
        return scaling(random, "fixed", shape, stage, bias);
    }
    case 6: {
        const i32 exponent = random.exponent();
        const OutputStageScaleInt32ByFixedPointAndExponent stage = {random.multiplier(), exponent,
                                                                    random.after(exponent < 0)};
        return scaling(random, "exponent", shape, stage, bias);
    }
    default: {
        const bool shifted =
            std::all_of(exponents.begin(), exponents.end(), [](i32 exponent) { return exponent < 0; });
        const OutputStageScaleInt32ByFixedPointAndExponentPC<S> stage = {
            Vector(multipliers.data(), count), Vector(exponents.data(), count), random.after(shifted)};
        return scaling(random, ("exponent" + axis).c_str(), shape, stage, bias);
    }
    }
}

void legacy(Random &random, Shape shape) {
    using namespace eight_bit_int_gemm;
    const int m = shape.m, k = shape.k, n = shape.n;
    const bool ta = random.one_in(2), tb = random.one_in(2), tc = random.one_in(2);
    const int lda = (ta ? k : m) + random.in(0, 2), ldb = (tb ? n : k) + random.in(0, 2),
              ldc = (tc ? n : m) + random.in(0, 2);
    std::vector<std::uint8_t> a(std::size_t(lda * (ta ? m : k) + 1)), b(std::size_t(ldb * (tb ? k : n) + 1)),
        c(std::size_t(ldc * (tc ? m : n)));
    std::vector<float> reals(c.size(), 0.5f);
    for (auto memory : {&a, &b, &c}) {
        for (auto &code : *memory) code = std::uint8_t(random.any());
    }
    const i32 a_offset = random.in(-255, 10), b_offset = random.in(-255, 10);
    SetMaxNumThreads(random.in(0, 2));
    EightBitIntGemm(ta, tb, tc, m, n, k, a.data(), a_offset, lda, b.data(), b_offset, ldb, c.data(),
                    random.in(-20000, 20000), random.in(1, 500), random.in(0, 20), ldc, BitDepthSetting::A8B8);
    line("legacy", shape, c);
    if (k > 0) {
        EightBitIntGemm(ta, tb, tc, m, n, k, a.data(), a_offset, lda, b.data(), b_offset, ldb, reals.data(),
                        float(random.in(-100, 100)) * 0.01f, ldc, BitDepthSetting::A5B7);
        line("legacy-float", shape, reals);
    }
    if (random.one_in(10)) FreePersistentResources();
}

// The oldest pipeline, by one scale and by one a row; on two threads, if the product is large enough.
void standard(Random &random, Shape shape) {
    const MapOrder Row = MapOrder::RowMajor, Col = MapOrder::ColMajor;
    const int m = shape.m, k = shape.k, n = shape.n;
    std::vector<std::uint8_t> a(std::size_t(m * k)), b(std::size_t(k * n)), c(std::size_t(m * n));
    for (auto memory : {&a, &b}) {
        for (auto &code : *memory) code = std::uint8_t(random.any());
    }
    const MatrixMap<const std::uint8_t, Row> lhs(a.data(), m, k);
    const MatrixMap<const std::uint8_t, Col> rhs(b.data(), k, n);
    MatrixMap<std::uint8_t, Col> result(c.data(), m, n);
    GemmContext context;
    context.set_max_num_threads(2);
    const int lhs_offset = random.in(-255, 0), rhs_offset = random.in(-255, 0);
    const int offset = random.in(-20000, 20000), scale = random.in(1, 500), shift = random.in(8, 20);
    Gemm<std::uint8_t, DefaultL8R8BitDepthParams>(&context, lhs, rhs, &result, lhs_offset, rhs_offset, offset, scale,
                                                  shift);
    line("standard", shape, c);
    const auto rows = static_cast<std::size_t>(m);
    std::vector<i32> offsets(rows), scales(rows);
    for (auto &each : offsets) each = random.in(-20000, 20000);
    for (auto &each : scales) each = random.in(1, 500);
    typedef VectorMap<const i32, VectorShape::Col> Each;
    const auto pipeline = MakeStandardOutputPipeline(Each(offsets.data(), m), Each(scales.data(), m), shift);
    GemmWithOutputPipeline<std::uint8_t, std::uint8_t, DefaultL8R8BitDepthParams>(&context, lhs, rhs, &result,
                                                                                  lhs_offset, rhs_offset, pipeline);
    line("standard-rows", shape, c);
}

void products(int count) {
    for (int i = 0; i < count; i++) {
        Random random = {std::uint64_t(i)};
        if (i % 100 == 0) standard(random, {128 + i % 7, 128, 128});
        const int most = random.one_in(50) ? 200 : random.one_in(4) ? 70 : 20;
        const Shape shape = {random.in(0, most), random.in(0, most), random.in(0, most)};
        std::printf("%d ", i);
        if (random.one_in(2)) {
            along<VectorShape::Col>(random, shape);
        } else {
            along<VectorShape::Row>(random, shape);
        }
        if (random.one_in(5)) legacy(random, shape);
    }
}

#endif

// As engines call it: contiguous depth, weights left, results by columns.
template <typename Out, typename Pipeline>
void speed(const char *kind, Shape shape, int threads, const Pipeline &pipeline) {
    const MapOrder Row = MapOrder::RowMajor, Col = MapOrder::ColMajor;
    Random random = {1};
    std::vector<std::uint8_t> a(std::size_t(shape.m * shape.k)), b(std::size_t(shape.k * shape.n));
    std::vector<Out> c(std::size_t(shape.m * shape.n));
    for (auto memory : {&a, &b}) {
        for (auto &code : *memory) code = std::uint8_t(random.any());
    }
    const MatrixMap<const std::uint8_t, Row> lhs(a.data(), shape.m, shape.k);
    const MatrixMap<const std::uint8_t, Col> rhs(b.data(), shape.k, shape.n);
    MatrixMap<Out, Col> result(c.data(), shape.m, shape.n);
    context.set_max_num_threads(threads);
    double least = 1e9, all = 0;
    while (all < 0.15) {
        const auto begin = std::chrono::steady_clock::now();
        GemmWithOutputPipeline<std::uint8_t, Out, L8R8WithLhsNonzeroBitDepthParams>(&context, lhs, rhs, &result, -128,
                                                                                    -117, pipeline);
        const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        least = time < least ? time : least;
        all += time;
    }
    std::printf("%s %dx%dx%d %.1f\n", kind, shape.m, shape.k, shape.n,
                2.0 * shape.m * shape.k * shape.n / least / 1e9);
}

int main(int arguments, char **argument) {
    if (arguments != 2) return 2;
    static_cast<void>(argument);
#ifndef SPEED_ONLY
    if (std::strcmp(argument[1], "--speed") != 0) {
        products(std::atoi(argument[1]));
        return 0;
    }
#endif
    const Shape shapes[] = {{32, 32, 32},       {64, 64, 64},    {256, 256, 256},  {512, 512, 512},
                            {1024, 1024, 1024}, {64, 32, 12544}, {128, 128, 3136}, {512, 512, 196},
                            {1024, 1024, 49},   {1001, 1024, 1}, {1024, 1024, 16}};
    const OutputStageQuantizeDownInt32ByFixedPoint fixed = {1 << 30, 9, 10};
    const auto codes = std::make_tuple(fixed, OutputStageSaturatingCastToUint8());
    for (const Shape &shape : shapes) {
        speed<std::uint8_t>("u8", shape, 1, codes);
        speed<i32>("i32", shape, 1, std::make_tuple());
    }
    for (const Shape &shape : {Shape{512, 512, 512}, Shape{128, 128, 3136}})
        speed<std::uint8_t>("u8-two-threads", shape, 2, codes);
}
