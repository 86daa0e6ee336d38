# Trains a network on handwritten digits in Ruby, and prints how many of the images it has not seen it reads correctly.
# Calls the C functions through fiddle.
#
#     EVENKEEL_LIBRARY=target/release/libevenkeel.so ruby examples/ruby/quickstart.rb data/digits.csv [WEIGHTS [EPOCHS]]
#
# With a second argument it writes the trained weights to that file: the bytes of the quickstart in C.
require "fiddle/import"

module EK
  extend Fiddle::Importer
  dlload ENV.fetch("EVENKEEL_LIBRARY", "libevenkeel.so")

  ClipOptions = struct ["size_t struct_size", "int mode", "float threshold", "float loss_scale", "int nonfinite",
                        "double known_sum_sq"]
  AdamOptions = struct ["size_t struct_size", "double lr", "double beta1", "double beta2", "double eps",
                        "double weight_decay", "char decoupled", "unsigned long long step", "int second_moment",
                        "char stochastic", "unsigned long long seed"]

  extern "const char *ek_last_error()"
  extern "const char *ek_version_string()"
  extern "int ek_context_create(void *, void *)"
  extern "void ek_context_destroy(void *)"
  extern "void ek_clip_options_init(void *)"
  extern "void ek_adam_options_init(void *)"
  extern "int ek_init_he_f32(void *, unsigned long long, unsigned long long, int, float, size_t, size_t, void *)"
  extern "int ek_linear_forward_f32(void *, int, float, size_t, size_t, size_t, void *, void *, void *, void *, void *)"
  extern "int ek_linear_backward_input_f32(void *, int, float, size_t, size_t, size_t, void *, void *, void *, void *)"
  extern "int ek_linear_backward_weight_f32(void *, size_t, size_t, size_t, void *, void *, char, void *, void *, void *)"
  extern "int ek_cross_entropy_f32(void *, float, long long, float, size_t, size_t, void *, void *, void *, void *, void *)"
  extern "int ek_clip_adam_f32(void *, void *, void *, size_t, void *, void *, void *, void *, void *, void *)"

  IDENTITY = 0
  SILU = 8
  NORMAL = 1
  GLOBAL_NORM = 1

  # Every function reports this way: a status, and the reason in words.
  def self.check(status)
    raise ek_last_error.to_s unless status.zero?
  end
end

# Memory of C for n floats, all zero. Strings packed by Ruby are copied in and out of it.
def floats(n)
  memory = Fiddle::Pointer.malloc(4 * n, Fiddle::RUBY_FREE)
  memory[0, 4 * n] = "\0" * (4 * n)
  memory
end

WIDTH = [64, 128, 128, 10].freeze
LAYERS = 3
BATCH = 128
SEED = 1
data = ARGV[0] || "data/digits.csv"
weights = ARGV[1]
epochs = (ARGV[2] || 20).to_i

# Images from -1 (paper) to 1 (ink), as packed floats, and what they show; every fifth is held out.
rows = File.readlines(data).map { |line| line.split(",").map(&:to_i) }
images = rows.map { |row| [row[0, 64].map { |p| p / 8.0 - 1 }.pack("e*"), row[64]] }
training, held_out = images.each_with_index.partition { |_, i| i % 5 != 4 }.map { |set| set.map(&:first) }

out = Fiddle::Pointer.malloc(Fiddle::SIZEOF_VOIDP, Fiddle::RUBY_FREE)
EK.check EK.ek_context_create(nil, out)
CTX = out.ptr
puts "evenkeel #{EK.ek_version_string}"

# Tensor 2*l holds the weights of layer l, tensor 2*l + 1 its biases.
SIZES = (0...LAYERS).flat_map { |l| [WIDTH[l] * WIDTH[l + 1], WIDTH[l + 1]] }
PARAMS, GRADS, M, V = Array.new(4) { SIZES.map { |n| floats(n) } }
LAYERS.times { |l| EK.check EK.ek_init_he_f32(CTX, SEED, l, EK::NORMAL, 0.0, WIDTH[l], SIZES[2 * l], PARAMS[2 * l]) }
INPUT = (0...LAYERS).map { |l| floats(BATCH * WIDTH[l]) }
Z, DZ = Array.new(2) { (0...LAYERS).map { |l| floats(BATCH * WIDTH[l + 1]) } }
LOGITS = floats(BATCH * WIDTH[LAYERS])
NUMBER = Fiddle::Pointer.malloc(8, Fiddle::RUBY_FREE)

