/* evenkeel: CPU kernels of gradient-stable training.
 *
 * Generated from src/ffi; do not edit.
 *
 * Tensors are contiguous and row-major unless a leading dimension says otherwise; sizes count elements. A pointer
 * needs the alignment of its element and no more. Where a size is zero there is nothing to do, and its pointers may
 * be NULL. Inputs may alias each other; an output may equal an input exactly where its function says so.
 *
 * Every argument is checked before the first byte is written: after an error all outputs are as they were, and
 * ek_last_error says which argument was wrong. The numbers that come out have the same bits for any number of threads,
 * any alignment, and every instruction set with fused multiply-add. All functions may be called from any thread.
 */

#ifndef EVENKEEL_H
#define EVENKEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Programs on Windows that link the DLL define EVENKEEL_SHARED. */
#ifndef EK_API
#if defined(_WIN32) && defined(EVENKEEL_SHARED)
#define EK_API __declspec(dllimport)
#elif defined(__GNUC__)
#define EK_API __attribute__((visibility("default")))
#else
#define EK_API
#endif
#endif

// Incompatible changes.
#define EK_VERSION_MAJOR 0

// Additions.
#define EK_VERSION_MINOR 1

// Repairs.
#define EK_VERSION_PATCH 0

// The header's version in one number: major << 16 | minor << 8 | patch.
#define EK_VERSION (((EK_VERSION_MAJOR << 16) | (EK_VERSION_MINOR << 8)) | EK_VERSION_PATCH)

// How a call computes: on how many threads, whose, on which instruction set. Immutable: many threads may use one at
// once. Wherever a function takes a context, NULL stands for the process's default one.
typedef struct ek_context ek_context;

// What became of a call: EK_STATUS_OK or the reason why nothing was written.
typedef int32_t ek_status;

// An instruction set: one of EK_ISA_.
typedef int32_t ek_isa;

// A host program's way to run tasks on its own threads: calls task(arg, index) once for every index below tasks, on
// any threads at once, and returns after the last has returned. user_data is that of the options. It may be called
// by several threads at once where they share a context, and must neither throw nor longjmp.
typedef void (*ek_parallel_for)(void *user_data, size_t tasks, void (*task)(void *arg, size_t index), void *arg);

// The choices behind a context. Set it with ek_context_options_init, then change fields.
typedef struct {
    // sizeof(ek_context_options) in the header that the program was built with.
    size_t struct_size;
    // Threads that a call may use, the calling one included. 0: the environment variable EK_NUM_THREADS, else the
    // CPUs that this process may use (affinity, cgroup quota). With 1 no thread pool is ever touched.
    size_t num_threads;
    // One of EK_ISA_; EK_ISA_AUTO by default.
    ek_isa isa;
    // The host's threads, or NULL: the library then starts its own at first use, and parks them when idle.
    ek_parallel_for parallel_for;
    // Passed to parallel_for; the library never looks at it.
    void *user_data;
    // A row's bits never depend on the batch around it, at some cost in matrix products with m or n <= 4. false by
    // default.
    bool batch_invariant;
    // Subnormal numbers count as zero inside a call, on every thread that works for it; each thread's floating-point
    // state is restored after. false by default.
    bool flush_subnormals;
} ek_context_options;

// Whether a matrix is used as it is stored: EK_NO_TRANSPOSE or EK_TRANSPOSE.
typedef int32_t ek_transpose;

// A bfloat16: the upper half of a float.
typedef uint16_t ek_bf16;

// An IEEE half: 5 bits of exponent, 10 of fraction.
typedef uint16_t ek_f16;

// An activation function phi: one of EK_ACTIVATION_. Where a formula has p, it is act_param: the slope of LEAKY_RELU,
// the alpha of ELU and CELU; elsewhere act_param is ignored.
typedef int32_t ek_activation;

// The shape of a random tensor's distribution: EK_UNIFORM or EK_NORMAL.
typedef int32_t ek_distribution;

// How gradients are clipped: one of EK_CLIP_. c is the threshold.
typedef int32_t ek_clip_mode;

// What a NaN or infinite gradient does to a step: one of EK_NONFINITE_.
typedef int32_t ek_nonfinite;

// How gradients are unscaled, checked and clipped before an update. Set it with ek_clip_options_init, then change
// fields.
typedef struct {
    // sizeof(ek_clip_options) in the header that the program was built with.
    size_t struct_size;
    // One of EK_CLIP_; EK_CLIP_NONE by default.
    ek_clip_mode mode;
    // c of the mode, more than 0; not used by EK_CLIP_NONE. 1 by default.
    float threshold;
    // Gradients are divided by it first; 1, the default, is none. Norms and limits are those of the quotients.
    float loss_scale;
    // One of EK_NONFINITE_; EK_NONFINITE_SKIP by default.
    ek_nonfinite nonfinite;
    // The sum of squares of the gradients as they are passed, before they are divided by loss_scale, where the caller
    // has it: from ek_linear_backward_weight_f32, or summed over machines. Negative, the default: computed.
    double known_sum_sq;
} ek_clip_options;

// What a step did. Set it with ek_step_report_init before the first step; each step fills it.
typedef struct {
    // sizeof(ek_step_report) in the header that the program was built with.
    size_t struct_size;
    // The L2 norm of all gradients, unscaled, before clipping.
    double grad_norm;
    // What the gradients were multiplied by: 1 if nothing was clipped, and for EK_CLIP_VALUE; the smallest factor of
    // any tensor for EK_CLIP_TENSOR_NORM and EK_CLIP_ADAPTIVE.
    double clip_factor;
    // How many unscaled gradients are NaN or infinite.
    uint64_t nonfinite;
    // Whether the step was skipped and nothing was written.
    bool skipped;
    // The L2 norm of new - old parameters, as stored.
    double update_norm;
    // The L2 norm of the parameters after the step.
    double param_norm;
    // The tensor that holds the first of the NaN or infinite gradients; SIZE_MAX if nonfinite is 0.
    size_t nonfinite_tensor;
    // Its element in that tensor; SIZE_MAX if nonfinite is 0.
    size_t nonfinite_element;
} ek_step_report;

// Options of ek_clip_sgd_f32, _bf16 and _f16. Set it with ek_sgd_options_init, then change fields.
typedef struct {
    // sizeof(ek_sgd_options) in the header that the program was built with.
    size_t struct_size;
    // Learning rate, at least 0. 1e-3 by default.
    double lr;
    // mu, at least 0. 0, the default, is none.
    double momentum;
    // Damps what a gradient adds to the momentum. 0 by default.
    double dampening;
    // lambda of the L2 penalty, at least 0. 0 by default.
    double weight_decay;
    // Needs a momentum, and no dampening. false by default.
    bool nesterov;
    // Momentum starts as the first gradient, undamped, and its old content is not used: PyTorch's first step. Without
    // dampening a momentum of zeros does the same. false by default.
    bool first_step;
    // Whether copies in half the width are rounded by chance rather than to nearest even. false by default.
    bool stochastic;
    // Of stochastic: change it at each step. 0 by default.
    uint64_t seed;
} ek_sgd_options;

// What the state of squared gradients holds, in Adam, RMSprop and Adagrad: one of EK_SECOND_MOMENT_.
typedef int32_t ek_second_moment;

// Options of ek_clip_adam_f32, _bf16 and _f16. Set it with ek_adam_options_init, then change fields.
typedef struct {
    // sizeof(ek_adam_options) in the header that the program was built with.
    size_t struct_size;
    // Learning rate, at least 0. 1e-3 by default.
    double lr;
    // In [0, 1). 0.9 by default.
    double beta1;
    // In [0, 1). 0.999 by default.
    double beta2;
    // At least 0. 1e-8 by default.
    double eps;
    // lambda, at least 0. 0 by default.
    double weight_decay;
    // Whether lambda shrinks the parameters directly (AdamW) instead of entering the gradient. false by default.
    bool decoupled;
    // t, which is 1 at the first update; add 1 for each. 1 by default.
    uint64_t step;
    // One of EK_SECOND_MOMENT_; EK_SECOND_MOMENT_SQUARE by default.
    ek_second_moment second_moment;
    // Whether copies in half the width are rounded by chance rather than to nearest even. false by default.
    bool stochastic;
    // Of stochastic, together with step. 0 by default.
    uint64_t seed;
} ek_adam_options;

// Options of ek_clip_rmsprop_f32. Set it with ek_rmsprop_options_init, then change fields.
typedef struct {
    // sizeof(ek_rmsprop_options) in the header that the program was built with.
    size_t struct_size;
    // Learning rate, at least 0. 0.01 by default.
    double lr;
    // How much of the mean of squares is kept, in [0, 1). 0.99 by default.
    double alpha;
    // At least 0. 1e-8 by default.
    double eps;
    // lambda of the L2 penalty, at least 0. 0 by default.
    double weight_decay;
    // mu, at least 0. 0, the default, is none.
    double momentum;
    // Whether the mean of squares is taken about the mean gradient. false by default.
    bool centered;
    // One of EK_SECOND_MOMENT_: what square_avg holds. EK_SECOND_MOMENT_SQUARE by default.
    ek_second_moment second_moment;
} ek_rmsprop_options;

// Options of ek_clip_adagrad_f32. Set it with ek_adagrad_options_init, then change fields.
typedef struct {
    // sizeof(ek_adagrad_options) in the header that the program was built with.
    size_t struct_size;
    // Learning rate, at least 0. 0.01 by default.
    double lr;
    // At least 0. 0 by default.
    double lr_decay;
    // At least 0. 1e-10 by default.
    double eps;
    // lambda of the L2 penalty, at least 0. 0 by default.
    double weight_decay;
    // t, which is 1 at the first update; add 1 for each. 1 by default.
    uint64_t step;
    // One of EK_SECOND_MOMENT_: what sum holds. EK_SECOND_MOMENT_SQUARE by default.
    ek_second_moment second_moment;
} ek_adagrad_options;

// Options of ek_clip_lion_f32. Set it with ek_lion_options_init, then change fields.
typedef struct {
    // sizeof(ek_lion_options) in the header that the program was built with.
    size_t struct_size;
    // Learning rate, at least 0. 1e-4 by default.
    double lr;
    // In [0, 1). 0.9 by default.
    double beta1;
    // In [0, 1). 0.99 by default.
    double beta2;
    // lambda, which shrinks the parameters directly; at least 0. 0 by default.
    double weight_decay;
} ek_lion_options;

// A loss scale that follows the gradients: the loss is multiplied by it, and gradients are divided by it (the loss_scale of
// ek_clip_options) before a step. Set it with ek_loss_scaler_init, then change fields; ek_loss_scaler_update moves it.
typedef struct {
    // sizeof(ek_loss_scaler) in the header that the program was built with.
    size_t struct_size;
    // The scale. 65536 by default.
    float scale;
    // More than 1. 2 by default.
    float growth_factor;
    // More than 0 and less than 1. 0.5 by default.
    float backoff_factor;
    // Steps without a NaN or infinite gradient after which the scale grows; at least 1. 2000 by default.
    uint32_t growth_interval;
    // Such steps since the scale last changed. 0 by default.
    uint32_t good_steps;
    // The scale never falls below, however many steps fail. 1 by default.
    float min_scale;
    // The scale never grows beyond. 2^24 by default.
    float max_scale;
} ek_loss_scaler;

// The shape of a schedule after its warm-up: one of EK_SCHEDULE_. base and final are base_lr and final_lr, t = step -
// warmup_steps, p = min(1, t / (total_steps - warmup_steps)).
typedef int32_t ek_schedule_kind;

