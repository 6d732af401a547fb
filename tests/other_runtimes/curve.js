// The losses of a step that graphc exported, over the batches beside it.

const ARRAYS = { float32: Float32Array, int64: BigInt64Array };

/** `bytes` reads a file of the folder that holds the step; `Training` is the class of examples/browser. */
export async function curve(ort, Training, bytes) {
  const { batches, steps } = JSON.parse(new TextDecoder().decode(await bytes("batches.json")));
  const tensor = ({ type, dims, data }) =>
    new ort.Tensor(type, ARRAYS[type].from(type === "int64" ? data.map(BigInt) : data), dims);
  const feeds = batches.map((batch) => Object.fromEntries(Object.entries(batch).map(([k, v]) => [k, tensor(v)])));
  const training = await Training.load(ort, await bytes("step.onnx"), await bytes("step.init.onnx"));
  const losses = [];
  for (let i = 0; i < steps; i++) losses.push((await training.step(feeds[i % feeds.length])).loss);
  return losses;
}
