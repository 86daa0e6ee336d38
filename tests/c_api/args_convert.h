/* Conversions, for the table of args.c. */

static ek_status convert_f32_to_bf16(const arguments *a)
{
    return ek_convert_f32_to_bf16(NULL, a->n[0], F(0), H(1));
}
static ek_status convert_bf16_to_f32(const arguments *a)
{
    return ek_convert_bf16_to_f32(NULL, a->n[0], H(0), F(1));
}
static ek_status convert_f32_to_f16(const arguments *a)
{
    return ek_convert_f32_to_f16(NULL, a->n[0], F(0), H(1));
}
static ek_status convert_f16_to_f32(const arguments *a)
{
    return ek_convert_f16_to_f32(NULL, a->n[0], H(0), F(1));
}
static ek_status convert_f32_to_bf16_stochastic(const arguments *a)
{
    return ek_convert_f32_to_bf16_stochastic(NULL, 1, a->n[0], F(0), H(1));
}
static ek_status convert_f32_to_f16_stochastic(const arguments *a)
{
    return ek_convert_f32_to_f16_stochastic(NULL, 1, a->n[0], F(0), H(1));
}

#define CONVERT_FUNCTIONS                                                                                             \
    {"ek_convert_f32_to_bf16", convert_f32_to_bf16, 0, 1, {{"x", "if", 0}, {"y", "oh", 0}}},                          \
    {"ek_convert_bf16_to_f32", convert_bf16_to_f32, 0, 1, {{"x", "ih", 0}, {"y", "of", 0}}},                          \
    {"ek_convert_f32_to_f16", convert_f32_to_f16, 0, 1, {{"x", "if", 0}, {"y", "oh", 0}}},                            \
    {"ek_convert_f16_to_f32", convert_f16_to_f32, 0, 1, {{"x", "ih", 0}, {"y", "of", 0}}},                            \
    {"ek_convert_f32_to_bf16_stochastic", convert_f32_to_bf16_stochastic, 0, 1, {{"x", "if", 0}, {"y", "oh", 0}}},    \
    {"ek_convert_f32_to_f16_stochastic", convert_f32_to_f16_stochastic, 0, 1, {{"x", "if", 0}, {"y", "oh", 0}}},
