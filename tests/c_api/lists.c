/* The functions over lists of tensors: bad arguments write nothing, good ones do what they say. */
#include "evenkeel.h"

#include <math.h>

#include "check.h"

enum { COUNT = 3, ROOM = 32, KINDS = 5 };

/* Five lists (params, grads, states) of tensors of 5, 0 and 17 elements. The pointer of the empty ones is NULL. */
typedef struct {
    size_t sizes[COUNT];
    float *lists[KINDS][COUNT];
    float data[KINDS][COUNT][ROOM];
    double numbers[COUNT + 1];
    ek_clip_options clip;
    ek_adam_options adam;
    ek_sgd_options sgd;
    ek_rmsprop_options rmsprop;
    ek_adagrad_options adagrad;
    ek_lion_options lion;
    ek_step_report report;
} world;

static void make(world *w)
{
    int kind, i, j;
    memset(w, 0, sizeof *w);
    w->sizes[0] = 5;
    w->sizes[2] = 17;
    for (kind = 0; kind < KINDS; kind++) {
        for (i = 0; i < COUNT; i++) {
            w->lists[kind][i] = w->sizes[i] ? w->data[kind][i] : NULL;
            for (j = 0; j < ROOM; j++) w->data[kind][i][j] = kind < 2 ? (float)(j + 1) / 8 : 0;
        }
    }
    ek_clip_options_init(&w->clip);
    ek_adam_options_init(&w->adam);
    ek_sgd_options_init(&w->sgd);
    ek_rmsprop_options_init(&w->rmsprop);
    ek_adagrad_options_init(&w->adagrad);
    ek_lion_options_init(&w->lion);
    ek_step_report_init(&w->report);
    CHECK(w->clip.struct_size == sizeof w->clip && w->clip.known_sum_sq < 0 && w->clip.loss_scale == 1);
    CHECK(w->adam.struct_size == sizeof w->adam && w->adam.beta2 == 0.999 && w->adam.step == 1);
    CHECK(w->sgd.struct_size == sizeof w->sgd && w->sgd.lr == 1e-3 && !w->sgd.nesterov && !w->sgd.stochastic);
    CHECK(w->rmsprop.struct_size == sizeof w->rmsprop && w->rmsprop.alpha == 0.99 && !w->rmsprop.centered);
    CHECK(w->adagrad.struct_size == sizeof w->adagrad && w->adagrad.eps == 1e-10 && w->adagrad.step == 1);
    CHECK(w->lion.struct_size == sizeof w->lion && w->lion.beta2 == 0.99);
    CHECK(w->report.struct_size == sizeof w->report);
}

typedef struct {
    const char *name;
    ek_status (*call)(world *w, size_t count, const size_t *sizes, float *const *const *lists);
    const char *kinds[KINDS]; /* names of the lists; NULL: not taken */
    bool optional[KINDS];
    bool written[KINDS];
    bool half[KINDS];
} function;

#define READ(list) ((const float *const *)(list))

static ek_status grad_norm(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_grad_norm_f32(NULL, count, sizes, READ(l[1]), w->numbers, &w->numbers[COUNT]);
}
static ek_status clip_by_norm(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_by_norm_f32(NULL, 1, count, sizes, l[1], w->numbers);
}
static ek_status clip_sgd(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_sgd_f32(NULL, &w->clip, &w->sgd, count, sizes, l[0], READ(l[1]), l[2], &w->report);
}
static ek_status clip_adam(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_adam_f32(NULL, &w->clip, &w->adam, count, sizes, l[0], READ(l[1]), l[2], l[3], &w->report);
}
static ek_status clip_rmsprop(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_rmsprop_f32(NULL, &w->clip, &w->rmsprop, count, sizes, l[0], READ(l[1]), l[2], l[3], l[4], &w->report);
}
static ek_status clip_adagrad(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_adagrad_f32(NULL, &w->clip, &w->adagrad, count, sizes, l[0], READ(l[1]), l[2], &w->report);
}
static ek_status clip_lion(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_lion_f32(NULL, &w->clip, &w->lion, count, sizes, l[0], READ(l[1]), l[2], &w->report);
}
/* Halves in the same places: gradients, and copies of the parameters in the last list. */
#define READ16(list) ((const uint16_t *const *)(const void *)(list))
#define WRITE16(list) ((uint16_t *const *)(const void *)(list))
static ek_status clip_sgd_bf16(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_sgd_bf16(NULL, &w->clip, &w->sgd, count, sizes, l[0], READ16(l[1]), l[2], WRITE16(l[4]), &w->report);
}
static ek_status clip_sgd_f16(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_sgd_f16(NULL, &w->clip, &w->sgd, count, sizes, l[0], READ16(l[1]), l[2], WRITE16(l[4]), &w->report);
}
static ek_status clip_adam_bf16(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_adam_bf16(NULL, &w->clip, &w->adam, count, sizes, l[0], READ16(l[1]), l[2], l[3], WRITE16(l[4]),
                             &w->report);
}
static ek_status clip_adam_f16(world *w, size_t count, const size_t *sizes, float *const *const *l)
{
    return ek_clip_adam_f16(NULL, &w->clip, &w->adam, count, sizes, l[0], READ16(l[1]), l[2], l[3], WRITE16(l[4]),
                            &w->report);
}

