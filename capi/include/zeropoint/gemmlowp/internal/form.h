// Pipelines in the library's normal form: sum + biases -> scale and round -> + offset -> clamp -> cast.
#ifndef ZEROPOINT_GEMMLOWP_INTERNAL_FORM_H_
#define ZEROPOINT_GEMMLOWP_INTERNAL_FORM_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "../public/output_stages.h"
#include "../../../zeropoint.h"

namespace gemmlowp {
namespace zeropoint_internal {

// Sums wrap.
inline std::int32_t wrapping_add(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}
inline std::int32_t wrapping_mul(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
}

// The elements of the library that a type is.
template <typename T>
struct Elements;
template <>
struct Elements<std::uint8_t> : std::integral_constant<std::int32_t, ZEROPOINT_TYPE_U8> {};
template <>
struct Elements<std::int8_t> : std::integral_constant<std::int32_t, ZEROPOINT_TYPE_I8> {};
template <>
struct Elements<std::int16_t> : std::integral_constant<std::int32_t, ZEROPOINT_TYPE_I16> {};
template <>
struct Elements<std::int32_t> : std::integral_constant<std::int32_t, ZEROPOINT_TYPE_I32> {};

// A pipeline for a result of `rows` x `cols`. Rows and columns may change places.
struct Form {
    // Biases; empty: none.
    std::vector<std::int32_t> row_bias, col_bias;
    // Whether there is a scaling; its rule, its factors, and along what they go.
    bool scaled = false;
    std::int32_t rounding = ZEROPOINT_ROUNDING_DOUBLE_AWAY_SAT;
    std::vector<zeropoint_multiplier> multipliers;
    std::int32_t axis = ZEROPOINT_AXIS_ONE;
    std::int32_t offset = 0;
    std::int32_t low = std::numeric_limits<std::int32_t>::min();
    std::int32_t high = std::numeric_limits<std::int32_t>::max();

    Form(int rows, int cols) : rows(rows), cols(cols) {}

    template <VectorShape Shape, typename Vector>
    void add_bias(const Vector &vector) {
        std::vector<std::int32_t> &bias = Shape == VectorShape::Col ? row_bias : col_bias;
        bias.resize(length<Shape>());
        for (std::size_t i = 0; i < bias.size(); i++) {
            bias[i] = wrapping_add(bias[i], vector(static_cast<int>(i)));
        }
    }

    // Factors that are multiplied and shifted as `shift(i)` says.
    template <VectorShape Shape, typename Factor, typename Shift>
    void scale(const Factor &factor, const Shift &shift) {
        axis = Shape == VectorShape::Col ? ZEROPOINT_AXIS_ROWS : ZEROPOINT_AXIS_COLUMNS;
        multipliers.resize(length<Shape>());
        for (std::size_t i = 0; i < multipliers.size(); i++) {
            multipliers[i] = zeropoint_multiplier{factor(static_cast<int>(i)), shift(static_cast<int>(i))};
        }
        scaled = true;
    }

    void scale(std::int32_t factor, std::int32_t shift) {
        multipliers.assign(1, zeropoint_multiplier{factor, shift});
        scaled = true;
    }

    // First up to `min`, then down to `max`, as is done with values.
    void clamp(std::int32_t min, std::int32_t max) {
        low = std::min(std::max(low, min), max);
        high = std::min(std::max(high, min), max);
    }

    void transpose() {
        std::swap(rows, cols);
        row_bias.swap(col_bias);
        if (axis == ZEROPOINT_AXIS_ROWS) {
            axis = ZEROPOINT_AXIS_COLUMNS;
        } else if (axis == ZEROPOINT_AXIS_COLUMNS) {
            axis = ZEROPOINT_AXIS_ROWS;
        }
    }

    // Whether the library takes it for results of this type; else `apply` does it.
    template <typename T>
    bool fits() const {
        if (std::is_same<T, std::int32_t>::value) {
            return !scaled && low == std::numeric_limits<T>::min() && high == std::numeric_limits<T>::max();
        }
        if (offset < std::numeric_limits<T>::min() || offset > std::numeric_limits<T>::max()) return false;
        return std::all_of(multipliers.begin(), multipliers.end(), [this](const zeropoint_multiplier &by) {
            if (rounding == ZEROPOINT_ROUNDING_INT_MUL_SHIFT) return by.shift >= -31 && by.shift <= 0;
            return (by.multiplier == 0 || by.multiplier >= 1 << 30) && by.shift >= -31 && by.shift <= 30;
        });
    }

