/* Versions, statuses, contexts and their options. */
#include "evenkeel.h"

#include "check.h"

/* An option struct of a later header. */
typedef struct {
    ek_context_options known;
    uint64_t later;
} future_options;

static size_t runs;

static void serial(void *user_data, size_t tasks, void (*task)(void *arg, size_t index), void *arg)
{
    size_t i;
    CHECK(user_data == &runs);
    runs++;
    for (i = 0; i < tasks; i++) task(arg, i);
}

static void versions(void)
{
    char text[32];
    CHECK(ek_version() == EK_VERSION);
    CHECK(EK_VERSION == ((uint32_t)EK_VERSION_MAJOR << 16 | EK_VERSION_MINOR << 8 | EK_VERSION_PATCH));
    sprintf(text, "%d.%d.%d", EK_VERSION_MAJOR, EK_VERSION_MINOR, EK_VERSION_PATCH);
    CHECK(strcmp(ek_version_string(), text) == 0);
}

static void names(void)
{
    ek_status status;
    CHECK(strcmp(ek_last_error(), "") == 0);
    CHECK(strcmp(ek_status_string(EK_STATUS_OK), "EK_STATUS_OK") == 0);
    CHECK(strcmp(ek_status_string(EK_STATUS_INTERNAL), "EK_STATUS_INTERNAL") == 0);
    for (status = EK_STATUS_OK; status <= EK_STATUS_NOT_CONVERGED; status++)
        CHECK(strncmp(ek_status_string(status), "EK_STATUS_", 10) == 0);
    CHECK(strcmp(ek_status_string(-1), "unknown status") == 0);
    CHECK(strcmp(ek_status_string(9), "unknown status") == 0);
    CHECK(strcmp(ek_isa_name(EK_ISA_AUTO), "auto") == 0);
    CHECK(strcmp(ek_isa_name(EK_ISA_AVX512), "avx512") == 0);
    CHECK(strcmp(ek_isa_name(EK_ISA_SCALAR), "scalar") == 0);
    CHECK(strcmp(ek_isa_name(99), "unknown") == 0);
}

/* What every machine of its kind has. */
#ifdef __aarch64__
#define PLAIN EK_ISA_NEON
#else
#define PLAIN EK_ISA_PORTABLE
#endif

/* Returns whether creating worked with the first `size` bytes of options that ask for 3 threads on PLAIN. */
static ek_context *create(size_t size, ek_status expected, const char *text)
{
    future_options options;
    ek_context *ctx = (ek_context *)&runs;
    memset(&options, 0, sizeof options);
    ek_context_options_init(&options.known);
    CHECK(options.known.struct_size == sizeof(ek_context_options));
    options.known.struct_size = size;
    options.known.num_threads = 3;
    options.known.isa = PLAIN;
    options.later = text && strstr(text, "byte") ? 1 : 0;
    if (expected != EK_STATUS_OK) {
        FAILS(ek_context_create(&options.known, &ctx), expected, "ek_context_create", text);
        CHECK(ctx == (ek_context *)&runs);
        return NULL;
    }
    CHECK(ek_context_create(&options.known, &ctx) == EK_STATUS_OK);
    CHECK(ctx != NULL && ctx != (ek_context *)&runs);
    return ctx;
}

static void struct_sizes(void)
{
    ek_context *ctx = create(sizeof(ek_context_options), EK_STATUS_OK, NULL);
    CHECK(ek_context_num_threads(ctx) == 3 && ek_context_isa(ctx) == PLAIN);
    ek_context_destroy(ctx);
    /* A header from before `isa`, and one that ends in the middle of it. */
    ctx = create(offsetof(ek_context_options, isa), EK_STATUS_OK, NULL);
    CHECK(ek_context_num_threads(ctx) == 3 && ek_context_isa(ctx) == ek_context_isa(NULL));
    ek_context_destroy(ctx);
    ctx = create(offsetof(ek_context_options, isa) + 2, EK_STATUS_OK, NULL);
    CHECK(ek_context_isa(ctx) == ek_context_isa(NULL));
    ek_context_destroy(ctx);
    ctx = create(sizeof(size_t), EK_STATUS_OK, NULL);
    CHECK(ek_context_num_threads(ctx) == ek_context_num_threads(NULL));
    ek_context_destroy(ctx);
    /* A later header: its field is 0, and then it is not. */
    ek_context_destroy(create(sizeof(future_options), EK_STATUS_OK, NULL));
    create(sizeof(future_options), EK_STATUS_INVALID_ARGUMENT, "options sets byte");
    create(0, EK_STATUS_INVALID_ARGUMENT, "options->struct_size is 0");
    create((size_t)-1, EK_STATUS_INVALID_ARGUMENT, "options->struct_size is");
}