static const function functions[] = {
    {"ek_grad_norm_f32", grad_norm, {NULL, "grads"}, {0}, {0}, {0}},
    {"ek_clip_by_norm_f32", clip_by_norm, {NULL, "grads"}, {0}, {false, true}, {0}},
    {"ek_clip_sgd_f32", clip_sgd, {"params", "grads", "momentum"}, {false, false, true}, {true, false, true}, {0}},
    {"ek_clip_adam_f32", clip_adam, {"params", "grads", "m", "v"}, {0}, {true, false, true, true}, {0}},
    {"ek_clip_rmsprop_f32", clip_rmsprop, {"params", "grads", "square_avg", "momentum", "grad_avg"},
     {false, false, false, true, true}, {true, false, true, true, true}, {0}},
    {"ek_clip_adagrad_f32", clip_adagrad, {"params", "grads", "sum"}, {0}, {true, false, true}, {0}},
    {"ek_clip_lion_f32", clip_lion, {"params", "grads", "m"}, {0}, {true, false, true}, {0}},
    {"ek_clip_sgd_bf16", clip_sgd_bf16, {"params", "grads", "momentum", NULL, "params_bf16"},
     {false, false, true, false, true}, {true, false, true, false, true}, {false, true, false, false, true}},
    {"ek_clip_sgd_f16", clip_sgd_f16, {"params", "grads", "momentum", NULL, "params_f16"},
     {false, false, true, false, true}, {true, false, true, false, true}, {false, true, false, false, true}},
    {"ek_clip_adam_bf16", clip_adam_bf16, {"params", "grads", "m", "v", "params_bf16"},
     {false, false, false, false, true}, {true, false, true, true, true}, {false, true, false, false, true}},
    {"ek_clip_adam_f16", clip_adam_f16, {"params", "grads", "m", "v", "params_f16"},
     {false, false, false, false, true}, {true, false, true, true, true}, {false, true, false, false, true}},
};

static world now, was;

static void fails_at(int line, const function *f, size_t count, const size_t *sizes, float *const *const *lists,
                     ek_status expected, const char *text)
{
    ek_status status;
    char start[64];
    memcpy(&was, &now, sizeof now);
    status = f->call(&now, count, sizes, lists);
    sprintf(start, "%s: ", f->name);
    if (status != expected || strncmp(ek_last_error(), start, strlen(start)) != 0 || !strstr(ek_last_error(), text)) {
        fprintf(stderr, "line %d, %s: got %s, \"%s\"; expected %s, \"... %s\"\n", line, f->name,
                ek_status_string(status), ek_last_error(), ek_status_string(expected), text);
        exit(1);
    }
    if (memcmp(&was, &now, sizeof now) != 0) {
        fprintf(stderr, "line %d, %s wrote to its arguments\n", line, f->name);
        exit(1);
    }
}
#define REFUSES(expected, text) fails_at(__LINE__, f, COUNT, sizes, lists, expected, text)

