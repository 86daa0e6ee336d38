-- Trains a network on handwritten digits in Lua, and prints how many of the images it has not seen it reads correctly.
-- Calls the C functions through LuaJIT's FFI, which reads the prototypes from the header itself.
--
--     EVENKEEL_LIBRARY=target/release/libevenkeel.so luajit examples/lua/quickstart.lua data/digits.csv [WEIGHTS [EPOCHS]]
--
-- With a second argument it writes the trained weights to that file: the bytes of the quickstart in C.
local ffi = require("ffi")

-- The header without what its preprocessor would remove.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
local header = assert(io.open(os.getenv("EVENKEEL_HEADER") or here .. "/../../include/evenkeel.h")):read("*a")
header = header:gsub("extern \"C\" {[^\n]*", ""):gsub("\n}[^\n]*extern[^\n]*", "\n"):gsub("\n#[^\n]*", "\n")
ffi.cdef((header:gsub("EK_API", "")))
local ek = ffi.load(os.getenv("EVENKEEL_LIBRARY") or "evenkeel")
local IDENTITY, SILU, NORMAL, GLOBAL_NORM = 0, 8, 1, 1

-- Every function reports this way: a status, and the reason in words.
local function check(status)
  if status ~= 0 then error(ffi.string(ek.ek_status_string(status)) .. ": " .. ffi.string(ek.ek_last_error())) end
end

local WIDTH, LAYERS, BATCH, SEED = {[0] = 64, 128, 128, 10}, 3, 128, 1
local data, weights, epochs = arg[1] or "data/digits.csv", arg[2], tonumber(arg[3] or 20)

local function floats(n) return ffi.new("float[?]", n) end