def list(tensors)
  tensors.map(&:to_i).pack("J*")
end

# z = x * W^T + bias, x of the next layer = silu(z); the last layer's z are the logits.
def forward(batch)
  LAYERS.times do |l|
    last = l == LAYERS - 1
    EK.check EK.ek_linear_forward_f32(CTX, last ? EK::IDENTITY : EK::SILU, 0.0, batch, WIDTH[l], WIDTH[l + 1], INPUT[l],
                                      PARAMS[2 * l], PARAMS[2 * l + 1], last ? nil : Z[l], last ? LOGITS : INPUT[l + 1])
  end
end

# The loss of the batch, and from its gradient those of all parameters; also the sum of their squares.
def backward(batch, labels)
  EK.check EK.ek_cross_entropy_f32(CTX, 0.0, -1, 1.0, batch, WIDTH[LAYERS], LOGITS, labels.pack("q*"), nil, NUMBER,
                                   DZ[LAYERS - 1])
  loss = NUMBER[0, 8].unpack1("d")
  sum_sq = 0.0
  (LAYERS - 1).downto(0) do |l|
    EK.check EK.ek_linear_backward_weight_f32(CTX, batch, WIDTH[l], WIDTH[l + 1], DZ[l], INPUT[l], 0, GRADS[2 * l],
                                              GRADS[2 * l + 1], NUMBER)
    sum_sq += NUMBER[0, 8].unpack1("d")
    next if l.zero?

    EK.check EK.ek_linear_backward_input_f32(CTX, EK::SILU, 0.0, batch, WIDTH[l], WIDTH[l + 1], DZ[l], PARAMS[2 * l],
                                             Z[l - 1], DZ[l - 1])
  end
  [loss, sum_sq]
end

def fill(images)
  INPUT[0][0, 256 * images.size] = images.map(&:first).join
end

clip = EK::ClipOptions.malloc(Fiddle::RUBY_FREE)
EK.ek_clip_options_init(clip)
clip.mode = EK::GLOBAL_NORM
clip.threshold = 1.0
adam = EK::AdamOptions.malloc(Fiddle::RUBY_FREE)
EK.ek_adam_options_init(adam)
adam.lr = 3e-3
lists = [PARAMS, GRADS, M, V].map { |tensors| list(tensors) }
sizes = SIZES.pack("J*")
order = (0...training.size).to_a
state = SEED
(1..epochs).each do |epoch|
  order.size.downto(2) do |n|
    state = (state * 1664525 + 1013904223) & 0xffffffff
    other = (state >> 8) % n
    order[n - 1], order[other] = order[other], order[n - 1]
  end
  loss = nil
  order.each_slice(BATCH) do |chosen|
    batch = training.values_at(*chosen)
    fill(batch)
    forward(batch.size)
    # The norm for clipping came with the gradients: the step reads them once.
    loss, clip.known_sum_sq = backward(batch.size, batch.map(&:last))
    EK.check EK.ek_clip_adam_f32(CTX, clip, adam, SIZES.size, sizes, *lists, nil)
    adam.step += 1
  end
  puts format("epoch %2d  loss %.4f", epoch, loss) if (epoch % 5).zero?
end

correct = held_out.each_slice(BATCH).sum do |batch|
  fill(batch)
  forward(batch.size)
  rows = LOGITS[0, 40 * batch.size].unpack("e*").each_slice(10).to_a
  rows.zip(batch).count { |row, (_, label)| row.index(row.max) == label }
end
puts format("held-out accuracy %.4f", correct.fdiv(held_out.size))
File.binwrite(weights, PARAMS.zip(SIZES).map { |p, n| p[0, 4 * n] }.join) if weights
EK.ek_context_destroy(CTX)
