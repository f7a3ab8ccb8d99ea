/* A prepared product from C: u8 weights and activations, both with a zero point, to u8 codes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zeropoint.h>

static void check(zeropoint_status status) {
    if (status != ZEROPOINT_STATUS_OK) {
        fprintf(stderr, "zeropoint: %s\n", zeropoint_last_error());
        exit(1);
    }
}

int main(void) {
    /* 3 x 2, zero point 128. */
    const uint8_t weights[6] = {2, 130, 128, 255, 0, 127};
    const int32_t bias[2] = {100, -100};
    zeropoint_matrix rhs = {
        .size = sizeof rhs,
        .data = weights,
        .len = 6,
        .elements = ZEROPOINT_TYPE_U8,
        .zero_point = 128,
        .rows = 3,
        .cols = 2,
        .row_stride = 2,
        .col_stride = 1,
    };
    zeropoint_multiplier multiplier;
    check(zeropoint_multiplier_from_real(0.125, &multiplier));
    zeropoint_stages stages = {
        .size = sizeof stages,
        .output = ZEROPOINT_TYPE_U8,
        .scaling = ZEROPOINT_SCALING_FIXED,
        .multipliers = &multiplier,
        .multipliers_len = 1,
        .bias = bias,
        .bias_len = 2,
        .zero_point = 10,
    };
    zeropoint_gemm *gemm;
    check(zeropoint_gemm_new(&rhs, NULL, &stages, &gemm));

    size_t bytes;
    zeropoint_workspace *workspace;
    check(zeropoint_gemm_workspace_bytes(gemm, 1, &bytes));
    check(zeropoint_workspace_new(bytes, &workspace));

    /* 2 x 3, zero point 1. */
    const uint8_t activations[6] = {0, 1, 2, 3, 4, 5};
    uint8_t codes[4];
    zeropoint_matrix lhs = {
        .size = sizeof lhs,
        .data = activations,
        .len = 6,
        .elements = ZEROPOINT_TYPE_U8,
        .zero_point = 1,
        .rows = 2,
        .cols = 3,
        .row_stride = 3,
        .col_stride = 1,
    };
    zeropoint_matrix_mut out = {
        .size = sizeof out,
        .data = codes,
        .len = 4,
        .elements = ZEROPOINT_TYPE_U8,
        .rows = 2,
        .cols = 2,
        .row_stride = 2,
        .col_stride = 1,
    };
    check(zeropoint_gemm_run(gemm, &lhs, &out, workspace, NULL)); /* allocates nothing */

    char text[2048];
    check(zeropoint_gemm_explain(gemm, text, sizeof text, NULL));
    printf("zeropoint %s\n%s\n%d %d %d %d\n", zeropoint_version(), text, codes[0], codes[1], codes[2], codes[3]);
    check(zeropoint_workspace_free(workspace));
    check(zeropoint_gemm_free(gemm));
    return memcmp(codes, (const uint8_t[4]){22, 0, 0, 45}, 4) != 0;
}
