/* Bad arguments to every function that takes tensors: each gets its status and a message that names the function, and
 * not one byte is written. A table says what each function takes; the driver breaks one thing at a time. */
#include "evenkeel.h"

#include "check.h"

enum { MOST = 20, ROOM = 1024 };

/* What a pointer points to: f floats, h bf16 or f16, d doubles, q int64 class numbers; an output (o) or an input (i); a
 * whole tensor or one value (1); optional (?). */
typedef struct {
    const char *name;
    const char *kind;
    const char *may_be; /* inputs that it may equal, separated by spaces */
} pointer;

typedef struct {
    int32_t e[2];
    size_t n[3];
    unsigned char *p[MOST];
} arguments;

typedef struct {
    const char *name;
    ek_status (*call)(const arguments *);
    int enums;
    int sizes; /* that shape tensors */
    pointer pointers[MOST];
} function;

#define F(i) ((float *)(void *)a->p[i])
#define D(i) ((double *)(void *)a->p[i])
#define H(i) ((uint16_t *)(void *)a->p[i])
#define Q(i) ((int64_t *)(void *)a->p[i])

static ek_status matmul(const arguments *a)
{
    return ek_matmul_f32(NULL, a->e[0], a->e[1], a->n[0], a->n[1], a->n[2], 1, F(0), a->n[2], F(1), a->n[1], 1, F(2),
                         a->n[1]);
}
static ek_status matmul_f64(const arguments *a)
{
    return ek_matmul_f64(NULL, a->e[0], a->e[1], a->n[0], a->n[1], a->n[2], 1, D(0), a->n[2], D(1), a->n[1], 1, D(2),
                         a->n[1]);
}
static ek_status matmul_bf16(const arguments *a)
{
    return ek_matmul_bf16(NULL, a->e[0], a->e[1], a->n[0], a->n[1], a->n[2], 1, H(0), a->n[2], H(1), a->n[1], 1, F(2),
                          a->n[1]);
}
static ek_status matmul_f16(const arguments *a)
{
    return ek_matmul_f16(NULL, a->e[0], a->e[1], a->n[0], a->n[1], a->n[2], 1, H(0), a->n[2], H(1), a->n[1], 1, F(2),
                         a->n[1]);
}
static ek_status matmul_batched(const arguments *a)
{
    return ek_matmul_batched_f32(NULL, a->e[0], a->e[1], 2, a->n[0], a->n[1], a->n[2], 1, F(0), a->n[2], 16, F(1),
                                 a->n[1], 16, 1, F(2), a->n[1], 16);
}
static ek_status linear_forward(const arguments *a)
{
    return ek_linear_forward_f32(NULL, a->e[0], 1, a->n[0], a->n[1], a->n[2], F(0), F(1), F(2), F(3), F(4));
}
static ek_status linear_backward_input(const arguments *a)
{
    return ek_linear_backward_input_f32(NULL, a->e[0], 1, a->n[0], a->n[1], a->n[2], F(0), F(1), F(2), F(3));
}
static ek_status linear_backward_weight(const arguments *a)
{
    return ek_linear_backward_weight_f32(NULL, a->n[0], a->n[1], a->n[2], F(0), F(1), true, F(2), F(3), D(4));
}
static ek_status activation_forward(const arguments *a)
{
    return ek_activation_forward_f32(NULL, a->e[0], 1, a->n[0], F(0), F(1));
}
static ek_status activation_derivative(const arguments *a)
{
    return ek_activation_derivative_f32(NULL, a->e[0], 1, a->n[0], F(0), F(1));
}
static ek_status activation_backward(const arguments *a)
{
    return ek_activation_backward_f32(NULL, a->e[0], 1, a->n[0], F(0), F(1), F(2));
}
static ek_status activation_backward_from_output(const arguments *a)
{
    return ek_activation_backward_from_output_f32(NULL, a->e[0], 1, a->n[0], F(0), F(1), F(2));
}
static ek_status softmax_forward(const arguments *a)
{
    return ek_softmax_forward_f32(NULL, a->n[0], a->n[1], F(0), F(1));
}
static ek_status softmax_backward(const arguments *a)
{
    return ek_softmax_backward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2));
}
static ek_status log_softmax_forward(const arguments *a)
{
    return ek_log_softmax_forward_f32(NULL, a->n[0], a->n[1], F(0), F(1));
}
static ek_status log_softmax_backward(const arguments *a)
{
    return ek_log_softmax_backward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2));
}
static ek_status activation_forward_bf16(const arguments *a)
{
    return ek_activation_forward_bf16(NULL, a->e[0], 1, a->n[0], H(0), H(1));
}
static ek_status activation_derivative_bf16(const arguments *a)
{
    return ek_activation_derivative_bf16(NULL, a->e[0], 1, a->n[0], H(0), H(1));
}
static ek_status activation_backward_bf16(const arguments *a)
{
    return ek_activation_backward_bf16(NULL, a->e[0], 1, a->n[0], H(0), H(1), H(2));
}
static ek_status activation_backward_from_output_bf16(const arguments *a)
{
    return ek_activation_backward_from_output_bf16(NULL, a->e[0], 1, a->n[0], H(0), H(1), H(2));
}
static ek_status attention_forward(const arguments *a)
{
    return ek_attention_forward_f32(NULL, 1, true, 1, 1, 1, a->n[0], a->n[1], a->n[2], F(0), F(1), F(2), F(3), F(4));
}
static ek_status attention_backward(const arguments *a)
{
    return ek_attention_backward_f32(NULL, 1, true, 1, 1, 1, a->n[0], a->n[1], a->n[2], F(0), F(1), F(2), F(3), F(4),
                                     F(5), F(6), F(7), F(8));
}
static ek_status softmax_forward_bf16(const arguments *a)
{
    return ek_softmax_forward_bf16(NULL, a->n[0], a->n[1], H(0), H(1));
}
static ek_status softmax_backward_bf16(const arguments *a)
{
    return ek_softmax_backward_bf16(NULL, a->n[0], a->n[1], H(0), H(1), H(2));
}
static ek_status log_softmax_forward_bf16(const arguments *a)
{
    return ek_log_softmax_forward_bf16(NULL, a->n[0], a->n[1], H(0), H(1));
}
static ek_status log_softmax_backward_bf16(const arguments *a)
{
    return ek_log_softmax_backward_bf16(NULL, a->n[0], a->n[1], H(0), H(1), H(2));
}
static ek_status activation_forward_f16(const arguments *a)
{
    return ek_activation_forward_f16(NULL, a->e[0], 1, a->n[0], H(0), H(1));
}
static ek_status activation_derivative_f16(const arguments *a)
{
    return ek_activation_derivative_f16(NULL, a->e[0], 1, a->n[0], H(0), H(1));
}
static ek_status activation_backward_f16(const arguments *a)
{
    return ek_activation_backward_f16(NULL, a->e[0], 1, a->n[0], H(0), H(1), H(2));
}
static ek_status activation_backward_from_output_f16(const arguments *a)
{
    return ek_activation_backward_from_output_f16(NULL, a->e[0], 1, a->n[0], H(0), H(1), H(2));
}
static ek_status softmax_forward_f16(const arguments *a)
{
    return ek_softmax_forward_f16(NULL, a->n[0], a->n[1], H(0), H(1));
}
static ek_status softmax_backward_f16(const arguments *a)
{
    return ek_softmax_backward_f16(NULL, a->n[0], a->n[1], H(0), H(1), H(2));
}
static ek_status log_softmax_forward_f16(const arguments *a)
{
    return ek_log_softmax_forward_f16(NULL, a->n[0], a->n[1], H(0), H(1));
}
static ek_status log_softmax_backward_f16(const arguments *a)
{
    return ek_log_softmax_backward_f16(NULL, a->n[0], a->n[1], H(0), H(1), H(2));
}
static ek_status residual_add_f32(const arguments *a)
{
    return ek_residual_add_f32(NULL, a->n[0], 0.5f, F(0), F(1), F(2));
}
static ek_status residual_add_bf16(const arguments *a)
{
    return ek_residual_add_bf16(NULL, a->n[0], 0.5f, H(0), H(1), H(2));
}
static ek_status residual_add_f16(const arguments *a)
{
    return ek_residual_add_f16(NULL, a->n[0], 0.5f, H(0), H(1), H(2));
}
static ek_status cross_entropy(const arguments *a)
{
    return ek_cross_entropy_f32(NULL, 0, -100, 1, a->n[0], a->n[1], F(0), Q(1), F(2), D(3), F(4));
}
static ek_status mse(const arguments *a)
{
    return ek_mse_f32(NULL, 1, a->n[0], F(0), F(1), D(2), F(3));
}
static ek_status bce(const arguments *a)
{
    return ek_bce_with_logits_f32(NULL, 1, a->n[0], F(0), F(1), D(2), F(3));
}
static ek_status init_uniform(const arguments *a)
{
    return ek_init_uniform_f32(NULL, 1, 2, -1, 1, a->n[0], F(0));
}
static ek_status init_normal(const arguments *a)
{
    return ek_init_normal_f32(NULL, 1, 2, 0, 1, a->n[0], F(0));
}
static ek_status init_xavier(const arguments *a)
{
    return ek_init_xavier_f32(NULL, 1, 2, a->e[0], 1, 3, 4, a->n[0], F(0));
}
static ek_status init_he(const arguments *a)
{
    return ek_init_he_f32(NULL, 1, 2, a->e[0], 0, 3, a->n[0], F(0));
}
static ek_status clip_by_value(const arguments *a)
{
    return ek_clip_by_value_f32(NULL, 0.25f, a->n[0], F(0));
}
static ek_status unscale(const arguments *a)
{
    return ek_unscale_f32(NULL, 2, a->n[0], F(0), (uint64_t *)(void *)a->p[1]);
}
static ek_status tensor_stats(const arguments *a)
{
    return ek_tensor_stats_f32(NULL, a->n[0], F(0), (ek_tensor_stats *)(void *)a->p[1]);
}
static ek_status gradient_flow(const arguments *a)
{
    return ek_gradient_flow(a->n[0], D(0), (ek_flow_report *)(void *)a->p[1]);
}

