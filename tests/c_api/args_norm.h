/* Norms in the table of args.c. */
static ek_status layer_norm_forward_f32(const arguments *a)
{
    return ek_layer_norm_forward_f32(NULL, 1e-5f, a->n[0], a->n[1], F(0), F(1), F(2), F(3), F(4), F(5));
}
static ek_status layer_norm_backward_f32(const arguments *a)
{
    return ek_layer_norm_backward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2), F(3), F(4), true, F(5), F(6), F(7));
}
static ek_status add_layer_norm_forward_f32(const arguments *a)
{
    return ek_add_layer_norm_forward_f32(NULL, 1e-5f, a->n[0], a->n[1], F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7));
}
static ek_status add_layer_norm_backward_f32(const arguments *a)
{
    return ek_add_layer_norm_backward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2), F(3), F(4), F(5), true, F(6), F(7), F(8));
}
static ek_status rms_norm_forward_f32(const arguments *a)
{
    return ek_rms_norm_forward_f32(NULL, 1e-5f, a->n[0], a->n[1], F(0), F(1), F(2), F(3));
}
static ek_status rms_norm_backward_f32(const arguments *a)
{
    return ek_rms_norm_backward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2), F(3), true, F(4), F(5));
}
static ek_status group_norm_forward_f32(const arguments *a)
{
    return ek_group_norm_forward_f32(NULL, 1e-5f, a->n[0], a->n[1], a->n[2], 2, F(0), F(1), F(2), F(3), F(4), F(5));
}
static ek_status group_norm_backward_f32(const arguments *a)
{
    return ek_group_norm_backward_f32(NULL, a->n[0], a->n[1], a->n[2], 2, F(0), F(1), F(2), F(3), F(4), true, F(5), F(6), F(7));
}
static ek_status batch_norm_forward_train_f32(const arguments *a)
{
    return ek_batch_norm_forward_train_f32(NULL, 1e-5f, 0.1f, a->n[0], a->n[1], a->n[2], F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7));
}
static ek_status batch_norm_forward_infer_f32(const arguments *a)
{
    return ek_batch_norm_forward_infer_f32(NULL, 1e-5f, a->n[0], a->n[1], a->n[2], F(0), F(1), F(2), F(3), F(4), F(5));
}
static ek_status batch_norm_backward_f32(const arguments *a)
{
    return ek_batch_norm_backward_f32(NULL, a->n[0], a->n[1], a->n[2], F(0), F(1), F(2), F(3), F(4), true, F(5), F(6), F(7));
}
static ek_status layer_norm_forward_bf16(const arguments *a)
{
    return ek_layer_norm_forward_bf16(NULL, 1e-5f, a->n[0], a->n[1], H(0), H(1), H(2), H(3), F(4), F(5));
}
static ek_status layer_norm_backward_bf16(const arguments *a)
{
    return ek_layer_norm_backward_bf16(NULL, a->n[0], a->n[1], H(0), H(1), F(2), F(3), H(4), true, H(5), F(6), F(7));
}
static ek_status add_layer_norm_forward_bf16(const arguments *a)
{
    return ek_add_layer_norm_forward_bf16(NULL, 1e-5f, a->n[0], a->n[1], H(0), H(1), H(2), H(3), H(4), H(5), F(6), F(7));
}
static ek_status add_layer_norm_backward_bf16(const arguments *a)
{
    return ek_add_layer_norm_backward_bf16(NULL, a->n[0], a->n[1], H(0), H(1), H(2), F(3), F(4), H(5), true, H(6), F(7), F(8));
}
static ek_status rms_norm_forward_bf16(const arguments *a)
{
    return ek_rms_norm_forward_bf16(NULL, 1e-5f, a->n[0], a->n[1], H(0), H(1), H(2), F(3));
}
static ek_status rms_norm_backward_bf16(const arguments *a)
{
    return ek_rms_norm_backward_bf16(NULL, a->n[0], a->n[1], H(0), H(1), F(2), H(3), true, H(4), F(5));
}
static ek_status layer_norm_forward_f16(const arguments *a)
{
    return ek_layer_norm_forward_f16(NULL, 1e-5f, a->n[0], a->n[1], H(0), H(1), H(2), H(3), F(4), F(5));
}
static ek_status layer_norm_backward_f16(const arguments *a)
{
    return ek_layer_norm_backward_f16(NULL, a->n[0], a->n[1], H(0), H(1), F(2), F(3), H(4), true, H(5), F(6), F(7));
}
static ek_status add_layer_norm_forward_f16(const arguments *a)
{
    return ek_add_layer_norm_forward_f16(NULL, 1e-5f, a->n[0], a->n[1], H(0), H(1), H(2), H(3), H(4), H(5), F(6), F(7));
}
static ek_status add_layer_norm_backward_f16(const arguments *a)
{
    return ek_add_layer_norm_backward_f16(NULL, a->n[0], a->n[1], H(0), H(1), H(2), F(3), F(4), H(5), true, H(6), F(7), F(8));
}
static ek_status rms_norm_forward_f16(const arguments *a)
{
    return ek_rms_norm_forward_f16(NULL, 1e-5f, a->n[0], a->n[1], H(0), H(1), H(2), F(3));
}
static ek_status rms_norm_backward_f16(const arguments *a)
{
    return ek_rms_norm_backward_f16(NULL, a->n[0], a->n[1], H(0), H(1), F(2), H(3), true, H(4), F(5));
}

