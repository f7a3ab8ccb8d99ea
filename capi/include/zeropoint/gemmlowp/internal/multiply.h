// Products by the library, from gemmlowp's maps.
#ifndef ZEROPOINT_GEMMLOWP_INTERNAL_MULTIPLY_H_
#define ZEROPOINT_GEMMLOWP_INTERNAL_MULTIPLY_H_

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "context.h"
#include "form.h"

namespace gemmlowp {
namespace zeropoint_internal {

// A matrix with two strides.
template <typename T>
struct View {
    T *data;
    std::size_t rows, cols, row_stride, col_stride;

    template <typename Map>
    static View of(const Map &map) {
        const auto size = [](int n) { return static_cast<std::size_t>(n); };
        return {map.data(), size(map.rows()), size(map.cols()), size(map.rows_stride()), size(map.cols_stride())};
    }

    void transpose() {
        std::swap(rows, cols);
        std::swap(row_stride, col_stride);
    }

    T &operator()(std::size_t row, std::size_t col) const { return data[row * row_stride + col * col_stride]; }

    template <typename Matrix>
    Matrix matrix() const {
        Matrix matrix = {};
        matrix.size = sizeof matrix;
        matrix.data = data;
        matrix.len = rows * cols == 0 ? 0 : (rows - 1) * row_stride + (cols - 1) * col_stride + 1;
        matrix.elements = Elements<typename std::remove_const<T>::type>::value;
        matrix.rows = rows, matrix.cols = cols;
        matrix.row_stride = row_stride, matrix.col_stride = col_stride;
        return matrix;
    }
};

// An operand: what is added to the codes of its rows (of lhs) or columns (of rhs), one or one each.
template <typename T>
struct Operand {
    View<const T> codes;
    std::vector<std::int32_t> offsets, zero_points;

    template <typename Map, typename Offset>
    Operand(const Map &map, const Offset &offset, int count) : codes(View<const T>::of(map)) {
        // One that is the same for all costs the library less.
        bool same = true;
        for (int i = 1; i < count && same; i++) same = offset(i) == offset(0);
        for (int i = 0; i < (same ? 1 : count); i++) offsets.push_back(offset(i));
        for (std::int32_t one : offsets) zero_points.push_back(wrapping_mul(one, -1));
    }

    std::int32_t offset(std::size_t i) const { return offsets[offsets.size() == 1 ? 0 : i]; }

    // Whether all zero points are codes.
    bool fits() const {
        return std::all_of(zero_points.begin(), zero_points.end(), [](std::int32_t zero) {
            return zero >= std::numeric_limits<T>::min() && zero <= std::numeric_limits<T>::max();
        });
    }

    zeropoint_matrix matrix(bool with_zero_points) const {
        zeropoint_matrix matrix = codes.template matrix<zeropoint_matrix>();
        if (with_zero_points && zero_points.size() == 1) {
            matrix.zero_point = zero_points[0];
        } else if (with_zero_points) {
            matrix.zero_points = zero_points.data();
            matrix.zero_points_len = zero_points.size();
        }
        return matrix;
    }
};

// A product that the library takes as it is.
template <typename T>
void direct(GemmContext *context, const zeropoint_matrix &lhs, const zeropoint_matrix &rhs, const Form &form,
            const View<T> &result) {
    const zeropoint_stages stages = form.stages<T>();
    const zeropoint_matrix_mut out = result.template matrix<zeropoint_matrix_mut>();
    // Below, threads cost more than they bring.
    const double operations = double(lhs.rows) * double(lhs.cols) * double(rhs.cols);
    if (context->threads() == 1 || operations < 1e6) {
        check(zeropoint_gemm_once(&lhs, &rhs, &stages, &out));
        return;
    }
    zeropoint_pack pack = {};
    pack.size = sizeof pack;
    pack.effort = ZEROPOINT_EFFORT_FAST;
    pack.expected_rows = lhs.rows;
    zeropoint_gemm *made;
    check(zeropoint_gemm_new(&rhs, &pack, &stages, &made));
    const std::unique_ptr<zeropoint_gemm, Free> gemm(made);
    std::size_t bytes;
    check(zeropoint_gemm_workspace_bytes(made, context->threads(), &bytes));
    const zeropoint_threads threads = context->lend();
    zeropoint_run run = {};
    run.size = sizeof run;
    run.threads = &threads;
    check(zeropoint_gemm_run(made, &lhs, &out, context->workspace(bytes), &run));
}

template <typename I, typename T>
void product(GemmContext *context, const Operand<I> &lhs, const Operand<I> &rhs, const Form &form,
             const View<T> &result, std::size_t depth) {
    const bool zero_points = lhs.fits() && rhs.fits();
    const zeropoint_matrix a = lhs.matrix(zero_points), b = rhs.matrix(zero_points);
    if (zero_points && form.fits<T>()) return direct(context, a, b, form, result);

    // Numbers that the library has no form for: its sums, and the rest here.
    std::vector<std::int32_t> sums(result.rows * result.cols), row_sums, col_sums;
    const View<std::int32_t> plain = {sums.data(), result.rows, result.cols, result.cols, 1};
    direct(context, a, b, Form(0, 0), plain);
    if (!zero_points) {
        row_sums.resize(result.rows);
        col_sums.resize(result.cols);
        for (std::size_t i = 0; i < depth; i++) {
            for (std::size_t row = 0; row < result.rows; row++) row_sums[row] += lhs.codes(row, i);
            for (std::size_t col = 0; col < result.cols; col++) col_sums[col] += rhs.codes(i, col);
        }
    }
    for (std::size_t row = 0; row < result.rows; row++) {
        for (std::size_t col = 0; col < result.cols; col++) {
            std::int32_t sum = plain(row, col);
            if (!zero_points) {
                // sum of (a + x) * (b + y) = sum of a * b + x * sum of b + y * (sum of a + depth * x)
                const std::int32_t x = lhs.offset(row), y = rhs.offset(col);
                const std::int32_t of_a =
                    wrapping_add(row_sums[row], wrapping_mul(static_cast<std::int32_t>(depth), x));
                sum = wrapping_add(sum, wrapping_add(wrapping_mul(x, col_sums[col]), wrapping_mul(y, of_a)));
            }
            result(row, col) = form.apply<T>(sum, row, col);
        }
    }
}

template <typename I, typename T>
void multiply(GemmContext *context, Operand<I> lhs, Operand<I> rhs, Form form, View<T> result) {
    const std::size_t rows = result.rows, cols = result.cols, depth = lhs.codes.cols;
    // The side with fewer panels is packed, else that which makes rows of the result contiguous.
    const bool by_rows = result.col_stride == 1;
    if (by_rows ? cols > 4 * rows : cols * 4 >= rows) {
        std::swap(lhs, rhs);
        lhs.codes.transpose();
        rhs.codes.transpose();
        form.transpose();
        result.transpose();
    }
    product(context, lhs, rhs, form, result, depth);
}

} // namespace zeropoint_internal
} // namespace gemmlowp

#endif
