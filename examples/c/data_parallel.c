/* Trains a network on handwritten digits on several machines at once: each rank takes its share of every batch, and all ranks
 * make the same step.
 *
 *     mpicc -std=c99 -O2 -Iinclude examples/c/data_parallel.c -Ltarget/release -levenkeel -lm -o data_parallel
 *     LD_LIBRARY_PATH=target/release mpirun -n 4 ./data_parallel data/digits.csv
 *
 * Further arguments: a file for the trained weights ("-": none), the number of epochs, and a step at which the last rank meets a
 * NaN (0: none). However many ranks share the batch, the weights are those of one rank with all of it, up to the rounding of
 * sums in another order. 1, 2, 3, 4 or 6 ranks share a batch evenly.
 */
#include "evenkeel.h"

#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 1797, PIXELS = 64, CLASSES = 10, HELD_OUT = 359 };
enum { LAYERS = 3, TENSORS = 2 * LAYERS, HIDDEN = 64, BATCH = 96, SEED = 1 };

static const size_t width[LAYERS + 1] = {PIXELS, HIDDEN, HIDDEN, CLASSES};

static void stop(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
}

static void check(ek_status status)
{
    if (status != EK_STATUS_OK) stop(ek_status_string(status), ek_last_error());
}

static void *allocate(size_t count, size_t size)
{
    void *const memory = calloc(count, size);
    if (memory == NULL) stop("data_parallel", "out of memory");
    return memory;
}

/* Images, [images, PIXELS] from -1 (paper) to 1 (ink), and what they show; every fifth one is held out. */
typedef struct {
    float *pixels;
    int64_t *labels;
    size_t images;
} digits;

static void load(const char *path, digits *training, digits *held_out)
{
    FILE *const file = fopen(path, "r");
    size_t image, field;
    if (file == NULL) stop(path, "cannot be opened");
    training->pixels = allocate(IMAGES * PIXELS, sizeof(float));
    training->labels = allocate(IMAGES, sizeof(int64_t));
    held_out->pixels = allocate(HELD_OUT * PIXELS, sizeof(float));
    held_out->labels = allocate(HELD_OUT, sizeof(int64_t));
    training->images = held_out->images = 0;
    for (image = 0; image < IMAGES; image++) {
        digits *const to = image % 5 == 4 ? held_out : training;
        for (field = 0; field <= PIXELS; field++) {
            unsigned value;
            if (fscanf(file, field ? ",%u" : "%u", &value) != 1 || value > 16 || (field == PIXELS && value >= CLASSES))
                stop(path, "is cut off or malformed");
            if (field < PIXELS)
                to->pixels[to->images * PIXELS + field] = (float)value / 8 - 1;
            else
                to->labels[to->images++] = (int64_t)value;
        }
    }
    fclose(file);
}

/* Parameters, gradients and momentum: each one block of memory, so that gradients are summed over the ranks in one call, and
 * views of its tensors. Tensor 2*l holds the weights of layer l, tensor 2*l + 1 its biases. */
typedef struct {
    size_t sizes[TENSORS], total;
    float *all_params, *all_grads, *all_momentum;
    float *params[TENSORS], *grads[TENSORS], *momentum[TENSORS];
    float *input[LAYERS], *z[LAYERS], *dz[LAYERS], *logits;
} network;

static void create(const ek_context *ctx, network *net)
{
    size_t at = 0;
    int i, l;
    net->total = 0;
    for (i = 0; i < TENSORS; i++) {
        l = i / 2;
        net->sizes[i] = i % 2 ? width[l + 1] : width[l] * width[l + 1];
        net->total += net->sizes[i];
    }
    net->all_params = allocate(net->total, sizeof(float));
    net->all_grads = allocate(net->total, sizeof(float));
    net->all_momentum = allocate(net->total, sizeof(float));
    for (i = 0; i < TENSORS; at += net->sizes[i++]) {
        l = i / 2;
        net->params[i] = net->all_params + at;
        net->grads[i] = net->all_grads + at;
        net->momentum[i] = net->all_momentum + at;
        /* The same weights on every rank: random numbers depend on the seed, the stream and their place alone. */
        if (i % 2 == 0)
            check(ek_init_he_f32(ctx, SEED, (uint64_t)l, EK_NORMAL, 0, width[l], net->sizes[i], net->params[i]));
    }
    for (l = 0; l < LAYERS; l++) {
        net->input[l] = allocate(BATCH * width[l], sizeof(float));
        net->z[l] = allocate(BATCH * width[l + 1], sizeof(float));
        net->dz[l] = allocate(BATCH * width[l + 1], sizeof(float));
    }
    net->logits = allocate(BATCH * CLASSES, sizeof(float));
}