#include "args_norm.h"
#include "args_recurrent.h"
#include "args_flow.h"
#include "args_convert.h"

static const function functions[] = {
    NORMS,
    RECURRENT,
    FLOWS,
    CONVERT_FUNCTIONS
    {"ek_matmul_f32", matmul, 2, 3, {{"a", "if", 0}, {"b", "if", 0}, {"c", "of", 0}}},
    {"ek_matmul_f64", matmul_f64, 2, 3, {{"a", "id", 0}, {"b", "id", 0}, {"c", "od", 0}}},
    {"ek_matmul_bf16", matmul_bf16, 2, 3, {{"a", "ih", 0}, {"b", "ih", 0}, {"c", "of", 0}}},
    {"ek_matmul_f16", matmul_f16, 2, 3, {{"a", "ih", 0}, {"b", "ih", 0}, {"c", "of", 0}}},
    {"ek_matmul_batched_f32", matmul_batched, 2, 3, {{"a", "if", 0}, {"b", "if", 0}, {"c", "of", 0}}},
    {"ek_linear_forward_f32", linear_forward, 1, 3,
     {{"x", "if", 0}, {"w", "if", 0}, {"bias", "if?", 0}, {"z", "of?", 0}, {"y", "of", 0}}},
    {"ek_linear_backward_input_f32", linear_backward_input, 1, 3,
     {{"dz", "if", 0}, {"w", "if", 0}, {"z_prev", "if?", 0}, {"dx", "of", 0}}},
    {"ek_linear_backward_weight_f32", linear_backward_weight, 0, 3,
     {{"dz", "if", 0}, {"x", "if", 0}, {"dw", "of", 0}, {"dbias", "of?", 0}, {"sum_sq", "od1?", 0}}},
    {"ek_activation_forward_f32", activation_forward, 1, 1, {{"z", "if", 0}, {"y", "of", "z"}}},
    {"ek_activation_derivative_f32", activation_derivative, 1, 1, {{"z", "if", 0}, {"d", "of", "z"}}},
    {"ek_activation_backward_f32", activation_backward, 1, 1, {{"z", "if", 0}, {"dy", "if", 0}, {"dz", "of", "z dy"}}},
    {"ek_activation_backward_from_output_f32", activation_backward_from_output, 1, 1,
     {{"y", "if", 0}, {"dy", "if", 0}, {"dz", "of", "dy"}}},
    {"ek_softmax_forward_f32", softmax_forward, 0, 2, {{"x", "if", 0}, {"y", "of", 0}}},
    {"ek_softmax_backward_f32", softmax_backward, 0, 2, {{"y", "if", 0}, {"dy", "if", 0}, {"dx", "of", 0}}},
    {"ek_log_softmax_forward_f32", log_softmax_forward, 0, 2, {{"x", "if", 0}, {"y", "of", 0}}},
    {"ek_log_softmax_backward_f32", log_softmax_backward, 0, 2, {{"y", "if", 0}, {"dy", "if", 0}, {"dx", "of", 0}}},
    {"ek_attention_forward_f32", attention_forward, 0, 3,
     {{"q", "if", 0}, {"k", "if", 0}, {"v", "if", 0}, {"out", "of", 0}, {"lse", "of", 0}}},
    {"ek_attention_backward_f32", attention_backward, 0, 3,
     {{"q", "if", 0}, {"k", "if", 0}, {"v", "if", 0}, {"out", "if", 0}, {"lse", "if", 0}, {"dout", "if", 0},
      {"dq", "of", 0}, {"dk", "of", 0}, {"dv", "of", 0}}},
    {"ek_activation_forward_bf16", activation_forward_bf16, 1, 1, {{"z", "ih", 0}, {"y", "oh", "z"}}},
    {"ek_activation_derivative_bf16", activation_derivative_bf16, 1, 1, {{"z", "ih", 0}, {"d", "oh", "z"}}},
    {"ek_activation_backward_bf16", activation_backward_bf16, 1, 1, {{"z", "ih", 0}, {"dy", "ih", 0}, {"dz", "oh", "z dy"}}},
    {"ek_activation_backward_from_output_bf16", activation_backward_from_output_bf16, 1, 1, {{"y", "ih", 0}, {"dy", "ih", 0}, {"dz", "oh", "dy"}}},
    {"ek_softmax_forward_bf16", softmax_forward_bf16, 0, 2, {{"x", "ih", 0}, {"y", "oh", 0}}},
    {"ek_softmax_backward_bf16", softmax_backward_bf16, 0, 2, {{"y", "ih", 0}, {"dy", "ih", 0}, {"dx", "oh", 0}}},
    {"ek_log_softmax_forward_bf16", log_softmax_forward_bf16, 0, 2, {{"x", "ih", 0}, {"y", "oh", 0}}},
    {"ek_log_softmax_backward_bf16", log_softmax_backward_bf16, 0, 2, {{"y", "ih", 0}, {"dy", "ih", 0}, {"dx", "oh", 0}}},
    {"ek_activation_forward_f16", activation_forward_f16, 1, 1, {{"z", "ih", 0}, {"y", "oh", "z"}}},
    {"ek_activation_derivative_f16", activation_derivative_f16, 1, 1, {{"z", "ih", 0}, {"d", "oh", "z"}}},
    {"ek_activation_backward_f16", activation_backward_f16, 1, 1, {{"z", "ih", 0}, {"dy", "ih", 0}, {"dz", "oh", "z dy"}}},
    {"ek_activation_backward_from_output_f16", activation_backward_from_output_f16, 1, 1, {{"y", "ih", 0}, {"dy", "ih", 0}, {"dz", "oh", "dy"}}},
    {"ek_softmax_forward_f16", softmax_forward_f16, 0, 2, {{"x", "ih", 0}, {"y", "oh", 0}}},
    {"ek_softmax_backward_f16", softmax_backward_f16, 0, 2, {{"y", "ih", 0}, {"dy", "ih", 0}, {"dx", "oh", 0}}},
    {"ek_log_softmax_forward_f16", log_softmax_forward_f16, 0, 2, {{"x", "ih", 0}, {"y", "oh", 0}}},
    {"ek_log_softmax_backward_f16", log_softmax_backward_f16, 0, 2, {{"y", "ih", 0}, {"dy", "ih", 0}, {"dx", "oh", 0}}},
    {"ek_residual_add_f32", residual_add_f32, 0, 1, {{"fx", "if", 0}, {"x", "if", 0}, {"y", "of", "fx x"}}},
    {"ek_residual_add_bf16", residual_add_bf16, 0, 1, {{"fx", "ih", 0}, {"x", "ih", 0}, {"y", "oh", "fx x"}}},
    {"ek_residual_add_f16", residual_add_f16, 0, 1, {{"fx", "ih", 0}, {"x", "ih", 0}, {"y", "oh", "fx x"}}},
    {"ek_cross_entropy_f32", cross_entropy, 0, 2,
     {{"logits", "if", 0}, {"targets", "iq", 0}, {"losses", "of?", 0}, {"mean_loss", "od1?", 0},
      {"dlogits", "of?", "logits"}}},
    {"ek_mse_f32", mse, 0, 1,
     {{"prediction", "if", 0}, {"target", "if", 0}, {"mean_loss", "od1?", 0}, {"dprediction", "of?", 0}}},
    {"ek_bce_with_logits_f32", bce, 0, 1,
     {{"logits", "if", 0}, {"target", "if", 0}, {"mean_loss", "od1?", 0}, {"dlogits", "of?", 0}}},
    {"ek_init_uniform_f32", init_uniform, 0, 1, {{"w", "of", 0}}},
    {"ek_init_normal_f32", init_normal, 0, 1, {{"w", "of", 0}}},
    {"ek_init_xavier_f32", init_xavier, 1, 1, {{"w", "of", 0}}},
    {"ek_init_he_f32", init_he, 1, 1, {{"w", "of", 0}}},
    {"ek_clip_by_value_f32", clip_by_value, 0, 1, {{"g", "of", 0}}},
    {"ek_unscale_f32", unscale, 0, 1, {{"g", "of", 0}, {"nonfinite", "od1", 0}}},
    {"ek_tensor_stats_f32", tensor_stats, 0, 1, {{"x", "if", 0}, {"out", "or1", 0}}},
    {"ek_gradient_flow", gradient_flow, 0, 1, {{"grad_norms", "id", 0}, {"out", "or1", 0}}},
};

