/* Trains a network on handwritten digits in C, and prints how many of the images it has not seen it reads correctly.
 *
 *     cc -std=c99 -O2 -Iinclude examples/c/quickstart.c -Ltarget/release -levenkeel -lm -o quickstart
 *     LD_LIBRARY_PATH=target/release ./quickstart data/digits.csv
 *
 * With a second argument it writes the trained weights to that file: the same bytes for any number of threads
 * (EK_NUM_THREADS) and any instruction set with fused multiply-add (EK_ISA). A third sets the number of epochs.
 */
#include "evenkeel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 1797, PIXELS = 64, CLASSES = 10, HELD_OUT = 359 };
enum { LAYERS = 3, TENSORS = 2 * LAYERS, HIDDEN = 128, BATCH = 128, SEED = 1 };

static const size_t width[LAYERS + 1] = {PIXELS, HIDDEN, HIDDEN, CLASSES};

/* Every function of the library reports this way: a status, and the reason in words. */
static void check(ek_status status)
{
    if (status != EK_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", ek_status_string(status), ek_last_error());
        exit(EXIT_FAILURE);
    }
}

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "%s: %s\n", path, what);
    exit(EXIT_FAILURE);
}

static void *allocate(size_t count, size_t size)
{
    void *const memory = calloc(count ? count : 1, size);
    if (memory == NULL) fail("out of memory", "quickstart");
    return memory;
}

/* Images, [images, PIXELS] from -1 (paper) to 1 (ink), and what they show. */
typedef struct {
    float *pixels;
    int64_t *labels;
    size_t images;
} digits;

/* Every fifth image is held out: the network is tested on them and never trained on them. */
static void load(const char *path, digits *training, digits *held_out)
{
    FILE *const file = fopen(path, "r");
    size_t image, field;
    if (file == NULL) fail("cannot be opened", path);
    training->pixels = allocate(IMAGES * PIXELS, sizeof(float));
    training->labels = allocate(IMAGES, sizeof(int64_t));
    held_out->pixels = allocate(HELD_OUT * PIXELS, sizeof(float));
    held_out->labels = allocate(HELD_OUT, sizeof(int64_t));
    training->images = held_out->images = 0;
    for (image = 0; image < IMAGES; image++) {
        digits *const to = image % 5 == 4 ? held_out : training;
        for (field = 0; field <= PIXELS; field++) {
            unsigned value;
            if (fscanf(file, field ? ",%u" : "%u", &value) != 1 || value > 16) fail("is cut off or malformed", path);
            if (field < PIXELS)
                to->pixels[to->images * PIXELS + field] = (float)value / 8 - 1;
            else if (value < CLASSES)
                to->labels[to->images++] = (int64_t)value;
            else
                fail("holds a class above 9", path);
        }
    }
    fclose(file);
}

/* Parameters, their gradients and the optimizer's state: tensor 2*l holds the weights of layer l, tensor 2*l + 1 its
 * biases. What a pass keeps of a batch: the input of each layer, its pre-activation z and the gradient of z. */
typedef struct {
    size_t sizes[TENSORS];
    float *params[TENSORS], *grads[TENSORS], *m[TENSORS], *v[TENSORS];
    float *input[LAYERS], *z[LAYERS], *dz[LAYERS];
    float *logits;
} network;