static void release(network *net)
{
    int l;
    free(net->all_params);
    free(net->all_grads);
    free(net->all_momentum);
    for (l = 0; l < LAYERS; l++) {
        free(net->input[l]);
        free(net->z[l]);
        free(net->dz[l]);
    }
    free(net->logits);
}

static void forward(const ek_context *ctx, network *net, size_t batch)
{
    int l;
    for (l = 0; l < LAYERS; l++) {
        const bool last = l == LAYERS - 1;
        check(ek_linear_forward_f32(ctx, last ? EK_ACTIVATION_IDENTITY : EK_ACTIVATION_SILU, 0, batch, width[l],
                                    width[l + 1], net->input[l], net->params[2 * l], net->params[2 * l + 1],
                                    last ? NULL : net->z[l], last ? net->logits : net->input[l + 1]));
    }
}

/* This rank's part of the gradients: those of its mean loss, divided by the number of ranks, so that their sum is the gradient of
 * the mean over the whole batch. */
static void backward(const ek_context *ctx, network *net, size_t batch, const int64_t *labels, int ranks, double *loss)
{
    int l;
    check(ek_cross_entropy_f32(ctx, 0, -1, 1.0f / (float)ranks, batch, CLASSES, net->logits, labels, NULL, loss,
                               net->dz[LAYERS - 1]));
    for (l = LAYERS - 1; l >= 0; l--) {
        check(ek_linear_backward_weight_f32(ctx, batch, width[l], width[l + 1], net->dz[l], net->input[l], false,
                                            net->grads[2 * l], net->grads[2 * l + 1], NULL));
        if (l > 0)
            check(ek_linear_backward_input_f32(ctx, EK_ACTIVATION_SILU, 0, batch, width[l], width[l + 1], net->dz[l],
                                               net->params[2 * l], net->z[l - 1], net->dz[l - 1]));
    }
}

/* Sums the gradients over the ranks, then their squares: each rank takes the norm of one part of the sum, and the step needs no
 * further look at them. Returns the sum of squares. It is NaN or infinite as soon as one rank's gradients are. */
