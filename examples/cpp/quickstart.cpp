// Trains a network on handwritten digits in C++, and prints how many of the images it has not seen it reads correctly.
//
//     c++ -std=c++11 -O2 -Iinclude examples/cpp/quickstart.cpp -Ltarget/release -levenkeel -o quickstart
//     LD_LIBRARY_PATH=target/release ./quickstart data/digits.csv
//
// It is the network of examples/c/quickstart.c, and its weights (written where a second argument names a file) are the
// same bytes. A third argument sets the number of epochs.
#include "evenkeel.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

// What went wrong in a call: the status, and the library's own words.
class Error : public std::runtime_error {
public:
    explicit Error(ek_status status) : std::runtime_error(ek_last_error()), status_(status) {}
    const char *status() const { return ek_status_string(status_); }

private:
    ek_status status_;
};

void check(ek_status status)
{
    if (status != EK_STATUS_OK) throw Error(status);
}

// A context that ends with its scope.
class Context {
public:
    Context()
    {
        ek_context *ctx = nullptr;
        check(ek_context_create(nullptr, &ctx));
        ctx_.reset(ctx);
    }
    const ek_context *get() const { return ctx_.get(); }

private:
    struct Destroy {
        void operator()(ek_context *ctx) const { ek_context_destroy(ctx); }
    };
    std::unique_ptr<ek_context, Destroy> ctx_;
};

using Tensor = std::vector<float>;

const std::size_t pixels = 64, classes = 10, images = 1797, batch_size = 128, layers = 3;
const std::size_t width[layers + 1] = {pixels, 128, 128, classes};
const std::uint64_t seed = 1;

// Images, [images, pixels] from -1 (paper) to 1 (ink), and what they show.
struct Digits {
    Tensor pixels;
    std::vector<std::int64_t> labels;
};

// Every fifth image is held out: the network is tested on them and never trained on them.
std::pair<Digits, Digits> load(const std::string &path)
{
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + ": cannot be opened");
    std::pair<Digits, Digits> sets;
    for (std::size_t image = 0; image < images; ++image) {
        Digits &to = image % 5 == 4 ? sets.second : sets.first;
        for (std::size_t field = 0; field <= pixels; ++field) {
            unsigned value = 0;
            char comma = ',';
            if (field > 0) file >> comma;
            if (!(file >> value) || comma != ',' || value > (field < pixels ? 16 : classes - 1))
                throw std::runtime_error(path + ": is cut off or malformed");
            if (field < pixels)
                to.pixels.push_back(static_cast<float>(value) / 8 - 1);
            else
                to.labels.push_back(value);
        }
    }
    return sets;
}

// The addresses of tensors, as the functions over lists take them.
template <class Pointer> std::vector<Pointer> addresses(std::vector<Tensor> &tensors)
{
    std::vector<Pointer> list;
    for (Tensor &tensor : tensors) list.push_back(tensor.data());
    return list;
}

class Network {
public:
    explicit Network(const Context &context) : ctx_(context.get())
    {
        // Tensor 2*l holds the weights of layer l, tensor 2*l + 1 its biases, which start at zero.
        for (std::size_t l = 0; l < layers; ++l) {
            params_.push_back(Tensor(width[l] * width[l + 1]));
            params_.push_back(Tensor(width[l + 1]));
            Tensor &weights = params_[2 * l];
            check(ek_init_he_f32(ctx_, seed, l, EK_NORMAL, 0, width[l], weights.size(), weights.data()));
            input_.push_back(Tensor(batch_size * width[l]));
            z_.push_back(Tensor(batch_size * width[l + 1]));
            dz_.push_back(Tensor(batch_size * width[l + 1]));
        }
        for (const Tensor &tensor : params_) {
            sizes_.push_back(tensor.size());
            grads_.push_back(Tensor(tensor.size()));
            m_.push_back(Tensor(tensor.size()));
            v_.push_back(Tensor(tensor.size()));
        }
        ek_clip_options_init(&clip_);
        clip_.mode = EK_CLIP_GLOBAL_NORM;
        clip_.threshold = 1;
        ek_adam_options_init(&adam_);
        adam_.lr = 3e-3;
        ek_step_report_init(&report_);
    }

    // Where the next batch goes, [batch_size, pixels].
    float *input() { return input_[0].data(); }

    const std::vector<Tensor> &params() const { return params_; }
    const ek_step_report &report() const { return report_; }

    // The logits of the images in input(), [batch, classes].
    const float *forward(std::size_t batch)
    {
        for (std::size_t l = 0; l < layers; ++l) {
            const bool last = l == layers - 1;
            check(ek_linear_forward_f32(ctx_, last ? EK_ACTIVATION_IDENTITY : EK_ACTIVATION_SILU, 0, batch, width[l],
                                        width[l + 1], input_[l].data(), params_[2 * l].data(),
                                        params_[2 * l + 1].data(), last ? nullptr : z_[l].data(),
                                        last ? z_[l].data() : input_[l + 1].data()));
        }
        return z_[layers - 1].data();
    }