static void break_one_thing(const function *f)
{
    int kind, other;
    char text[96];
    for (kind = 0; kind < KINDS; kind++) {
        float *const *lists[KINDS];
        const size_t *sizes = now.sizes;
        if (!f->kinds[kind]) continue;
        make(&now);
        for (other = 0; other < KINDS; other++) lists[other] = now.lists[other];
        CHECK(f->call(&now, COUNT, sizes, lists) == EK_STATUS_OK);

        make(&now);
        lists[kind] = NULL;
        sprintf(text, "%s is NULL", f->kinds[kind]);
        if (!f->optional[kind]) REFUSES(EK_STATUS_NULL_POINTER, text);
        lists[kind] = (float *const *)(const void *)((const char *)(const void *)now.lists[kind] + 4);
        sprintf(text, "%s is at address", f->kinds[kind]);
        REFUSES(EK_STATUS_INVALID_ARGUMENT, text);
        lists[kind] = now.lists[kind];

        now.lists[kind][2] = NULL;
        sprintf(text, "%s[2] is NULL", f->kinds[kind]);
        REFUSES(EK_STATUS_NULL_POINTER, text);
        now.lists[kind][2] = (float *)(void *)((char *)now.data[kind][2] + (f->half[kind] ? 1 : 2));
        sprintf(text, "%s[2] is at address", f->kinds[kind]);
        REFUSES(EK_STATUS_INVALID_ARGUMENT, text);
        now.lists[kind][2] = now.data[kind][2];

        if (f->written[kind]) {
            /* Inside another tensor of the same list, at the end of one of each other list, on the array of sizes. */
            now.lists[kind][0] = now.data[kind][2] + (f->half[kind] ? 8 : 16);
            REFUSES(EK_STATUS_OVERLAP, "overlaps");
            for (other = 0; other < KINDS; other++) {
                if (other == kind || !f->kinds[other]) continue;
                now.lists[kind][0] = now.data[other][2] + (f->half[other] ? 8 : 16);
                REFUSES(EK_STATUS_OVERLAP, "overlaps");
                now.lists[kind][0] = now.data[other][0];
                REFUSES(EK_STATUS_OVERLAP, "overlaps");
            }
            now.lists[kind][0] = (float *)(void *)now.sizes;
            REFUSES(EK_STATUS_OVERLAP, "overlaps sizes");
            now.lists[kind][0] = (float *)(void *)now.lists[kind];
            REFUSES(EK_STATUS_OVERLAP, "overlaps");
            /* Next to each other is fine. */
            now.lists[kind][0] = now.data[kind][2] + 17;
            CHECK(f->call(&now, COUNT, sizes, lists) == EK_STATUS_OK);
        } else {
            /* Tensors that are only read may be one. */
            now.lists[kind][0] = now.data[kind][2];
            CHECK(f->call(&now, COUNT, sizes, lists) == EK_STATUS_OK);
        }
    }
}

static void break_sizes(const function *f)
{
    float *const *lists[KINDS];
    const size_t *sizes = NULL;
    float *const *none[KINDS] = {NULL, NULL, NULL, NULL, NULL};
    int kind;
    for (kind = 0; kind < KINDS; kind++) lists[kind] = now.lists[kind];
    make(&now);
    REFUSES(EK_STATUS_NULL_POINTER, "sizes is NULL");
    sizes = (const size_t *)(const void *)((const char *)(const void *)now.sizes + 4);
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "sizes is at address");
    sizes = now.sizes;
    now.sizes[2] = (size_t)-1 / 2;
    REFUSES(EK_STATUS_INVALID_SIZE, "sizes[2] is");
    now.sizes[2] = 17;
    fails_at(__LINE__, f, (size_t)-1 / 2, sizes, lists, EK_STATUS_INVALID_SIZE, "more than this machine can address");
    CHECK(f->call(&now, 0, NULL, none) == EK_STATUS_OK);
}

