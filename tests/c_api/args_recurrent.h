/* Recurrent networks, for args.c. Input features and hidden units are as many. */
#define L(i) ((const size_t *)(const void *)a->p[i])

static ek_status lstm_cell_forward(const arguments *a)
{
    return ek_lstm_cell_forward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2), F(3));
}
static ek_status lstm_cell_backward(const arguments *a)
{
    return ek_lstm_cell_backward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2), F(3), F(4), F(5), F(6));
}
static ek_status gru_cell_forward(const arguments *a)
{
    return ek_gru_cell_forward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2), F(3));
}
static ek_status gru_cell_backward(const arguments *a)
{
    return ek_gru_cell_backward_f32(NULL, a->n[0], a->n[1], F(0), F(1), F(2), F(3), F(4), F(5), F(6));
}
static ek_status rnn_forward(const arguments *a)
{
    return ek_rnn_forward_f32(NULL, a->e[0], 1, a->n[0], a->n[1], a->n[2], a->n[2], F(0), L(1), F(2), F(3), F(4), F(5), F(6), F(7));
}
static ek_status rnn_backward(const arguments *a)
{
    return ek_rnn_backward_f32(NULL, a->e[0], 1, a->n[0], a->n[1], a->n[2], a->n[2], F(0), L(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), true, F(9), F(10), F(11), F(12), F(13), D(14));
}
static ek_status lstm_forward(const arguments *a)
{
    return ek_lstm_forward_f32(NULL, a->n[0], a->n[1], a->n[2], a->n[2], F(0), L(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9));
}
static ek_status lstm_backward(const arguments *a)
{
    return ek_lstm_backward_f32(NULL, a->n[0], a->n[1], a->n[2], a->n[2], F(0), L(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), F(10), F(11), true, F(12), F(13), F(14), F(15), F(16), F(17), D(18));
}
static ek_status gru_forward(const arguments *a)
{
    return ek_gru_forward_f32(NULL, a->n[0], a->n[1], a->n[2], a->n[2], F(0), L(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9));
}
static ek_status gru_backward(const arguments *a)
{
    return ek_gru_backward_f32(NULL, a->n[0], a->n[1], a->n[2], a->n[2], F(0), L(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), true, F(10), F(11), F(12), F(13), F(14), F(15), D(16));
}

#define RECURRENT \
    {"ek_lstm_cell_forward_f32", lstm_cell_forward, 0, 2, {{"z", "if", 0}, {"c_prev", "if", 0}, {"c", "of", 0}, {"h", "of", 0}}}, \
    {"ek_lstm_cell_backward_f32", lstm_cell_backward, 0, 2, {{"z", "if", 0}, {"c_prev", "if", 0}, {"c", "if", 0}, {"dh", "if", 0}, {"dc", "if?", 0}, {"dz", "of", 0}, {"dc_prev", "of", 0}}}, \
    {"ek_gru_cell_forward_f32", gru_cell_forward, 0, 2, {{"zx", "if", 0}, {"zh", "if", 0}, {"h_prev", "if", 0}, {"h", "of", 0}}}, \
    {"ek_gru_cell_backward_f32", gru_cell_backward, 0, 2, {{"zx", "if", 0}, {"zh", "if", 0}, {"h_prev", "if", 0}, {"dh", "if", 0}, {"dzx", "of", 0}, {"dzh", "of", 0}, {"dh_prev", "of", 0}}}, \
    {"ek_rnn_forward_f32", rnn_forward, 1, 3, {{"x", "if", 0}, {"lengths", "iq?", 0}, {"w_ih", "if", 0}, {"w_hh", "if", 0}, {"bias", "if?", 0}, {"h0", "if?", 0}, {"h", "of", 0}, {"z", "of", 0}}}, \
    {"ek_rnn_backward_f32", rnn_backward, 1, 3, {{"x", "if", 0}, {"lengths", "iq?", 0}, {"w_ih", "if", 0}, {"w_hh", "if", 0}, {"h0", "if?", 0}, {"h", "if", 0}, {"z", "if", 0}, {"dh", "if?", 0}, {"dh_last", "if?", 0}, {"dx", "of?", 0}, {"dw_ih", "of", 0}, {"dw_hh", "of", 0}, {"dbias", "of?", 0}, {"dh0", "of?", 0}, {"step_norms", "od?", 0}}}, \
    {"ek_lstm_forward_f32", lstm_forward, 0, 3, {{"x", "if", 0}, {"lengths", "iq?", 0}, {"w_ih", "if", 0}, {"w_hh", "if", 0}, {"bias", "if?", 0}, {"h0", "if?", 0}, {"c0", "if?", 0}, {"h", "of", 0}, {"c", "of", 0}, {"z", "of", 0}}}, \
    {"ek_lstm_backward_f32", lstm_backward, 0, 3, {{"x", "if", 0}, {"lengths", "iq?", 0}, {"w_ih", "if", 0}, {"w_hh", "if", 0}, {"h0", "if?", 0}, {"c0", "if?", 0}, {"h", "if", 0}, {"c", "if", 0}, {"z", "if", 0}, {"dh", "if?", 0}, {"dh_last", "if?", 0}, {"dc_last", "if?", 0}, {"dx", "of?", 0}, {"dw_ih", "of", 0}, {"dw_hh", "of", 0}, {"dbias", "of?", 0}, {"dh0", "of?", 0}, {"dc0", "of?", 0}, {"step_norms", "od?", 0}}}, \
    {"ek_gru_forward_f32", gru_forward, 0, 3, {{"x", "if", 0}, {"lengths", "iq?", 0}, {"w_ih", "if", 0}, {"w_hh", "if", 0}, {"bias_ih", "if?", 0}, {"bias_hh", "if?", 0}, {"h0", "if?", 0}, {"h", "of", 0}, {"zx", "of", 0}, {"zh", "of", 0}}}, \
    {"ek_gru_backward_f32", gru_backward, 0, 3, {{"x", "if", 0}, {"lengths", "iq?", 0}, {"w_ih", "if", 0}, {"w_hh", "if", 0}, {"h0", "if?", 0}, {"h", "if", 0}, {"zx", "if", 0}, {"zh", "if", 0}, {"dh", "if?", 0}, {"dh_last", "if?", 0}, {"dx", "of?", 0}, {"dw_ih", "of", 0}, {"dw_hh", "of", 0}, {"dbias_ih", "of?", 0}, {"dbias_hh", "of?", 0}, {"dh0", "of?", 0}, {"step_norms", "od?", 0}}}
