// Recurrences of evenkeel beside oneDNN's, forward + backward, by turns in one process.
//
//   g++ -O2 -std=c++17 -Iinclude -I$ONEDNN/include benches/recurrent_onednn.cpp target/release/libevenkeel.so \
//       $ONEDNN/lib/libdnnl.so.3 -o recurrent_onednn
//   OMP_NUM_THREADS=1 ./recurrent_onednn [words]
//
// oneDNN's GRU is the one with the reset gate after the product, as ours is. A training step packs weights anew, for forward
// and for backward, and zeroes the gradients that oneDNN adds to; both are timed with it, as our packing is with ours.
// Operations are those of the products, 6·G·H·(I + H) for each row of each step, with I = H.
#include "evenkeel.h"
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>
using namespace dnnl;
using tag = memory::format_tag;
using Arguments = std::unordered_map<int, memory>;
using Floats = std::vector<float>;

static engine cpu(engine::kind::cpu, 0);
static stream queue(cpu);

static Floats values(size_t n, float scale, uint32_t seed) {
    Floats v(n);
    for (float &x : v) x = scale * ((seed = seed * 1664525u + 1013904223u) / 2147483648.0f - 1.0f);
    return v;
}

static memory filled(const memory::desc &d, float scale, uint32_t seed) {
    memory m(d, cpu);
    Floats v = values(d.get_size() / sizeof(float), scale, seed);
    memcpy(m.get_data_handle(), v.data(), d.get_size());
    return m;
}

static void zero(const memory &m) { memset(m.get_data_handle(), 0, m.get_desc().get_size()); }

