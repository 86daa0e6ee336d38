/* Gates, spectra, data and orthogonal weights in the table of args.c. */
static ek_status highway_forward(const arguments *a)
{
    return ek_highway_forward_f32(NULL, a->n[0], F(0), F(1), F(2), F(3));
}
static ek_status highway_backward(const arguments *a)
{
    return ek_highway_backward_f32(NULL, a->n[0], F(0), F(1), F(2), F(3), F(4), F(5), F(6));
}
static ek_status init_orthogonal(const arguments *a)
{
    return ek_init_orthogonal_f32(NULL, 1, 2, 1, a->n[0], a->n[1], F(0));
}
static ek_status spectral_norm(const arguments *a)
{
    return ek_spectral_norm_f32(NULL, a->n[0], a->n[1], F(0), a->n[1], 0, 1e-6, D(1));
}
static ek_status spectral_radius(const arguments *a)
{
    return ek_spectral_radius_f32(NULL, a->n[0], F(0), a->n[0], 0, D(1));
}
static ek_status jacobian_norm(const arguments *a)
{
    return ek_jacobian_norm_f32(NULL, a->e[0], 1, a->n[0], a->n[1], F(0), F(1), 0, 1e-6, D(2));
}
static ek_status column_stats(const arguments *a)
{
    return ek_column_stats_f32(NULL, a->n[0], a->n[1], F(0), D(1), D(2), F(3), F(4));
}
static ek_status column_stats_counted(const arguments *a)
{
    return ek_column_stats_counted_f32(NULL, a->n[0], a->n[1], F(0), D(1), D(2), F(3), F(4), (uint64_t *)(void *)a->p[5]);
}
static ek_status standardize(const arguments *a)
{
    return ek_standardize_f32(NULL, a->n[0], a->n[1], D(0), D(1), 0, F(2), F(3));
}
static ek_status rescale(const arguments *a)
{
    return ek_rescale_f32(NULL, a->n[0], a->n[1], F(0), F(1), 0, 1, F(2), F(3));
}

#define FLOWS \
    {"ek_highway_forward_f32", highway_forward, 0, 1, {{"gate_z", "if", 0}, {"h", "if", 0}, {"x", "if", 0}, {"y", "of", 0}}}, \
    {"ek_highway_backward_f32", highway_backward, 0, 1, {{"gate_z", "if", 0}, {"h", "if", 0}, {"x", "if", 0}, {"dy", "if", 0}, {"dgate_z", "of", 0}, {"dh", "of", 0}, {"dx", "of", 0}}}, \
    {"ek_init_orthogonal_f32", init_orthogonal, 0, 2, {{"w", "of", 0}}}, \
    {"ek_spectral_norm_f32", spectral_norm, 0, 2, {{"w", "if", 0}, {"sigma", "od1", 0}}}, \
    {"ek_spectral_radius_f32", spectral_radius, 0, 1, {{"w", "if", 0}, {"rho", "od1", 0}}}, \
    {"ek_jacobian_norm_f32", jacobian_norm, 1, 2, {{"w", "if", 0}, {"z_prev", "if", 0}, {"sigma", "od1", 0}}}, \
    {"ek_column_stats_f32", column_stats, 0, 2, {{"x", "if", 0}, {"mean", "od", 0}, {"std", "od?", 0}, {"min", "of?", 0}, {"max", "of?", 0}}}, \
    {"ek_column_stats_counted_f32", column_stats_counted, 0, 2, {{"x", "if", 0}, {"mean", "od", 0}, {"std", "od?", 0}, {"min", "of?", 0}, {"max", "of?", 0}, {"nans", "od", 0}}}, \
    {"ek_standardize_f32", standardize, 0, 2, {{"mean", "id", 0}, {"std", "id", 0}, {"x", "if", 0}, {"y", "of", "x"}}}, \
    {"ek_rescale_f32", rescale, 0, 2, {{"min", "if", 0}, {"max", "if", 0}, {"x", "if", 0}, {"y", "of", 0}}}