/* Every pointer has its own room; doubles keep it aligned for anything. */
static double arena[(MOST + 1) * ROOM / sizeof(double)];
static double before[sizeof arena / sizeof(double)];

static bool has(const pointer *p, char c)
{
    return strchr(p->kind, c) != NULL;
}

static int count(const function *f)
{
    int n = 0;
    while (n < MOST && f->pointers[n].name) n++;
    return n;
}

/* Good arguments: tensors of 4 by 4 or so, class 0, zeroed enums. */
static void good(const function *f, arguments *a)
{
    int i;
    size_t j;
    memset(a, 0, sizeof *a);
    memset(arena, 0xA5, sizeof arena);
    for (i = 0; i < 3; i++) a->n[i] = 4;
    for (i = 0; i < count(f); i++) {
        const pointer *const p = &f->pointers[i];
        unsigned char *const room = (unsigned char *)arena + (size_t)i * ROOM;
        a->p[i] = room;
        for (j = 0; has(p, 'f') && j < ROOM / sizeof(float); j++) ((float *)(void *)room)[j] = 0.5f;
        /* 0.5 as bf16, 1.75 as f16. */
        for (j = 0; has(p, 'h') && j < ROOM / sizeof(uint16_t); j++) ((uint16_t *)(void *)room)[j] = 0x3F00;
        for (j = 0; has(p, 'd') && j < ROOM / sizeof(double); j++) ((double *)(void *)room)[j] = 0.5;
        if (has(p, 'q')) memset(room, 0, ROOM);
        if (has(p, 'r') && f->call == tensor_stats) ek_tensor_stats_init((ek_tensor_stats *)(void *)room);
        if (has(p, 'r') && f->call == gradient_flow) ek_flow_report_init((ek_flow_report *)(void *)room);
    }
    memcpy(before, arena, sizeof arena);
}