    // One step of Adam on the images in input(); returns the loss before it.
    double train(const std::vector<std::int64_t> &labels)
    {
        const std::size_t batch = labels.size();
        double loss = 0, sum_sq = 0, part = 0;
        check(ek_cross_entropy_f32(ctx_, 0, -1, 1, batch, classes, forward(batch), labels.data(), nullptr, &loss,
                                   dz_[layers - 1].data()));
        for (std::size_t l = layers; l-- > 0;) {
            check(ek_linear_backward_weight_f32(ctx_, batch, width[l], width[l + 1], dz_[l].data(), input_[l].data(),
                                                false, grads_[2 * l].data(), grads_[2 * l + 1].data(), &part));
            sum_sq += part;
            if (l > 0)
                check(ek_linear_backward_input_f32(ctx_, EK_ACTIVATION_SILU, 0, batch, width[l], width[l + 1],
                                                   dz_[l].data(), params_[2 * l].data(), z_[l - 1].data(),
                                                   dz_[l - 1].data()));
        }
        // The norm for clipping came with the gradients: the step reads them once.
        clip_.known_sum_sq = sum_sq;
        check(ek_clip_adam_f32(ctx_, &clip_, &adam_, sizes_.size(), sizes_.data(),
                               addresses<float *>(params_).data(), addresses<const float *>(grads_).data(),
                               addresses<float *>(m_).data(), addresses<float *>(v_).data(), &report_));
        ++adam_.step;
        return loss;
    }

private:
    const ek_context *ctx_;
    std::vector<Tensor> params_, grads_, m_, v_, input_, z_, dz_;
    std::vector<std::size_t> sizes_;
    ek_clip_options clip_;
    ek_adam_options adam_;
    ek_step_report report_;
};

void train(Network &network, const Digits &set, int epochs)
{
    std::vector<std::size_t> order(set.labels.size());
    std::iota(order.begin(), order.end(), std::size_t(0));
    std::uint32_t state = seed;
    for (int epoch = 1; epoch <= epochs; ++epoch) {
        // A new order of the images for each epoch.
        for (std::size_t n = order.size(); n > 1; --n) {
            state = state * 1664525u + 1013904223u;
            std::swap(order[n - 1], order[(state >> 8) % n]);
        }
        double loss = 0;
        for (std::size_t start = 0; start < order.size(); start += batch_size) {
            std::vector<std::int64_t> labels;
            for (std::size_t i = start; i < order.size() && i < start + batch_size; ++i) {
                const float *const image = set.pixels.data() + order[i] * pixels;
                std::copy(image, image + pixels, network.input() + (i - start) * pixels);
                labels.push_back(set.labels[order[i]]);
            }
            loss = network.train(labels);
        }
        if (epoch % 5 == 0 || epoch == epochs)
            std::cout << "epoch " << std::setw(2) << epoch << "  loss " << loss << "  gradient norm "
                      << network.report().grad_norm << "  clipped to " << network.report().clip_factor << " of it\n";
    }
}

double accuracy(Network &network, const Digits &set)
{
    std::size_t correct = 0;
    for (std::size_t start = 0; start < set.labels.size(); start += batch_size) {
        const std::size_t batch = std::min(batch_size, set.labels.size() - start);
        const float *const first = set.pixels.data() + start * pixels;
        std::copy(first, first + batch * pixels, network.input());
        const float *const logits = network.forward(batch);
        for (std::size_t i = 0; i < batch; ++i) {
            const float *const row = logits + i * classes;
            correct += std::max_element(row, row + classes) - row == set.labels[start + i];
        }
    }
    return static_cast<double>(correct) / static_cast<double>(set.labels.size());
}

void run(const std::string &data, const char *weights, int epochs)
{
    const Context context;
    const std::pair<Digits, Digits> sets = load(data);
    Network network(context);
    std::cout << std::fixed << std::setprecision(4) << "evenkeel " << ek_version_string() << ", "
              << ek_isa_name(ek_context_isa(context.get())) << ", " << ek_context_num_threads(context.get())
              << " threads\n";
    train(network, sets.first, epochs);
    std::cout << "held-out accuracy " << accuracy(network, sets.second) << "\n";
    if (weights != nullptr) {
        std::ofstream file(weights, std::ios::binary);
        for (const Tensor &tensor : network.params())
            file.write(reinterpret_cast<const char *>(tensor.data()),
                       static_cast<std::streamsize>(tensor.size() * sizeof(float)));
        if (!file.flush()) throw std::runtime_error(std::string(weights) + ": cannot be written");
    }
}

} // namespace

int main(int argc, char **argv)
{
    try {
        run(argc > 1 ? argv[1] : "data/digits.csv", argc > 2 ? argv[2] : nullptr, argc > 3 ? std::atoi(argv[3]) : 20);
        return EXIT_SUCCESS;
    } catch (const Error &error) {
        std::cerr << error.status() << ": " << error.what() << "\n";
    } catch (const std::exception &error) {
        std::cerr << error.what() << "\n";
    }
    return EXIT_FAILURE;
}