// A learning rate as a function of the step. Set it with ek_schedule_init, then change fields.
typedef struct {
    // sizeof(ek_schedule) in the header that the program was built with.
    size_t struct_size;
    // One of EK_SCHEDULE_; EK_SCHEDULE_CONSTANT by default.
    ek_schedule_kind kind;
    // The rate after the warm-up, at least 0. 1e-3 by default.
    double base_lr;
    // Where EK_SCHEDULE_LINEAR and EK_SCHEDULE_COSINE end, and the floor of the others that decay. At least 0; 0 by default.
    double final_lr;
    // The factor of EK_SCHEDULE_STEP and EK_SCHEDULE_EXPONENTIAL, more than 0 and at most 1. 0.1 by default.
    double decay;
    // Steps in which the rate rises from base_lr / warmup_steps to base_lr. 0 by default.
    uint64_t warmup_steps;
    // All steps, warm-up included: where EK_SCHEDULE_LINEAR and EK_SCHEDULE_COSINE reach final_lr, and stay. 0 by default.
    uint64_t total_steps;
    // Steps that one decay takes, at least 1. 1 by default.
    uint64_t step_size;
} ek_schedule;

// What a tensor holds. Norm, mean, root mean square and magnitudes are those of its finite elements. Set it with
// ek_tensor_stats_init.
typedef struct {
    // sizeof(ek_tensor_stats) in the header that the program was built with.
    size_t struct_size;
    // sqrt(sum x^2).
    double l2;
    // The sum of x divided by the number of finite elements; 0 if there are none.
    double mean;
    // sqrt(sum x^2 / the number of finite elements); 0 if there are none.
    double rms;
    // The largest |x|; 0 if there are none.
    double max_abs;
    // The smallest |x| that is not 0; 0 if there are none.
    double min_abs_nonzero;
    // All elements, finite or not.
    uint64_t count;
    // Elements that are +0 or -0.
    uint64_t zeros;
    // Elements that are not 0 and smaller than the smallest normal number, 1.18e-38.
    uint64_t subnormals;
    // Elements that are NaN.
    uint64_t nans;
    // Elements that are +Inf or -Inf.
    uint64_t infs;
} ek_tensor_stats;

// What the norms of the layers' gradients say: one of EK_FLOW_.
typedef int32_t ek_flow;

// How gradients flow through the layers of a network, or the steps of a sequence. Set it with ek_flow_report_init.
typedef struct {
    // sizeof(ek_flow_report) in the header that the program was built with.
    size_t struct_size;
    // One of EK_FLOW_.
    ek_flow verdict;
    // alpha, the fitted factor of a layer toward the input: ||g|| ~ alpha^n after n layers. 1 if fewer than two norms
    // can be fitted.
    double rate;
    // The largest over the smallest norm, of those that are finite and not 0; 1 if there are none.
    double spread;
    // The layer to look at first. Healthy: the norm farthest from their geometric mean. Vanishing: the smallest.
    // Exploding: the largest. Nonfinite and dead: the one nearest to the output.
    size_t worst_layer;
} ek_flow_report;

// Done.
#define EK_STATUS_OK 0

// A pointer is NULL where a size is not zero.
#define EK_STATUS_NULL_POINTER 1

// A value that the function is not defined for; an enum value that names nothing; a pointer that is not aligned to
// its element.
#define EK_STATUS_INVALID_ARGUMENT 2

// A leading dimension below its row length, or a product of sizes that overflows.
#define EK_STATUS_INVALID_SIZE 3

// An output overlaps another argument where the function does not allow it.
#define EK_STATUS_OVERLAP 4

// Something that this build, machine or function does not do.
#define EK_STATUS_UNSUPPORTED 5

// Workspace could not be allocated.
#define EK_STATUS_OUT_OF_MEMORY 6

// A bug in the library (a caught panic), or a host executor that broke its contract. The one status after which
// outputs may have been written in part.
#define EK_STATUS_INTERNAL 7

// An iteration has not settled within its limit, or never will because of a NaN. The output is written: it holds the best
// estimate.
#define EK_STATUS_NOT_CONVERGED 8

// The environment variable EK_ISA (auto, portable, avx2, avx512, neon or scalar), else the fastest of the machine.
#define EK_ISA_AUTO 0

// The vectors that every machine of the target has.
#define EK_ISA_PORTABLE 1

// AVX2 with FMA and F16C.
#define EK_ISA_AVX2 2

// AVX-512 F, BW, DQ and VL.
#define EK_ISA_AVX512 3

// NEON, on AArch64.
#define EK_ISA_NEON 4

// The specification of every result's bits: one element at a time. Slow; for tests, in builds with the cargo feature
// `scalar` only.
#define EK_ISA_SCALAR 5

// op(X) = X.
#define EK_NO_TRANSPOSE 0

// op(X) = X transposed.
#define EK_TRANSPOSE 1

// phi(z) = z; phi'(z) = 1.
#define EK_ACTIVATION_IDENTITY 0

// phi(z) = max(z, 0); phi'(z) = 1 for z > 0, else 0.
#define EK_ACTIVATION_RELU 1

// phi(z) = z for z > 0, else p*z; phi'(z) = 1 for z > 0, else p.
#define EK_ACTIVATION_LEAKY_RELU 2

// phi(z) = z for z > 0, else p*(exp(z) - 1); phi'(z) = 1 for z > 0, else p*exp(z).
#define EK_ACTIVATION_ELU 3

// phi(z) = l*z for z > 0, else l*a*(exp(z) - 1), l = 1.0507..., a = 1.6732...; phi'(z) = l for z > 0, else l*a*exp(z).
#define EK_ACTIVATION_SELU 4

// phi(z) = z for z > 0, else p*(exp(z/p) - 1), p > 0; phi'(z) = 1 for z > 0, else exp(z/p).
#define EK_ACTIVATION_CELU 5

// phi(z) = z*Phi(z), by erf; phi'(z) = Phi(z) + z*exp(-z*z/2)/sqrt(2*pi).
#define EK_ACTIVATION_GELU 6

// phi(z) = z*sigma(2*u), u = sqrt(2/pi)*(z + 0.044715*z^3); phi'(z) = sigma(2*u) + z*2*u'*sigma(2*u)*sigma(-2*u).
#define EK_ACTIVATION_GELU_TANH 7

// phi(z) = z*sigma(z); phi'(z) = sigma(z)*(1 + z*sigma(-z)).
#define EK_ACTIVATION_SILU 8

// phi(z) = z*t, t = tanh(log(1 + exp(z))); phi'(z) = t + z*(1 - t*t)*sigma(z).
#define EK_ACTIVATION_MISH 9

// phi(z) = sigma(z) = 1/(1 + exp(-z)); phi'(z) = sigma(z)*sigma(-z).
#define EK_ACTIVATION_SIGMOID 10

// phi(z) = tanh(z); phi'(z) = sech(z)^2.
#define EK_ACTIVATION_TANH 11

// phi(z) = log(1 + exp(z)); phi'(z) = sigma(z).
#define EK_ACTIVATION_SOFTPLUS 12

// phi(z) = z/(1 + |z|); phi'(z) = 1/(1 + |z|)^2.
#define EK_ACTIVATION_SOFTSIGN 13

// phi(z) = (z + 3)/6 cut off at 0 and 1; phi'(z) = 1/6 for |z| < 3, else 0.
#define EK_ACTIVATION_HARD_SIGMOID 14

// phi(z) = z*hard_sigmoid(z); phi'(z) = (2*z + 3)/6 for |z| < 3, else 0 or 1.
#define EK_ACTIVATION_HARD_SWISH 15

// phi(z) = z cut off at -1 and 1; phi'(z) = 1 for |z| < 1, else 0.
#define EK_ACTIVATION_HARD_TANH 16

// phi(z) = -log(1 + exp(-z)); phi'(z) = sigma(-z).
#define EK_ACTIVATION_LOG_SIGMOID 17

// Uniform, symmetric around 0.
#define EK_UNIFORM 0

// Normal around 0.
#define EK_NORMAL 1

// Not at all.
#define EK_CLIP_NONE 0

// g * min(1, c / ||g||), with the norm over all tensors.
#define EK_CLIP_GLOBAL_NORM 1

// g * min(1, c / ||g||) of each tensor by itself.
#define EK_CLIP_TENSOR_NORM 2

// Each element limited to [-c, c].
#define EK_CLIP_VALUE 3

// g * min(1, c * max(||w||, 1e-3) / ||g||) of each tensor with its parameters w: adaptive gradient clipping.
#define EK_CLIP_ADAPTIVE 4

// The step is skipped: nothing is written, and the report says so.
#define EK_NONFINITE_SKIP 0

// The step is taken; a NaN or infinite norm makes the clip factor NaN.
#define EK_NONFINITE_PROPAGATE 1

// v, the mean or sum of squares, as PyTorch keeps it: right for gradients from 1e-16 to 1e19. Beyond, a square leaves float,
// and a parameter freezes for good or moves without bounds.
#define EK_SECOND_MOMENT_SQUARE 0

// sqrt(v), updated as a hypotenuse: right for gradients from 1e-38 to 1e38.
#define EK_SECOND_MOMENT_ROOT 1

// base
#define EK_SCHEDULE_CONSTANT 0

// base + (final - base) * p
#define EK_SCHEDULE_LINEAR 1

// final + (base - final) * (1 + cos(pi * p)) / 2
#define EK_SCHEDULE_COSINE 2

// base * sqrt(max(warmup_steps, 1) / (step + 1)), at least final
#define EK_SCHEDULE_INVERSE_SQRT 3

// base * decay^k, at least final, with k = t / step_size rounded down
#define EK_SCHEDULE_STEP 4

// base * decay^(t / step_size), at least final
#define EK_SCHEDULE_EXPONENTIAL 5

// None of the others.
#define EK_FLOW_HEALTHY 0

// Gradients shrink toward the input, by more than 1000 over the depth as fitted.
#define EK_FLOW_VANISHING 1

// Gradients grow toward the input, by more than 1000 over the depth as fitted.
#define EK_FLOW_EXPLODING 2

// A norm is NaN or infinite.
#define EK_FLOW_NONFINITE 3

// A norm is exactly 0 and no decay explains it: a layer that no gradient reaches.
#define EK_FLOW_DEAD 4

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library that runs, as EK_VERSION packs it. A program whose header has another major version
// (or, below 1.0, another minor one) was built for a different library.
EK_API uint32_t ek_version(void);

// The version of the library that runs, as "major.minor.patch". Static; never NULL.
EK_API const char *ek_version_string(void);

// The latest message of an error on this thread, naming function, argument and value, as in
// "ek_matmul_f32: ldb is 3 but rows of b hold n = 5 elements". Empty before the first error; never NULL. A successful
// call leaves it as it is. Valid until this thread's next error.
EK_API const char *ek_last_error(void);

// The name of a status, as in "EK_STATUS_OVERLAP"; "unknown status" for any other number. Static; never NULL.
EK_API const char *ek_status_string(ek_status status);

// Sets the defaults: all CPUs, the fastest instruction set, the library's own threads. NULL is left alone.
EK_API void ek_context_options_init(ek_context_options *options);

// Creates a context, to be destroyed with ek_context_destroy. options may be NULL: the defaults. *out is written
// only on success.
//
// Errors: EK_STATUS_NULL_POINTER where out is NULL; EK_STATUS_UNSUPPORTED for an instruction set that this machine
// lacks; EK_STATUS_INVALID_ARGUMENT for an isa that names none, for num_threads above 4096, for a struct_size that is
// no size or fields that this library does not know, and where EK_ISA or EK_NUM_THREADS is needed and malformed.
EK_API ek_status ek_context_create(const ek_context_options *options, ek_context **out);

// Destroys a context that no call uses any more, and waits for its threads to end. NULL is fine.
EK_API void ek_context_destroy(ek_context *ctx);

// Threads that a call with this context may use, the calling one included. 0 where ctx is NULL and the default
// context cannot be made because EK_ISA or EK_NUM_THREADS is malformed (see ek_last_error).
EK_API size_t ek_context_num_threads(const ek_context *ctx);

// The instruction set that its kernels run on, one of EK_ISA_ and never EK_ISA_AUTO; that only where ctx is NULL and
// the default context cannot be made because EK_ISA or EK_NUM_THREADS is malformed (see ek_last_error).
EK_API ek_isa ek_context_isa(const ek_context *ctx);

// The name of an instruction set, as the environment variable EK_ISA takes it; "unknown" for any other number.
// Static; never NULL.
EK_API const char *ek_isa_name(ek_isa isa);

