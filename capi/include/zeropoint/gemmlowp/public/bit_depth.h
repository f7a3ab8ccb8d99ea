// Ranges that gemmlowp's callers promise. Products here are exact without a promise, so that none is needed.
#ifndef ZEROPOINT_GEMMLOWP_PUBLIC_BIT_DEPTH_H_
#define ZEROPOINT_GEMMLOWP_PUBLIC_BIT_DEPTH_H_

namespace gemmlowp {

template <int tMinValue, int tMaxValue>
struct OperandRange {
    static_assert(tMinValue < tMaxValue, "a range has two ends");
    static constexpr int kMinValue = tMinValue;
    static constexpr int kMaxValue = tMaxValue;
};

template <typename tLhsRange, typename tRhsRange>
struct BitDepthParams {
    using LhsRange = tLhsRange;
    using RhsRange = tRhsRange;
};

using Uint8Range = OperandRange<0, 255>;
using Uint8RangeExcludingZero = OperandRange<1, 255>;
using Int8Range = OperandRange<-128, 127>;
using Int8RangeExcludingLow = OperandRange<-127, 127>;

using DefaultL8R8BitDepthParams = BitDepthParams<Uint8Range, Uint8Range>;
using L8R8WithLhsNonzeroBitDepthParams = BitDepthParams<Uint8RangeExcludingZero, Uint8Range>;
using SignedL8R8WithLhsNonzeroBitDepthParams = BitDepthParams<Int8RangeExcludingLow, Int8Range>;
using DefaultL7R5BitDepthParams = DefaultL8R8BitDepthParams;

} // namespace gemmlowp

#endif