static void fails(const function *f, const arguments *a, ek_status expected, const char *text, const char *what)
{
    char start[96];
    ek_status status;
    memcpy(before, arena, sizeof arena);
    status = f->call(a);
    sprintf(start, "%s: ", f->name);
    if (status != expected || strncmp(ek_last_error(), start, strlen(start)) != 0 || !strstr(ek_last_error(), text)) {
        fprintf(stderr, "%s with %s: got %s, \"%s\"; expected %s, \"... %s ...\"\n", f->name, what,
                ek_status_string(status), ek_last_error(), ek_status_string(expected), text);
        exit(1);
    }
    if (memcmp(before, arena, sizeof arena) != 0) {
        fprintf(stderr, "%s with %s wrote to its arguments\n", f->name, what);
        exit(1);
    }
}

static void works(const function *f, const arguments *a, const char *what)
{
    const ek_status status = f->call(a);
    if (status != EK_STATUS_OK) {
        fprintf(stderr, "%s with %s: %s, \"%s\"\n", f->name, what, ek_status_string(status), ek_last_error());
        exit(1);
    }
}

static void pointers(const function *f)
{
    arguments a;
    char text[96];
    int i;
    for (i = 0; i < count(f); i++) {
        const pointer *const p = &f->pointers[i];
        good(f, &a);
        a.p[i] = NULL;
        sprintf(text, "%s is NULL", p->name);
        if (has(p, '?'))
            works(f, &a, text);
        else
            fails(f, &a, EK_STATUS_NULL_POINTER, text, text);
        good(f, &a);
        /* A struct keeps its size in the byte before: read it from where the pointer says. */
        if (!has(p, 'r')) a.p[i] += 1;
        sprintf(text, "%s is at address", p->name);
        if (!has(p, 'r')) fails(f, &a, EK_STATUS_INVALID_ARGUMENT, text, text);
    }
}