    // The stages of the library, which point into this.
    template <typename T>
    zeropoint_stages stages() const {
        static const zeropoint_multiplier one = {1 << 30, 1};
        zeropoint_stages stages = {};
        stages.size = sizeof stages;
        stages.output = Elements<T>::value;
        stages.bias = col_bias.empty() ? nullptr : col_bias.data();
        stages.bias_len = col_bias.size();
        stages.row_bias = row_bias.empty() ? nullptr : row_bias.data();
        stages.row_bias_len = row_bias.size();
        if (std::is_same<T, std::int32_t>::value) return stages;
        stages.scaling = ZEROPOINT_SCALING_FIXED;
        stages.rounding = rounding;
        stages.multipliers = scaled ? multipliers.data() : &one;
        stages.multipliers_len = scaled ? multipliers.size() : 1;
        stages.multipliers_axis = axis;
        stages.zero_point = offset;
        stages.clamp = 1;
        stages.clamp_low = cast<T>(low);
        stages.clamp_high = cast<T>(high);
        return stages;
    }

    // What becomes of one sum, in plain C++, whatever the numbers are.
    template <typename T>
    T apply(std::int32_t x, std::size_t row, std::size_t col) const {
        if (!row_bias.empty()) x = wrapping_add(x, row_bias[row]);
        if (!col_bias.empty()) x = wrapping_add(x, col_bias[col]);
        if (scaled) {
            const std::size_t at = axis == ZEROPOINT_AXIS_ROWS ? row : axis == ZEROPOINT_AXIS_COLUMNS ? col : 0;
            x = scaled_by(x, multipliers[at]);
        }
        // gemmlowp's sum is undefined where it does not fit.
        return cast<T>(std::min<std::int64_t>(std::max<std::int64_t>(std::int64_t{x} + offset, low), high));
    }

    template <typename T>
    static T cast(std::int64_t x) {
        const std::int64_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
        return static_cast<T>(std::min(std::max(x, low), high));
    }

    int rows, cols;

private:
    template <VectorShape Shape>
    std::size_t length() const {
        return static_cast<std::size_t>(Shape == VectorShape::Col ? rows : cols);
    }

    std::int32_t scaled_by(std::int32_t x, zeropoint_multiplier by) const {
        if (rounding == ZEROPOINT_ROUNDING_INT_MUL_SHIFT) {
            return divided(wrapping_mul(x, by.multiplier), -by.shift);
        }
        const std::int32_t least = std::numeric_limits<std::int32_t>::min();
        const std::int32_t most = std::numeric_limits<std::int32_t>::max();
        if (by.shift > 0) {
            const std::int64_t shifted = x * (std::int64_t{1} << std::min(by.shift, 31));
            x = static_cast<std::int32_t>(std::min<std::int64_t>(std::max<std::int64_t>(shifted, least), most));
        }
        if (x == least && by.multiplier == least) {
            x = most;
        } else {
            // Rounded to nearest, ties up.
            x = static_cast<std::int32_t>((std::int64_t{x} * by.multiplier + (std::int64_t{1} << 30)) >> 31);
        }
        return divided(x, std::max(-by.shift, 0));
    }