static double seconds(const std::function<void()> &run) {
    auto start = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One training step of oneDNN. Forward and backward differ in their types alone.
template <class Forward, class Backward, class MakeBackward>
static std::function<void()> step(const typename Forward::primitive_desc &fd, MakeBackward make, bool lstm, memory::dims d) {
    memory::desc x({d[0], d[1], d[2]}, memory::data_type::f32, tag::tnc), h({1, 1, d[1], d[2]}, memory::data_type::f32, tag::ldnc);
    memory::desc w({1, 1, d[2], d[3], d[2]}, memory::data_type::f32, tag::ldigo), b({1, 1, 4, d[2]}, memory::data_type::f32, tag::ldgo);
    auto bd = make(fd);
    memory wl = filled(w, 0.05f, 1), wi = filled(w, 0.05f, 2);
    memory fl(fd.weights_layer_desc(), cpu), fi(fd.weights_iter_desc(), cpu), bl(bd.weights_layer_desc(), cpu), bi(bd.weights_iter_desc(), cpu);
    Arguments fa = {{DNNL_ARG_SRC_LAYER, filled(x, 1, 3)}, {DNNL_ARG_SRC_ITER, filled(h, 1, 4)}, {DNNL_ARG_WEIGHTS_LAYER, fl},
                    {DNNL_ARG_WEIGHTS_ITER, fi}, {DNNL_ARG_BIAS, filled(b, 0.5f, 5)}, {DNNL_ARG_DST_LAYER, memory(x, cpu)},
                    {DNNL_ARG_DST_ITER, memory(h, cpu)}, {DNNL_ARG_WORKSPACE, memory(fd.workspace_desc(), cpu)}};
    if (lstm) fa[DNNL_ARG_SRC_ITER_C] = filled(h, 1, 6), fa[DNNL_ARG_DST_ITER_C] = memory(h, cpu);
    Arguments ba = fa;
    memory dwl(w, cpu), dwi(w, cpu), db(b, cpu);
    for (auto &a : Arguments{{DNNL_ARG_WEIGHTS_LAYER, bl}, {DNNL_ARG_WEIGHTS_ITER, bi}, {DNNL_ARG_DIFF_SRC_LAYER, memory(x, cpu)},
                             {DNNL_ARG_DIFF_SRC_ITER, memory(h, cpu)}, {DNNL_ARG_DIFF_WEIGHTS_LAYER, dwl}, {DNNL_ARG_DIFF_WEIGHTS_ITER, dwi},
                             {DNNL_ARG_DIFF_BIAS, db}, {DNNL_ARG_DIFF_DST_LAYER, filled(x, 1, 7)}, {DNNL_ARG_DIFF_DST_ITER, filled(h, 0, 8)}})
        ba[a.first] = a.second;
    if (lstm) ba[DNNL_ARG_DIFF_SRC_ITER_C] = memory(h, cpu), ba[DNNL_ARG_DIFF_DST_ITER_C] = filled(h, 0, 9);
    return [=, forward = Forward(fd), backward = Backward(bd), packs = std::vector<reorder>{{wl, fl}, {wi, fi}, {wl, bl}, {wi, bi}}]() mutable {
        packs[0].execute(queue, wl, fl), packs[1].execute(queue, wi, fi);
        forward.execute(queue, fa);
        packs[2].execute(queue, wl, bl), packs[3].execute(queue, wi, bi);
        zero(dwl), zero(dwi), zero(db);
        backward.execute(queue, ba);
        queue.wait();
    };
}

static std::function<void()> theirs(bool lstm, long T, long N, long H) {
    auto f32 = memory::data_type::f32;
    long G = lstm ? 4 : 3;
    memory::desc x({T, N, H}, f32, tag::tnc), h({1, 1, N, H}, f32, tag::ldnc), b({1, 1, 4, H}, f32, tag::ldgo);
    memory::desc any({1, 1, H, G, H}, f32, tag::any), w({1, 1, H, G, H}, f32, tag::ldigo);
    auto way = rnn_direction::unidirectional_left2right;
    auto train = prop_kind::forward_training, back = prop_kind::backward;
    if (lstm) {
        lstm_forward::primitive_desc fd(cpu, train, way, x, h, h, any, any, b, x, h, h);
        auto make = [=](const lstm_forward::primitive_desc &fd) {
            return lstm_backward::primitive_desc(cpu, back, way, x, h, h, any, any, b, x, h, h, x, h, h, w, w, b, x, h, h, fd);
        };
        return step<lstm_forward, lstm_backward>(fd, make, true, {T, N, H, G});
    }
    lbr_gru_forward::primitive_desc fd(cpu, train, way, x, h, any, any, b, x, h);
    auto make = [=](const lbr_gru_forward::primitive_desc &fd) {
        return lbr_gru_backward::primitive_desc(cpu, back, way, x, h, any, any, b, x, h, x, h, w, w, b, x, h, fd);
    };
    return step<lbr_gru_forward, lbr_gru_backward>(fd, make, false, {T, N, H, G});
}

static void must(ek_status status) {
    if (status != EK_STATUS_OK) fprintf(stderr, "%s\n", ek_last_error()), exit(1);
}

static std::function<void()> ours(ek_context *ctx, bool lstm, size_t T, size_t N, size_t H) {
    size_t n = T * N * H, wide = (lstm ? 4 : 3) * H;
    Floats x = values(n, 1, 1), dh = values(n, 1, 2), w = values(wide * H, 0.05f, 3), u = values(wide * H, 0.05f, 4), b = values(wide, 0.5f, 5);
    Floats h0 = values(N * H, 1, 6), c0 = values(N * H, 1, 7), h(n), c(n), z(T * N * wide), zh(T * N * wide);
    Floats dx(n), dw(wide * H), du(wide * H), db(wide), db2(wide), dh0(N * H), dc0(N * H);
    return [=]() mutable {
        if (lstm) {
            must(ek_lstm_forward_f32(ctx, T, N, H, H, x.data(), nullptr, w.data(), u.data(), b.data(), h0.data(), c0.data(), h.data(), c.data(), z.data()));
            must(ek_lstm_backward_f32(ctx, T, N, H, H, x.data(), nullptr, w.data(), u.data(), h0.data(), c0.data(), h.data(), c.data(), z.data(), dh.data(), nullptr,
                                      nullptr, false, dx.data(), dw.data(), du.data(), db.data(), dh0.data(), dc0.data(), nullptr));
        } else {
            must(ek_gru_forward_f32(ctx, T, N, H, H, x.data(), nullptr, w.data(), u.data(), b.data(), b.data(), h0.data(), h.data(), z.data(), zh.data()));
            must(ek_gru_backward_f32(ctx, T, N, H, H, x.data(), nullptr, w.data(), u.data(), h0.data(), h.data(), z.data(), zh.data(), dh.data(), nullptr, false,
                                     dx.data(), dw.data(), du.data(), db.data(), db2.data(), dh0.data(), nullptr));
        }
    };
}

int main(int argc, char **argv) {
    const char *threads = getenv("OMP_NUM_THREADS");
    ek_context_options options;
    ek_context_options_init(&options);
    options.num_threads = threads ? atoi(threads) : 1;
    ek_context *ctx = nullptr;
    must(ek_context_create(&options, &ctx));
    auto v = dnnl_version();
    printf("oneDNN %d.%d.%d, threads %zu\n%-24s%12s%12s%10s%10s%8s\n", v->major, v->minor, v->patch, options.num_threads, "forward + backward", "our us", "its us",
           "GFLOP/s", "oneDNN", "ratio");
    size_t shapes[][3] = {{128, 32, 256}, {128, 32, 512}, {50, 32, 256}, {50, 32, 512}, {128, 1, 256}, {128, 1, 512}};
    for (auto &s : shapes)
        for (bool lstm : {true, false}) {
            size_t T = s[0], N = s[1], H = s[2];
            std::string name = std::string(lstm ? "lstm" : "gru") + " T=" + std::to_string(T) + " N=" + std::to_string(N) + " H=" + std::to_string(H);
            bool chosen = argc < 2;
            for (int i = 1; i < argc; i++) chosen |= name.find(argv[i]) != std::string::npos;
            if (!chosen) continue;
            std::function<void()> runs[] = {ours(ctx, lstm, T, N, H), theirs(lstm, T, N, H)};
            double best[] = {1e9, 1e9}, operations = 12.0 * T * N * (lstm ? 4 : 3) * H * H;
            int times = 1 + (int)(0.05 / (operations / 60e9));
            for (int turn = 0; turn < 8; turn++)
                for (int i = 0; i < 2; i++) {
                    runs[i]();  // Whoever ran before has left its threads spinning.
                    for (int k = 0; k < times; k++) best[i] = std::min(best[i], seconds(runs[i]));
                }
            double rate[] = {operations / best[0] / 1e9, operations / best[1] / 1e9};
            printf("%-24s%12.1f%12.1f%10.1f%10.1f%8.2f\n", name.c_str(), best[0] * 1e6, best[1] * 1e6, rate[0], rate[1], rate[0] / rate[1]);
            fflush(stdout);
        }
    ek_context_destroy(ctx);
}