static void mistakes(void)
{
    ek_context_options options;
    ek_context *ctx = (ek_context *)&runs;
    unsigned char two = 2;
    FAILS(ek_context_create(NULL, NULL), EK_STATUS_NULL_POINTER, "ek_context_create", "out is NULL");
    ek_context_options_init(NULL);
    ek_context_options_init(&options);
    options.isa = 77;
    FAILS(ek_context_create(&options, &ctx), EK_STATUS_INVALID_ARGUMENT, "ek_context_create", "isa is 77");
#if defined(__x86_64__)
    options.isa = EK_ISA_NEON;
    FAILS(ek_context_create(&options, &ctx), EK_STATUS_UNSUPPORTED, "ek_context_create", "isa is neon");
#endif
    ek_context_options_init(&options);
    options.num_threads = 4097;
    FAILS(ek_context_create(&options, &ctx), EK_STATUS_INVALID_ARGUMENT, "ek_context_create", "num_threads is 4097");
    ek_context_options_init(&options);
    memcpy(&options.flush_subnormals, &two, 1);
    FAILS(ek_context_create(&options, &ctx), EK_STATUS_INVALID_ARGUMENT, "ek_context_create",
          "options->flush_subnormals is neither true nor false");
    FAILS(ek_context_create((const ek_context_options *)((const char *)&options + 1), &ctx),
          EK_STATUS_INVALID_ARGUMENT, "ek_context_create", "aligned");
    CHECK(ctx == (ek_context *)&runs);
}

static void contexts(void)
{
    ek_context_options options;
    ek_context *ctx = NULL;
    float a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8}, c[4];
    CHECK(ek_context_create(NULL, &ctx) == EK_STATUS_OK);
    CHECK(ek_context_num_threads(ctx) >= 1 && ek_context_num_threads(ctx) == ek_context_num_threads(NULL));
    CHECK(ek_context_isa(ctx) == ek_context_isa(NULL) && ek_context_isa(ctx) != EK_ISA_AUTO);
    CHECK(ek_matmul_f32(ctx, EK_NO_TRANSPOSE, EK_NO_TRANSPOSE, 2, 2, 2, 1, a, 2, b, 2, 0, c, 2) == EK_STATUS_OK);
    CHECK(c[0] == 19 && c[1] == 22 && c[2] == 43 && c[3] == 50);
    ek_context_destroy(ctx);
    ek_context_destroy(NULL);

    ek_context_options_init(&options);
    options.num_threads = 4;
    options.parallel_for = serial;
    options.user_data = &runs;
    CHECK(ek_context_create(&options, &ctx) == EK_STATUS_OK);
    {
        const size_t n = 256;
        size_t i;
        float *x = malloc(n * n * sizeof *x), *y = malloc(n * n * sizeof *y);
        CHECK(x && y);
        for (i = 0; i < n * n; i++) x[i] = 1;
        CHECK(ek_matmul_f32(ctx, 0, 0, n, n, n, 1, x, n, x, n, 0, y, n) == EK_STATUS_OK);
        for (i = 0; i < n * n; i++) CHECK(y[i] == n);
        free(x);
        free(y);
    }
    CHECK(runs > 0);
    ek_context_destroy(ctx);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "malformed") == 0) {
        float x = 1, y = 2;
        ek_context *ctx = NULL;
        FAILS(ek_context_create(NULL, &ctx), EK_STATUS_INVALID_ARGUMENT, "ek_context_create", "EK_");
        FAILS(ek_matmul_f32(NULL, 0, 0, 1, 1, 1, 1, &x, 1, &x, 1, 0, &y, 1), EK_STATUS_INVALID_ARGUMENT,
              "ek_context_create", "EK_");
        CHECK(y == 2 && ek_context_num_threads(NULL) == 0 && ek_context_isa(NULL) == EK_ISA_AUTO);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "print") == 0) {
        printf("%s %d\n", ek_isa_name(ek_context_isa(NULL)), (int)ek_context_num_threads(NULL));
        return 0;
    }
    versions();
    names();
    struct_sizes();
    mistakes();
    contexts();
    return 0;
}
