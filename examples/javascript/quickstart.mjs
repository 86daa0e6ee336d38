// Trains a network on handwritten digits in JavaScript, and prints how many of the images it has not seen it reads
// correctly. Calls the C functions through koffi.
//
//     npm install koffi && EVENKEEL_LIBRARY=target/release/libevenkeel.so node quickstart.mjs digits.csv [WEIGHTS [EPOCHS]]
//
// With a second argument it writes the trained weights to that file: the bytes of the quickstart in C.
import fs from 'node:fs';
import koffi from 'koffi';

const library = koffi.load(process.env.EVENKEEL_LIBRARY ?? 'libevenkeel.so');

// A typed array goes as `float *`, in place; lists of tensors go as arrays of pointers.
koffi.opaque('ek_context');
koffi.struct('ek_clip_options', {
  struct_size: 'size_t', mode: 'int32_t', threshold: 'float', loss_scale: 'float', nonfinite: 'int32_t', known_sum_sq: 'double',
});
koffi.struct('ek_adam_options', {
  struct_size: 'size_t', lr: 'double', beta1: 'double', beta2: 'double', eps: 'double', weight_decay: 'double',
  decoupled: 'bool', step: 'uint64_t', second_moment: 'int32_t', stochastic: 'bool', seed: 'uint64_t',
});
const c = {
  lastError: library.func('const char *ek_last_error()'),
  versionString: library.func('const char *ek_version_string()'),
  create: library.func('int ek_context_create(const void *options, _Out_ ek_context **out)'),
  destroy: library.func('void ek_context_destroy(ek_context *ctx)'),
  clipInit: library.func('void ek_clip_options_init(_Out_ ek_clip_options *options)'),
  adamInit: library.func('void ek_adam_options_init(_Out_ ek_adam_options *options)'),
  initHe: library.func('int ek_init_he_f32(ek_context *ctx, uint64_t seed, uint64_t stream, int distribution, float slope, size_t fan_in, size_t n, float *w)'),
  linear: library.func('int ek_linear_forward_f32(ek_context *ctx, int act, float p, size_t batch, size_t in, size_t out, float *x, float *w, float *bias, float *z, float *y)'),
  backwardInput: library.func('int ek_linear_backward_input_f32(ek_context *ctx, int act, float p, size_t batch, size_t in, size_t out, float *dz, float *w, float *z_prev, float *dx)'),
  backwardWeight: library.func('int ek_linear_backward_weight_f32(ek_context *ctx, size_t batch, size_t in, size_t out, float *dz, float *x, bool accumulate, float *dw, float *dbias, _Out_ double *sum_sq)'),
  crossEntropy: library.func('int ek_cross_entropy_f32(ek_context *ctx, float smoothing, int64_t ignore, float scale, size_t rows, size_t classes, float *logits, int64_t *targets, float *losses, _Out_ double *mean_loss, float *dlogits)'),
  clipAdam: library.func('int ek_clip_adam_f32(ek_context *ctx, const ek_clip_options *clip, const ek_adam_options *adam, size_t count, size_t *sizes, float **params, float **grads, float **m, float **v, void *report)'),
};
const IDENTITY = 0, SILU = 8, NORMAL = 1, GLOBAL_NORM = 1;

// Every function reports this way: a status, and the reason in words.
function check(status) {
  if (status !== 0) throw new Error(c.lastError());
}

const WIDTH = [64, 128, 128, 10], LAYERS = 3, BATCH = 128, SEED = 1;
const [data = 'data/digits.csv', weights, epochs = '20'] = process.argv.slice(2);

// Images from -1 (paper) to 1 (ink), and what they show; every fifth is held out.
const training = { pixels: [], labels: [] }, heldOut = { pixels: [], labels: [] };
fs.readFileSync(data, 'utf8').trim().split('\n').forEach((line, i) => {
  const pixels = line.split(',').map(Number), label = pixels.pop();
  const set = i % 5 === 4 ? heldOut : training;
  set.pixels.push(Float32Array.from(pixels, (p) => p / 8 - 1));
  set.labels.push(BigInt(label));
});

const out = [null];
check(c.create(null, out));
const ctx = out[0];
console.log(`evenkeel ${c.versionString()}`);