-- Images from -1 (paper) to 1 (ink), and what they show; every fifth is held out.
local training, held_out = {}, {}
local count = 0
for line in io.lines(data) do
  local numbers = {}
  for number in line:gmatch("%d+") do numbers[#numbers + 1] = tonumber(number) end
  local pixels = floats(64)
  for i = 0, 63 do pixels[i] = numbers[i + 1] / 8 - 1 end
  local set = count % 5 == 4 and held_out or training
  set[#set + 1] = {pixels = pixels, label = numbers[65]}
  count = count + 1
end

local out = ffi.new("ek_context *[1]")
check(ek.ek_context_create(nil, out))
local ctx = out[0]
print("evenkeel " .. ffi.string(ek.ek_version_string()) .. ", " .. ffi.string(ek.ek_isa_name(ek.ek_context_isa(ctx))))

-- Tensor 2*l holds the weights of layer l, tensor 2*l + 1 its biases. The lists of pointers are what the optimizer takes;
-- `keep` holds the memory, which pointers do not.
local TENSORS = 2 * LAYERS
local sizes, keep = ffi.new("size_t[?]", TENSORS), {}
local function list(type)
  local pointers = ffi.new(type .. " *[?]", TENSORS)
  for i = 0, TENSORS - 1 do
    local tensor = floats(tonumber(sizes[i]))
    keep[#keep + 1] = tensor
    pointers[i] = tensor
  end
  return pointers
end
for l = 0, LAYERS - 1 do
  sizes[2 * l], sizes[2 * l + 1] = WIDTH[l] * WIDTH[l + 1], WIDTH[l + 1]
end
local params, grads, m, v = list("float"), list("float"), list("float"), list("float")
for l = 0, LAYERS - 1 do
  check(ek.ek_init_he_f32(ctx, SEED, l, NORMAL, 0, WIDTH[l], sizes[2 * l], params[2 * l]))
end
local input, z, dz, logits = {}, {}, {}, floats(BATCH * WIDTH[LAYERS])
for l = 0, LAYERS - 1 do
  input[l], z[l], dz[l] = floats(BATCH * WIDTH[l]), floats(BATCH * WIDTH[l + 1]), floats(BATCH * WIDTH[l + 1])
end

-- z = x * W^T + bias, x of the next layer = silu(z); the last layer's z are the logits.
local function forward(batch)
  for l = 0, LAYERS - 1 do
    local last = l == LAYERS - 1
    check(ek.ek_linear_forward_f32(ctx, last and IDENTITY or SILU, 0, batch, WIDTH[l], WIDTH[l + 1], input[l],
      params[2 * l], params[2 * l + 1], not last and z[l] or nil, last and logits or input[l + 1]))
  end
end

-- The loss of the batch, and from its gradient those of all parameters; also the sum of their squares.
local number = ffi.new("double[1]")
local function backward(batch, labels)
  check(ek.ek_cross_entropy_f32(ctx, 0, -1, 1, batch, WIDTH[LAYERS], logits, labels, nil, number, dz[LAYERS - 1]))
  local loss, sum_sq = number[0], 0
  for l = LAYERS - 1, 0, -1 do
    check(ek.ek_linear_backward_weight_f32(ctx, batch, WIDTH[l], WIDTH[l + 1], dz[l], input[l], false, grads[2 * l],
      grads[2 * l + 1], number))
    sum_sq = sum_sq + number[0]
    if l > 0 then
      check(ek.ek_linear_backward_input_f32(ctx, SILU, 0, batch, WIDTH[l], WIDTH[l + 1], dz[l], params[2 * l], z[l - 1],
        dz[l - 1]))
    end
  end
  return loss, sum_sq
end

local clip, adam = ffi.new("ek_clip_options[1]"), ffi.new("ek_adam_options[1]")
ek.ek_clip_options_init(clip)
clip[0].mode, clip[0].threshold = GLOBAL_NORM, 1
ek.ek_adam_options_init(adam)
adam[0].lr = 3e-3
local grads_in = ffi.cast("const float *const *", grads)
local labels = ffi.new("int64_t[?]", BATCH)
local order, state = {}, ffi.new("uint32_t", SEED)
for i = 1, #training do order[i] = i end
for epoch = 1, epochs do
  for n = #order, 2, -1 do
    state = ffi.cast("uint32_t", ffi.cast("uint64_t", state) * 1664525ULL + 1013904223ULL)
    local other = bit.rshift(tonumber(state), 8) % n + 1
    order[n], order[other] = order[other], order[n]
  end
  local loss
  for start = 1, #order, BATCH do
    local batch = math.min(BATCH, #order - start + 1)
    for i = 0, batch - 1 do
      local image = training[order[start + i]]
      ffi.copy(input[0] + i * 64, image.pixels, 64 * 4)
      labels[i] = image.label
    end
    forward(batch)
    -- The norm for clipping came with the gradients: the step reads them once.
    loss, clip[0].known_sum_sq = backward(batch, labels)
    check(ek.ek_clip_adam_f32(ctx, clip, adam, TENSORS, sizes, params, grads_in, m, v, nil))
    adam[0].step = adam[0].step + 1
  end
  if epoch % 5 == 0 then print(("epoch %2d  loss %.4f"):format(epoch, loss)) end
end

local correct = 0
for start = 1, #held_out, BATCH do
  local batch = math.min(BATCH, #held_out - start + 1)
  for i = 0, batch - 1 do ffi.copy(input[0] + i * 64, held_out[start + i].pixels, 64 * 4) end
  forward(batch)
  for i = 0, batch - 1 do
    local best = 0
    for j = 1, 9 do
      if logits[i * 10 + j] > logits[i * 10 + best] then best = j end
    end
    if best == held_out[start + i].label then correct = correct + 1 end
  end
end
print(("held-out accuracy %.4f"):format(correct / #held_out))
if weights then
  local file = assert(io.open(weights, "wb"))
  for i = 0, TENSORS - 1 do file:write(ffi.string(params[i], sizes[i] * 4)) end
  file:close()
end
ek.ek_context_destroy(ctx)