// C = alpha * op(A) * op(B) + beta * C.
//
// Shapes, row-major: op(A) [m, k], op(B) [k, n], C [m, n]. a is stored [m, k] with lda >= k, or [k, m] with lda >= m
// where trans_a is EK_TRANSPOSE; b is stored [k, n] with ldb >= n, or [n, k] with ldb >= k; ldc >= n. Leading
// dimensions count elements; the last row needs no padding, and elements between rows of c are never touched.
//
// beta = 0 never reads C. NaN and infinity propagate as IEEE 754 says. k = 0 scales C by beta; with m or n = 0
// nothing happens.
//
// NULL: a and b where they have no elements, c where m or n is 0. Aliasing: a and b may overlap; c overlaps neither.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE (a leading dimension below its row length),
// EK_STATUS_INVALID_ARGUMENT (trans_a, trans_b, alignment), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_matmul_f32(const ek_context *ctx,
                        ek_transpose trans_a,
                        ek_transpose trans_b,
                        size_t m,
                        size_t n,
                        size_t k,
                        float alpha,
                        const float *a,
                        size_t lda,
                        const float *b,
                        size_t ldb,
                        float beta,
                        float *c,
                        size_t ldc);

// C = alpha * op(A) * op(B) + beta * C in double: ek_matmul_f32 in every other respect, shapes, NULL, aliasing and errors
// included.
EK_API
ek_status ek_matmul_f64(const ek_context *ctx,
                        ek_transpose trans_a,
                        ek_transpose trans_b,
                        size_t m,
                        size_t n,
                        size_t k,
                        double alpha,
                        const double *a,
                        size_t lda,
                        const double *b,
                        size_t ldb,
                        double beta,
                        double *c,
                        size_t ldc);

// C = alpha * op(A) * op(B) + beta * C with a and b in bf16, computed in float, c in float: the bits of ek_matmul_f32 on
// the same numbers as floats. Shapes, NULL, aliasing and errors are its own too.
EK_API
ek_status ek_matmul_bf16(const ek_context *ctx,
                         ek_transpose trans_a,
                         ek_transpose trans_b,
                         size_t m,
                         size_t n,
                         size_t k,
                         float alpha,
                         const ek_bf16 *a,
                         size_t lda,
                         const ek_bf16 *b,
                         size_t ldb,
                         float beta,
                         float *c,
                         size_t ldc);

// C = alpha * op(A) * op(B) + beta * C with a and b in f16, computed in float, c in float: the bits of ek_matmul_f32 on
// the same numbers as floats. Shapes, NULL, aliasing and errors are its own too.
EK_API
ek_status ek_matmul_f16(const ek_context *ctx,
                        ek_transpose trans_a,
                        ek_transpose trans_b,
                        size_t m,
                        size_t n,
                        size_t k,
                        float alpha,
                        const ek_f16 *a,
                        size_t lda,
                        const ek_f16 *b,
                        size_t ldb,
                        float beta,
                        float *c,
                        size_t ldc);

// `batch` products at once, each as ek_matmul_f32 does it: item i has its A at a + i * stride_a, its B at
// b + i * stride_b, its C at c + i * stride_c.
//
// Shapes of an item: op(A) [m, k], op(B) [k, n], C [m, n], with leading dimensions as in ek_matmul_f32. Strides count
// elements. Items of A, and items of B, may overlap; with stride 0 they are the same. Items of C are disjoint: stride_c is
// at least (m - 1) * ldc + n, unless batch is at most 1. batch = 0 does nothing.
//
// NULL: a and b where they have no elements, c where batch, m or n is 0. Aliasing: a and b may overlap; c overlaps neither.
//
// Errors: as ek_matmul_f32; EK_STATUS_INVALID_SIZE for a stride_c that is too small, too.
EK_API
ek_status ek_matmul_batched_f32(const ek_context *ctx,
                                ek_transpose trans_a,
                                ek_transpose trans_b,
                                size_t batch,
                                size_t m,
                                size_t n,
                                size_t k,
                                float alpha,
                                const float *a,
                                size_t lda,
                                size_t stride_a,
                                const float *b,
                                size_t ldb,
                                size_t stride_b,
                                float beta,
                                float *c,
                                size_t ldc,
                                size_t stride_c);

// y = phi(z), element by element. z, y [n]. Within 1 unit in the last place, subnormal results included.
//
// Aliasing: y may be z.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, alignment, an act_param that
// is not finite, or not positive for EK_ACTIVATION_CELU), EK_STATUS_OVERLAP.
EK_API
ek_status ek_activation_forward_f32(const ek_context *ctx,
                                    ek_activation act,
                                    float act_param,
                                    size_t n,
                                    const float *z,
                                    float *y);

// d = phi'(z), element by element. z, d [n]. Within 1 unit in the last place also where phi saturates, or within 2^-25
// beside a zero of phi'.
//
// Aliasing: d may be z.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, alignment, an act_param that
// is not finite, or not positive for EK_ACTIVATION_CELU), EK_STATUS_OVERLAP.
EK_API
ek_status ek_activation_derivative_f32(const ek_context *ctx,
                                       ek_activation act,
                                       float act_param,
                                       size_t n,
                                       const float *z,
                                       float *d);

// dz = dy * phi'(z), element by element. z, dy, dz [n].
//
// Aliasing: dz may be dy, or z, not both at once.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, alignment, an act_param that
// is not finite, or not positive for EK_ACTIVATION_CELU), EK_STATUS_OVERLAP.
EK_API
ek_status ek_activation_backward_f32(const ek_context *ctx,
                                     ek_activation act,
                                     float act_param,
                                     size_t n,
                                     const float *z,
                                     const float *dy,
                                     float *dz);

// dz = dy * phi'(z) from y = phi(z) alone, element by element. y, dy, dz [n].
//
// For callers that did not keep z. What rounding y has lost is lost: SIGMOID's and TANH's gradients are 0 where y rounds
// to a limit, from z = 16.7 and |z| = 9.1 on. ek_activation_backward_f32 loses nothing.
//
// Aliasing: dz may be dy.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, alignment, an act_param that
// is not finite, or not positive for EK_ACTIVATION_CELU), EK_STATUS_OVERLAP, EK_STATUS_UNSUPPORTED
// where phi' is no function of y: GELU, GELU_TANH, SILU, MISH, HARD_SWISH, and LEAKY_RELU and ELU with a negative
// parameter.
EK_API
ek_status ek_activation_backward_from_output_f32(const ek_context *ctx,
                                                 ek_activation act,
                                                 float act_param,
                                                 size_t n,
                                                 const float *y,
                                                 const float *dy,
                                                 float *dz);

// y = phi(z), element by element.
//
// As ek_activation_forward_f32 with tensors in bf16: arithmetic in float, one rounding at the store. z, y [n].
//
// Aliasing: y may be z.
//
// Errors: those of ek_activation_forward_f32.
EK_API
ek_status ek_activation_forward_bf16(const ek_context *ctx,
                                     ek_activation act,
                                     float act_param,
                                     size_t n,
                                     const ek_bf16 *z,
                                     ek_bf16 *y);

// d = phi'(z), element by element.
//
// As ek_activation_derivative_f32 with tensors in bf16: arithmetic in float, one rounding at the store. z, d [n].
//
// Aliasing: d may be z.
//
// Errors: those of ek_activation_derivative_f32.
EK_API
ek_status ek_activation_derivative_bf16(const ek_context *ctx,
                                        ek_activation act,
                                        float act_param,
                                        size_t n,
                                        const ek_bf16 *z,
                                        ek_bf16 *d);

// dz = dy * phi'(z), element by element.
//
// As ek_activation_backward_f32 with tensors in bf16: arithmetic in float, one rounding at the store. z, dy, dz [n].
//
// Aliasing: dz may be dy, or z, not both at once.
//
// Errors: those of ek_activation_backward_f32.
EK_API
ek_status ek_activation_backward_bf16(const ek_context *ctx,
                                      ek_activation act,
                                      float act_param,
                                      size_t n,
                                      const ek_bf16 *z,
                                      const ek_bf16 *dy,
                                      ek_bf16 *dz);

// dz = dy * phi'(z) from y = phi(z) alone, element by element; what rounding y has lost is lost.
//
// As ek_activation_backward_from_output_f32 with tensors in bf16: arithmetic in float, one rounding at the store. y, dy, dz [n].
//
// Aliasing: dz may be dy.
//
// Errors: those of ek_activation_backward_from_output_f32.
EK_API
ek_status ek_activation_backward_from_output_bf16(const ek_context *ctx,
                                                  ek_activation act,
                                                  float act_param,
                                                  size_t n,
                                                  const ek_bf16 *y,
                                                  const ek_bf16 *dy,
                                                  ek_bf16 *dz);

// y = phi(z), element by element.
//
// As ek_activation_forward_f32 with tensors in f16: arithmetic in float, one rounding at the store. z, y [n].
//
// Aliasing: y may be z.
//
// Errors: those of ek_activation_forward_f32.
EK_API
ek_status ek_activation_forward_f16(const ek_context *ctx,
                                    ek_activation act,
                                    float act_param,
                                    size_t n,
                                    const ek_f16 *z,
                                    ek_f16 *y);

// d = phi'(z), element by element.
//
// As ek_activation_derivative_f32 with tensors in f16: arithmetic in float, one rounding at the store. z, d [n].
//
// Aliasing: d may be z.
//
// Errors: those of ek_activation_derivative_f32.
EK_API
ek_status ek_activation_derivative_f16(const ek_context *ctx,
                                       ek_activation act,
                                       float act_param,
                                       size_t n,
                                       const ek_f16 *z,
                                       ek_f16 *d);

// dz = dy * phi'(z), element by element.
//
// As ek_activation_backward_f32 with tensors in f16: arithmetic in float, one rounding at the store. z, dy, dz [n].
//
// Aliasing: dz may be dy, or z, not both at once.
//
// Errors: those of ek_activation_backward_f32.
EK_API
ek_status ek_activation_backward_f16(const ek_context *ctx,
                                     ek_activation act,
                                     float act_param,
                                     size_t n,
                                     const ek_f16 *z,
                                     const ek_f16 *dy,
                                     ek_f16 *dz);

// dz = dy * phi'(z) from y = phi(z) alone, element by element; what rounding y has lost is lost.
//
// As ek_activation_backward_from_output_f32 with tensors in f16: arithmetic in float, one rounding at the store. y, dy, dz [n].
//
// Aliasing: dz may be dy.
//
// Errors: those of ek_activation_backward_from_output_f32.
EK_API
ek_status ek_activation_backward_from_output_f16(const ek_context *ctx,
                                                 ek_activation act,
                                                 float act_param,
                                                 size_t n,
                                                 const ek_f16 *y,
                                                 const ek_f16 *dy,
                                                 ek_f16 *dz);

// y = scale * fx + x, element by element, one fused multiply-add: the residual connection. fx, x, y [n].
//
// Aliasing: y may be fx or x, or all three one tensor.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_residual_add_f32(const ek_context *ctx,
                              size_t n,
                              float scale,
                              const float *fx,
                              const float *x,
                              float *y);

// y = scale * fx + x, element by element, one fused multiply-add: the residual connection. fx, x, y [n].
//
// As ek_residual_add_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
//
// Aliasing: y may be fx or x, or all three one tensor.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_residual_add_bf16(const ek_context *ctx,
                               size_t n,
                               float scale,
                               const ek_bf16 *fx,
                               const ek_bf16 *x,
                               ek_bf16 *y);

// y = scale * fx + x, element by element, one fused multiply-add: the residual connection. fx, x, y [n].
//
// As ek_residual_add_f32 with tensors in f16: arithmetic in float, one rounding at the store.
//
// Aliasing: y may be fx or x, or all three one tensor.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_residual_add_f16(const ek_context *ctx,
                              size_t n,
                              float scale,
                              const ek_f16 *fx,
                              const ek_f16 *x,
                              ek_f16 *y);