    // x / 2^exponent, rounded to nearest, ties away from zero.
    static std::int32_t divided(std::int32_t x, std::int32_t exponent) {
        if (exponent <= 0) return x;
        exponent = std::min(exponent, 31);
        const std::int64_t half = std::int64_t{1} << (exponent - 1);
        const std::int64_t size = (std::abs(std::int64_t{x}) + half) >> exponent;
        return static_cast<std::int32_t>(x < 0 ? -size : size);
    }
};

// How far a pipeline is: what has come already.
enum class Came { Sums, Scale, Clamp, Cast };

template <typename T>
struct Never : std::false_type {};

// A stage: what it leaves behind, and what it does to the form. This is of what is no stage of a pipeline.
template <typename Stage>
struct StageOf {
    static constexpr Came kCame = Came::Cast;
    using Result = void;
    static void put(const Stage &, Form *) {
        static_assert(Never<Stage>::value, "zeropoint: the normal form has no such stage (bias addition, scaling, "
                                           "clamp, and saturating cast are those it has)");
    }
};

template <typename Vector>
struct StageOf<OutputStageBiasAddition<Vector>> {
    static constexpr Came kCame = Came::Sums;
    static void put(const OutputStageBiasAddition<Vector> &stage, Form *form) {
        form->add_bias<Vector::kShape>(stage.bias_vector);
    }
};

struct Scaling {
    static constexpr Came kCame = Came::Scale;
};

template <>
struct StageOf<OutputStageQuantizeDownInt32ToUint8Scale> : Scaling {
    static void put(const OutputStageQuantizeDownInt32ToUint8Scale &stage, Form *form) {
        form->rounding = ZEROPOINT_ROUNDING_INT_MUL_SHIFT;
        form->add_bias<VectorShape::Row>([&](int) { return stage.result_offset; });
        form->scale(stage.result_mult_int, -stage.result_shift);
    }
};

template <VectorShape Shape>
struct StageOf<OutputStageQuantizeDownInt32ToUint8ScalePC<Shape>> : Scaling {
    static void put(const OutputStageQuantizeDownInt32ToUint8ScalePC<Shape> &stage, Form *form) {
        form->rounding = ZEROPOINT_ROUNDING_INT_MUL_SHIFT;
        form->add_bias<Shape>(stage.result_offset);
        form->scale<Shape>(stage.result_mult_int, [&](int) { return -stage.result_shift; });
    }
};

template <>
struct StageOf<OutputStageQuantizeDownInt32ByFixedPoint> : Scaling {
    static void put(const OutputStageQuantizeDownInt32ByFixedPoint &stage, Form *form) {
        form->scale(stage.result_fixedpoint_multiplier, -stage.result_shift);
        form->offset = stage.result_offset_after_shift;
    }
};

template <>
struct StageOf<OutputStageScaleInt32ByFixedPointAndExponent> : Scaling {
    static void put(const OutputStageScaleInt32ByFixedPointAndExponent &stage, Form *form) {
        form->scale(stage.result_fixedpoint_multiplier, stage.result_exponent);
        form->offset = stage.result_offset_after_shift;
    }
};

template <VectorShape Shape>
struct StageOf<OutputStageScaleInt32ByFixedPointAndExponentPC<Shape>> : Scaling {
    static void put(const OutputStageScaleInt32ByFixedPointAndExponentPC<Shape> &stage, Form *form) {
        form->scale<Shape>(stage.result_fixedpoint_multiplier, stage.result_exponent);
        form->offset = stage.result_offset_after_shift;
    }
};

template <>
struct StageOf<OutputStageClamp> {
    static constexpr Came kCame = Came::Clamp;
    static void put(const OutputStageClamp &stage, Form *form) { form->clamp(stage.min, stage.max); }
};

template <typename T>
struct Cast {
    static constexpr Came kCame = Came::Cast;
    using Result = T;
    template <typename Stage>
    static void put(const Stage &, Form *) {}
};
template <>
struct StageOf<OutputStageSaturatingCastToUint8> : Cast<std::uint8_t> {};
template <>
struct StageOf<OutputStageSaturatingCastToInt8> : Cast<std::int8_t> {};
template <>
struct StageOf<OutputStageSaturatingCastToInt16> : Cast<std::int16_t> {};

// Checks the order of stages, and puts each into the form. `Result` is what comes out of those so far.
template <std::size_t I, std::size_t N, Came Before, typename Result, typename T, typename Pipeline>
struct Put {
    using Stage = typename std::tuple_element<I, Pipeline>::type;
    static constexpr Came kCame = StageOf<Stage>::kCame;
    static_assert(Before != Came::Cast, "zeropoint: a stage behind the cast");
    static_assert(kCame != Came::Sums || Before == Came::Sums,
                  "zeropoint: a bias addition behind the scaling or a clamp; the normal form adds biases to sums");
    static_assert(kCame != Came::Scale || Before == Came::Sums,
                  "zeropoint: a scaling behind another scaling or a clamp; the normal form has one, before clamps");

    template <typename S, Came Kind>
    struct ResultOf {
        using type = Result;
    };
    template <typename S>
    struct ResultOf<S, Came::Cast> {
        using type = typename StageOf<S>::Result;
    };

    static void run(const Pipeline &pipeline, Form *form) {
        StageOf<Stage>::put(std::get<I>(pipeline), form);
        Put<I + 1, N, kCame, typename ResultOf<Stage, kCame>::type, T, Pipeline>::run(pipeline, form);
    }
};

template <std::size_t N, Came Before, typename Result, typename T, typename Pipeline>
struct Put<N, N, Before, Result, T, Pipeline> {
    static_assert(std::is_same<Result, T>::value || std::is_void<Result>::value,
                  "zeropoint: the pipeline has to end with the saturating cast to the type of the result, or with "
                  "none for int32");
    static void run(const Pipeline &, Form *) {}
};

// The form of a pipeline whose results are `T`s.
template <typename T, typename Pipeline>
Form form_of(const Pipeline &pipeline, int rows, int cols) {
    Form form(rows, cols);
    Put<0, std::tuple_size<Pipeline>::value, Came::Sums, std::int32_t, T, Pipeline>::run(pipeline, &form);
    return form;
}

} // namespace zeropoint_internal
} // namespace gemmlowp

#endif
