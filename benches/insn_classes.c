/* A plugin of QEMU's user emulation that counts the A64 instructions a program executes, by class.
 *
 *     gcc -O2 -shared -fPIC -o insn_classes.so insn_classes.c
 *     qemu-aarch64 -plugin ./insn_classes.so,out=FILE PROGRAM
 *
 * Each write of the program to its standard output appends a line of the counts so far to FILE, in the
 * order of `names`, whose own line is the first. So what lies between two answers of a program can be
 * told apart from its start. Counts are of one thread: threads that run at once would lose some.
 *
 * Debian has no package of QEMU's header, so what is used of its plugin interface, version 1, is
 * declared here. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum inline_op { ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum inline_op, void *, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

/* The classes are as fine as the pipelines of the Cortex-A72 and -A76 tell instructions apart. */
enum class {
    INTEGER,        /* and whatever is in no other class */
    BRANCH,
    LOAD,           /* of at most 16 bytes */
    LOAD_2,         /* of two vector registers */
    LOAD_4,         /* of three or four */
    LOAD_REPLICATE, /* of an element to a lane or to all lanes */
    STORE,          /* of at most 16 bytes */
    STORE_2,        /* of more */
    MOVE,           /* between general and vector registers, conversion among them */
    MULTIPLY_LONG,  /* of integers, with accumulation or without */
    MULTIPLY,       /* of integers, as wide as they are */
    DOT,
    ADD_PAIRS,      /* into accumulators twice as wide */
    SHIFT,          /* narrowing with saturation too */
    CONVERT,        /* between integers and floats, rounding */
    VECTOR,         /* all other vector and float instructions */
    CLASSES
};

static const char *const names[CLASSES] = {
    "integer", "branch", "load", "load_2", "load_4", "load_replicate", "store", "store_2", "move",
    "multiply_long", "multiply", "dot", "add_pairs", "shift", "convert", "vector",
};

static uint64_t counts[CLASSES];
static FILE *out;

static uint32_t bits(uint32_t insn, int high, int low)
{
    return insn >> low & ((1u << (high - low + 1)) - 1);
}

static enum class load_or_store(uint32_t insn)
{
    int load = bits(insn, 22, 22), vector = bits(insn, 26, 26);
    if (bits(insn, 31, 31) == 0 && bits(insn, 29, 25) == 0x06) { /* structures */
        if (bits(insn, 24, 24)) /* one element, to a lane or to all */
            return load ? LOAD_REPLICATE : STORE;
        uint32_t opcode = bits(insn, 15, 12);
        int one = opcode == 7, two = opcode == 8 || opcode == 10;
        if (load)
            return one ? LOAD : two ? LOAD_2 : LOAD_4;
        return one ? STORE : STORE_2;
    }
    switch (bits(insn, 29, 27)) {
    case 3: /* from beside the code */
        return LOAD;
    case 5: { /* pairs */
        int wide = vector && bits(insn, 31, 30) == 2;
        if (load)
            return wide ? LOAD_2 : LOAD;
        return wide ? STORE_2 : STORE;
    }
    case 7: /* one register */
        return (vector ? load : bits(insn, 23, 22) != 0) ? LOAD : STORE;
    default: /* exclusive, ordered */
        return load ? LOAD : STORE;
    }
}

static enum class vector_by_element(uint32_t insn)
{
    switch (bits(insn, 15, 12)) {
    case 0xE:
        return DOT;
    case 0x2: case 0x3: case 0x6: case 0x7: case 0xA: case 0xB:
        return MULTIPLY_LONG;
    case 0x0: case 0x4: case 0x8: case 0xC: case 0xD: case 0xF:
        return MULTIPLY;
    default: /* of floats */
        return VECTOR;
    }
}

static enum class vector_of_three(uint32_t insn)
{
    if (bits(insn, 10, 10) == 0) /* of different widths */
        switch (bits(insn, 15, 12)) {
        case 0x8: case 0x9: case 0xA: case 0xB: case 0xC: case 0xD:
            return MULTIPLY_LONG;
        default:
            return VECTOR;
        }
    switch (bits(insn, 15, 11)) {
    case 0x08: case 0x09: case 0x0A: case 0x0B: /* by a register's counts */
        return SHIFT;
    case 0x12: case 0x13: case 0x16:
        return MULTIPLY;
    default:
        return VECTOR;
    }
}