// y = sigma(gate_z) * h + sigma(-gate_z) * x, element by element: a highway connection, whose gate lets through what the
// layer makes of x (h) or carries x itself. All tensors [n].
//
// The carry is never 1 - sigma, so that it is true where the gate is wide open. Aliasing: y overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_highway_forward_f32(const ek_context *ctx,
                                 size_t n,
                                 const float *gate_z,
                                 const float *h,
                                 const float *x,
                                 float *y);

// The gradients of ek_highway_forward_f32, with s = sigma(gate_z) and c = sigma(-gate_z): dgate_z = dy * (h - x) * s * c,
// dh = dy * s, dx = dy * c. All tensors [n].
//
// dx is the carried part only: what comes back through the layer is to be added. Aliasing: outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_highway_backward_f32(const ek_context *ctx,
                                  size_t n,
                                  const float *gate_z,
                                  const float *h,
                                  const float *x,
                                  const float *dy,
                                  float *dgate_z,
                                  float *dh,
                                  float *dx);

// z = x * W^T + bias; y = phi(z).
//
// Shapes: x [batch, in_features], w [out_features, in_features], bias [out_features], z and y [batch, out_features].
// act is one of EK_ACTIVATION_, act_param as there. Give z where a backward pass follows: derivatives are taken from
// it. The sum is that of ek_matmul_f32; then the bias is added.
//
// NULL: bias (none), z (not kept). Aliasing: inputs may overlap each other; z and y overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, act_param, alignment),
// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_linear_forward_f32(const ek_context *ctx,
                                ek_activation act,
                                float act_param,
                                size_t batch,
                                size_t in_features,
                                size_t out_features,
                                const float *x,
                                const float *w,
                                const float *bias,
                                float *z,
                                float *y);

// dx = (dz * W) . phi'(z_prev), element by element: the gradient that reaches the layer below.
//
// Shapes: dz [batch, out_features], w [out_features, in_features], z_prev and dx [batch, in_features]. z_prev holds the
// pre-activations of the layer below; act (one of EK_ACTIVATION_) and act_param are that layer's. Where z_prev is
// NULL, dx = dz * W, and act_param is ignored.
//
// NULL: z_prev. Aliasing: inputs may overlap each other; dx overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, act_param, alignment),
// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_linear_backward_input_f32(const ek_context *ctx,
                                       ek_activation act,
                                       float act_param,
                                       size_t batch,
                                       size_t in_features,
                                       size_t out_features,
                                       const float *dz,
                                       const float *w,
                                       const float *z_prev,
                                       float *dx);

// dw = dz^T * x; dbias = the sum of dz over the batch; *sum_sq = the sum of dw^2 and dbias^2 as stored.
//
// Shapes: dz [batch, out_features], x [batch, in_features], dw [out_features, in_features], dbias [out_features]. With
// accumulate the gradients are added to what dw and dbias hold, else they replace it. sum_sq is collected while the
// gradients are in cache: added up over the layers it is known_sum_sq of ek_clip_options.
//
// NULL: dbias, sum_sq (not wanted). Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_linear_backward_weight_f32(const ek_context *ctx,
                                        size_t batch,
                                        size_t in_features,
                                        size_t out_features,
                                        const float *dz,
                                        const float *x,
                                        bool accumulate,
                                        float *dw,
                                        float *dbias,
                                        double *sum_sq);

// y = exp(x - max) / sum exp(x - max) along each row. x, y [rows, cols].
//
// Entries of -Inf get probability 0, and a row of -Inf alone gives zeros; NaN or +Inf in a row makes it NaN.
//
// Aliasing: inputs may overlap each other; y overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API ek_status ek_softmax_forward_f32(const ek_context *ctx, size_t rows, size_t cols, const float *x, float *y);

// y = x - max - log(sum exp(x - max)) along each row. x, y [rows, cols].
//
// The largest entry keeps its digits when its probability rounds to 1. Entries of -Inf stay -Inf; NaN or +Inf in a row
// makes it NaN.
//
// Aliasing: inputs may overlap each other; y overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API ek_status ek_log_softmax_forward_f32(const ek_context *ctx, size_t rows, size_t cols, const float *x, float *y);

// dx = y * (dy - sum y*dy) along each row. y (the forward result), dy, dx [rows, cols].
//
// An offset common to a row's dy costs no digits.
//
// Aliasing: inputs may overlap each other; dx overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_softmax_backward_f32(const ek_context *ctx,
                                  size_t rows,
                                  size_t cols,
                                  const float *y,
                                  const float *dy,
                                  float *dx);

// dx = dy - exp(y) * sum dy along each row. y (the forward result), dy, dx [rows, cols].
//
// Aliasing: inputs may overlap each other; dx overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_log_softmax_backward_f32(const ek_context *ctx,
                                      size_t rows,
                                      size_t cols,
                                      const float *y,
                                      const float *dy,
                                      float *dx);

// y = exp(x - max) / sum exp(x - max) along each row. x, y [rows, cols].
//
// As ek_softmax_forward_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
//
// Aliasing: inputs may overlap each other; y overlaps nothing.
//
// Errors: those of ek_softmax_forward_f32.
EK_API ek_status ek_softmax_forward_bf16(const ek_context *ctx, size_t rows, size_t cols, const ek_bf16 *x, ek_bf16 *y);

// dx = y * (dy - sum y*dy) along each row. y, dy, dx [rows, cols].
//
// As ek_softmax_backward_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
//
// Aliasing: inputs may overlap each other; dx overlaps nothing.
//
// Errors: those of ek_softmax_backward_f32.
EK_API
ek_status ek_softmax_backward_bf16(const ek_context *ctx,
                                   size_t rows,
                                   size_t cols,
                                   const ek_bf16 *y,
                                   const ek_bf16 *dy,
                                   ek_bf16 *dx);

// y = x - max - log(sum exp(x - max)) along each row. x, y [rows, cols].
//
// As ek_log_softmax_forward_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
//
// Aliasing: inputs may overlap each other; y overlaps nothing.
//
// Errors: those of ek_log_softmax_forward_f32.
EK_API
ek_status ek_log_softmax_forward_bf16(const ek_context *ctx,
                                      size_t rows,
                                      size_t cols,
                                      const ek_bf16 *x,
                                      ek_bf16 *y);

// dx = dy - exp(y) * sum dy along each row. y, dy, dx [rows, cols].
//
// As ek_log_softmax_backward_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
//
// Aliasing: inputs may overlap each other; dx overlaps nothing.
//
// Errors: those of ek_log_softmax_backward_f32.
EK_API
ek_status ek_log_softmax_backward_bf16(const ek_context *ctx,
                                       size_t rows,
                                       size_t cols,
                                       const ek_bf16 *y,
                                       const ek_bf16 *dy,
                                       ek_bf16 *dx);

// y = exp(x - max) / sum exp(x - max) along each row. x, y [rows, cols].
//
// As ek_softmax_forward_f32 with tensors in f16: arithmetic in float, one rounding at the store.
//
// Aliasing: inputs may overlap each other; y overlaps nothing.
//
// Errors: those of ek_softmax_forward_f32.
EK_API ek_status ek_softmax_forward_f16(const ek_context *ctx, size_t rows, size_t cols, const ek_f16 *x, ek_f16 *y);

// dx = y * (dy - sum y*dy) along each row. y, dy, dx [rows, cols].
//
// As ek_softmax_backward_f32 with tensors in f16: arithmetic in float, one rounding at the store.
//
// Aliasing: inputs may overlap each other; dx overlaps nothing.
//
// Errors: those of ek_softmax_backward_f32.
EK_API
ek_status ek_softmax_backward_f16(const ek_context *ctx,
                                  size_t rows,
                                  size_t cols,
                                  const ek_f16 *y,
                                  const ek_f16 *dy,
                                  ek_f16 *dx);

// y = x - max - log(sum exp(x - max)) along each row. x, y [rows, cols].
//
// As ek_log_softmax_forward_f32 with tensors in f16: arithmetic in float, one rounding at the store.
//
// Aliasing: inputs may overlap each other; y overlaps nothing.
//
// Errors: those of ek_log_softmax_forward_f32.
EK_API
ek_status ek_log_softmax_forward_f16(const ek_context *ctx,
                                     size_t rows,
                                     size_t cols,
                                     const ek_f16 *x,
                                     ek_f16 *y);

// dx = dy - exp(y) * sum dy along each row. y, dy, dx [rows, cols].
//
// As ek_log_softmax_backward_f32 with tensors in f16: arithmetic in float, one rounding at the store.
//
// Aliasing: inputs may overlap each other; dx overlaps nothing.
//
// Errors: those of ek_log_softmax_backward_f32.
EK_API
ek_status ek_log_softmax_backward_f16(const ek_context *ctx,
                                      size_t rows,
                                      size_t cols,
                                      const ek_f16 *y,
                                      const ek_f16 *dy,
                                      ek_f16 *dx);

// Layer norm along rows: y = xhat*gamma + beta, xhat = (x - mean)*rstd, rstd = 1/sqrt(variance + eps).
//
// x, y [rows, cols]; gamma (NULL: 1), beta (NULL: 0) [cols]; mean, rstd [rows], for the backward pass, may be NULL. The
// variance is divided by cols. Neither offset nor scale of a row costs accuracy. A constant row gives beta. NaN or an
// infinity makes its row NaN and no other.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_layer_norm_forward_f32(const ek_context *ctx,
                                    float eps,
                                    size_t rows,
                                    size_t cols,
                                    const float *x,
                                    const float *gamma,
                                    const float *beta,
                                    float *y,
                                    float *mean,
                                    float *rstd);

// Layer norm's gradients: with g = dy*gamma, dx = rstd*(g - avg(g) - xhat*avg(g*xhat)), averages along the row;
// dgamma = sum dy*xhat and dbeta = sum dy down the rows.
//
// dy, x, dx [rows, cols]; mean, rstd [rows] as saved; gamma (NULL: 1), dgamma, dbeta [cols], which are overwritten, or
// added to if accumulate. dx, dgamma and dbeta may be NULL each.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_layer_norm_backward_f32(const ek_context *ctx,
                                     size_t rows,
                                     size_t cols,
                                     const float *dy,
                                     const float *x,
                                     const float *mean,
                                     const float *rstd,
                                     const float *gamma,
                                     bool accumulate,
                                     float *dx,
                                     float *dgamma,
                                     float *dbeta);

// sum = x + residual, y = layer norm of sum.
//
// x, residual, sum, y [rows, cols]; gamma (NULL: 1), beta (NULL: 0) [cols]; mean, rstd [rows], may be NULL. sum is
// rounded to its storage before it is normalized; the backward pass takes it.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_add_layer_norm_forward_f32(const ek_context *ctx,
                                        float eps,
                                        size_t rows,
                                        size_t cols,
                                        const float *x,
                                        const float *residual,
                                        const float *gamma,
                                        const float *beta,
                                        float *sum,
                                        float *y,
                                        float *mean,
                                        float *rstd);

// Gradients of a layer norm of a sum: dx = layer norm's by dy, plus dsum: the gradient of x and of residual alike.
//
// dy, dsum (NULL: 0), sum, dx [rows, cols]; mean, rstd [rows] as saved; gamma (NULL: 1), dgamma, dbeta [cols], which are
// overwritten, or added to if accumulate. dgamma and dbeta may be NULL.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_add_layer_norm_backward_f32(const ek_context *ctx,
                                         size_t rows,
                                         size_t cols,
                                         const float *dy,
                                         const float *dsum,
                                         const float *sum,
                                         const float *mean,
                                         const float *rstd,
                                         const float *gamma,
                                         bool accumulate,
                                         float *dx,
                                         float *dgamma,
                                         float *dbeta);

// RMS norm along rows: y = x*rstd*gamma, rstd = 1/sqrt(avg(x^2) + eps).
//
// x, y [rows, cols]; gamma (NULL: 1) [cols]; rstd [rows], for the backward pass, may be NULL.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_rms_norm_forward_f32(const ek_context *ctx,
                                  float eps,
                                  size_t rows,
                                  size_t cols,
                                  const float *x,
                                  const float *gamma,
                                  float *y,
                                  float *rstd);