// Tensor 2*l holds the weights of layer l, tensor 2*l + 1 its biases.
const params = [];
for (let l = 0; l < LAYERS; l++) {
  const w = new Float32Array(WIDTH[l] * WIDTH[l + 1]);
  check(c.initHe(ctx, SEED, l, NORMAL, 0, WIDTH[l], w.length, w));
  params.push(w, new Float32Array(WIDTH[l + 1]));
}
const zeros = () => params.map((p) => new Float32Array(p.length));
const grads = zeros(), m = zeros(), v = zeros();
const layer = (n) => Array.from({ length: LAYERS }, (_, l) => new Float32Array(BATCH * WIDTH[l + n]));
const input = layer(0), z = layer(1), dz = layer(1), logits = new Float32Array(BATCH * WIDTH[LAYERS]);

// z = x * W^T + bias, x of the next layer = silu(z); the last layer's z are the logits.
function forward(batch) {
  for (let l = 0; l < LAYERS; l++) {
    const last = l === LAYERS - 1;
    check(c.linear(ctx, last ? IDENTITY : SILU, 0, batch, WIDTH[l], WIDTH[l + 1], input[l], params[2 * l],
      params[2 * l + 1], last ? null : z[l], last ? logits : input[l + 1]));
  }
}

// The loss of the batch, and from its gradient those of all parameters; returns the sum of their squares.
function backward(batch, labels) {
  const loss = [0], part = [0];
  let sumSq = 0;
  check(c.crossEntropy(ctx, 0, -1, 1, batch, WIDTH[LAYERS], logits, labels, null, loss, dz[LAYERS - 1]));
  for (let l = LAYERS - 1; l >= 0; l--) {
    check(c.backwardWeight(ctx, batch, WIDTH[l], WIDTH[l + 1], dz[l], input[l], false, grads[2 * l], grads[2 * l + 1], part));
    sumSq += part[0];
    if (l > 0) check(c.backwardInput(ctx, SILU, 0, batch, WIDTH[l], WIDTH[l + 1], dz[l], params[2 * l], z[l - 1], dz[l - 1]));
  }
  return [loss[0], sumSq];
}

const clip = {}, adam = {};
c.clipInit(clip);
c.adamInit(adam);
Object.assign(clip, { mode: GLOBAL_NORM, threshold: 1 });
Object.assign(adam, { lr: 3e-3, step: 1 });
const order = training.labels.map((_, i) => i), sizes = BigUint64Array.from(params, (p) => BigInt(p.length));
let state = SEED, loss;
for (let epoch = 1; epoch <= Number(epochs); epoch++) {
  for (let n = order.length; n > 1; n--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = (state >>> 8) % n;
    [order[n - 1], order[other]] = [order[other], order[n - 1]];
  }
  for (let start = 0; start < order.length; start += BATCH) {
    const chosen = order.slice(start, start + BATCH);
    chosen.forEach((image, i) => input[0].set(training.pixels[image], i * WIDTH[0]));
    forward(chosen.length);
    // The norm for clipping came with the gradients: the step reads them once.
    [loss, clip.known_sum_sq] = backward(chosen.length, BigInt64Array.from(chosen, (image) => training.labels[image]));
    check(c.clipAdam(ctx, clip, adam, params.length, sizes, params, grads, m, v, null));
    adam.step++;
  }
  if (epoch % 5 === 0) console.log(`epoch ${epoch}  loss ${loss.toFixed(4)}`);
}

let correct = 0;
for (let start = 0; start < heldOut.labels.length; start += BATCH) {
  const batch = heldOut.pixels.slice(start, start + BATCH);
  batch.forEach((image, i) => input[0].set(image, i * WIDTH[0]));
  forward(batch.length);
  batch.forEach((_, i) => {
    const row = logits.subarray(i * 10, i * 10 + 10);
    correct += row.indexOf(Math.max(...row)) === Number(heldOut.labels[start + i]);
  });
}
console.log(`held-out accuracy ${(correct / heldOut.labels.length).toFixed(4)}`);
if (weights) fs.writeFileSync(weights, Buffer.concat(params.map((p) => Buffer.from(p.buffer))));
c.destroy(ctx);