static void structs(const function *f)
{
    arguments a;
    const int last = count(f) - 1;
    size_t *size;
    if (!has(&f->pointers[last], 'r')) return;
    good(f, &a);
    size = (size_t *)(void *)a.p[last];
    /* An older header's struct had its first number only: nothing behind it is written. */
    *size = 2 * sizeof(size_t);
    memset(a.p[last] + *size, 0x5A, 64);
    works(f, &a, "a smaller struct_size");
    CHECK(*size == 2 * sizeof(size_t));
    for (int i = 0; i < 64; i++) CHECK(a.p[last][*size + (size_t)i] == 0x5A);
    *size = 0;
    fails(f, &a, EK_STATUS_INVALID_ARGUMENT, "out->struct_size is 0", "a struct_size of 0");
    *size = (size_t)-1;
    fails(f, &a, EK_STATUS_INVALID_ARGUMENT, "out->struct_size is", "a wild struct_size");
    good(f, &a);
    a.p[last] += 4;
    fails(f, &a, EK_STATUS_INVALID_ARGUMENT, "out is at address", "a struct that is not aligned");
}

static void sizes(const function *f)
{
    arguments a;
    int i;
    for (i = 0; i < f->sizes; i++) {
        good(f, &a);
        a.n[i] = (size_t)-1 / 2;
        fails(f, &a, EK_STATUS_INVALID_SIZE, "more than this machine can address", "a size that overflows");
    }
    /* All dimensions zero: nothing to do, and tensors may be NULL. */
    good(f, &a);
    for (i = 0; i < 3; i++) a.n[i] = 0;
    for (i = 0; i < count(f); i++)
        if (!has(&f->pointers[i], '1')) a.p[i] = NULL;
    works(f, &a, "no elements");
}

