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

// The specification of every result's bits: one element at a time. Slow; for tests.
#define EK_ISA_SCALAR 5

// op(X) = X.
#define EK_NO_TRANSPOSE 0

// op(X) = X transposed.
#define EK_TRANSPOSE 1

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

// Destroys a context that no call uses any more, and ends its threads. NULL is fine.
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

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* EVENKEEL_H */