static enum class vector_of_two(uint32_t insn)
{
    uint32_t opcode = bits(insn, 16, 12);
    switch (opcode) {
    case 0x06:
        return ADD_PAIRS;
    case 0x13: /* shll */
    case 0x14: /* sqxtn, uqxtn */
        return SHIFT;
    case 0x12: /* xtn, or sqxtun */
        return bits(insn, 29, 29) ? SHIFT : VECTOR;
    case 0x16: case 0x17: case 0x18: case 0x19: case 0x1A: case 0x1B: case 0x1D:
        return CONVERT;
    case 0x1C: /* fcvta, or estimates */
        return bits(insn, 23, 23) ? VECTOR : CONVERT;
    default:
        return VECTOR;
    }
}

static enum class vector_or_float(uint32_t insn)
{
    int by_immediate_or_element = bits(insn, 24, 24);
    if (bits(insn, 28, 28) && !bits(insn, 30, 30)) { /* floats alone */
        int moves = !by_immediate_or_element && (!bits(insn, 21, 21) || bits(insn, 15, 10) == 0);
        return moves ? MOVE : VECTOR;
    }
    if (by_immediate_or_element) {
        if (!bits(insn, 10, 10))
            return vector_by_element(insn);
        if (bits(insn, 22, 19) == 0) /* movi */
            return VECTOR;
        return bits(insn, 15, 11) >= 0x1C ? CONVERT : SHIFT;
    }
    if (bits(insn, 21, 21)) {
        int two = bits(insn, 11, 10) == 2;
        if (!two)
            return vector_of_three(insn);
        return bits(insn, 20, 17) == 0 ? vector_of_two(insn) : VECTOR;
    }
    if (bits(insn, 15, 15) && bits(insn, 10, 10))
        return bits(insn, 14, 11) == 2 || bits(insn, 14, 11) == 3 ? DOT : VECTOR;
    if (!bits(insn, 15, 15) && bits(insn, 10, 10) && !bits(insn, 29, 29)) { /* copies */
        uint32_t kind = bits(insn, 14, 11);
        return kind == 0 ? VECTOR : MOVE;
    }
    return VECTOR;
}

static enum class classify(uint32_t insn)
{
    uint32_t group = bits(insn, 28, 25);
    if ((group & 5) == 4)
        return load_or_store(insn);
    if ((group & 7) == 7)
        return vector_or_float(insn);
    return (group & 14) == 10 ? BRANCH : INTEGER;
}

/* Blocks are counted as they begin; only a signal leaves one before its end. */
static void count_block(plugin_id id, struct qemu_plugin_tb *block)
{
    uint64_t of[CLASSES] = {0};
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        uint32_t insn;
        memcpy(&insn, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof insn);
        of[classify(insn)]++;
    }
    for (int i = 0; i < CLASSES; i++)
        if (of[i])
            qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &counts[i], of[i]);
}

static void print_on_write(plugin_id id, unsigned cpu, int64_t number, uint64_t file, uint64_t a2,
                           uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    if (number != 64 || file != 1) /* write(2) */
        return;
    for (int i = 0; i < CLASSES; i++)
        fprintf(out, "%s%llu", i ? " " : "", (unsigned long long)counts[i]);
    fputc('\n', out);
    fflush(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc,
                                                               char **argv)
{
    if (argc != 1 || strncmp(argv[0], "out=", 4) || !(out = fopen(argv[0] + 4, "w"))) {
        fprintf(stderr, "insn_classes: not out=FILE, or no such file\n");
        return -1;
    }
    for (int i = 0; i < CLASSES; i++)
        fprintf(out, "%s%s", i ? " " : "", names[i]);
    fputc('\n', out);
    qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
    qemu_plugin_register_vcpu_syscall_cb(id, print_on_write);
    return 0;
}