static void enums(const function *f)
{
    static const int32_t foreign[] = {-1, 18, 99, INT32_MAX, INT32_MIN};
    arguments a;
    char text[32];
    int i, j;
    for (i = 0; i < f->enums; i++) {
        for (j = 0; j < 5; j++) {
            good(f, &a);
            a.e[i] = foreign[j];
            sprintf(text, " is %ld", (long)foreign[j]);
            fails(f, &a, EK_STATUS_INVALID_ARGUMENT, text, "an enum value that names nothing");
        }
    }
}

/* Whether `names` holds `name` as a word. */
static bool listed(const char *names, const char *name)
{
    const size_t n = strlen(name);
    for (; names && *names; names = strchr(names, ' ') ? strchr(names, ' ') + 1 : NULL)
        if (strncmp(names, name, n) == 0 && (names[n] == ' ' || names[n] == 0)) return true;
    return false;
}

static void overlaps(const function *f)
{
    arguments a;
    char text[96];
    int i, j;
    for (i = 0; i < count(f); i++) {
        const pointer *const p = &f->pointers[i];
        if (!has(p, 'o') || has(p, 'r')) continue;
        for (j = 0; j < count(f); j++) {
            const pointer *const other = &f->pointers[j];
            if (i == j || has(other, 'r')) continue;
            good(f, &a);
            a.p[i] = a.p[j];
            sprintf(text, "overlaps");
            if (listed(p->may_be, other->name))
                works(f, &a, "an output in place");
            else
                fails(f, &a, EK_STATUS_OVERLAP, text, "an output on another argument");
            if (has(other, '1')) continue;
            good(f, &a);
            a.p[i] = a.p[j] + (has(other, 'h') ? 4 : 8);
            sprintf(text, "%s overlaps %s", p->name, other->name);
            if (has(other, 'o') && j > i) sprintf(text, "%s overlaps %s", other->name, p->name);
            fails(f, &a, EK_STATUS_OVERLAP, text, "an output that begins inside another argument");
        }
    }
    /* Inputs may be one. */
    good(f, &a);
    for (i = 0; i < count(f); i++)
        for (j = 0; j < i; j++)
            if (!has(&f->pointers[i], 'o') && strcmp(f->pointers[i].kind, f->pointers[j].kind) == 0) a.p[i] = a.p[j];
    works(f, &a, "inputs that are one");
}

