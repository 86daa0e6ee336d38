/* Threads: the same bits from the library's own, from a host's, in a forked child, and from callers side by side. */
#define _POSIX_C_SOURCE 200809L
#include "evenkeel.h"

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "host.h"

enum { N = 192, SIZE = N * N, CALLERS = 4 };

static float a[SIZE], b[SIZE], expected[SIZE];
static double expected_norm;

/* A product and a norm, as bits. */
static bool same(const ek_context *ctx)
{
    float *const c = malloc(SIZE * sizeof *c);
    const float *const tensors[] = {a, b};
    const size_t sizes[] = {SIZE, SIZE};
    double norm;
    bool equal;
    CHECK(c != NULL);
    CHECK(ek_matmul_f32(ctx, EK_NO_TRANSPOSE, EK_TRANSPOSE, N, N, N, 1, a, N, b, N, 0, c, N) == EK_STATUS_OK);
    CHECK(ek_grad_norm_f32(ctx, 2, sizes, tensors, NULL, &norm) == EK_STATUS_OK);
    equal = memcmp(c, expected, sizeof expected) == 0 && memcmp(&norm, &expected_norm, sizeof norm) == 0;
    free(c);
    return equal;
}

static ek_context *context(size_t num_threads, ek_parallel_for host, void *user_data)
{
    ek_context_options options;
    ek_context *ctx = NULL;
    ek_context_options_init(&options);
    options.num_threads = num_threads;
    options.parallel_for = host;
    options.user_data = user_data;
    CHECK(ek_context_create(&options, &ctx) == EK_STATUS_OK);
    CHECK(ek_context_num_threads(ctx) == num_threads);
    return ctx;
}

static void in_child(const ek_context *ctx)
{
    int status = -1;
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60); /* a child that hangs on threads it does not have is ended */
        _exit(same(ctx) ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void *caller(void *ctx)
{
    int i;
    for (i = 0; i < 8; i++)
        if (!same(ctx)) return NULL;
    return ctx;
}

int main(void)
{
    const size_t counts[] = {1, 2, 3, 8};
    ek_context *const one = context(1, NULL, NULL);
    ek_context *ctx;
    pthread_t threads[CALLERS];
    size_t i, calls = 0;
    CHECK(ek_init_normal_f32(one, 1, 0, 0, 1, SIZE, a) == EK_STATUS_OK);
    CHECK(ek_init_normal_f32(one, 1, 1, 0, 1, SIZE, b) == EK_STATUS_OK);
    CHECK(ek_matmul_f32(one, 0, 1, N, N, N, 1, a, N, b, N, 0, expected, N) == EK_STATUS_OK);
    {
        const float *const tensors[] = {a, b};
        const size_t sizes[] = {SIZE, SIZE};
        CHECK(ek_grad_norm_f32(one, 2, sizes, tensors, NULL, &expected_norm) == EK_STATUS_OK);
    }
    CHECK(expected[0] != 0 && expected_norm > 0);

    for (i = 0; i < 4; i++) {
        ctx = context(counts[i], NULL, NULL);
        CHECK(same(ctx)); /* starts the pool, which the child does not have */
        in_child(ctx);
        CHECK(same(ctx));
        ek_context_destroy(ctx);
    }

    ctx = context(4, host_parallel_for, &calls);
    CHECK(same(ctx));
    CHECK(calls > 0);
    in_child(ctx);
    ek_context_destroy(ctx);

    ctx = context(3, NULL, NULL);
    for (i = 0; i < CALLERS; i++) CHECK(pthread_create(&threads[i], NULL, caller, ctx) == 0);
    for (i = 0; i < CALLERS; i++) {
        void *result = NULL;
        CHECK(pthread_join(threads[i], &result) == 0);
        CHECK(result == ctx);
    }
    ek_context_destroy(ctx);
    ek_context_destroy(one);
    return 0;
}