static void options(void)
{
    const function *const f = &functions[3], *const sgd = &functions[2];
    float *const *lists[KINDS];
    const size_t *const sizes = now.sizes;
    const size_t n = COUNT;
    int kind;
    make(&now);
    for (kind = 0; kind < KINDS; kind++) lists[kind] = now.lists[kind];
    now.clip.mode = 5;
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "clip->mode is 5");
    now.clip.mode = EK_CLIP_GLOBAL_NORM;
    now.clip.nonfinite = -1;
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "clip->nonfinite is -1");
    now.clip.nonfinite = EK_NONFINITE_SKIP;
    now.clip.threshold = 0;
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "threshold is 0");
    now.clip.threshold = 1;
    now.clip.struct_size = 3;
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "clip->struct_size is 3");
    now.clip.struct_size = sizeof now.clip;
    now.adam.second_moment = 2;
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "adam->second_moment is 2");
    now.adam.second_moment = EK_SECOND_MOMENT_ROOT;
    now.adam.step = 0;
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "step is 0");
    now.adam.step = 1;
    now.adam.beta1 = 1;
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "beta1 is 1");
    now.adam.beta1 = 0.9;
    memset(&now.adam.decoupled, 3, 1);
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "adam->decoupled is neither true nor false");
    now.adam.decoupled = true;
    now.report.struct_size = 0;
    REFUSES(EK_STATUS_INVALID_ARGUMENT, "report->struct_size is 0");
    now.report.struct_size = sizeof now.report;
    FAILS(ek_clip_adam_f32(NULL, NULL, &now.adam, n, sizes, lists[0], READ(lists[1]), lists[2], lists[3], NULL),
          EK_STATUS_NULL_POINTER, "ek_clip_adam_f32", "clip is NULL");
    FAILS(ek_clip_adam_f32(NULL, &now.clip, NULL, n, sizes, lists[0], READ(lists[1]), lists[2], lists[3], NULL),
          EK_STATUS_NULL_POINTER, "ek_clip_adam_f32", "adam is NULL");
    FAILS(ek_clip_sgd_f32(NULL, &now.clip, NULL, n, sizes, lists[0], READ(lists[1]), NULL, NULL),
          EK_STATUS_NULL_POINTER, "ek_clip_sgd_f32", "sgd is NULL");
    FAILS(ek_grad_norm_f32(NULL, n, sizes, READ(lists[1]), NULL, NULL), EK_STATUS_NULL_POINTER, "ek_grad_norm_f32",
          "norm is NULL");
    FAILS(ek_clip_by_norm_f32(NULL, -1, n, sizes, lists[1], NULL), EK_STATUS_INVALID_ARGUMENT, "ek_clip_by_norm_f32",
          "max_norm is -1");
    /* The report on a tensor that is read. */
    now.report.struct_size = sizeof now.report;
    now.lists[1][0] = (float *)(void *)&now.report.grad_norm;
    REFUSES(EK_STATUS_OVERLAP, "report overlaps grads[0]");
    now.lists[1][0] = now.data[1][0];
    now.sgd.momentum = 0.9;
    lists[2] = NULL;
    fails_at(__LINE__, sgd, COUNT, sizes, lists, EK_STATUS_INVALID_ARGUMENT, "no momentum tensors are given");
}

static void results(void)
{
    world w;
    double norm, sum = 0;
    int i;
    make(&w);
    for (i = 1; i <= 5; i++) sum += i * i / 64.0;
    for (i = 1; i <= 17; i++) sum += i * i / 64.0;
    CHECK(grad_norm(&w, COUNT, w.sizes, (float *const *const[]){NULL, w.lists[1]}) == EK_STATUS_OK);
    norm = w.numbers[COUNT];
    CHECK(fabs(norm - sqrt(sum)) < 1e-12 && w.numbers[1] == 0 && w.numbers[0] > 0);
    /* Plain descent: w - lr * g * factor, and the report. */
    w.sgd.lr = 0.5;
    w.clip.mode = EK_CLIP_GLOBAL_NORM;
    w.clip.threshold = (float)norm / 2;
    CHECK(ek_clip_sgd_f32(NULL, &w.clip, &w.sgd, COUNT, w.sizes, w.lists[0], READ(w.lists[1]), NULL, &w.report) ==
          EK_STATUS_OK);
    CHECK(fabs(w.report.clip_factor - 0.5) < 1e-6 && w.report.grad_norm == norm && !w.report.skipped);
    CHECK(fabs(w.report.update_norm - norm / 4) < 1e-6 && fabs(w.report.param_norm - norm * 0.75) < 1e-6);
    for (i = 0; i < 17; i++) CHECK(fabsf(w.data[0][2][i] - (float)(i + 1) / 8 * 0.75f) < 1e-6f);
    CHECK(w.data[0][2][17] == 18.0f / 8 && w.data[1][2][0] == 0.125f);
    /* A smaller struct_size of the options: the fields behind it are the defaults; of the report: not written. */
    make(&w);
    w.clip.mode = EK_CLIP_VALUE;
    w.clip.threshold = 1e-9f;
    w.clip.struct_size = offsetof(ek_clip_options, mode);
    w.report.struct_size = offsetof(ek_step_report, nonfinite);
    w.report.param_norm = -5;
    w.sgd.lr = 1;
    CHECK(ek_clip_sgd_f32(NULL, &w.clip, &w.sgd, COUNT, w.sizes, w.lists[0], READ(w.lists[1]), NULL, &w.report) ==
          EK_STATUS_OK);
    CHECK(w.data[0][0][3] == 0 && w.report.param_norm == -5 && w.report.grad_norm == norm);
    /* A gradient that is not finite skips the step, and Adam's first step moves by lr. */
    make(&w);
    w.data[1][2][4] = (float)INFINITY;
    CHECK(clip_adam(&w, COUNT, w.sizes, (float *const *const[]){w.lists[0], w.lists[1], w.lists[2], w.lists[3], NULL}) ==
          EK_STATUS_OK);
    CHECK(w.report.skipped && w.report.nonfinite == 1 && w.data[0][0][0] == 0.125f && w.data[2][0][0] == 0);
    CHECK(w.report.nonfinite_tensor == 2 && w.report.nonfinite_element == 4);
    w.data[1][2][4] = 0.5f;
    CHECK(clip_adam(&w, COUNT, w.sizes, (float *const *const[]){w.lists[0], w.lists[1], w.lists[2], w.lists[3], NULL}) ==
          EK_STATUS_OK);
    CHECK(w.report.nonfinite_tensor == SIZE_MAX && w.report.nonfinite_element == SIZE_MAX);
    CHECK(!w.report.skipped && fabsf(w.data[0][0][0] - 0.124f) < 1e-6f && w.data[2][0][0] > 0 && w.data[3][0][0] > 0);
    /* Clipping in place. */
    make(&w);
    CHECK(ek_clip_by_norm_f32(NULL, 1, COUNT, w.sizes, w.lists[1], &w.numbers[0]) == EK_STATUS_OK);
    CHECK(w.numbers[0] == norm && fabs(w.data[1][0][0] - 0.125 / norm) < 1e-7);
}