/* What the table cannot say of them. */
static void flows(void)
{
    const float rotation[4] = {0, -2, 2, 0}, stretch[4] = {3, 0, 0, 4}, huge[1] = {3e38f};
    const float nan = strtof("nan", NULL), table[4] = {1, nan, 3, 7};
    float w[4] = {7, 7, 7, 7};
    const float was[4] = {7, 7, 7, 7};
    double value = 7, mean[2], std[2];
    uint64_t nans[2];
    /* Not converged is the one status that comes with a value: a lower bound. */
    CHECK(ek_spectral_norm_f32(NULL, 2, 2, stretch, 2, 1, 1e-9, &value) == EK_STATUS_NOT_CONVERGED);
    CHECK(value > 3 && value < 4 && strstr(ek_last_error(), "ek_spectral_norm_f32: sigma is still moving after 1 iterations"));
    CHECK(ek_spectral_norm_f32(NULL, 2, 2, stretch, 2, 0, 1e-9, &value) == EK_STATUS_OK && value > 3.9999 && value < 4.0001);
    CHECK(ek_spectral_norm_f32(NULL, 1, 1, huge, 1, 0, 1e-9, &value) == EK_STATUS_OK && value > 2.9999e38 && value < 3.0001e38);
    CHECK(ek_spectral_norm_f32(NULL, 2, 2, table, 2, 0, 1e-9, &value) == EK_STATUS_NOT_CONVERGED && value != value);
    CHECK(ek_spectral_radius_f32(NULL, 2, rotation, 2, 0, &value) == EK_STATUS_OK && value > 1.9999 && value < 2.0001);
    CHECK(ek_spectral_radius_f32(NULL, 2, rotation, 2, 1, &value) == EK_STATUS_NOT_CONVERGED && value >= 1.9999);
    value = 7;
    FAILS(ek_spectral_norm_f32(NULL, 2, 2, stretch, 1, 0, 1e-9, &value), EK_STATUS_INVALID_SIZE, "ek_spectral_norm_f32",
          "ldw is 1 but rows of w hold cols = 2 elements");
    FAILS(ek_spectral_norm_f32(NULL, 2, 2, stretch, 2, 0, -1, &value), EK_STATUS_INVALID_ARGUMENT, "ek_spectral_norm_f32",
          "tolerance is -1");
    FAILS(ek_jacobian_norm_f32(NULL, EK_ACTIVATION_CELU, 0, 2, 2, stretch, stretch, 0, 1e-9, &value),
          EK_STATUS_INVALID_ARGUMENT, "ek_jacobian_norm_f32", "act_param");
    FAILS(ek_init_orthogonal_f32(NULL, 0, 0, nan, 2, 2, w), EK_STATUS_INVALID_ARGUMENT, "ek_init_orthogonal_f32", "gain");
    FAILS(ek_standardize_f32(NULL, 1, 1, &value, &value, -1, stretch, w), EK_STATUS_INVALID_ARGUMENT, "ek_standardize_f32",
          "eps is -1");
    FAILS(ek_rescale_f32(NULL, 1, 1, stretch, stretch, 1, 0, stretch, w), EK_STATUS_INVALID_ARGUMENT, "ek_rescale_f32",
          "low is 1 and high is 0");
    CHECK(value == 7 && memcmp(w, was, sizeof w) == 0);
    CHECK(ek_column_stats_counted_f32(NULL, 2, 2, table, mean, std, NULL, NULL, nans) == EK_STATUS_OK);
    CHECK(mean[0] == 2 && std[0] == 1 && mean[1] == 7 && std[1] == 0 && nans[0] == 0 && nans[1] == 1);
    CHECK(ek_standardize_f32(NULL, 2, 2, mean, std, 0, table, w) == EK_STATUS_OK);
    CHECK(w[0] == -1 && w[1] != w[1] && w[2] == 1 && w[3] == 0);
}
