/* The training run of examples/c/quickstart.c on a host's threads. Arguments: data, file for the weights, epochs. */
#define main quickstart_main
#include "../../examples/c/quickstart.c"
#undef main

#include "host.h"

int main(int argc, char **argv)
{
    ek_context_options options;
    ek_context *ctx;
    size_t calls = 0;
    int result;
    if (argc != 4) return EXIT_FAILURE;
    ek_context_options_init(&options);
    options.num_threads = 4;
    options.parallel_for = host_parallel_for;
    options.user_data = &calls;
    check(ek_context_create(&options, &ctx));
    result = run(ctx, argv[1], argv[2], atoi(argv[3]));
    ek_context_destroy(ctx);
    return calls > 0 ? result : EXIT_FAILURE;
}