/* Each rule's first step from zero states with a gradient of 1 or 2, and the copies in half the width. */
static void rules(void)
{
    world w;
    int i;
    make(&w);
    for (i = 0; i < 17; i++) w.data[1][2][i] = 2;
    for (i = 0; i < 5; i++) w.data[1][0][i] = 2;
    w.rmsprop.lr = 0.5;
    CHECK(clip_rmsprop(&w, COUNT, w.sizes, (float *const *const[]){w.lists[0], w.lists[1], w.lists[2], NULL, NULL}) ==
          EK_STATUS_OK);
    /* g / sqrt(0.01 g^2) = 10. */
    CHECK(fabsf(w.data[0][2][0] - (0.125f - 5)) < 1e-5f && fabsf(w.data[2][2][0] - 0.04f) < 1e-7f);
    w.adagrad.lr = 0.5;
    w.adagrad.second_moment = EK_SECOND_MOMENT_ROOT;
    memset(w.data[2], 0, sizeof w.data[2]);
    w.data[0][2][0] = 0;
    CHECK(clip_adagrad(&w, COUNT, w.sizes, (float *const *const[]){w.lists[0], w.lists[1], w.lists[2], NULL, NULL}) ==
          EK_STATUS_OK);
    CHECK(fabsf(w.data[0][2][0] + 0.5f) < 1e-6f && w.data[2][2][0] == 2);
    w.lion.lr = 0.25;
    memset(w.data[2], 0, sizeof w.data[2]);
    w.data[0][2][0] = 0;
    CHECK(clip_lion(&w, COUNT, w.sizes, (float *const *const[]){w.lists[0], w.lists[1], w.lists[2], NULL, NULL}) ==
          EK_STATUS_OK);
    CHECK(w.data[0][2][0] == -0.25f && fabsf(w.data[2][2][0] - 0.02f) < 1e-7f);
    make(&w);
    {
        uint16_t *const g = (uint16_t *)(void *)w.data[1][2], *const copy = (uint16_t *)(void *)w.data[4][2];
        float *const *const *const l = (float *const *const[]){w.lists[0], w.lists[1], NULL, NULL, w.lists[4]};
        memset(w.data[1], 0, sizeof w.data[1]);
        w.sgd.lr = 1;
        w.data[0][2][16] = 3;
        g[16] = 0x4000; /* 2 in bf16 and in f16 */
        CHECK(clip_sgd_bf16(&w, COUNT, w.sizes, l) == EK_STATUS_OK);
        CHECK(w.data[0][2][16] == 1 && copy[16] == 0x3F80 && copy[17] == 0 && w.report.grad_norm == 2);
        CHECK(clip_sgd_f16(&w, COUNT, w.sizes, l) == EK_STATUS_OK);
        CHECK(w.data[0][2][16] == -1 && copy[16] == 0xBC00);
        /* By chance: 1 + 2^-9 is a quarter of the way from 1 to the next bf16, an f16 as it is. */
        memset(w.data[1], 0, sizeof w.data[1]);
        for (i = 0; i < 17; i++) w.data[0][2][i] = 1 + 1.0f / 512;
        w.sgd.stochastic = true;
        w.sgd.seed = 3;
        CHECK(clip_sgd_bf16(&w, COUNT, w.sizes, l) == EK_STATUS_OK);
        for (i = 0; i < 17; i++) CHECK(copy[i] == 0x3F80 || copy[i] == 0x3F81);
        CHECK(clip_sgd_f16(&w, COUNT, w.sizes, l) == EK_STATUS_OK && copy[0] == 0x3C02 && copy[16] == 0x3C02);
    }
}

