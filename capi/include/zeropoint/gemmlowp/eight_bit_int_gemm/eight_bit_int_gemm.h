// The functions of gemmlowp's legacy interface, with one context for all callers, which take turns.
#ifndef ZEROPOINT_GEMMLOWP_EIGHT_BIT_INT_GEMM_EIGHT_BIT_INT_GEMM_H_
#define ZEROPOINT_GEMMLOWP_EIGHT_BIT_INT_GEMM_EIGHT_BIT_INT_GEMM_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "../public/gemmlowp.h"

namespace gemmlowp {
namespace eight_bit_int_gemm {

// Both give exact products.
enum class BitDepthSetting { A8B8, A5B7 };

namespace zeropoint_internal {

struct Global {
    std::mutex mutex;
    std::unique_ptr<GemmContext> context;

    static Global &get() {
        static Global global;
        return global;
    }

    // The context, with the mutex held.
    GemmContext *made() {
        if (!context) context.reset(new GemmContext);
        return context.get();
    }
};

// What is transposed is stored by rows.
struct Call {
    bool transpose_a, transpose_b, transpose_c;
    int m, n, k;
    const std::uint8_t *a;
    std::int32_t a_offset;
    int lda;
    const std::uint8_t *b;
    std::int32_t b_offset;
    int ldb, ldc;

    template <typename T, typename Pipeline>
    void run(GemmContext *context, T *c, const Pipeline &pipeline) const {
        const MatrixMap<const std::uint8_t, MapOrder::RowMajor> by_rows(a, m, k, lda);
        const MatrixMap<const std::uint8_t, MapOrder::ColMajor> by_cols(a, m, k, lda);
        transpose_a ? with(context, by_rows, c, pipeline) : with(context, by_cols, c, pipeline);
    }

private:
    template <typename Lhs, typename T, typename Pipeline>
    void with(GemmContext *context, const Lhs &lhs, T *c, const Pipeline &pipeline) const {
        const MatrixMap<const std::uint8_t, MapOrder::RowMajor> by_rows(b, k, n, ldb);
        const MatrixMap<const std::uint8_t, MapOrder::ColMajor> by_cols(b, k, n, ldb);
        transpose_b ? with(context, lhs, by_rows, c, pipeline) : with(context, lhs, by_cols, c, pipeline);
    }

    template <typename Lhs, typename Rhs, typename T, typename Pipeline>
    void with(GemmContext *context, const Lhs &lhs, const Rhs &rhs, T *c, const Pipeline &pipeline) const {
        MatrixMap<T, MapOrder::RowMajor> by_rows(c, m, n, ldc);
        MatrixMap<T, MapOrder::ColMajor> by_cols(c, m, n, ldc);
        using Depths = DefaultL8R8BitDepthParams;
        if (transpose_c) {
            GemmWithOutputPipeline<std::uint8_t, T, Depths>(context, lhs, rhs, &by_rows, a_offset, b_offset,
                                                            pipeline);
        } else {
            GemmWithOutputPipeline<std::uint8_t, T, Depths>(context, lhs, rhs, &by_cols, a_offset, b_offset,
                                                            pipeline);
        }
    }
};

} // namespace zeropoint_internal

// c = ((a + a_offset) * (b + b_offset) + c_offset) * c_mult_int / 2^c_shift, of m x k, k x n, m x n.
inline void EightBitIntGemm(bool transpose_a, bool transpose_b, bool transpose_c, int m, int n, int k,
                            const std::uint8_t *a, std::int32_t a_offset, int lda, const std::uint8_t *b,
                            std::int32_t b_offset, int ldb, std::uint8_t *c, std::int32_t c_offset,
                            std::int32_t c_mult_int, std::int32_t c_shift, int ldc, BitDepthSetting) {
    zeropoint_internal::Global &global = zeropoint_internal::Global::get();
    const std::lock_guard<std::mutex> lock(global.mutex);
    const zeropoint_internal::Call call = {transpose_a, transpose_b, transpose_c, m,        n,   k,  a,
                                           a_offset,    lda,         b,           b_offset, ldb, ldc};
    call.run(global.made(), c, MakeStandardOutputPipeline(c_offset, c_mult_int, c_shift));
}

// c = float((a + a_offset) * (b + b_offset)) * c_offset.
inline void EightBitIntGemm(bool transpose_a, bool transpose_b, bool transpose_c, int m, int n, int k,
                            const std::uint8_t *a, std::int32_t a_offset, int lda, const std::uint8_t *b,
                            std::int32_t b_offset, int ldb, float *c, float c_offset, int ldc, BitDepthSetting) {
    if (m == 0 || n == 0 || k == 0) return;
    zeropoint_internal::Global &global = zeropoint_internal::Global::get();
    const std::lock_guard<std::mutex> lock(global.mutex);
    std::vector<std::int32_t> sums(static_cast<std::size_t>(m) * static_cast<std::size_t>(n));
    const int lines = transpose_c ? m : n, length = transpose_c ? n : m;
    const zeropoint_internal::Call call = {transpose_a, transpose_b, transpose_c, m,        n,   k,     a,
                                           a_offset,    lda,         b,           b_offset, ldb, length};
    call.run(global.made(), sums.data(), std::make_tuple());
    for (int line = 0; line < lines; line++) {
        for (int i = 0; i < length; i++) {
            const std::size_t at = static_cast<std::size_t>(line) * static_cast<std::size_t>(length);
            c[static_cast<std::ptrdiff_t>(line) * ldc + i] =
                static_cast<float>(sums[at + static_cast<std::size_t>(i)]) * c_offset;
        }
    }
}

inline void SetMaxNumThreads(int n) {
    zeropoint_internal::Global &global = zeropoint_internal::Global::get();
    const std::lock_guard<std::mutex> lock(global.mutex);
    global.made()->set_max_num_threads(n);
}

inline void FreePersistentResources() {
    zeropoint_internal::Global &global = zeropoint_internal::Global::get();
    const std::lock_guard<std::mutex> lock(global.mutex);
    global.context.reset();
}

} // namespace eight_bit_int_gemm
} // namespace gemmlowp

#endif
