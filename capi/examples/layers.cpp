// A small network from C++: convolution, pooling, softmax, on threads that the program lends. No call throws;
// `check` does.
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>
#include <zeropoint.h>

namespace {

void check(zeropoint_status status) {
    if (status != ZEROPOINT_STATUS_OK) throw std::runtime_error(zeropoint_last_error());
}

// A struct with its size, all other fields 0.
template <typename T>
T sized() {
    T value = {};
    value.size = sizeof value;
    return value;
}

struct Free {
    void operator()(zeropoint_layer *layer) const { zeropoint_layer_free(layer); }
    void operator()(zeropoint_workspace *workspace) const { zeropoint_workspace_free(workspace); }
};
using Layer = std::unique_ptr<zeropoint_layer, Free>;
using Workspace = std::unique_ptr<zeropoint_workspace, Free>;

// Must not throw: no exception passes through the library.
void on_threads(void *, size_t tasks, zeropoint_task perform, const void *task) {
    std::vector<std::thread> threads;
    for (size_t i = 1; i < tasks; i++) threads.emplace_back(perform, task, i);
    if (tasks > 0) perform(task, 0);
    for (auto &thread : threads) thread.join();
}

struct Image {
    size_t shape[4];
    std::vector<uint8_t> codes;
};

Image run(const Layer &layer, const Image &input) {
    Image output = {};
    size_t bytes;
    check(zeropoint_layer_output(layer.get(), input.shape, output.shape));
    output.codes.resize(output.shape[0] * output.shape[1] * output.shape[2] * output.shape[3]);
    check(zeropoint_layer_workspace_bytes(layer.get(), input.shape, 2, &bytes));
    zeropoint_workspace *workspace;
    check(zeropoint_workspace_new(bytes, &workspace));
    Workspace owner(workspace);

    auto from = sized<zeropoint_tensor>();
    auto to = sized<zeropoint_tensor_mut>();
    from.data = input.codes.data(), from.len = input.codes.size(), from.elements = ZEROPOINT_TYPE_U8;
    to.data = output.codes.data(), to.len = output.codes.size(), to.elements = ZEROPOINT_TYPE_U8;
    for (int i = 0; i < 4; i++) from.shape[i] = input.shape[i], to.shape[i] = output.shape[i];
    auto threads = sized<zeropoint_threads>();
    threads.threads = 2, threads.run = on_threads;
    auto options = sized<zeropoint_run>();
    options.threads = &threads;
    const zeropoint_tensor *inputs[] = {&from};
    check(zeropoint_layer_run(layer.get(), inputs, 1, &to, workspace, &options));
    return output;
}

Layer convolution() {
    const std::vector<int8_t> codes(8 * 3 * 3 * 3, 2);
    auto weights = sized<zeropoint_tensor>();
    weights.data = codes.data(), weights.len = codes.size(), weights.elements = ZEROPOINT_TYPE_I8;
    weights.shape[0] = 8, weights.shape[1] = 3, weights.shape[2] = 3, weights.shape[3] = 3;
    auto conv = sized<zeropoint_conv>();
    conv.kind = ZEROPOINT_CONV_KIND_CONV2D;
    conv.input = ZEROPOINT_TYPE_U8, conv.input_zero_point = 127;
    conv.weights = &weights;
    conv.window.stride[0] = conv.window.stride[1] = 2;
    conv.window.padding = ZEROPOINT_PADDING_SAME;

    const std::vector<int32_t> bias(8, 500);
    zeropoint_multiplier multiplier;
    check(zeropoint_multiplier_from_real(0.01, &multiplier));
    auto stages = sized<zeropoint_stages>();
    stages.output = ZEROPOINT_TYPE_U8, stages.scaling = ZEROPOINT_SCALING_FIXED;
    stages.multipliers = &multiplier, stages.multipliers_len = 1;
    stages.bias = bias.data(), stages.bias_len = bias.size();
    zeropoint_layer *layer;
    check(zeropoint_conv_new(&conv, &stages, &layer));
    return Layer(layer);
}

Layer of_kind(zeropoint_op_kind kind) {
    const zeropoint_params params = {ZEROPOINT_TYPE_U8, 0, 0.1f};
    auto op = sized<zeropoint_op>();
    op.kind = kind;
    op.output = params;
    op.inputs = &params, op.inputs_len = 1;
    op.kernel[0] = op.kernel[1] = 8;
    zeropoint_layer *layer;
    check(zeropoint_op_new(&op, &layer));
    return Layer(layer);
}

} // namespace

int main() try {
    const Image image = {{1, 16, 16, 3}, std::vector<uint8_t>(16 * 16 * 3, 130)};
    const Image features = run(convolution(), image);
    const Image pooled = run(of_kind(ZEROPOINT_OP_KIND_MAX_POOL2D), features);
    const Image chances = run(of_kind(ZEROPOINT_OP_KIND_SOFTMAX), pooled);
    std::printf("%d %d %d\n", features.codes[0], pooled.codes[0], chances.codes[0]);
    // (27 taps * 2 * 3 + 500) * 0.01; the largest; an eighth of 256.
    return features.codes[0] == 7 && pooled.codes[0] == 7 && chances.codes[0] == 32 ? 0 : 1;
} catch (const std::exception &error) {
    std::fprintf(stderr, "zeropoint: %s\n", error.what());
    return 1;
}