/* The loss scaler and the schedule. */
static void loop_state(void)
{
    ek_loss_scaler scaler, was_scaler;
    ek_schedule schedule;
    double lr = -1;
    ek_loss_scaler_init(&scaler);
    ek_loss_scaler_init(NULL);
    CHECK(scaler.struct_size == sizeof scaler && scaler.scale == 65536 && scaler.growth_interval == 2000);
    CHECK(ek_loss_scaler_update(&scaler, true) == EK_STATUS_OK && scaler.scale == 32768 && scaler.good_steps == 0);
    CHECK(ek_loss_scaler_update(&scaler, false) == EK_STATUS_OK && scaler.good_steps == 1);
    FAILS(ek_loss_scaler_update(NULL, true), EK_STATUS_NULL_POINTER, "ek_loss_scaler_update", "scaler is NULL");
    scaler.growth_factor = 1;
    was_scaler = scaler;
    FAILS(ek_loss_scaler_update(&scaler, true), EK_STATUS_INVALID_ARGUMENT, "ek_loss_scaler_update", "growth_factor is 1");
    CHECK(memcmp(&scaler, &was_scaler, sizeof scaler) == 0);
    scaler.struct_size = 1;
    FAILS(ek_loss_scaler_update(&scaler, true), EK_STATUS_INVALID_ARGUMENT, "ek_loss_scaler_update", "struct_size is 1");
    ek_schedule_init(&schedule);
    ek_schedule_init(NULL);
    CHECK(schedule.struct_size == sizeof schedule && schedule.base_lr == 1e-3 && schedule.step_size == 1);
    CHECK(ek_schedule_lr(&schedule, 1000, &lr) == EK_STATUS_OK && lr == 1e-3);
    schedule.kind = EK_SCHEDULE_LINEAR;
    schedule.base_lr = 1;
    schedule.warmup_steps = 4;
    FAILS(ek_schedule_lr(&schedule, 0, &lr), EK_STATUS_INVALID_ARGUMENT, "ek_schedule_lr", "total_steps is 0");
    CHECK(lr == 1e-3);
    schedule.total_steps = 14;
    CHECK(ek_schedule_lr(&schedule, 0, &lr) == EK_STATUS_OK && lr == 0.25);
    CHECK(ek_schedule_lr(&schedule, 9, &lr) == EK_STATUS_OK && lr == 0.5);
    schedule.kind = 6;
    FAILS(ek_schedule_lr(&schedule, 0, &lr), EK_STATUS_INVALID_ARGUMENT, "ek_schedule_lr", "schedule->kind is 6");
    schedule.kind = EK_SCHEDULE_CONSTANT;
    FAILS(ek_schedule_lr(NULL, 0, &lr), EK_STATUS_NULL_POINTER, "ek_schedule_lr", "schedule is NULL");
    FAILS(ek_schedule_lr(&schedule, 0, NULL), EK_STATUS_NULL_POINTER, "ek_schedule_lr", "lr is NULL");
    FAILS(ek_schedule_lr(&schedule, 0, &schedule.decay), EK_STATUS_OVERLAP, "ek_schedule_lr", "lr overlaps schedule");
    CHECK(lr == 0.5 && schedule.decay == 0.1);
}

int main(void)
{
    size_t i;
    for (i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        break_one_thing(&functions[i]);
        break_sizes(&functions[i]);
    }
    options();
    results();
    rules();
    loop_state();
    return 0;
}