static double reduce(const ek_context *ctx, network *net, int rank, int ranks)
{
    const size_t from = net->total * (size_t)rank / (size_t)ranks;
    const size_t size = net->total * ((size_t)rank + 1) / (size_t)ranks - from;
    const float *part;
    double norm, sum_sq;
    MPI_Allreduce(MPI_IN_PLACE, net->all_grads, (int)net->total, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    part = net->all_grads + from;
    check(ek_grad_norm_f32(ctx, 1, &size, &part, NULL, &norm));
    sum_sq = norm * norm;
    MPI_Allreduce(MPI_IN_PLACE, &sum_sq, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return sum_sq;
}

static double accuracy(const ek_context *ctx, network *net, const digits *set)
{
    size_t start, i, j, correct = 0;
    for (start = 0; start < set->images; start += BATCH) {
        const size_t batch = set->images - start < BATCH ? set->images - start : BATCH;
        memcpy(net->input[0], set->pixels + start * PIXELS, batch * PIXELS * sizeof(float));
        forward(ctx, net, batch);
        for (i = 0; i < batch; i++) {
            const float *const row = net->logits + i * CLASSES;
            size_t best = 0;
            for (j = 1; j < CLASSES; j++)
                if (row[j] > row[best]) best = j;
            correct += (int64_t)best == set->labels[start + i];
        }
    }
    return (double)correct / (double)set->images;
}

/* A new order of the images for each epoch, the same on every rank. */
static void shuffle(size_t *order, size_t n, uint32_t *state)
{
    for (; n > 1; n--) {
        size_t other, swap;
        *state = *state * 1664525u + 1013904223u;
        other = (*state >> 8) % n;
        swap = order[n - 1];
        order[n - 1] = order[other];
        order[other] = swap;
    }
}

/* Returns how many steps were skipped. */
static int train(const ek_context *ctx, network *net, const digits *training, int rank, int ranks, int epochs, int poisoned)
{
    const size_t share = BATCH / (size_t)ranks;
    ek_clip_options clip;
    ek_sgd_options sgd;
    ek_step_report report;
    int64_t labels[BATCH];
    size_t *const order = allocate(training->images, sizeof *order);
    uint32_t state = SEED;
    size_t start, i;
    int epoch, step = 0, skipped = 0;
    ek_clip_options_init(&clip);
    clip.mode = EK_CLIP_GLOBAL_NORM;
    clip.threshold = 1;
    ek_sgd_options_init(&sgd);
    sgd.lr = 0.1;
    sgd.momentum = 0.9;
    ek_step_report_init(&report);
    for (i = 0; i < training->images; i++) order[i] = i;
    for (epoch = 1; epoch <= epochs; epoch++) {
        double loss = 0;
        shuffle(order, training->images, &state);
        for (start = 0; start + BATCH <= training->images; start += BATCH) {
            for (i = 0; i < share; i++) {
                const size_t image = order[start + (size_t)rank * share + i];
                memcpy(net->input[0] + i * PIXELS, training->pixels + image * PIXELS, PIXELS * sizeof(float));
                labels[i] = training->labels[image];
            }
            if (++step == poisoned && rank == ranks - 1) net->input[0][0] = (float)NAN;
            forward(ctx, net, share);
            backward(ctx, net, share, labels, ranks, &loss);
            clip.known_sum_sq = reduce(ctx, net, rank, ranks);
            check(ek_clip_sgd_f32(ctx, &clip, &sgd, TENSORS, net->sizes, net->params, (const float *const *)net->grads,
                                  net->momentum, &report));
            skipped += report.skipped;
        }
        if (rank == 0 && (epoch % 5 == 0 || epoch == epochs))
            printf("epoch %2d  loss of rank 0 %.4f  gradient norm %.4f\n", epoch, loss, report.grad_norm);
    }
    free(order);
    return skipped;
}

/* Whether all ranks hold the same weights, bit for bit. */
static bool agree(const network *net)
{
    const int bytes = (int)(net->total * sizeof(float));
    float *const first = allocate(net->total, sizeof(float));
    int same;
    memcpy(first, net->all_params, (size_t)bytes);
    MPI_Bcast(first, bytes, MPI_BYTE, 0, MPI_COMM_WORLD);
    same = memcmp(first, net->all_params, (size_t)bytes) == 0;
    MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    free(first);
    return same;
}

int main(int argc, char **argv)
{
    const char *const data = argc > 1 ? argv[1] : "data/digits.csv";
    const char *const weights = argc > 2 ? argv[2] : "-";
    ek_context_options options;
    ek_context *ctx;
    digits training, held_out;
    network net;
    int rank, ranks, skipped, most;
    bool same;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (BATCH % ranks != 0) stop("data_parallel", "the batch of 96 images cannot be shared evenly");
    /* Ranks on one machine share its cores already. */
    ek_context_options_init(&options);
    options.num_threads = 1;
    check(ek_context_create(&options, &ctx));
    load(data, &training, &held_out);
    create(ctx, &net);
    skipped = train(ctx, &net, &training, rank, ranks, argc > 3 ? atoi(argv[3]) : 15, argc > 4 ? atoi(argv[4]) : 0);
    /* No rank skips a step alone. */
    MPI_Allreduce(&skipped, &most, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    if (most != skipped) stop("data_parallel", "ranks skipped different steps");
    same = agree(&net);
    if (rank == 0) {
        printf("%d ranks, %d steps skipped, weights %s\n", ranks, skipped, same ? "agree" : "DIFFER");
        printf("held-out accuracy %.4f\n", accuracy(ctx, &net, &held_out));
        if (strcmp(weights, "-") != 0) {
            FILE *const file = fopen(weights, "wb");
            if (file == NULL || fwrite(net.all_params, sizeof(float), net.total, file) != net.total || fclose(file) != 0)
                stop(weights, "cannot be written");
        }
    }
    release(&net);
    free(training.pixels);
    free(training.labels);
    free(held_out.pixels);
    free(held_out.labels);
    ek_context_destroy(ctx);
    MPI_Finalize();
    return same ? EXIT_SUCCESS : EXIT_FAILURE;
}