// RMS norm's gradients: with xhat = x*rstd and g = dy*gamma, dx = rstd*(g - xhat*avg(g*xhat)), averages along the row;
// dgamma = sum dy*xhat down the rows.
//
// dy, x, dx [rows, cols]; rstd [rows] as saved; gamma (NULL: 1), dgamma [cols], which is overwritten, or added to if
// accumulate. dx and dgamma may be NULL each.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_rms_norm_backward_f32(const ek_context *ctx,
                                   size_t rows,
                                   size_t cols,
                                   const float *dy,
                                   const float *x,
                                   const float *rstd,
                                   const float *gamma,
                                   bool accumulate,
                                   float *dx,
                                   float *dgamma);

// Group norm: y = xhat*gamma + beta, mean and variance of each sample's groups of channels.
//
// x, y [batch, channels, spatial]; gamma (NULL: 1), beta (NULL: 0) [channels]; mean, rstd [batch, groups], may be NULL.
// groups divides channels.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment, groups that do not divide channels), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_group_norm_forward_f32(const ek_context *ctx,
                                    float eps,
                                    size_t batch,
                                    size_t channels,
                                    size_t spatial,
                                    size_t groups,
                                    const float *x,
                                    const float *gamma,
                                    const float *beta,
                                    float *y,
                                    float *mean,
                                    float *rstd);

// Group norm's gradients: layer norm's along each sample's groups; dgamma and dbeta over batch and spatial.
//
// dy, x, dx [batch, channels, spatial]; mean, rstd [batch, groups] as saved; gamma (NULL: 1), dgamma, dbeta [channels],
// which are overwritten, or added to if accumulate. dx, dgamma and dbeta may be NULL each.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, groups that do not divide channels), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_group_norm_backward_f32(const ek_context *ctx,
                                     size_t batch,
                                     size_t channels,
                                     size_t spatial,
                                     size_t groups,
                                     const float *dy,
                                     const float *x,
                                     const float *mean,
                                     const float *rstd,
                                     const float *gamma,
                                     bool accumulate,
                                     float *dx,
                                     float *dgamma,
                                     float *dbeta);

// Batch norm in training: y = xhat*gamma + beta, mean and variance of each channel over batch and spatial.
//
// x, y [batch, channels, spatial]; all others [channels]. spatial = 1 serves [N, C] and channels-last data. gamma (NULL:
// 1), beta (NULL: 0), running_mean and running_var may be NULL: running = (1 - momentum)*running + momentum*(batch
// value), running_var from the variance divided by n - 1; it is an error where a channel has one value only. mean and
// rstd are for the backward pass.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, momentum not finite, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_batch_norm_forward_train_f32(const ek_context *ctx,
                                          float eps,
                                          float momentum,
                                          size_t batch,
                                          size_t channels,
                                          size_t spatial,
                                          const float *x,
                                          const float *gamma,
                                          const float *beta,
                                          float *running_mean,
                                          float *running_var,
                                          float *y,
                                          float *mean,
                                          float *rstd);

// Batch norm with given statistics: y = (x - running_mean)*gamma/sqrt(running_var + eps) + beta.
//
// x, y [batch, channels, spatial]; gamma (NULL: 1), beta (NULL: 0), running_mean, running_var [channels].
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_batch_norm_forward_infer_f32(const ek_context *ctx,
                                          float eps,
                                          size_t batch,
                                          size_t channels,
                                          size_t spatial,
                                          const float *x,
                                          const float *gamma,
                                          const float *beta,
                                          const float *running_mean,
                                          const float *running_var,
                                          float *y);

// Batch norm's gradients in training: dbeta = sum dy and dgamma = sum dy*xhat over batch and spatial,
// dx = gamma*rstd*(dy - dbeta/n - xhat*dgamma/n), n the values of a channel.
//
// dy, x, dx [batch, channels, spatial]; mean, rstd as saved, gamma (NULL: 1), dgamma, dbeta [channels], which are
// overwritten, or added to if accumulate. dx, dgamma and dbeta may be NULL each.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_batch_norm_backward_f32(const ek_context *ctx,
                                     size_t batch,
                                     size_t channels,
                                     size_t spatial,
                                     const float *dy,
                                     const float *x,
                                     const float *mean,
                                     const float *rstd,
                                     const float *gamma,
                                     bool accumulate,
                                     float *dx,
                                     float *dgamma,
                                     float *dbeta);

// As ek_layer_norm_forward_f32 with tensors and parameters in bf16: arithmetic in float, one rounding at the store. mean,
// rstd and parameter gradients are float.
EK_API
ek_status ek_layer_norm_forward_bf16(const ek_context *ctx,
                                     float eps,
                                     size_t rows,
                                     size_t cols,
                                     const ek_bf16 *x,
                                     const ek_bf16 *gamma,
                                     const ek_bf16 *beta,
                                     ek_bf16 *y,
                                     float *mean,
                                     float *rstd);

// As ek_layer_norm_backward_f32 with tensors and parameters in bf16: arithmetic in float, one rounding at the store. mean,
// rstd and parameter gradients are float.
EK_API
ek_status ek_layer_norm_backward_bf16(const ek_context *ctx,
                                      size_t rows,
                                      size_t cols,
                                      const ek_bf16 *dy,
                                      const ek_bf16 *x,
                                      const float *mean,
                                      const float *rstd,
                                      const ek_bf16 *gamma,
                                      bool accumulate,
                                      ek_bf16 *dx,
                                      float *dgamma,
                                      float *dbeta);

// As ek_add_layer_norm_forward_f32 with tensors and parameters in bf16: arithmetic in float, one rounding at the store. mean,
// rstd and parameter gradients are float.
EK_API
ek_status ek_add_layer_norm_forward_bf16(const ek_context *ctx,
                                         float eps,
                                         size_t rows,
                                         size_t cols,
                                         const ek_bf16 *x,
                                         const ek_bf16 *residual,
                                         const ek_bf16 *gamma,
                                         const ek_bf16 *beta,
                                         ek_bf16 *sum,
                                         ek_bf16 *y,
                                         float *mean,
                                         float *rstd);

// As ek_add_layer_norm_backward_f32 with tensors and parameters in bf16: arithmetic in float, one rounding at the store. mean,
// rstd and parameter gradients are float.
EK_API
ek_status ek_add_layer_norm_backward_bf16(const ek_context *ctx,
                                          size_t rows,
                                          size_t cols,
                                          const ek_bf16 *dy,
                                          const ek_bf16 *dsum,
                                          const ek_bf16 *sum,
                                          const float *mean,
                                          const float *rstd,
                                          const ek_bf16 *gamma,
                                          bool accumulate,
                                          ek_bf16 *dx,
                                          float *dgamma,
                                          float *dbeta);

// As ek_rms_norm_forward_f32 with tensors and gamma in bf16: arithmetic in float, one rounding at the store. rstd and
// dgamma are float.
EK_API
ek_status ek_rms_norm_forward_bf16(const ek_context *ctx,
                                   float eps,
                                   size_t rows,
                                   size_t cols,
                                   const ek_bf16 *x,
                                   const ek_bf16 *gamma,
                                   ek_bf16 *y,
                                   float *rstd);

// As ek_rms_norm_backward_f32 with tensors and gamma in bf16: arithmetic in float, one rounding at the store. rstd and
// dgamma are float.
EK_API
ek_status ek_rms_norm_backward_bf16(const ek_context *ctx,
                                    size_t rows,
                                    size_t cols,
                                    const ek_bf16 *dy,
                                    const ek_bf16 *x,
                                    const float *rstd,
                                    const ek_bf16 *gamma,
                                    bool accumulate,
                                    ek_bf16 *dx,
                                    float *dgamma);

// As ek_layer_norm_forward_f32 with tensors and parameters in f16: arithmetic in float, one rounding at the store. mean,
// rstd and parameter gradients are float.
EK_API
ek_status ek_layer_norm_forward_f16(const ek_context *ctx,
                                    float eps,
                                    size_t rows,
                                    size_t cols,
                                    const ek_f16 *x,
                                    const ek_f16 *gamma,
                                    const ek_f16 *beta,
                                    ek_f16 *y,
                                    float *mean,
                                    float *rstd);

// As ek_layer_norm_backward_f32 with tensors and parameters in f16: arithmetic in float, one rounding at the store. mean,
// rstd and parameter gradients are float.
EK_API
ek_status ek_layer_norm_backward_f16(const ek_context *ctx,
                                     size_t rows,
                                     size_t cols,
                                     const ek_f16 *dy,
                                     const ek_f16 *x,
                                     const float *mean,
                                     const float *rstd,
                                     const ek_f16 *gamma,
                                     bool accumulate,
                                     ek_f16 *dx,
                                     float *dgamma,
                                     float *dbeta);

// As ek_add_layer_norm_forward_f32 with tensors and parameters in f16: arithmetic in float, one rounding at the store. mean,
// rstd and parameter gradients are float.
EK_API
ek_status ek_add_layer_norm_forward_f16(const ek_context *ctx,
                                        float eps,
                                        size_t rows,
                                        size_t cols,
                                        const ek_f16 *x,
                                        const ek_f16 *residual,
                                        const ek_f16 *gamma,
                                        const ek_f16 *beta,
                                        ek_f16 *sum,
                                        ek_f16 *y,
                                        float *mean,
                                        float *rstd);

// As ek_add_layer_norm_backward_f32 with tensors and parameters in f16: arithmetic in float, one rounding at the store. mean,
// rstd and parameter gradients are float.
EK_API
ek_status ek_add_layer_norm_backward_f16(const ek_context *ctx,
                                         size_t rows,
                                         size_t cols,
                                         const ek_f16 *dy,
                                         const ek_f16 *dsum,
                                         const ek_f16 *sum,
                                         const float *mean,
                                         const float *rstd,
                                         const ek_f16 *gamma,
                                         bool accumulate,
                                         ek_f16 *dx,
                                         float *dgamma,
                                         float *dbeta);

// As ek_rms_norm_forward_f32 with tensors and gamma in f16: arithmetic in float, one rounding at the store. rstd and
// dgamma are float.
EK_API
ek_status ek_rms_norm_forward_f16(const ek_context *ctx,
                                  float eps,
                                  size_t rows,
                                  size_t cols,
                                  const ek_f16 *x,
                                  const ek_f16 *gamma,
                                  ek_f16 *y,
                                  float *rstd);

// As ek_rms_norm_backward_f32 with tensors and gamma in f16: arithmetic in float, one rounding at the store. rstd and
// dgamma are float.
EK_API
ek_status ek_rms_norm_backward_f16(const ek_context *ctx,
                                   size_t rows,
                                   size_t cols,
                                   const ek_f16 *dy,
                                   const ek_f16 *x,
                                   const float *rstd,
                                   const ek_f16 *gamma,
                                   bool accumulate,
                                   ek_f16 *dx,
                                   float *dgamma);

// One step of an LSTM from its pre-activations: c = s(f) * c_prev + s(i) * tanh(g), h = s(o) * tanh(c), s the logistic
// function. z [batch, 4 * hidden] in the order i, f, g, o; c_prev, c, h [batch, hidden].
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_lstm_cell_forward_f32(const ek_context *ctx,
                                   size_t batch,
                                   size_t hidden,
                                   const float *z,
                                   const float *c_prev,
                                   float *c,
                                   float *h);

// Back through ek_lstm_cell_forward_f32: from dh and dc, the gradients of h and c, to dz [batch, 4 * hidden] and dc_prev.
// dh, dc, dc_prev [batch, hidden]; z, c_prev, c as there. Derivatives come from z and c, and are true where gates saturate.
//
// NULL: dc (zeros). Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_lstm_cell_backward_f32(const ek_context *ctx,
                                    size_t batch,
                                    size_t hidden,
                                    const float *z,
                                    const float *c_prev,
                                    const float *c,
                                    const float *dh,
                                    const float *dc,
                                    float *dz,
                                    float *dc_prev);

