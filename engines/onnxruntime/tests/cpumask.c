// Shows the process a smaller CPU: Linux makes CPUID fault (x86-64, where the CPU can), and a signal handler answers
// without some of the features. For libraries that have no switch of their own. Threads inherit it.
//
//     cc -O2 -shared -fPIC cpumask.c -o cpumask.so
//
// Loaded and called before the library that is to be fooled.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { EBX, ECX, EDX, EAX, REGISTERS };

// What is hidden of leaf 7: registers of subleaf 0, then of subleaf 1.
static uint32_t hidden[2][REGISTERS];

#define BIT(n) (UINT32_C(1) << (n))
// AVX512_VNNI; AVX_VNNI and AVX_IFMA; AVX_VNNI_INT8, INT16, AVX10; AMX: bf16, tile, int8, fp16.
static const uint32_t vnni[2][REGISTERS] = {
    {[ECX] = BIT(11), [EDX] = BIT(22) | BIT(24) | BIT(25)},
    {[EAX] = BIT(4) | BIT(21) | BIT(23), [EDX] = BIT(4) | BIT(10) | BIT(19)},
};
// The rest of AVX-512: F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, BITALG, VPOPCNTDQ; VP2INTERSECT, FP16; BF16.
static const uint32_t avx512[2][REGISTERS] = {
    {[EBX] = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31),
     [ECX] = BIT(1) | BIT(6) | BIT(12) | BIT(14),
     [EDX] = BIT(8) | BIT(23)},
    {[EAX] = BIT(5)},
};

static long faulting(int on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on); }

static void answer(int signal, siginfo_t *info, void *context) {
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    if (code[0] != 0x0f || code[1] != 0xa2) { // a fault of another kind: it comes again, and ends the process
        struct sigaction end = {.sa_handler = SIG_DFL};
        sigaction(signal, &end, NULL);
        return;
    }
    uint32_t leaf = registers[REG_RAX], subleaf = registers[REG_RCX], got[REGISTERS];
    faulting(0);
    __cpuid_count(leaf, subleaf, got[EAX], got[EBX], got[ECX], got[EDX]);
    faulting(1);
    if (leaf == 7 && subleaf < 2) {
        for (int i = 0; i < REGISTERS; i++) got[i] &= ~hidden[subleaf][i];
    }
    registers[REG_RAX] = got[EAX];
    registers[REG_RBX] = got[EBX];
    registers[REG_RCX] = got[ECX];
    registers[REG_RDX] = got[EDX];
    registers[REG_RIP] += 2;
}

// "avx2" or "avx512", the widest that stays: neither has VNNI. Returns 0, or an error number.
int mask(const char *widest) {
    int narrow = !strcmp(widest, "avx2");
    if (!narrow && strcmp(widest, "avx512")) return EINVAL;
    for (int leaf = 0; leaf < 2; leaf++)
        for (int i = 0; i < REGISTERS; i++) hidden[leaf][i] = vnni[leaf][i] | (narrow ? avx512[leaf][i] : 0);
    struct sigaction handler = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    if (sigaction(SIGSEGV, &handler, NULL)) return errno;
    return faulting(1) ? errno : 0;
}
