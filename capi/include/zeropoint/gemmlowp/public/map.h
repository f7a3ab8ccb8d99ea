// Matrices and vectors as gemmlowp's callers name them: views of memory of their own.
#ifndef ZEROPOINT_GEMMLOWP_PUBLIC_MAP_H_
#define ZEROPOINT_GEMMLOWP_PUBLIC_MAP_H_

#include <cassert>
#include <cstddef>
#include <cstdint>

namespace gemmlowp {

enum class MapOrder { ColMajor, RowMajor };

// `stride` counts elements from a column to the next, or from a row to the next if rows are contiguous.
template <typename tScalar, MapOrder tOrder>
class MatrixMap {
public:
    typedef tScalar Scalar;
    static constexpr MapOrder kOrder = tOrder;

    MatrixMap() : MatrixMap(nullptr, 0, 0, 0) {}
    MatrixMap(Scalar *data, int rows, int cols)
        : MatrixMap(data, rows, cols, tOrder == MapOrder::ColMajor ? rows : cols) {}
    MatrixMap(Scalar *data, int rows, int cols, int stride)
        : data_(data), rows_(rows), cols_(cols), stride_(stride) {}

    int rows() const { return rows_; }
    int cols() const { return cols_; }
    int stride() const { return stride_; }
    int rows_stride() const { return tOrder == MapOrder::ColMajor ? 1 : stride_; }
    int cols_stride() const { return tOrder == MapOrder::ColMajor ? stride_ : 1; }
    Scalar *data() const { return data_; }
    Scalar *data(int row, int col) const {
        return data_ + static_cast<std::ptrdiff_t>(row) * rows_stride() +
               static_cast<std::ptrdiff_t>(col) * cols_stride();
    }
    Scalar &operator()(int row, int col) const { return *data(row, col); }

    MatrixMap block(int start_row, int start_col, int block_rows, int block_cols) const {
        assert(start_row >= 0 && start_row + block_rows <= rows_);
        assert(start_col >= 0 && start_col + block_cols <= cols_);
        return MatrixMap(data(start_row, start_col), block_rows, block_cols, stride_);
    }

private:
    Scalar *data_; // not owned
    int rows_, cols_, stride_;
};

// `Col`: one a row of the result. `Row`: one a column.
enum class VectorShape { Col, Row };

template <typename tScalar, VectorShape tShape>
class VectorMap {
public:
    typedef tScalar Scalar;
    static constexpr VectorShape kShape = tShape;

    VectorMap() : VectorMap(nullptr, 0) {}
    VectorMap(Scalar *data, int size) : data_(data), size_(size) {}

    int size() const { return size_; }
    Scalar *data() const { return data_; }
    Scalar *data(int index) const { return data_ + index; }
    Scalar &operator()(int index) const { return data_[index]; }

    VectorMap block(int start, int len) const {
        assert(start >= 0 && start + len <= size_);
        return VectorMap(data_ + start, len);
    }

private:
    Scalar *data_; // not owned
    int size_;
};

// A vector whose elements are all the same.
template <typename tScalar, VectorShape tShape>
class VectorDup {
public:
    typedef tScalar Scalar;
    static constexpr VectorShape kShape = tShape;

    VectorDup() : VectorDup(0, 0) {}
    VectorDup(Scalar data, int size) : data_(data), size_(size) {}

    int size() const { return size_; }
    const Scalar &operator()(int) const { return data_; }

    VectorDup block(int start, int len) const {
        assert(start >= 0 && start + len <= size_);
        static_cast<void>(start);
        return VectorDup(data_, len);
    }

private:
    Scalar data_;
    int size_;
};

} // namespace gemmlowp

#endif