// One step of a GRU from its pre-activations: r = s(zx_r + zh_r), z = zx_z + zh_z, n = tanh(zx_n + r * zh_n),
// h = s(-z) * n + s(z) * h_prev, s the logistic function. zx, zh [batch, 3 * hidden] in the order r, z, n: what input and
// state contribute, each with its bias; h_prev, h [batch, hidden].
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_gru_cell_forward_f32(const ek_context *ctx,
                                  size_t batch,
                                  size_t hidden,
                                  const float *zx,
                                  const float *zh,
                                  const float *h_prev,
                                  float *h);

// Back through ek_gru_cell_forward_f32: from dh, the gradient of h, to dzx and dzh [batch, 3 * hidden] and to
// dh_prev = dh * s(z) [batch, hidden], to which the caller adds what dzh passes on through its weights.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_gru_cell_backward_f32(const ek_context *ctx,
                                   size_t batch,
                                   size_t hidden,
                                   const float *zx,
                                   const float *zh,
                                   const float *h_prev,
                                   const float *dh,
                                   float *dzx,
                                   float *dzh,
                                   float *dh_prev);

// h_t = phi(w_ih * x_t + w_hh * h_(t-1) + bias): a recurrent network over whole sequences.
//
// Shapes: x [seq, batch, input], lengths [batch], w_ih [hidden, input], w_hh [hidden, hidden], bias [hidden],
// h0 [batch, hidden], h and z [seq, batch, hidden]. act is one of EK_ACTIVATION_, act_param as there. z are the
// pre-activations, which backward needs.
//
// From step lengths[row] (at most seq) on a row's state stays as it was, so that h[seq - 1] holds every row's last state;
// its pre-activations there are stored as zeros.
//
// NULL: lengths (all seq), bias (none), h0 (zeros). Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, act_param, lengths, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_rnn_forward_f32(const ek_context *ctx,
                             ek_activation act,
                             float act_param,
                             size_t seq,
                             size_t batch,
                             size_t input,
                             size_t hidden,
                             const float *x,
                             const size_t *lengths,
                             const float *w_ih,
                             const float *w_hh,
                             const float *bias,
                             const float *h0,
                             float *h,
                             float *z);

// Back through ek_rnn_forward_f32, through all of time.
//
// dh [seq, batch, hidden] is the gradient of every h, dh_last [batch, hidden] what is added to it for the last state.
// dx, dw_ih, dw_hh, dbias are shaped as what they are gradients of, dh0 as h0. step_norms[t] receives the Euclidean norm
// of the gradient of h_t over the whole batch: how it vanishes or explodes on its way back. What passes below or above
// the range of float on that way comes out right after it.
//
// With accumulate the gradients of weights and biases are added to what is there. From step lengths[row] on what arrives,
// dh there included, goes on to the step before as it is; dx is zero, and x there is read by no sum.
//
// NULL: lengths (all seq), h0 (zeros), dh, dh_last (zeros), and dx, dbias, dh0, step_norms (not wanted). Aliasing:
// inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, act_param, lengths, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_rnn_backward_f32(const ek_context *ctx,
                              ek_activation act,
                              float act_param,
                              size_t seq,
                              size_t batch,
                              size_t input,
                              size_t hidden,
                              const float *x,
                              const size_t *lengths,
                              const float *w_ih,
                              const float *w_hh,
                              const float *h0,
                              const float *h,
                              const float *z,
                              const float *dh,
                              const float *dh_last,
                              bool accumulate,
                              float *dx,
                              float *dw_ih,
                              float *dw_hh,
                              float *dbias,
                              float *dh0,
                              double *step_norms);

// An LSTM over whole sequences: z_t = w_ih * x_t + w_hh * h_(t-1) + bias, then as ek_lstm_cell_forward_f32.
//
// Shapes: x [seq, batch, input], lengths [batch], w_ih [4 * hidden, input], w_hh [4 * hidden, hidden], bias [4 * hidden],
// h0 and c0 [batch, hidden], h and c [seq, batch, hidden], z [seq, batch, 4 * hidden]. Gates stand in the order i, f, g, o:
// PyTorch's weights load as they are, its two biases summed. h, c and z are what backward needs.
//
// From step lengths[row] (at most seq) on a row's state stays as it was, so that h[seq - 1] holds every row's last state;
// its pre-activations there are stored as zeros.
//
// NULL: lengths (all seq), bias (none), h0, c0 (zeros). Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (lengths, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_lstm_forward_f32(const ek_context *ctx,
                              size_t seq,
                              size_t batch,
                              size_t input,
                              size_t hidden,
                              const float *x,
                              const size_t *lengths,
                              const float *w_ih,
                              const float *w_hh,
                              const float *bias,
                              const float *h0,
                              const float *c0,
                              float *h,
                              float *c,
                              float *z);

// Back through ek_lstm_forward_f32, through all of time.
//
// dh [seq, batch, hidden] is the gradient of every h, dh_last and dc_last [batch, hidden] what is added to it for the last states.
// dx, dw_ih, dw_hh, dbias are shaped as what they are gradients of, dh0 and dc0 as h0. step_norms[t] receives the Euclidean norm
// of the gradient of h_t over the whole batch: how it vanishes or explodes on its way back. What passes below or above
// the range of float on that way comes out right after it.
//
// With accumulate the gradients of weights and biases are added to what is there. From step lengths[row] on what arrives,
// dh there included, goes on to the step before as it is; dx is zero, and x there is read by no sum.
//
// NULL: lengths (all seq), h0, c0 (zeros), dh, dh_last, dc_last (zeros), and dx, dbias, dh0, dc0, step_norms (not wanted). Aliasing:
// inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (lengths, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_lstm_backward_f32(const ek_context *ctx,
                               size_t seq,
                               size_t batch,
                               size_t input,
                               size_t hidden,
                               const float *x,
                               const size_t *lengths,
                               const float *w_ih,
                               const float *w_hh,
                               const float *h0,
                               const float *c0,
                               const float *h,
                               const float *c,
                               const float *z,
                               const float *dh,
                               const float *dh_last,
                               const float *dc_last,
                               bool accumulate,
                               float *dx,
                               float *dw_ih,
                               float *dw_hh,
                               float *dbias,
                               float *dh0,
                               float *dc0,
                               double *step_norms);

// A GRU over whole sequences: zx_t = w_ih * x_t + bias_ih, zh_t = w_hh * h_(t-1) + bias_hh, then as
// ek_gru_cell_forward_f32.
//
// Shapes: x [seq, batch, input], lengths [batch], w_ih [3 * hidden, input], w_hh [3 * hidden, hidden], bias_ih and bias_hh
// [3 * hidden], h0 [batch, hidden], h [seq, batch, hidden], zx and zh [seq, batch, 3 * hidden]. Gates stand in the order
// r, z, n: PyTorch's weights and biases load as they are. h, zx and zh are what backward needs.
//
// From step lengths[row] (at most seq) on a row's state stays as it was, so that h[seq - 1] holds every row's last state;
// its pre-activations there are stored as zeros.
//
// NULL: lengths (all seq), bias_ih, bias_hh (none), h0 (zeros). Aliasing: inputs may overlap each other; outputs overlap
// nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (lengths, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_gru_forward_f32(const ek_context *ctx,
                             size_t seq,
                             size_t batch,
                             size_t input,
                             size_t hidden,
                             const float *x,
                             const size_t *lengths,
                             const float *w_ih,
                             const float *w_hh,
                             const float *bias_ih,
                             const float *bias_hh,
                             const float *h0,
                             float *h,
                             float *zx,
                             float *zh);

// Back through ek_gru_forward_f32, through all of time.
//
// dh [seq, batch, hidden] is the gradient of every h, dh_last [batch, hidden] what is added to it for the last state.
// dx, dw_ih, dw_hh, dbias_ih, dbias_hh are shaped as what they are gradients of, dh0 as h0. step_norms[t] receives the Euclidean norm
// of the gradient of h_t over the whole batch: how it vanishes or explodes on its way back. What passes below or above
// the range of float on that way comes out right after it.
//
// With accumulate the gradients of weights and biases are added to what is there. From step lengths[row] on what arrives,
// dh there included, goes on to the step before as it is; dx is zero, and x there is read by no sum.
//
// NULL: lengths (all seq), h0 (zeros), dh, dh_last (zeros), and dx, dbias_ih, dbias_hh, dh0, step_norms (not wanted). Aliasing:
// inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (lengths, alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_gru_backward_f32(const ek_context *ctx,
                              size_t seq,
                              size_t batch,
                              size_t input,
                              size_t hidden,
                              const float *x,
                              const size_t *lengths,
                              const float *w_ih,
                              const float *w_hh,
                              const float *h0,
                              const float *h,
                              const float *zx,
                              const float *zh,
                              const float *dh,
                              const float *dh_last,
                              bool accumulate,
                              float *dx,
                              float *dw_ih,
                              float *dw_hh,
                              float *dbias_ih,
                              float *dbias_hh,
                              float *dh0,
                              double *step_norms);

// Cross-entropy of softmax(logits) with class indices, and its gradient.
//
// With e = label_smoothing in [0, 1], p = softmax(logits), q_j = (1 - e) * [j = target] + e / classes: losses = -sum
// q_j * log(p_j); *mean_loss = the sum of losses / N over the N rows whose target is not ignore_index (0 where there
// are none); dlogits = grad_scale * (p - q) / N. Ignored rows have loss and gradient 0.
//
// Shapes: logits, dlogits [rows, classes]; targets, losses [rows]. Loss and gradient keep their digits where the
// target's probability rounds to 1.
//
// NULL: losses, mean_loss, dlogits (not wanted). Aliasing: dlogits may be logits.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, a target outside
// [0, classes) that is not ignore_index, label_smoothing outside [0, 1], a grad_scale that is not finite),
// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_cross_entropy_f32(const ek_context *ctx,
                               float label_smoothing,
                               int64_t ignore_index,
                               float grad_scale,
                               size_t rows,
                               size_t classes,
                               const float *logits,
                               const int64_t *targets,
                               float *losses,
                               double *mean_loss,
                               float *dlogits);

// *mean_loss = (1/n) * sum (prediction - target)^2; dprediction = grad_scale * 2 * (prediction - target) / n.
//
// Without elements the mean is 0. No f32 input overflows or underflows the sum.
//
// All [n]. NULL: mean_loss, dprediction (not wanted). Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, a grad_scale that is not
// finite), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_mse_f32(const ek_context *ctx,
                     float grad_scale,
                     size_t n,
                     const float *prediction,
                     const float *target,
                     double *mean_loss,
                     float *dprediction);

// Binary cross-entropy of sigma(logits) with targets t in [0, 1]: *mean_loss = -(1/n) * sum (t * log(sigma(x)) + (1 - t)
// * log(sigma(-x))); dlogits = grad_scale * (sigma(x) - t) / n.
//
// Without elements the mean is 0. Gradients keep their digits where sigma rounds to its target. Targets outside [0, 1]
// are not refused.
//
// All [n]. NULL: mean_loss, dlogits (not wanted). Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, a grad_scale that is not
// finite), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_bce_with_logits_f32(const ek_context *ctx,
                                 float grad_scale,
                                 size_t n,
                                 const float *logits,
                                 const float *target,
                                 double *mean_loss,
                                 float *dlogits);

// out = softmax(scale * Q * K^T) * V for each head, and lse = log sum exp of each row of logits.
//
// q, out [batch, heads, seq_q, head_dim]; k, v [batch, kv_heads, seq_k, head_dim]; lse [batch, heads, seq_q]. kv_heads
// divides heads, and head h uses keys and values of head h / (heads / kv_heads). head_dim is at most 256.
//
// causal: query i sees keys j <= i + seq_k - seq_q, so that the last query sees all keys (the lower right alignment);
// where the lengths are equal, the lower triangle. A query that sees nothing has out = 0 and lse = -Inf. Keys that a
// query does not see have no influence on it, whatever they hold.
//
// No [seq_q, seq_k] matrix is ever in memory: workspace does not grow with the lengths.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_ARGUMENT (kv_heads, alignment), EK_STATUS_INVALID_SIZE,
// EK_STATUS_UNSUPPORTED (head_dim), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_attention_forward_f32(const ek_context *ctx,
                                   float scale,
                                   bool causal,
                                   size_t batch,
                                   size_t heads,
                                   size_t kv_heads,
                                   size_t seq_q,
                                   size_t seq_k,
                                   size_t head_dim,
                                   const float *q,
                                   const float *k,
                                   const float *v,
                                   float *out,
                                   float *lse);