static void create(const ek_context *ctx, network *net)
{
    int i, l;
    for (i = 0; i < TENSORS; i++) {
        l = i / 2;
        net->sizes[i] = i % 2 ? width[l + 1] : width[l] * width[l + 1];
        net->params[i] = allocate(net->sizes[i], sizeof(float));
        net->grads[i] = allocate(net->sizes[i], sizeof(float));
        net->m[i] = allocate(net->sizes[i], sizeof(float));
        net->v[i] = allocate(net->sizes[i], sizeof(float));
        /* Biases start at zero; each tensor of weights has its own stream of random numbers. */
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
    int i, l;
    for (i = 0; i < TENSORS; i++) {
        free(net->params[i]);
        free(net->grads[i]);
        free(net->m[i]);
        free(net->v[i]);
    }
    for (l = 0; l < LAYERS; l++) {
        free(net->input[l]);
        free(net->z[l]);
        free(net->dz[l]);
    }
    free(net->logits);
}

/* z = x * W^T + bias, x of the next layer = silu(z); the last layer's z are the logits. */
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

/* The loss of the batch, and from its gradient those of all parameters. Returns the sum of their squares. */
static double backward(const ek_context *ctx, network *net, size_t batch, const int64_t *labels, double *loss)
{
    double sum_sq = 0, part;
    int l;
    check(ek_cross_entropy_f32(ctx, 0, -1, 1, batch, CLASSES, net->logits, labels, NULL, loss, net->dz[LAYERS - 1]));
    for (l = LAYERS - 1; l >= 0; l--) {
        check(ek_linear_backward_weight_f32(ctx, batch, width[l], width[l + 1], net->dz[l], net->input[l], false,
                                            net->grads[2 * l], net->grads[2 * l + 1], &part));
        sum_sq += part;
        if (l > 0)
            check(ek_linear_backward_input_f32(ctx, EK_ACTIVATION_SILU, 0, batch, width[l], width[l + 1], net->dz[l],
                                               net->params[2 * l], net->z[l - 1], net->dz[l - 1]));
    }
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

/* A new order of the images for each epoch. */
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

static void train(const ek_context *ctx, network *net, const digits *training, int epochs)
{
    ek_clip_options clip;
    ek_adam_options adam;
    ek_step_report report;
    int64_t labels[BATCH];
    size_t *const order = allocate(training->images, sizeof *order);
    uint32_t state = SEED;
    size_t start, i;
    int epoch;
    ek_clip_options_init(&clip);
    clip.mode = EK_CLIP_GLOBAL_NORM;
    clip.threshold = 1;
    ek_adam_options_init(&adam);
    adam.lr = 3e-3;
    ek_step_report_init(&report);
    for (i = 0; i < training->images; i++) order[i] = i;
    for (epoch = 1; epoch <= epochs; epoch++) {
        double loss = 0;
        shuffle(order, training->images, &state);
        for (start = 0; start < training->images; start += BATCH) {
            const size_t batch = training->images - start < BATCH ? training->images - start : BATCH;
            for (i = 0; i < batch; i++) {
                const size_t image = order[start + i];
                memcpy(net->input[0] + i * PIXELS, training->pixels + image * PIXELS, PIXELS * sizeof(float));
                labels[i] = training->labels[image];
            }
            forward(ctx, net, batch);
            /* The norm for clipping came with the gradients: the step reads them once. */
            clip.known_sum_sq = backward(ctx, net, batch, labels, &loss);
            check(ek_clip_adam_f32(ctx, &clip, &adam, TENSORS, net->sizes, net->params,
                                   (const float *const *)net->grads, net->m, net->v, &report));
            adam.step++;
        }
        if (epoch % 5 == 0 || epoch == epochs)
            printf("epoch %2d  loss %.4f  gradient norm %.4f  clipped to %.2f of it\n", epoch, loss, report.grad_norm,
                   report.clip_factor);
    }
    free(order);
}

/* The whole run. */
static int run(const ek_context *ctx, const char *data, const char *weights, int epochs)
{
    digits training, held_out;
    network net;
    int i;
    load(data, &training, &held_out);
    create(ctx, &net);
    printf("evenkeel %s, %s, %d threads\n", ek_version_string(), ek_isa_name(ek_context_isa(ctx)),
           (int)ek_context_num_threads(ctx));
    train(ctx, &net, &training, epochs);
    printf("held-out accuracy %.4f\n", accuracy(ctx, &net, &held_out));
    if (weights != NULL) {
        FILE *const file = fopen(weights, "wb");
        if (file == NULL) fail("cannot be written", weights);
        for (i = 0; i < TENSORS; i++)
            if (fwrite(net.params[i], sizeof(float), net.sizes[i], file) != net.sizes[i])
                fail("cannot be written", weights);
        if (fclose(file) != 0) fail("cannot be written", weights);
    }
    release(&net);
    free(training.pixels);
    free(training.labels);
    free(held_out.pixels);
    free(held_out.labels);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    ek_context *ctx;
    int result;
    /* NULL: the default options, which heed EK_NUM_THREADS and EK_ISA. */
    check(ek_context_create(NULL, &ctx));
    result = run(ctx, argc > 1 ? argv[1] : "data/digits.csv", argc > 2 ? argv[2] : NULL, argc > 3 ? atoi(argv[3]) : 20);
    ek_context_destroy(ctx);
    return result;
}
