/* Many contexts and many threads at once: eight threads share one context, each meanwhile makes and destroys others, and
 * tasks of a host's executor call the library again. Every result must have the bits of one thread's. */
#include "check.h"
#include "evenkeel.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 8, ROUNDS = 6, N = 224, ROWS = 2000, COLS = 130 };

static float a[N * N], b[N * N], product[N * N], x[ROWS * COLS], normed[ROWS * COLS];
static ek_context *shared;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t calls; /* of the host's executor */

static bool same(const ek_context *ctx)
{
    float *const c = malloc(sizeof product), *const y = malloc(sizeof normed);
    bool equal = ek_matmul_f32(ctx, 0, 1, N, N, N, 1, a, N, b, N, 0, c, N) == EK_STATUS_OK &&
                 ek_layer_norm_forward_f32(ctx, 1e-5f, ROWS, COLS, x, NULL, NULL, y, NULL, NULL) == EK_STATUS_OK;
    equal = equal && memcmp(c, product, sizeof product) == 0 && memcmp(y, normed, sizeof normed) == 0;
    free(c);
    free(y);
    return equal;
}

/* The host's executor, whose every task calls the library too, with another context. */
static void nested(void *user_data, size_t tasks, void (*task)(void *arg, size_t index), void *arg)
{
    size_t i;
    pthread_mutex_lock(&lock);
    calls++;
    pthread_mutex_unlock(&lock);
    for (i = 0; i < tasks; i++) {
        if (i % 4 == 0) CHECK(same((const ek_context *)user_data));
        task(arg, i);
    }
}

static ek_context *make(size_t num_threads, ek_parallel_for host, void *user_data)
{
    ek_context_options options;
    ek_context *ctx = NULL;
    ek_context_options_init(&options);
    options.num_threads = num_threads;
    options.parallel_for = host;
    options.user_data = user_data;
    CHECK(ek_context_create(&options, &ctx) == EK_STATUS_OK);
    return ctx;
}

static void *caller(void *number)
{
    const size_t me = *(const size_t *)number;
    int round;
    for (round = 0; round < ROUNDS; round++) {
        ek_context *const own = make(1 + (me + (size_t)round) % 4, NULL, NULL);
        ek_context *const host = make(3, nested, me % 2 ? shared : own);
        CHECK(same(shared));
        CHECK(same(own));
        CHECK(same(host));
        ek_context_destroy(host);
        ek_context_destroy(own); /* while the others work */
        CHECK(same(NULL));
    }
    return NULL;
}

int main(void)
{
    ek_context *const one = make(1, NULL, NULL);
    pthread_t threads[CALLERS];
    size_t numbers[CALLERS], i;
    CHECK(ek_init_normal_f32(one, 1, 0, 0, 1, N * N, a) == EK_STATUS_OK);
    CHECK(ek_init_normal_f32(one, 1, 1, 0, 1, N * N, b) == EK_STATUS_OK);
    CHECK(ek_init_normal_f32(one, 1, 2, 0, 1, ROWS * COLS, x) == EK_STATUS_OK);
    CHECK(ek_matmul_f32(one, 0, 1, N, N, N, 1, a, N, b, N, 0, product, N) == EK_STATUS_OK);
    CHECK(ek_layer_norm_forward_f32(one, 1e-5f, ROWS, COLS, x, NULL, NULL, normed, NULL, NULL) == EK_STATUS_OK);
    shared = make(4, NULL, NULL);
    for (i = 0; i < CALLERS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, caller, &numbers[i]) == 0);
    }
    for (i = 0; i < CALLERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(calls >= CALLERS * ROUNDS);
    ek_context_destroy(shared);
    ek_context_destroy(one);
    return 0;
}