// The gradients of ek_attention_forward_f32: with P = exp(scale * Q * K^T - lse), delta = sum dout*out of each row and
// dS = P * (dout * V^T - delta): dq = scale * dS * K, dk = scale * dS^T * Q, dv = P^T * dout.
//
// dout, dq as q; dk, dv as k; out and lse are what the forward pass returned for the same arguments. Heads that share
// keys and values add up. dq, dk, dv are overwritten.
//
// Workspace is linear in seq_q and seq_k.
//
// Aliasing: inputs may overlap each other; outputs overlap nothing.
//
// Errors: those of ek_attention_forward_f32.
EK_API
ek_status ek_attention_backward_f32(const ek_context *ctx,
                                    float scale,
                                    bool causal,
                                    size_t batch,
                                    size_t heads,
                                    size_t kv_heads,
                                    size_t seq_q,
                                    size_t seq_k,
                                    size_t head_dim,
                                    const float *q,
                                    const float *k,
                                    const float *v,
                                    const float *out,
                                    const float *lse,
                                    const float *dout,
                                    float *dq,
                                    float *dk,
                                    float *dv);

// Fills w [n] with uniform numbers in [low, high).
//
// Element i depends on (seed, stream, i) alone: give each tensor of a model its own stream under one seed.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless low <= high and
// both are finite).
EK_API
ek_status ek_init_uniform_f32(const ek_context *ctx,
                              uint64_t seed,
                              uint64_t stream,
                              float low,
                              float high,
                              size_t n,
                              float *w);

// Fills w [n] with normal numbers of the given mean and standard deviation.
//
// Element i depends on (seed, stream, i) alone: give each tensor of a model its own stream under one seed.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless both are
// finite and std >= 0).
EK_API
ek_status ek_init_normal_f32(const ek_context *ctx,
                             uint64_t seed,
                             uint64_t stream,
                             float mean,
                             float std,
                             size_t n,
                             float *w);

// Xavier (Glorot) initialization of w [n]: mean 0, variance gain^2 * 2 / (fan_in + fan_out); right for tanh.
//
// EK_UNIFORM: in [-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)). EK_NORMAL: std = gain * sqrt(2 / (fan_in +
// fan_out)). n need not be fan_in * fan_out. Element i depends on (seed, stream, i) alone.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, distribution, unless
// gain is finite and >= 0 and both fans are positive).
EK_API
ek_status ek_init_xavier_f32(const ek_context *ctx,
                             uint64_t seed,
                             uint64_t stream,
                             ek_distribution distribution,
                             float gain,
                             size_t fan_in,
                             size_t fan_out,
                             size_t n,
                             float *w);

// He (Kaiming) initialization of w [n]: mean 0, variance 2 / ((1 + negative_slope^2) * fan_in); right for ReLU (slope
// 0) and leaky ReLU.
//
// EK_UNIFORM: in [-a, a) with a = sqrt(3) * std. EK_NORMAL: that std. Element i depends on (seed, stream, i) alone.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, distribution, unless
// negative_slope is finite and fan_in positive).
EK_API
ek_status ek_init_he_f32(const ek_context *ctx,
                         uint64_t seed,
                         uint64_t stream,
                         ek_distribution distribution,
                         float negative_slope,
                         size_t fan_in,
                         size_t n,
                         float *w);

// Fills w [rows, cols] with gain * Q, Q uniform over the matrices whose shorter side's vectors are orthonormal: Q^T Q = I
// for rows >= cols, else Q Q^T = I.
//
// The same bits for any number of threads; unlike in the other tensors, every element depends on all of (seed, stream).
// Computed in double and rounded once. Workspace: 8 bytes for each element, which the calling thread keeps.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, gain unless finite),
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_init_orthogonal_f32(const ek_context *ctx,
                                 uint64_t seed,
                                 uint64_t stream,
                                 float gain,
                                 size_t rows,
                                 size_t cols,
                                 float *w);

// Sets the defaults: no clipping, no loss scale, steps with a NaN or infinite gradient are skipped. NULL is left alone.
EK_API void ek_clip_options_init(ek_clip_options *options);

// Sets struct_size, and the rest as of a step that did nothing. NULL is left alone.
EK_API void ek_step_report_init(ek_step_report *report);

// Sets the defaults: plain descent with a learning rate of 1e-3. NULL is left alone.
EK_API void ek_sgd_options_init(ek_sgd_options *options);

// Sets the defaults: PyTorch's Adam at its first step. NULL is left alone.
EK_API void ek_adam_options_init(ek_adam_options *options);

// Sets the defaults, which are PyTorch's. NULL is left alone.
EK_API void ek_rmsprop_options_init(ek_rmsprop_options *options);

// Sets the defaults: PyTorch's Adagrad at its first step. NULL is left alone.
EK_API void ek_adagrad_options_init(ek_adagrad_options *options);

// Sets the defaults. NULL is left alone.
EK_API void ek_lion_options_init(ek_lion_options *options);

// *norm = sqrt(sum g^2) over all elements of all tensors; tensor_norms[i] = the same over tensor i.
//
// grads holds count pointers, to tensors of sizes[i] elements each; tensor_norms [count]. Sums are f64: finite gradients
// of any size have a finite norm, non-zero unless all are zero. A NaN or infinite element makes its norms so. *norm is the
// same however the same elements are split into tensors.
//
// NULL: tensor_norms (not wanted); tensors of size 0. Aliasing: gradients may overlap each other; outputs overlap
// nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_grad_norm_f32(const ek_context *ctx,
                           size_t count,
                           const size_t *sizes,
                           const float *const *grads,
                           double *tensor_norms,
                           double *norm);

// g := g * min(1, max_norm / ||g||) in place, with the norm over all tensors; *norm = ||g|| before.
//
// grads holds count pointers, to tensors of sizes[i] elements each. Nothing is added to the norm, and gradients under
// the limit keep their bits. Where the norm is NaN or infinite nothing is clipped: *norm tells.
//
// NULL: norm (not wanted); tensors of size 0. Aliasing: tensors and norm overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless max_norm > 0),
// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_clip_by_norm_f32(const ek_context *ctx,
                              float max_norm,
                              size_t count,
                              const size_t *sizes,
                              float *const *grads,
                              double *norm);

// g := min(max(g, -limit), limit) in place. g [n]; a NaN stays a NaN.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless limit > 0).
EK_API ek_status ek_clip_by_value_f32(const ek_context *ctx, float limit, size_t n, float *g);

// g := g / loss_scale in place; *nonfinite = how many quotients are NaN or infinite. g [n].
//
// Aliasing: g and nonfinite do not overlap.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless loss_scale is
// finite and positive), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API ek_status ek_unscale_f32(const ek_context *ctx, float loss_scale, size_t n, float *g, uint64_t *nonfinite);

// Clips the gradients and descends, with optional momentum.
//
// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: g := g + lambda*w; b := mu*b + (1 -
// dampening)*g; g := b, or g + mu*b with nesterov; w := w - lr*g.
//
// params, grads and momentum hold count pointers, to tensors of sizes[i] elements each. momentum is b, zeros at the
// start; with mu = 0 it is neither needed nor touched. Gradients are not written.
//
// NULL: momentum where mu is 0; report (not wanted; saves the norms of update and parameters); tensors of size 0.
// Aliasing: gradients may overlap each other; params, momentum and report overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range, mu > 0
// without momentum, alignment, struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_clip_sgd_f32(const ek_context *ctx,
                          const ek_clip_options *clip,
                          const ek_sgd_options *sgd,
                          size_t count,
                          const size_t *sizes,
                          float *const *params,
                          const float *const *grads,
                          float *const *momentum,
                          ek_step_report *report);

// ek_clip_sgd_f32 on gradients in bf16.
//
// params are the float parameters that training keeps; params_bf16 [count], if given, receives the new ones rounded, in the
// same pass: to nearest even, or by chance (sgd->stochastic). momentum is float.
//
// NULL: also params_bf16 (not wanted). Aliasing: params_bf16 overlaps nothing either. Errors: as there.
EK_API
ek_status ek_clip_sgd_bf16(const ek_context *ctx,
                           const ek_clip_options *clip,
                           const ek_sgd_options *sgd,
                           size_t count,
                           const size_t *sizes,
                           float *const *params,
                           const ek_bf16 *const *grads,
                           float *const *momentum,
                           ek_bf16 *const *params_bf16,
                           ek_step_report *report);

// ek_clip_sgd_bf16 in f16.
EK_API
ek_status ek_clip_sgd_f16(const ek_context *ctx,
                          const ek_clip_options *clip,
                          const ek_sgd_options *sgd,
                          size_t count,
                          const size_t *sizes,
                          float *const *params,
                          const ek_f16 *const *grads,
                          float *const *momentum,
                          ek_f16 *const *params_f16,
                          ek_step_report *report);

// Clips the gradients and makes a step of Adam, or of AdamW with decoupled.
//
// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: w := w - lr*lambda*w if decoupled, else g :=
// g + lambda*w; m := beta1*m + (1 - beta1)*g; v := beta2*v + (1 - beta2)*g^2; w := w - lr * (m / (1 - beta1^step)) /
// (sqrt(v / (1 - beta2^step)) + eps). Where that denominator is 0 the parameter stays. See adam->second_moment for gradients
// beyond 1e-16 to 1e19.
//
// params, grads, m and v hold count pointers, to tensors of sizes[i] elements each; m and v are zeros at the start.
// Gradients are not written.
//
// NULL: report (not wanted; saves the norms of update and parameters); tensors of size 0. Aliasing: gradients may
// overlap each other; params, m, v and report overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range,
// alignment, struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_clip_adam_f32(const ek_context *ctx,
                           const ek_clip_options *clip,
                           const ek_adam_options *adam,
                           size_t count,
                           const size_t *sizes,
                           float *const *params,
                           const float *const *grads,
                           float *const *m,
                           float *const *v,
                           ek_step_report *report);

// ek_clip_adam_f32 on gradients in bf16.
//
// params are the float parameters that training keeps; params_bf16 [count], if given, receives the new ones rounded, in the
// same pass: to nearest even, or by chance (adam->stochastic). m and v are float.
//
// NULL: also params_bf16 (not wanted). Aliasing: params_bf16 overlaps nothing either. Errors: as there.
EK_API
ek_status ek_clip_adam_bf16(const ek_context *ctx,
                            const ek_clip_options *clip,
                            const ek_adam_options *adam,
                            size_t count,
                            const size_t *sizes,
                            float *const *params,
                            const ek_bf16 *const *grads,
                            float *const *m,
                            float *const *v,
                            ek_bf16 *const *params_bf16,
                            ek_step_report *report);

// ek_clip_adam_bf16 in f16.
EK_API
ek_status ek_clip_adam_f16(const ek_context *ctx,
                           const ek_clip_options *clip,
                           const ek_adam_options *adam,
                           size_t count,
                           const size_t *sizes,
                           float *const *params,
                           const ek_f16 *const *grads,
                           float *const *m,
                           float *const *v,
                           ek_f16 *const *params_f16,
                           ek_step_report *report);

