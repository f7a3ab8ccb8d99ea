/* Loaded into Bochs beside empty libraries for its windows: puts right what its compiled form does wrong, so that Linux
 * boots and AMX multiplies as the manual says. Knows one version of it, and refuses any other. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *function(const char *name) {
    void *at = dlsym(RTLD_DEFAULT, name);
    if (!at) {
        fprintf(stderr, "emulated-x86.c does not know this Bochs: no %s\n", name);
        exit(3);
    }
    return at;
}

/* IDIV of 128 bits: the compiler dropped the low half of the dividend, whose two names break its rules of aliasing. */
struct wide {
    uint64_t low;
    int64_t high;
};

static void divide(struct wide *quotient, int64_t *remainder, const struct wide *dividend, int64_t divisor) {
    __int128 n = (__int128)dividend->high << 64 | dividend->low, q = n / divisor;
    *quotient = (struct wide){(uint64_t)q, (int64_t)(q >> 64)};
    *remainder = (int64_t)(n - q * divisor);
}

/* TDPBUSD: bytes of the right tile are taken as unsigned. A negative one is 256 more then, and so is taken off before
 * Bochs multiplies; checks, faults, rows and sums stay its own. */
struct amx {
    uint64_t palette;
    struct {
        uint32_t rows, row_bytes;
    } shape[8];
    uint8_t other[56];
    uint8_t tile[8][16][64];
};
enum { CPU_AMX = 0x8eb8, SUMS = 0x24, LHS = 0x25, RHS = 0x26 };

static void (*multiply)(const char *cpu, const uint8_t *instruction);

static void tdpbusd(const char *cpu, const uint8_t *instruction) {
    struct amx *amx = *(struct amx **)(cpu + CPU_AMX);
    unsigned sums = instruction[SUMS] & 7, lhs = instruction[LHS] & 7, rhs = instruction[RHS] & 7;
    for (unsigned row = 0; row < amx->shape[sums].rows; row++) {
        uint32_t *sum = (uint32_t *)amx->tile[sums][row];
        for (unsigned col = 0; col < amx->shape[sums].row_bytes / 4; col++) {
            for (unsigned k = 0; k < amx->shape[lhs].row_bytes; k++) {
                if (amx->tile[rhs][k / 4][4 * col + k % 4] > 127) {
                    sum[col] -= (uint32_t)amx->tile[lhs][row][k] << 8;
                }
            }
        }
    }
    multiply(cpu, instruction);
}

static void replace(const char *name, const uint8_t *expected, size_t length, void *by) {
    uint8_t *at = function(name), jump[12] = {0x48, 0xb8, [10] = 0xff, 0xe0}; /* movabs rax; jmp rax */
    void *page = (void *)((uintptr_t)at & -4096);
    memcpy(jump + 2, &by, sizeof by);
    if (memcmp(at, expected, length) || mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC)) {
        fprintf(stderr, "emulated-x86.c does not know this Bochs: another %s\n", name);
        exit(3);
    }
    memcpy(at, jump, sizeof jump);
}

__attribute__((constructor)) static void repair(void) {
    /* How the functions begin. That of TDPBUSD is the one of TDPBSUD: the compiler found them to be equal. */
    static const uint8_t idiv[] = {0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x55, 0x49, 0x89, 0xf5};
    uint8_t jump[9] = {0xf3, 0x0f, 0x1e, 0xfa, 0xe9};
    char *usd = function("_ZN8BX_CPU_C19TDPBUSD_TnnnTrmTregEP15bxInstruction_c");
    char *sud = function("_ZN8BX_CPU_C19TDPBSUD_TnnnTrmTregEP15bxInstruction_c");
    int32_t distance = (int32_t)(sud - (usd + sizeof jump));
    memcpy(jump + 5, &distance, sizeof distance);
    multiply = (void (*)(const char *, const uint8_t *))(void *)sud;
    replace("_Z9long_idivP7Bit128sPlPKS_l", idiv, sizeof idiv, (void *)divide);
    replace("_ZN8BX_CPU_C19TDPBUSD_TnnnTrmTregEP15bxInstruction_c", jump, sizeof jump, (void *)tdpbusd);
}
