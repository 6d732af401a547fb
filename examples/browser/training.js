// Trains with a step that graphc exported, in any JavaScript build of onnxruntime: a page, a worker, Node.
//
// The step is one ONNX model. Its inputs are a batch, the learning rate, and the state; the next value of the state
// `name` is the output `name.next`; what has none, such as a seed, stays as it is. The state to start from is what
// `step.init.onnx` computes from nothing.

const SUFFIX = ".next";

export class Training {
  /** `ort` is the module onnxruntime-web or onnxruntime-node; `step` and `init` are bytes (or addresses) of the files. */
  static async load(ort, step, init) {
    const session = await ort.InferenceSession.create(step);
    const start = await ort.InferenceSession.create(init);
    const state = await start.run({});
    await start.release();
    return new Training(session, state);
  }

  constructor(session, state) {
    this.session = session;
    this.state = state;
  }

  /** What a batch must hold, and `learning_rate`: the inputs that are not state. */
  get inputs() {
    return this.session.inputNames.filter((name) => !(name in this.state));
  }

  /** One update from a batch of tensors by name; the loss and the metrics before it, as numbers. */
  async step(batch) {
    const results = await this.session.run({ ...batch, ...this.state });
    const reported = {};
    for (const [name, tensor] of Object.entries(results)) {
      if (name.endsWith(SUFFIX)) this.state[name.slice(0, -SUFFIX.length)] = tensor;
      else reported[name] = Number(tensor.data[0]);
    }
    return reported;
  }

  /** Outputs of another model, such as the predictions, which takes the parameters among its inputs. */
  async apply(model, feeds) {
    const parameters = model.inputNames.filter((name) => name in this.state).map((name) => [name, this.state[name]]);
    return model.run({ ...feeds, ...Object.fromEntries(parameters) });
  }
}

/** Random batches of the digits: 64 pixels of 0 to 16, as bytes, and a label each. */
export class Digits {
  constructor(ort, pixels, labels) {
    this.ort = ort;
    this.pixels = pixels;
    this.labels = labels;
  }

  /** `size` digits drawn with `random`, a function like Math.random. */
  batch(size, random = Math.random) {
    const x = new Float32Array(size * 64);
    const y = new BigInt64Array(size);
    for (let row = 0; row < size; row++) {
      const chosen = Math.floor(random() * this.labels.length);
      for (let i = 0; i < 64; i++) x[row * 64 + i] = this.pixels[chosen * 64 + i] / 16;
      y[row] = BigInt(this.labels[chosen]);
    }
    return { x: new this.ort.Tensor("float32", x, [size, 64]), y: new this.ort.Tensor("int64", y, [size]) };
  }
}

/** A bitmap of 32 x 32 booleans as the digits are made: how many of each 4 x 4 block are set, after centering. */
export function pixelsOf(bitmap) {
  const set = [];
  bitmap.forEach((on, i) => on && set.push([Math.floor(i / 32), i % 32]));
  const pixels = new Float32Array(64);
  if (!set.length) return pixels;
  const [rows, columns] = [0, 1].map((axis) => set.map((point) => point[axis]));
  const shift = [rows, columns].map((values) => Math.round(15.5 - (Math.min(...values) + Math.max(...values)) / 2));
  for (const [row, column] of set) {
    const [r, c] = [row + shift[0], column + shift[1]];
    if (r >= 0 && r < 32 && c >= 0 && c < 32) pixels[Math.floor(r / 4) * 8 + Math.floor(c / 4)] += 1 / 16;
  }
  return pixels;
}