// Clips the gradients and makes a step of RMSprop.
//
// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: g := g + lambda*w; s := alpha*s + (1 - alpha)*g^2;
// d := sqrt(s) + eps, or with centered a := alpha*a + (1 - alpha)*g and d := sqrt(s - a^2) + eps; w := w - lr*g/d, or with a
// momentum b := mu*b + g/d and w := w - lr*b. Where d is 0, g/d counts as 0.
//
// All lists hold count pointers, to tensors of sizes[i] elements each. States are zeros at the start: square_avg is s (its
// root with EK_SECOND_MOMENT_ROOT), momentum is b, grad_avg is a. Gradients are not written.
//
// NULL: momentum where mu is 0, grad_avg unless centered (then not touched); report (not wanted; saves the norms of update and
// parameters); tensors of size 0. Aliasing: gradients may overlap each other; all else overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range, a state that is
// missing, alignment,
// struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_clip_rmsprop_f32(const ek_context *ctx,
                              const ek_clip_options *clip,
                              const ek_rmsprop_options *rmsprop,
                              size_t count,
                              const size_t *sizes,
                              float *const *params,
                              const float *const *grads,
                              float *const *square_avg,
                              float *const *momentum,
                              float *const *grad_avg,
                              ek_step_report *report);

// Clips the gradients and makes a step of Adagrad.
//
// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: g := g + lambda*w; s := s + g^2; w := w - lr / (1 +
// (step - 1)*lr_decay) * g / (sqrt(s) + eps). Where that denominator is 0 the parameter stays.
//
// params, grads and sum hold count pointers, to tensors of sizes[i] elements each; sum is s (its root with
// EK_SECOND_MOMENT_ROOT), zeros or a positive number at the start. Gradients are not written.
//
// NULL: report (not wanted; saves the norms of update and parameters); tensors of size 0. Aliasing: gradients may overlap each
// other; all else overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range, alignment,
// struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_clip_adagrad_f32(const ek_context *ctx,
                              const ek_clip_options *clip,
                              const ek_adagrad_options *adagrad,
                              size_t count,
                              const size_t *sizes,
                              float *const *params,
                              const float *const *grads,
                              float *const *sum,
                              ek_step_report *report);

// Clips the gradients and makes a step of Lion.
//
// g := g * factor / loss_scale (see ek_clip_options), then w := w - lr*lambda*w; w := w - lr*sign(beta1*m + (1 - beta1)*g);
// m := beta2*m + (1 - beta2)*g. sign(0) = 0, sign(NaN) = NaN.
//
// params, grads and m hold count pointers, to tensors of sizes[i] elements each; m is zeros at the start. Gradients are not
// written.
//
// NULL: report (not wanted; saves the norms of update and parameters); tensors of size 0. Aliasing: gradients may overlap each
// other; all else overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range, alignment,
// struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_clip_lion_f32(const ek_context *ctx,
                           const ek_clip_options *clip,
                           const ek_lion_options *lion,
                           size_t count,
                           const size_t *sizes,
                           float *const *params,
                           const float *const *grads,
                           float *const *m,
                           ek_step_report *report);

// Sets the defaults. NULL is left alone.
EK_API void ek_loss_scaler_init(ek_loss_scaler *scaler);

// Updates the scale after a step that met a NaN or infinite gradient, or did not.
//
// After a bad one: scale := max(scale * backoff_factor, min_scale), and counting starts anew. After growth_interval good ones in a
// row: scale := min(scale * growth_factor, max_scale). found_nonfinite is ek_step_report's skipped, or whether ek_unscale_f32
// counted any.
//
// Errors, the scaler then being as it was: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_ARGUMENT (a field out of its range,
// alignment, struct_size).
EK_API
ek_status ek_loss_scaler_update(ek_loss_scaler *scaler,
                                bool found_nonfinite);

// Sets the defaults: a constant rate of 1e-3. NULL is left alone.
EK_API void ek_schedule_init(ek_schedule *schedule);

// *lr = the learning rate of a step, the first of which is 0. While step < warmup_steps: base_lr * (step + 1) / warmup_steps. After
// it: the formula of the kind.
//
// Aliasing: lr does not overlap schedule.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_ARGUMENT (a field out of its range, total_steps <= warmup_steps where p is
// needed, alignment, struct_size), EK_STATUS_OVERLAP.
EK_API
ek_status ek_schedule_lr(const ek_schedule *schedule,
                         uint64_t step,
                         double *lr);

// y = x in bf16, to nearest even. x, y [n].
//
// Beyond the largest bf16, 3.39e38, by half a step or more, y is infinite; subnormal numbers are converted as such. A NaN stays
// a NaN with its sign and the upper part of its payload, and becomes quiet. Aliasing: none.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_convert_f32_to_bf16(const ek_context *ctx,
                                 size_t n,
                                 const float *x,
                                 ek_bf16 *y);

// y = x in float, exactly. x, y [n]. Aliasing: none.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API ek_status ek_convert_bf16_to_f32(const ek_context *ctx, size_t n, const ek_bf16 *x, float *y);

// y = x in f16, to nearest even. x, y [n].
//
// From 65520 on y is infinite, and at 2^-25 and below it is 0: see ek_loss_scaler. Subnormal numbers are converted as such. A NaN
// stays a NaN with its sign and the upper part of its payload, and becomes quiet. Aliasing: none.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_convert_f32_to_f16(const ek_context *ctx,
                                size_t n,
                                const float *x,
                                ek_f16 *y);

// y = x in float, exactly; a signalling NaN becomes quiet. x, y [n]. Aliasing: none.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API ek_status ek_convert_f16_to_f32(const ek_context *ctx, size_t n, const ek_f16 *x, float *y);

// y = x in bf16, up or down by chance: the mean over all seeds is x. x, y [n].
//
// Between its neighbours a < x < b, y = b with probability (x - a) / (b - a). A bf16 stays itself, a NaN a NaN; beyond the largest
// bf16 lies infinity in place of 2^128. Element i depends on (seed, i) and x[i] alone. Aliasing: none.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_convert_f32_to_bf16_stochastic(const ek_context *ctx,
                                            uint64_t seed,
                                            size_t n,
                                            const float *x,
                                            ek_bf16 *y);

// ek_convert_f32_to_bf16_stochastic in f16: beyond 65504 lies infinity in place of 65536, and among subnormal halves
// probabilities are multiples of 2^-16.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
EK_API
ek_status ek_convert_f32_to_f16_stochastic(const ek_context *ctx,
                                           uint64_t seed,
                                           size_t n,
                                           const float *x,
                                           ek_f16 *y);

// Sets struct_size, and the rest to 0. NULL is left alone.
EK_API void ek_tensor_stats_init(ek_tensor_stats *stats);

// Norm, mean, extremes and kinds of the elements of x [n], in one pass. Sums are f64.
//
// out must have its struct_size: see ek_tensor_stats_init. Aliasing: out does not overlap x.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, struct_size),
// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API ek_status ek_tensor_stats_f32(const ek_context *ctx, size_t n, const float *x, ek_tensor_stats *out);

// Sets struct_size, and the rest as for no layers. NULL is left alone.
EK_API void ek_flow_report_init(ek_flow_report *report);

// Judges the norms of the layers' gradients, ordered from input to output: fits log ||g|| = log C + n * log(alpha), n
// the layers below the output, by least squares over the norms that are finite and not 0.
//
// grad_norms [layers]: those of ek_grad_norm_f32 serve. out must have its struct_size: see ek_flow_report_init.
// Aliasing: out does not overlap grad_norms.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (a negative norm, alignment,
// struct_size), EK_STATUS_OVERLAP.
EK_API ek_status ek_gradient_flow(size_t layers, const double *grad_norms, ek_flow_report *out);

// The spectral norm ||W||_2 of w [rows, cols], rows ldw apart: its largest singular value.
//
// Lanczos' iteration from a fixed start, in double, one pass over w for each step. It has converged when the last third of
// the iterations added no more than tolerance / 2, relative to sigma. max_iterations 0 stands for 4096, the limit of what
// is made. No rows or no columns: 0.
//
// Errors: EK_STATUS_NOT_CONVERGED (sigma is then the best lower bound, or NaN where w holds a NaN or an infinity; more
// iterations or a larger tolerance help), EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT
// (alignment, tolerance unless finite and >= 0), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_spectral_norm_f32(const ek_context *ctx,
                               size_t rows,
                               size_t cols,
                               const float *w,
                               size_t ldw,
                               size_t max_iterations,
                               double tolerance,
                               double *sigma);

// The spectral radius max |lambda| of w [n, n], rows ldw apart: over time the gradient of a recurrence with these weights
// vanishes below 1 and explodes above.
//
// Norms of repeated squares, rescaled, in double: right for complex pairs, Jordan blocks and matrices that are not normal.
// It has converged when the bound ||W^N||^(1/N) and an estimate that knows no constant agree within 5e-5, which takes 14 to
// 22 squarings; the estimate is usually far closer. max_squarings 0 stands for 48, the limit of what is made. n = 0: 0.
// Workspace: 16 n^2 bytes, which the calling thread keeps.
//
// Errors: EK_STATUS_NOT_CONVERGED (rho is then the best estimate, or NaN where w holds a NaN or an infinity),
// EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_spectral_radius_f32(const ek_context *ctx,
                                 size_t n,
                                 const float *w,
                                 size_t ldw,
                                 size_t max_squarings,
                                 double *rho);

// ||W D||_2 with D = diag(phi'(z_prev)): the norm of the Jacobian that takes the gradient back through one layer,
// delta_prev = D W^T delta.
//
// w [out_features, in_features]; z_prev [in_features], the pre-activations of the layer below; act one of EK_ACTIVATION_
// with its act_param. Iterations, tolerance and sigma as in ek_spectral_norm_f32.
//
// Errors: as ek_spectral_norm_f32, and EK_STATUS_INVALID_ARGUMENT for act and act_param.
EK_API
ek_status ek_jacobian_norm_f32(const ek_context *ctx,
                               ek_activation act,
                               float act_param,
                               size_t out_features,
                               size_t in_features,
                               const float *w,
                               const float *z_prev,
                               size_t max_iterations,
                               double tolerance,
                               double *sigma);

// Mean, deviation, minimum and maximum of each column of x [rows, cols]. mean, std, min, max [cols]; std, min, max may be
// NULL.
//
// std = sqrt(sum (x - mean)^2 / n), of the population. Sums are double, about a value of the column: an offset of 1e8 costs
// nothing, and a constant column has its value as mean and 0 as std, exactly. NaN entries are missing values and enter
// nothing: ek_column_stats_counted_f32 says how many there are. A column of nothing else has NaN for everything; infinite
// entries are values. No rows or no columns: nothing is written. Aliasing: outputs overlap nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
// EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_column_stats_f32(const ek_context *ctx,
                              size_t rows,
                              size_t cols,
                              const float *x,
                              double *mean,
                              double *std,
                              float *min,
                              float *max);

// ek_column_stats_f32, and in nans [cols] how many entries of each column are NaN.
//
// Errors: as there.
EK_API
ek_status ek_column_stats_counted_f32(const ek_context *ctx,
                                      size_t rows,
                                      size_t cols,
                                      const float *x,
                                      double *mean,
                                      double *std,
                                      float *min,
                                      float *max,
                                      uint64_t *nans);

// y = (x - mean) / (std + eps), column by column: features of mean 0 and deviation 1. x, y [rows, cols]; mean, std [cols],
// those of ek_column_stats_f32 or of other data.
//
// Where std + eps is 0 it counts as 1, so that a constant column becomes 0. NaN stays NaN. Computed in double, rounded
// once. Aliasing: y may be x.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, eps unless finite and
// >= 0), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_standardize_f32(const ek_context *ctx,
                             size_t rows,
                             size_t cols,
                             const double *mean,
                             const double *std,
                             float eps,
                             const float *x,
                             float *y);

// y = low + (x - min) * (high - low) / (max - min), column by column: features in [low, high]. x, y [rows, cols]; min, max
// [cols], those of ek_column_stats_f32 or of other data, beyond which y is beyond [low, high].
//
// Where max is min their difference counts as 1, so that a constant column becomes low. NaN stays NaN. Computed in double,
// rounded once. Aliasing: y overlaps nothing.
//
// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless low <= high and
// both are finite), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
EK_API
ek_status ek_rescale_f32(const ek_context *ctx,
                         size_t rows,
                         size_t cols,
                         const float *min,
                         const float *max,
                         float low,
                         float high,
                         const float *x,
                         float *y);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EVENKEEL_H */
