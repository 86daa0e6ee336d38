/* A host that loads the library, uses it and unloads it, a hundred times, and finds itself as it was: no thread more, the
 * same signal handlers, the same environment, nothing printed.
 *
 *     guest LIBRARY own|default
 *
 * own: with contexts that are destroyed. default: with the process's default context, whose threads stay. */
#define _GNU_SOURCE
#include "evenkeel.h"

#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(truth)                                                                            \
    do {                                                                                        \
        if (!(truth)) {                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                         \
            exit(1);                                                                            \
        }                                                                                       \
    } while (0)

extern char **environ;

enum { SIZE = 1 << 20, ROUNDS = 100 };
static float x[SIZE];

static int threads(void)
{
    int n = 0;
    DIR *const dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* Whether no other thread is left. A thread that was joined stays in the kernel's list for a moment: a second is more than that. */
static int alone(void)
{
    for (int i = 0; i < 1000 && threads() > 1; i++) usleep(1000);
    return threads() == 1;
}

static size_t environment(void)
{
    size_t hash = 5381;
    for (char **p = environ; *p; p++)
        for (const char *c = *p; *c; c++) hash = hash * 33 + (unsigned char)*c;
    return hash;
}

static void handlers(struct sigaction *out)
{
    for (int i = 1; i < NSIG; i++) {
        memset(&out[i], 0, sizeof out[i]);
        sigaction(i, NULL, &out[i]);
    }
}

/* ISO C has no conversion from an object's pointer to a function's. */
#define LOAD(function)                                                   \
    __typeof__(&function) function##_ = NULL;                            \
    do {                                                                 \
        void *const symbol = dlsym(library, #function);                  \
        CHECK(symbol != NULL);                                           \
        memcpy(&function##_, &symbol, sizeof symbol);                    \
    } while (0)

int main(int argc, char **argv)
{
    static struct sigaction before[NSIG], after[NSIG];
    CHECK(argc == 3);
    const bool own = strcmp(argv[2], "own") == 0;
    const size_t variables = environment();
    handlers(before);
    CHECK(threads() == 1);
    for (int i = 0; i < SIZE; i++) x[i] = (float)(i % 7) - 3;
    int most = 1;
    for (int round = 0; round < ROUNDS; round++) {
        void *const library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        CHECK(library != NULL);
        LOAD(ek_context_options_init);
        LOAD(ek_context_create);
        LOAD(ek_context_destroy);
        LOAD(ek_grad_norm_f32);
        const float *const tensors[] = {x};
        const size_t sizes[] = {SIZE};
        double norm = 0;
        ek_context *ctx = NULL;
        if (own) {
            ek_context_options options;
            ek_context_options_init_(&options);
            options.num_threads = 4;
            CHECK(ek_context_create_(&options, &ctx) == EK_STATUS_OK);
        }
        CHECK(ek_grad_norm_f32_(ctx, 1, sizes, tensors, NULL, &norm) == EK_STATUS_OK);
        CHECK(norm > 2000 && norm < 2100);
        /* An error, whose message is this thread's. */
        CHECK(ek_grad_norm_f32_(ctx, 1, sizes, tensors, NULL, NULL) == EK_STATUS_NULL_POINTER);
        const int now = threads();
        if (now > most) most = now;
        ek_context_destroy_(ctx);
        CHECK(dlclose(library) == 0);
        if (own) CHECK(alone());
    }
    if (own) CHECK(most > 1);
    usleep(100000); /* threads of code that is gone would crash now */
    handlers(after);
    for (int i = 1; i < NSIG; i++)
        CHECK(before[i].sa_handler == after[i].sa_handler && before[i].sa_flags == after[i].sa_flags);
    CHECK(environment() == variables);
    return 0;
}