/* What one table cannot say. */
static void particular(void)
{
    float x[16], y[16], was[16];
    int64_t targets[4] = {0, 1, 4, 2};
    double mean = 7;
    int i;
    for (i = 0; i < 16; i++) x[i] = y[i] = was[i] = (float)i;
    FAILS(ek_matmul_f32(NULL, 0, 0, 3, 5, 2, 1, x, 2, x, 3, 0, y, 5), EK_STATUS_INVALID_SIZE, "ek_matmul_f32",
          "ldb is 3 but rows of b hold n = 5 elements");
    FAILS(ek_matmul_f32(NULL, 0, 1, 3, 5, 2, 1, x, 2, x, 1, 0, y, 5), EK_STATUS_INVALID_SIZE, "ek_matmul_f32",
          "ldb is 1 but rows of b hold k = 2 elements");
    FAILS(ek_matmul_f32(NULL, 1, 0, 3, 5, 2, 1, x, 2, x, 5, 0, y, 5), EK_STATUS_INVALID_SIZE, "ek_matmul_f32",
          "lda is 2 but rows of a hold m = 3 elements");
    FAILS(ek_matmul_f32(NULL, 0, 0, 3, 5, 2, 1, x, 2, x, 5, 0, y, 4), EK_STATUS_INVALID_SIZE, "ek_matmul_f32",
          "ldc is 4 but rows of c hold n = 5 elements");
    FAILS(ek_matmul_f32(NULL, 0, 0, 3, 5, 2, 1, x, (size_t)-1 / 2, x, 5, 0, y, 5), EK_STATUS_INVALID_SIZE,
          "ek_matmul_f32", "a has");
    FAILS(ek_matmul_batched_f32(NULL, 0, 0, 2, 3, 2, 2, 1, x, 2, 0, x, 2, 0, 0, y, 2, 5), EK_STATUS_INVALID_SIZE,
          "ek_matmul_batched_f32", "stride_c is 5 but a product's c spans 6 elements");
    FAILS(ek_matmul_batched_f32(NULL, 0, 0, (size_t)-1 / 2, 3, 2, 2, 1, x, 2, 8, x, 2, 0, 0, y, 2, 6),
          EK_STATUS_INVALID_SIZE, "ek_matmul_batched_f32", "more than this machine can address");
    CHECK(ek_matmul_batched_f32(NULL, 0, 0, 0, 3, 2, 2, 1, NULL, 2, 0, NULL, 2, 0, 0, NULL, 2, 6) == EK_STATUS_OK);
    FAILS(ek_cross_entropy_f32(NULL, 0, -100, 1, 4, 4, x, targets, NULL, &mean, y), EK_STATUS_INVALID_ARGUMENT,
          "ek_cross_entropy_f32", "4");
    FAILS(ek_cross_entropy_f32(NULL, 0, -100, 1, 4, 4, x, targets, NULL, &mean, x), EK_STATUS_INVALID_ARGUMENT,
          "ek_cross_entropy_f32", "4");
    FAILS(ek_cross_entropy_f32(NULL, 2, -100, 1, 1, 4, x, targets, NULL, &mean, y), EK_STATUS_INVALID_ARGUMENT,
          "ek_cross_entropy_f32", "label_smoothing");
    FAILS(ek_mse_f32(NULL, (float)(1e38 * 1e38), 4, x, x, &mean, y), EK_STATUS_INVALID_ARGUMENT, "ek_mse_f32",
          "grad_scale");
    FAILS(ek_activation_forward_f32(NULL, EK_ACTIVATION_CELU, 0, 4, x, y), EK_STATUS_INVALID_ARGUMENT,
          "ek_activation_forward_f32", "act_param");
    FAILS(ek_activation_forward_f32(NULL, EK_ACTIVATION_CELU, 0, 4, x, x), EK_STATUS_INVALID_ARGUMENT,
          "ek_activation_forward_f32", "act_param");
    FAILS(ek_activation_backward_from_output_f32(NULL, EK_ACTIVATION_GELU, 0, 4, x, x, y), EK_STATUS_UNSUPPORTED,
          "ek_activation_backward_from_output_f32", "Gelu");
    FAILS(ek_activation_backward_f32(NULL, EK_ACTIVATION_TANH, 0, 4, y, y, y), EK_STATUS_OVERLAP,
          "ek_activation_backward_f32", "dz overlaps z and dy");
    {
        /* The halves are those of the type that the name says. */
        const ek_bf16 one_bf16[1] = {0x3F80};
        const ek_f16 one_f16[1] = {0x3C00};
        uint16_t out[1] = {0};
        CHECK(ek_residual_add_bf16(NULL, 1, 2, one_bf16, one_bf16, out) == EK_STATUS_OK && out[0] == 0x4040);
        CHECK(ek_residual_add_f16(NULL, 1, 2, one_f16, one_f16, out) == EK_STATUS_OK && out[0] == 0x4200);
        CHECK(ek_activation_forward_bf16(NULL, EK_ACTIVATION_TANH, 0, 1, one_bf16, out) == EK_STATUS_OK);
        CHECK(out[0] == 0x3F43);
        CHECK(ek_activation_derivative_f16(NULL, EK_ACTIVATION_SIGMOID, 0, 1, one_f16, out) == EK_STATUS_OK);
        CHECK(out[0] == 0x324B);
        CHECK(ek_softmax_forward_bf16(NULL, 1, 1, one_bf16, out) == EK_STATUS_OK && out[0] == 0x3F80);
        CHECK(ek_log_softmax_backward_f16(NULL, 1, 1, one_f16, one_f16, out) == EK_STATUS_OK);
        CHECK(ek_convert_f32_to_f16(NULL, 1, x + 1, out) == EK_STATUS_OK && out[0] == 0x3C00);
        CHECK(ek_convert_f32_to_bf16_stochastic(NULL, 9, 1, x + 1, out) == EK_STATUS_OK && out[0] == 0x3F80);
    }
    FAILS(ek_init_uniform_f32(NULL, 0, 0, 1, -1, 4, y), EK_STATUS_INVALID_ARGUMENT, "ek_init_uniform_f32", "low");
    FAILS(ek_init_normal_f32(NULL, 0, 0, 0, -1, 4, y), EK_STATUS_INVALID_ARGUMENT, "ek_init_normal_f32", "std");
    FAILS(ek_init_xavier_f32(NULL, 0, 0, 0, 1, 0, 0, 4, y), EK_STATUS_INVALID_ARGUMENT, "ek_init_xavier_f32", "fan");
    FAILS(ek_init_he_f32(NULL, 0, 0, 0, 0, 0, 4, y), EK_STATUS_INVALID_ARGUMENT, "ek_init_he_f32", "fan_in");
    FAILS(ek_clip_by_value_f32(NULL, 0, 4, y), EK_STATUS_INVALID_ARGUMENT, "ek_clip_by_value_f32", "limit is 0");
    FAILS(ek_unscale_f32(NULL, -1, 4, y, (uint64_t *)(void *)targets), EK_STATUS_INVALID_ARGUMENT, "ek_unscale_f32",
          "loss_scale");
    CHECK(memcmp(x, was, sizeof x) == 0 && memcmp(y, was, sizeof y) == 0 && mean == 7 && targets[0] == 0);
    /* k = 0 scales C, and neither A nor B is there. */
    CHECK(ek_matmul_f32(NULL, 0, 0, 2, 2, 0, 1, NULL, 0, NULL, 2, 3, y, 2) == EK_STATUS_OK);
    CHECK(y[1] == 3 && y[3] == 9 && y[4] == 4);
}

int main(void)
{
    const size_t n = sizeof functions / sizeof functions[0];
    size_t i;
    arguments a;
    for (i = 0; i < n; i++) {
        good(&functions[i], &a);
        works(&functions[i], &a, "good arguments");
        pointers(&functions[i]);
        structs(&functions[i]);
        sizes(&functions[i]);
        enums(&functions[i]);
        overlaps(&functions[i]);
    }
    particular();
    flows();
    return 0;
}
