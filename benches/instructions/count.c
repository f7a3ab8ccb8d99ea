// A plugin for qemu's user mode: counts the instructions that a program executes between two calls of sched_yield, and
// writes the count to standard output, where the program has just written what it is about to do.
//
//   qemu-aarch64 -plugin count.so PROGRAM              NAME COUNT
//   qemu-aarch64 -plugin count.so,loop=on PROGRAM      and the loop that took most of them:
//                                                      loop TIMES SYMBOL, then the bytes of its instructions
//
// Distributions do not package qemu-plugin.h, so what is used of it is declared here. API is the version of the
// interface that the emulator speaks.
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_block)(uint64_t id, struct qemu_plugin_tb *tb);
typedef void (*on_entry)(unsigned cpu, void *data);
typedef void (*on_call)(uint64_t id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, on_block);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_entry, int flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(uint64_t id, on_call);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);
#if API < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *, size_t);
#endif
__attribute__((visibility("default"))) int qemu_plugin_version = API;

enum { SCHED_YIELD = 124, SIZE = 4 }; // of aarch64

// A run of instructions without a branch into the next: what qemu translates at a time.
struct block {
    struct block *next;
    const char *symbol;
    uint64_t start, end, times;
    unsigned char code[];
};
static struct block *blocks;
static uint64_t executed;
static bool counting, loops;

static void entered(unsigned cpu, void *data) {
    struct block *block = data;
    block->times++;
    executed += (block->end - block->start) / SIZE;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb) {
    size_t count = qemu_plugin_tb_n_insns(tb);
    struct block *block = calloc(1, sizeof *block + count * SIZE);
    if (!block) abort();
    block->start = qemu_plugin_tb_vaddr(tb);
    block->end = block->start + count * SIZE;
    block->symbol = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(tb, 0));
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
#if API < 3
        memcpy(block->code + i * SIZE, qemu_plugin_insn_data(insn), SIZE);
#else
        qemu_plugin_insn_data(insn, block->code + i * SIZE, SIZE);
#endif
    }
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, entered, 0, block);
}

// The block before or behind another in the same loop: entered as often, but for a few first and last times.
static const struct block *beside(const struct block *block, bool before) {
    for (const struct block *b = blocks; b; b = b->next)
        if ((before ? b->end == block->start : b->start == block->end) && b->times * 10 > block->times * 9 &&
            block->times * 10 > b->times * 9)
            return b;
    return NULL;
}

// The block with most instructions executed, with its neighbours if a loop has several: it may cross a page.
static void print_loop(void) {
    const struct block *hot = blocks, *first, *last, *next;
    uint64_t times = 0;
    for (const struct block *b = blocks; b; b = b->next)
        if (b->times * (b->end - b->start) > hot->times * (hot->end - hot->start)) hot = b;
    for (first = hot; (next = beside(first, true));) first = next;
    for (last = hot; (next = beside(last, false));) last = next;
    // The first turn may belong to a block that begins before the loop.
    for (const struct block *b = blocks; b; b = b->next)
        if (b->start < last->end && b->end >= last->end) times += b->times;
    printf("loop %" PRIu64 " %s\n", times, hot->symbol && *hot->symbol ? hot->symbol : "?");
    for (const struct block *b = first; b; b = b == last ? NULL : beside(b, false))
        for (size_t i = 0; i < (b->end - b->start) / SIZE; i++) {
            const unsigned char *code = b->code + i * SIZE;
            printf("0x%02x,0x%02x,0x%02x,0x%02x\n", code[0], code[1], code[2], code[3]);
        }
}

static void called(uint64_t id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    if (number != SCHED_YIELD) return;
    counting = !counting;
    if (counting) {
        executed = 0;
        for (struct block *block = blocks; block; block = block->next) block->times = 0;
        return;
    }
    printf("%" PRIu64 "\n", executed);
    if (loops) print_loop();
    fflush(stdout);
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv) {
    for (int i = 0; i < argc; i++) loops |= !strcmp(argv[i], "loop=on");
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