#define NORMS \
    {"ek_layer_norm_forward_f32", layer_norm_forward_f32, 0, 2, \
     {{"x", "if", 0}, {"gamma", "if?", 0}, {"beta", "if?", 0}, {"y", "of", 0}, {"mean", "of?", 0}, {"rstd", "of?", 0}}}, \
    {"ek_layer_norm_backward_f32", layer_norm_backward_f32, 0, 2, \
     {{"dy", "if", 0}, {"x", "if", 0}, {"mean", "if", 0}, {"rstd", "if", 0}, {"gamma", "if?", 0}, {"dx", "of?", 0}, {"dgamma", "of?", 0}, {"dbeta", "of?", 0}}}, \
    {"ek_add_layer_norm_forward_f32", add_layer_norm_forward_f32, 0, 2, \
     {{"x", "if", 0}, {"residual", "if", 0}, {"gamma", "if?", 0}, {"beta", "if?", 0}, {"sum", "of", 0}, {"y", "of", 0}, {"mean", "of?", 0}, {"rstd", "of?", 0}}}, \
    {"ek_add_layer_norm_backward_f32", add_layer_norm_backward_f32, 0, 2, \
     {{"dy", "if", 0}, {"dsum", "if?", 0}, {"sum", "if", 0}, {"mean", "if", 0}, {"rstd", "if", 0}, {"gamma", "if?", 0}, {"dx", "of", 0}, {"dgamma", "of?", 0}, {"dbeta", "of?", 0}}}, \
    {"ek_rms_norm_forward_f32", rms_norm_forward_f32, 0, 2, \
     {{"x", "if", 0}, {"gamma", "if?", 0}, {"y", "of", 0}, {"rstd", "of?", 0}}}, \
    {"ek_rms_norm_backward_f32", rms_norm_backward_f32, 0, 2, \
     {{"dy", "if", 0}, {"x", "if", 0}, {"rstd", "if", 0}, {"gamma", "if?", 0}, {"dx", "of?", 0}, {"dgamma", "of?", 0}}}, \
    {"ek_group_norm_forward_f32", group_norm_forward_f32, 0, 3, \
     {{"x", "if", 0}, {"gamma", "if?", 0}, {"beta", "if?", 0}, {"y", "of", 0}, {"mean", "of?", 0}, {"rstd", "of?", 0}}}, \
    {"ek_group_norm_backward_f32", group_norm_backward_f32, 0, 3, \
     {{"dy", "if", 0}, {"x", "if", 0}, {"mean", "if", 0}, {"rstd", "if", 0}, {"gamma", "if?", 0}, {"dx", "of?", 0}, {"dgamma", "of?", 0}, {"dbeta", "of?", 0}}}, \
    {"ek_batch_norm_forward_train_f32", batch_norm_forward_train_f32, 0, 3, \
     {{"x", "if", 0}, {"gamma", "if?", 0}, {"beta", "if?", 0}, {"running_mean", "of?", 0}, {"running_var", "of?", 0}, {"y", "of", 0}, {"mean", "of", 0}, {"rstd", "of", 0}}}, \
    {"ek_batch_norm_forward_infer_f32", batch_norm_forward_infer_f32, 0, 3, \
     {{"x", "if", 0}, {"gamma", "if?", 0}, {"beta", "if?", 0}, {"running_mean", "if", 0}, {"running_var", "if", 0}, {"y", "of", 0}}}, \
    {"ek_batch_norm_backward_f32", batch_norm_backward_f32, 0, 3, \
     {{"dy", "if", 0}, {"x", "if", 0}, {"mean", "if", 0}, {"rstd", "if", 0}, {"gamma", "if?", 0}, {"dx", "of?", 0}, {"dgamma", "of?", 0}, {"dbeta", "of?", 0}}}, \
    {"ek_layer_norm_forward_bf16", layer_norm_forward_bf16, 0, 2, \
     {{"x", "ih", 0}, {"gamma", "ih?", 0}, {"beta", "ih?", 0}, {"y", "oh", 0}, {"mean", "of?", 0}, {"rstd", "of?", 0}}}, \
    {"ek_layer_norm_backward_bf16", layer_norm_backward_bf16, 0, 2, \
     {{"dy", "ih", 0}, {"x", "ih", 0}, {"mean", "if", 0}, {"rstd", "if", 0}, {"gamma", "ih?", 0}, {"dx", "oh?", 0}, {"dgamma", "of?", 0}, {"dbeta", "of?", 0}}}, \
    {"ek_add_layer_norm_forward_bf16", add_layer_norm_forward_bf16, 0, 2, \
     {{"x", "ih", 0}, {"residual", "ih", 0}, {"gamma", "ih?", 0}, {"beta", "ih?", 0}, {"sum", "oh", 0}, {"y", "oh", 0}, {"mean", "of?", 0}, {"rstd", "of?", 0}}}, \
    {"ek_add_layer_norm_backward_bf16", add_layer_norm_backward_bf16, 0, 2, \
     {{"dy", "ih", 0}, {"dsum", "ih?", 0}, {"sum", "ih", 0}, {"mean", "if", 0}, {"rstd", "if", 0}, {"gamma", "ih?", 0}, {"dx", "oh", 0}, {"dgamma", "of?", 0}, {"dbeta", "of?", 0}}}, \
    {"ek_rms_norm_forward_bf16", rms_norm_forward_bf16, 0, 2, \
     {{"x", "ih", 0}, {"gamma", "ih?", 0}, {"y", "oh", 0}, {"rstd", "of?", 0}}}, \
    {"ek_rms_norm_backward_bf16", rms_norm_backward_bf16, 0, 2, \
     {{"dy", "ih", 0}, {"x", "ih", 0}, {"rstd", "if", 0}, {"gamma", "ih?", 0}, {"dx", "oh?", 0}, {"dgamma", "of?", 0}}}, \
    {"ek_layer_norm_forward_f16", layer_norm_forward_f16, 0, 2, \
     {{"x", "ih", 0}, {"gamma", "ih?", 0}, {"beta", "ih?", 0}, {"y", "oh", 0}, {"mean", "of?", 0}, {"rstd", "of?", 0}}}, \
    {"ek_layer_norm_backward_f16", layer_norm_backward_f16, 0, 2, \
     {{"dy", "ih", 0}, {"x", "ih", 0}, {"mean", "if", 0}, {"rstd", "if", 0}, {"gamma", "ih?", 0}, {"dx", "oh?", 0}, {"dgamma", "of?", 0}, {"dbeta", "of?", 0}}}, \
    {"ek_add_layer_norm_forward_f16", add_layer_norm_forward_f16, 0, 2, \
     {{"x", "ih", 0}, {"residual", "ih", 0}, {"gamma", "ih?", 0}, {"beta", "ih?", 0}, {"sum", "oh", 0}, {"y", "oh", 0}, {"mean", "of?", 0}, {"rstd", "of?", 0}}}, \
    {"ek_add_layer_norm_backward_f16", add_layer_norm_backward_f16, 0, 2, \
     {{"dy", "ih", 0}, {"dsum", "ih?", 0}, {"sum", "ih", 0}, {"mean", "if", 0}, {"rstd", "if", 0}, {"gamma", "ih?", 0}, {"dx", "oh", 0}, {"dgamma", "of?", 0}, {"dbeta", "of?", 0}}}, \
    {"ek_rms_norm_forward_f16", rms_norm_forward_f16, 0, 2, \
     {{"x", "ih", 0}, {"gamma", "ih?", 0}, {"y", "oh", 0}, {"rstd", "of?", 0}}}, \
    {"ek_rms_norm_backward_f16", rms_norm_backward_f16, 0, 2, \
     {{"dy", "ih", 0}, {"x", "ih", 0}, {"rstd", "if", 0}, {"gamma", "ih?", 0}, {"dx", "oh?", 0}, {"dgamma", "of?", 0}}}
